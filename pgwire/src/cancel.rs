//! The flag by which a running statement learns that it should stop.
//!
//! A request sets the flag; the statement sees it at its next check or, while it waits, is woken by it.
//! The protocol layer clears the flag when the connection goes idle, so that, as in PostgreSQL, a request that
//! arrives between statements stops nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use basalt_types::{Result, SqlError, SqlState};
use tokio::sync::Notify;

/// Why a statement should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CancelReason {
    /// A cancel request: the statement fails, the session goes on.
    Requested = 1,
    /// The server cannot serve anybody for now; other servers can.
    Away = 2,
    /// The server is shutting down.
    Shutdown = 3,
    /// The client is gone; nobody will read the answer.
    Disconnected = 4,
}

impl CancelReason {
    /// The error a stopped statement returns.
    pub fn error(self) -> SqlError {
        match self {
            Self::Requested => {
                SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
            }
            Self::Away => SqlError::new(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection because this node cannot serve it for now",
            )
            .with_hint("Other nodes of the cluster can; connect again."),
            Self::Shutdown => {
                SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
            }
            Self::Disconnected => SqlError::new(SqlState::CONNECTION_FAILURE, "connection to client lost"),
        }
    }
}

impl CancelReason {
    /// The error of a statement that was told to stop for this reason and was dropped because it did not: it may have been
    /// a commit.
    pub(crate) fn overdue_error(self) -> SqlError {
        SqlError::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, self.error().message().to_owned())
            .with_detail("The statement did not stop in time. If it changes anything, it may or may not have taken effect.")
            .with_hint("Check whether the changes are there before trying again.")
    }
}

/// Shared between a connection, its session and those who may cancel it. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// 0, or a [`CancelReason`].
    reason: AtomicU8,
    /// The connection should end as soon as it is idle.
    draining: AtomicBool,
    changed: Notify,
}

impl CancelHandle {
    /// Sets the flag; a graver reason replaces a lesser one.
    pub fn cancel(&self, reason: CancelReason) {
        self.0.reason.fetch_max(reason as u8, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    /// Why to stop, if so.
    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.reason.load(Ordering::Acquire) {
            0 => None,
            1 => Some(CancelReason::Requested),
            2 => Some(CancelReason::Away),
            3 => Some(CancelReason::Shutdown),
            _ => Some(CancelReason::Disconnected),
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.reason.load(Ordering::Relaxed) != 0
    }

    /// The error to return when the statement should stop. Cheap: one atomic load when it should not.
    pub fn check(&self) -> Result<()> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(reason.error()),
        }
    }

    /// Completes when the statement should stop.
    pub async fn cancelled(&self) -> CancelReason {
        self.wait_for(CancelReason::Requested).await
    }

    /// Completes when the connection should end: a mere cancel request does not count.
    pub(crate) async fn ended(&self) -> CancelReason {
        self.wait_for(CancelReason::Away).await
    }

    async fn wait_for(&self, least: CancelReason) -> CancelReason {
        self.wait_until(|handle| handle.reason().filter(|reason| *reason >= least)).await
    }

    async fn wait_until<T>(&self, condition: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = condition(self) {
                return value;
            }
            changed.await;
        }
    }

    /// Ends the connection, whatever it does.
    pub fn terminate(&self) {
        self.drain();
        self.cancel(CancelReason::Shutdown);
    }

    /// Asks the connection to end once it is idle.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Completes when the connection should end if it is idle. Waiting costs no lock that other connections share.
    pub(crate) async fn draining(&self) {
        self.wait_until(|handle| handle.0.draining.load(Ordering::Acquire).then_some(())).await;
    }

    /// Forgets a request that came too late. The graver reasons last as long as the connection.
    pub(crate) fn clear_request(&self) {
        let requested = CancelReason::Requested as u8;
        let _too_grave = self.0.reason.compare_exchange(requested, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn graver_reasons_win_and_stay() {
        let handle = CancelHandle::default();
        assert!(handle.check().is_ok());
        handle.cancel(CancelReason::Requested);
        assert_eq!(handle.cancelled().await, CancelReason::Requested);
        assert_eq!(handle.check().unwrap_err().sqlstate(), SqlState::QUERY_CANCELED);
        handle.clear_request();
        assert!(!handle.is_cancelled());
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.ended().await }
        });
        handle.cancel(CancelReason::Disconnected);
        handle.cancel(CancelReason::Shutdown);
        handle.clear_request();
        assert_eq!(waiting.await.unwrap(), CancelReason::Disconnected);
        assert_eq!(handle.reason(), Some(CancelReason::Disconnected));
    }
}
