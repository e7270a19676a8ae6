//! A client that knows several nodes: it goes on with the next one when a connection fails, as drivers do that are given a
//! list of hosts.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::member::within;
use crate::chaos::{Outcome, process::url};

/// A frozen node accepts connections, by its kernel, and never says a word.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

pub struct Session {
    ports: Vec<u16>,
    next: usize,
    open: Option<(Client, JoinHandle<()>)>,
    /// How often a connection was made.
    pub connects: u64,
}

impl Session {
    /// Begins with the node at `first`.
    pub fn new(ports: &[u16], first: usize) -> Self {
        Self { ports: ports.to_vec(), next: first, open: None, connects: 0 }
    }

    /// The connection, a new one if there is none.
    pub async fn client(&mut self) -> Outcome<&Client> {
        if self.open.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            self.close();
            let url = url(self.ports[self.next % self.ports.len()]);
            let connect = async { tokio_postgres::connect(&url, NoTls).await.map_err(Into::into) };
            match within(CONNECT_PATIENCE, connect).await {
                Err(error) => {
                    self.next += 1;
                    return Err(error);
                }
                Ok((client, connection)) => {
                    self.connects += 1;
                    let driver = tokio::spawn(async move {
                        // The statements that are under way say so.
                        let _ended = connection.await;
                    });
                    self.open = Some((client, driver));
                }
            }
        }
        Ok(&self.open.as_ref().ok_or("it was opened")?.0)
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
