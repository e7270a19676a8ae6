//! The seam between the protocol and SQL sessions: two vocabularies for the same things.

mod cancel;
mod output;
mod session;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use basalt_pgwire::{Backend, BackendSession, StartupInfo};
use basalt_sql::{ConnectInfo, Session, SqlServices};
use basalt_types::{Result, SqlError, SqlState};

use cancel::ClientCancel;
use session::ClientSession;

/// Opens SQL sessions for clients, once the node is ready; before, it says that it isn't (`57P03`).
#[derive(Default)]
pub struct SqlBackend {
    services: OnceLock<Arc<SqlServices>>,
}

impl SqlBackend {
    /// From now on clients are served.
    pub fn serve(&self, services: Arc<SqlServices>) {
        let _already = self.services.set(services);
    }
}

#[async_trait]
impl Backend for SqlBackend {
    async fn connect(&self, startup: StartupInfo) -> Result<Box<dyn BackendSession>> {
        let info = ConnectInfo {
            user: startup.user,
            database: startup.database,
            application_name: startup.application_name,
            options: startup.options,
            client: startup.peer.map(|peer| peer.to_string()),
            pid: startup.process_id,
            cancel: Arc::new(ClientCancel(startup.cancel)),
        };
        let services = self.services.get().ok_or_else(|| {
            SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up")
        })?;
        let session = Session::connect(services.clone(), info)?;
        Ok(Box::new(ClientSession::new(session)))
    }
}
