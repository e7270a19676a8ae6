//! The seam between the protocol and SQL sessions: two vocabularies for the same things.

mod cancel;
mod output;
mod session;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use basalt_base::{
    NodeId,
    process_id::{is_of, process_id},
};
use basalt_pgwire::{Backend, BackendSession, StartupInfo};
use basalt_sql::{ConnectInfo, Session, SqlServices};
use basalt_types::{Result, SqlError, SqlState};

use cancel::ClientCancel;
use session::ClientSession;

use crate::others::OtherNodes;

/// Opens SQL sessions for clients, once the node is ready; before, and while it is away, it says that it isn't (`57P03`), upon
/// which libpq and its kin try the next host of their list.
#[derive(Default)]
pub struct SqlBackend {
    served: OnceLock<Served>,
    is_away: AtomicBool,
}

struct Served {
    services: Arc<SqlServices>,
    node: NodeId,
    others: Arc<OtherNodes>,
}

impl SqlBackend {
    /// From now on clients are served.
    pub fn serve(&self, services: Arc<SqlServices>, node: NodeId, others: Arc<OtherNodes>) {
        let _already = self.served.set(Served { services, node, others });
    }

    /// Whether clients are refused for now, because other nodes serve them better.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Release);
    }
}

#[async_trait]
impl Backend for SqlBackend {
    async fn connect(&self, startup: StartupInfo) -> Result<Box<dyn BackendSession>> {
        // A process id from before the node was known names the wrong one.
        let served = self.served.get().filter(|served| is_of(startup.process_id, served.node));
        let served = served.ok_or_else(|| {
            SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up")
        })?;
        if self.is_away.load(Ordering::Acquire) {
            return Err(SqlError::new(
                SqlState::CANNOT_CONNECT_NOW,
                "the disk of this node does not answer for now",
            )
            .with_hint("Other nodes of the cluster serve clients."));
        }
        let info = ConnectInfo {
            user: startup.user,
            database: startup.database,
            application_name: startup.application_name,
            options: startup.options,
            client: startup.peer.map(|peer| peer.to_string()),
            pid: startup.process_id,
            cancel: Arc::new(ClientCancel(startup.cancel)),
        };
        let session = Session::open(served.services.clone(), info).await?;
        Ok(Box::new(ClientSession::new(session)))
    }

    fn process_id(&self, number: u32) -> i32 {
        // Nobody gets a session before the node is known.
        process_id(self.served.get().map_or(NodeId(0), |served| served.node), number)
    }

    async fn cancel(&self, process_id: i32, secret: &[u8]) {
        if let Some(served) = self.served.get() {
            served.others.cancel(process_id, secret).await;
        }
    }
}
