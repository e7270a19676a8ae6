//! How a running statement learns that its client gave up.

use basalt_env::BoxFuture;
use basalt_pgwire::{CancelHandle, CancelReason};
use basalt_sql::{Cancel, Signal};
use basalt_types::{Result, SqlError};

pub struct ClientCancel(pub CancelHandle);

impl Cancel for ClientCancel {
    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn signal(&self, signal: Signal) {
        match signal {
            Signal::Cancel => self.0.cancel(CancelReason::Requested),
            Signal::Terminate => self.0.terminate(),
        }
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(async { self.0.cancelled().await.error() })
    }
}
