//! Opening a store.

use std::sync::Arc;

use basalt_base::Timestamp;
use basalt_env::Env;

use crate::{Error, Observer, Options, RaftHandle, Result, StateMachine, StoreIdent, Transport};

/// A store whose log was replayed but whose loop does not run yet.
///
/// Opening has two steps because the state machine needs the clock, and the clock needs the durable bound.
pub struct RaftStore {
    #[allow(dead_code)]
    env: Env,
    #[allow(dead_code)]
    options: Options,
}

impl RaftStore {
    /// Takes the log's lock and replays the log in the folder `log/` of the store.
    pub async fn open(env: Env, options: Options) -> Result<Self> {
        Ok(Self { env, options })
    }

    /// The identity written at bootstrap; `None` for a new store.
    pub fn ident(&self) -> Option<StoreIdent> {
        None
    }

    /// Gives a new store its identity, durably. Fails on a store that has one.
    pub async fn bootstrap(&mut self, _ident: StoreIdent) -> Result<()> {
        Err(Error::Stopped)
    }

    /// No earlier reading of the node's clock exceeds this.
    pub fn clock_bound(&self) -> Timestamp {
        Timestamp::ZERO
    }

    /// How many times this store was opened, this time included.
    pub fn incarnation(&self) -> u64 {
        0
    }

    /// Builds the groups, replays what the state machine has lost, and starts the loop.
    /// Lone voters lead from the first turn on.
    pub async fn start(
        self,
        _state_machine: Arc<dyn StateMachine>,
        _transport: Arc<dyn Transport>,
        _observer: Arc<dyn Observer>,
    ) -> Result<RaftHandle> {
        Err(Error::Stopped)
    }
}
