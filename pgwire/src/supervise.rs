//! Running one call into the session while watching what else may end it.
//!
//! Three things can: the client vanishes, the server shuts down, the session panics. The first two set the
//! session's cancel flag and leave it a little time to come to an end by itself, so that what it holds is
//! released in good order; only then is the call dropped where it stands.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
};

use basalt_env::Env;
use basalt_types::{Result, SqlError};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::io::AsyncRead;

use crate::{CancelHandle, CancelReason, Limits, input::Input};

/// Why a call gave no value.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An ordinary error of the session.
    Error(SqlError),
    /// Nobody is there to hear more.
    ClientGone,
    /// The session was told to end, and did not stop in time.
    Overdue(CancelReason),
    /// The session's state is unknown: it must not be called again.
    Panicked(String),
}

/// What every supervised call needs.
pub(crate) struct Supervisor<'a, R> {
    pub input: &'a Mutex<Input<R>>,
    pub cancel: &'a CancelHandle,
    pub env: &'a Env,
    pub limits: &'a Limits,
}

impl<R: AsyncRead + Unpin> Supervisor<'_, R> {
    /// Runs `call` to its end or to the end of the connection.
    pub async fn run<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T, Stop> {
        let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
        let reason = tokio::select! {
            biased;
            result = &mut call => return finished(result),
            () = poll_fn(|cx| self.input.lock().poll_watch(self.limits, cx)) => {
                self.cancel.cancel(CancelReason::Disconnected);
                CancelReason::Disconnected
            }
            reason = self.cancel.ended() => reason,
        };
        tokio::select! {
            biased;
            result = &mut call => match finished(result) {
                Err(Stop::Panicked(message)) => Err(Stop::Panicked(message)),
                _ if reason == CancelReason::Disconnected => Err(Stop::ClientGone),
                result => result,
            },
            () = self.env.spawner.sleep(self.limits.end_timeout) => Err(match reason {
                CancelReason::Disconnected => Stop::ClientGone,
                reason => Stop::Overdue(reason),
            }),
        }
    }
}

fn finished<T>(result: Result<Result<T>, Box<dyn Any + Send>>) -> Result<T, Stop> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Stop::Error(error)),
        Err(payload) => Err(Stop::Panicked(panic_message(&*payload))),
    }
}

/// The text of a panic, as far as there is one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}
