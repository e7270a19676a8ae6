//! How a running statement learns that its client gave up.

use basalt_env::BoxFuture;
use basalt_pgwire::CancelHandle;
use basalt_sql::Cancel;
use basalt_types::{Result, SqlError};

pub struct ClientCancel(pub CancelHandle);

impl Cancel for ClientCancel {
    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(async { self.0.cancelled().await.error() })
    }
}
