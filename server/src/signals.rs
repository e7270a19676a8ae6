//! The requests to stop that an operating system sends.

use std::{io, thread};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// SIGTERM and SIGINT, listened to from its making on.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// The end of standard input, if that counts.
    input: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            input: None,
        })
    }

    /// From now on the end of standard input is a request, too: whoever started this process is gone then, in whatever way.
    pub fn listen_to_input(&mut self) -> io::Result<()> {
        let (ended, input) = oneshot::channel();
        // A thread of its own: nothing else ends a read of standard input.
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
            drop(ended);
        })?;
        self.input = Some(input);
        Ok(())
    }

    /// Completes at the next request.
    pub async fn received(&mut self) {
        let input = async {
            match &mut self.input {
                Some(input) => drop(input.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = input => self.input = None,
        }
    }
}
