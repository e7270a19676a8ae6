//! The seam between the protocol and SQL sessions: two vocabularies for the same things.

mod cancel;
mod output;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use basalt_pgwire::{Backend, BackendSession, StartupInfo};
use basalt_sql::{ConnectInfo, Session, SqlServices};
use basalt_types::Result;

use cancel::ClientCancel;
use session::ClientSession;

/// Opens SQL sessions for clients.
pub struct SqlBackend {
    services: Arc<SqlServices>,
}

impl SqlBackend {
    pub fn new(services: Arc<SqlServices>) -> Self {
        Self { services }
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
        let session = Session::connect(self.services.clone(), info)?;
        Ok(Box::new(ClientSession::new(session)))
    }
}
