//! A client that knows several nodes: it goes on with the next one when a connection ends or is refused, as drivers do that
//! are given a list of hosts.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls};

use super::{
    failure::{Failure, Moment},
    member::within,
};
use crate::chaos::{Outcome, process::url};

/// A frozen node accepts connections, by its kernel, and never says a word.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// A connection whose end its client has noticed has all but ended.
const END_PATIENCE: Duration = Duration::from_secs(1);

pub struct Session {
    ports: Vec<u16>,
    next: usize,
    open: Option<(Client, JoinHandle<Result<(), Error>>)>,
    /// What it was told other than by its statements, until somebody asks.
    failures: Vec<Failure>,
    /// How often a connection was made.
    pub connects: u64,
}

impl Session {
    /// Begins with the node at `first`.
    pub fn new(ports: &[u16], first: usize) -> Self {
        Self { ports: ports.to_vec(), next: first, open: None, failures: Vec::new(), connects: 0 }
    }

    /// The connection. Without one each host is asked in turn; the error is that of the last.
    pub async fn client(&mut self) -> Outcome<&Client> {
        if self.open.as_ref().is_some_and(|(client, _)| client.is_closed()) {
            let failure = match self.last_words().await {
                Some(error) => Failure::of(&error, Moment::Idle),
                None => Failure::unsaid(Moment::Idle, "the connection has ended".to_owned()),
            };
            self.failures.push(failure);
            self.next += 1;
        }
        let mut asked = 0;
        while self.open.is_none() {
            let Err(error) = self.connect().await else { break };
            self.next += 1;
            asked += 1;
            if asked >= self.ports.len() {
                return Err(error);
            }
            self.failures.push(Failure::of(error.as_ref(), Moment::PassingOver));
        }
        Ok(&self.open.as_ref().ok_or("it was opened")?.0)
    }

    async fn connect(&mut self) -> Outcome {
        let url = url(self.ports[self.next % self.ports.len()]);
        let connect = async { tokio_postgres::connect(&url, NoTls).await.map_err(Into::into) };
        let (client, connection) = within(CONNECT_PATIENCE, connect).await?;
        self.connects += 1;
        self.open = Some((client, tokio::spawn(connection)));
        Ok(())
    }

    /// Why the connection has ended, if nothing was under way on it; statements that were hear it themselves. There is none
    /// afterwards.
    pub async fn last_words(&mut self) -> Option<Error> {
        let (_, mut driver) = self.open.take()?;
        let ended = tokio::time::timeout(END_PATIENCE, &mut driver).await;
        driver.abort();
        ended.ok()?.ok()?.err()
    }

    /// What it was told since it was last asked, other than by its statements.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// Gives up on this node. What was under way there is not waited for.
    pub fn leave(&mut self) {
        self.close();
        self.next += 1;
    }

    fn close(&mut self) {
        if let Some((_, driver)) = self.open.take() {
            driver.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
