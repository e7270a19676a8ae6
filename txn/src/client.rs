//! The node's coordinator.

use std::{future::Future, sync::Arc};

use basalt_base::Timestamp;
use basalt_env::Env;
use basalt_kv_api::Sender;

use crate::{
    Result, Txn, TxnConfig, TxnCounts, TxnOptions,
    counts::{Counters, bump},
};

/// Begins transactions. Cheap to clone.
#[derive(Clone)]
pub struct TxnClient {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) sender: Arc<dyn Sender>,
    pub(crate) options: TxnOptions,
    pub(crate) counters: Counters,
}

/// Attempts of [`TxnClient::run`].
const RUN_ATTEMPTS_MAX: u32 = 20;

impl TxnClient {
    pub fn new(env: Env, sender: Arc<dyn Sender>, options: TxnOptions) -> Self {
        Self { shared: Arc::new(Shared { env, sender, options, counters: Counters::default() }) }
    }

    pub fn begin(&self, config: TxnConfig) -> Result<Txn> {
        bump(&self.shared.counters.begins);
        Txn::begin(self.shared.clone(), config)
    }

    /// Runs `body` in a transaction and commits it, again after conflicts, a bounded number of times.
    /// For internal work (catalog writes); `body` must not have effects outside the transaction.
    pub async fn run<T, E, F, Fut>(&self, config: TxnConfig, body: F) -> Result<T, E>
    where
        E: From<crate::Error> + AsTxnError,
        F: Fn(Txn) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let txn = self.begin(config)?;
        let mut attempt = 1;
        loop {
            let outcome = match body(txn.clone()).await {
                Ok(value) => txn.commit().await.map(|_| value).map_err(E::from),
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let again = error.as_txn_error().is_some_and(|error| error.restart().is_some());
            if !again || attempt == RUN_ATTEMPTS_MAX {
                txn.rollback().await;
                return Err(error);
            }
            txn.restart().await?;
            attempt += 1;
        }
    }

    /// A reading of the node's hybrid logical clock.
    pub fn now(&self) -> Result<Timestamp> {
        Ok(self.shared.sender.now()?)
    }

    /// For requests that are not part of a transaction (splits, clearing spans, garbage collection).
    pub fn sender(&self) -> &Arc<dyn Sender> {
        &self.shared.sender
    }

    pub fn counts(&self) -> TxnCounts {
        self.shared.counters.read()
    }
}

/// Implemented by error types that may carry a transaction error, so that [`TxnClient::run`] knows when to retry.
pub trait AsTxnError {
    fn as_txn_error(&self) -> Option<&crate::Error>;
}

impl AsTxnError for crate::Error {
    fn as_txn_error(&self) -> Option<&crate::Error> {
        Some(self)
    }
}
