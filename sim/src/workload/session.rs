//! One transaction as a client of the cluster sees it.

use basalt_base::{ErrorKind, Timestamp};
use basalt_txn::{Error, Result, Txn, TxnConfig};

use crate::{Violations, cluster::Cluster};

/// How a transaction ended, as far as the client can tell.
#[derive(Clone, Debug)]
pub enum Ended<T> {
    Committed(T, Timestamp),
    /// Certainly without effect.
    Failed(Error),
    /// The answer to the commit was lost, or the node with it. `Some` when the body had run to its end.
    Unknown(Option<T>),
    /// No node was running.
    NotStarted,
}

/// Attempts after conflicts, in a new epoch or as a new transaction, as the error says.
const ATTEMPTS_MAX: u32 = 4;

/// Runs `body` and a commit as a session on one of the nodes. A crash ends it wherever it is.
pub async fn transact<T, F>(
    cluster: &Cluster,
    violations: &Violations,
    config: TxnConfig,
    body: impl Fn(Txn) -> F + Send + Sync + 'static,
) -> Ended<T>
where
    T: Send + Clone + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let before_commit = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let noted = before_commit.clone();
    let unknown = std::sync::Arc::new(parking_lot::Mutex::new(None::<String>));
    let open = unknown.clone();
    let session = cluster.session(move |client| {
        Box::pin(async move {
            let txn = match client.begin(config) {
                Ok(txn) => txn,
                Err(error) => return Ended::Failed(error),
            };
            let mut attempt = 1;
            loop {
                let error = match body(txn.clone()).await {
                    Ok(value) => {
                        *noted.lock() = Some(value.clone());
                        match txn.commit().await {
                            Ok(timestamp) => return Ended::Committed(value, timestamp),
                            Err(error) if error.kind() == ErrorKind::Ambiguous => {
                                *open.lock() = Some(error.to_string());
                                return Ended::Unknown(Some(value));
                            }
                            Err(error) => error,
                        }
                    }
                    Err(error) => error,
                };
                // Certainly without effect: another attempt decides.
                *noted.lock() = None;
                attempt += 1;
                match error.restart() {
                    Some(how) if attempt <= ATTEMPTS_MAX && txn.restart(how).await.is_ok() => {}
                    _ => {
                        txn.rollback().await;
                        return Ended::Failed(error);
                    }
                }
            }
        })
    });
    let Some(answer) = session else { return Ended::NotStarted };
    let ended = answer.await.unwrap_or_else(|_| Ended::Unknown(before_commit.lock().take()));
    // A lost answer leaves the outcome open; a store that contradicts itself must not hide behind that.
    if let Some(reason) = unknown.lock().take()
        && ["internal error", "a part of the commit"].iter().any(|sign| reason.contains(sign))
    {
        violations.report(format!("a commit is neither done nor undone: {reason}"));
    }
    // The others may not be able to do without a node whose state is damaged.
    let is_damaged = || cluster.nodes().iter().any(crate::node::Node::is_damaged);
    if let Ended::Failed(error) = &ended
        && (error.kind() == ErrorKind::Internal || error.kind() == ErrorKind::Corruption && !is_damaged())
    {
        violations.report(format!("a transaction failed with an internal error: {error}"));
    }
    ended
}
