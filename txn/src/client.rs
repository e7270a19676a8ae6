//! The node's coordinator.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Weak, atomic::AtomicUsize},
    time::Duration,
};

use basalt_base::{Timestamp, TxnId};
use basalt_env::Env;
use basalt_kv_api::Sender;
use parking_lot::Mutex;

use crate::{
    Result, Txn, TxnConfig, TxnCounts, TxnOptions,
    counts::{Counters, bump},
    transaction::Inner,
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
    /// Buffered by all transactions.
    pub(crate) buffered_bytes: AtomicUsize,
    /// Permits of background clean-ups.
    pub(crate) resolutions: Arc<tokio::sync::Semaphore>,
    pub(crate) live: Mutex<Live>,
}

/// Transactions that hold locks.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) txns: BTreeMap<TxnId, Weak<Inner>>,
    /// The heartbeat loop runs.
    pub(crate) beating: bool,
}

/// Attempts of [`TxnClient::run`].
const RUN_ATTEMPTS_MAX: u32 = 20;

impl TxnClient {
    pub fn new(env: Env, sender: Arc<dyn Sender>, options: TxnOptions) -> Self {
        let resolutions = Arc::new(tokio::sync::Semaphore::new(options.resolutions_max.max(1)));
        let shared = Shared {
            env,
            sender,
            options,
            counters: Counters::default(),
            buffered_bytes: AtomicUsize::new(0),
            resolutions,
            live: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
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
            let restart = error.as_txn_error().and_then(crate::Error::restart);
            match restart {
                Some(how) if attempt < RUN_ATTEMPTS_MAX => txn.restart(how).await?,
                _ => {
                    txn.rollback().await;
                    return Err(error);
                }
            }
            attempt += 1;
        }
    }

    /// Waits until nothing is left to do for transactions that have ended, at most for so long: whoever meets what a node that
    /// stops has left behind has to find out for himself that nobody is there any more.
    pub async fn settle(&self, patience: Duration) {
        let all = u32::try_from(self.shared.options.resolutions_max.max(1)).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            // Behind everybody who waits for one.
            _ = self.shared.resolutions.acquire_many(all) => {}
            () = self.shared.env.spawner.sleep(patience) => {}
        }
    }

    /// The node's clocks, random numbers and tasks.
    pub fn env(&self) -> &Env {
        &self.shared.env
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
