//! The handle of a transaction.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use basalt_base::{Key, Timestamp, TxnId, limits};
use basalt_env::Env;
use basalt_kv_api::{IgnoredSeqs, LockWait, Observed, SeqNum, TxnMeta};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::{
    Error, Result, Savepoint, TxnConfig,
    cleanup::{Cleanup, Fate},
    client::Shared,
    counts::bump,
    error::Restart,
    state::{Phase, State},
};

/// A transaction. Clones are the same transaction: several tasks may read at the same time.
/// Dropping the last clone without a commit rolls back.
pub struct Txn {
    pub(crate) inner: Arc<Inner>,
}

impl Clone for Txn {
    fn clone(&self) -> Self {
        self.inner.handles.fetch_add(1, Ordering::Relaxed);
        Self { inner: self.inner.clone() }
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        // A flush that nobody can wait for any more must not keep the transaction, and its locks, alive.
        if self.inner.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.state().stop_flush();
        }
    }
}

pub(crate) struct Inner {
    /// For tasks that must not keep the transaction alive.
    pub(crate) me: Weak<Inner>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: TxnConfig,
    state: Mutex<State>,
    /// [`Txn`]s. Tasks that hold an `Arc` of their own do not count.
    handles: AtomicUsize,
    /// Told when a flush begins in the background.
    pub(crate) flush_began: Notify,
    /// Held by flush, commit, rollback and restart: one of them at a time.
    pub(crate) serial: Arc<tokio::sync::Mutex<()>>,
    /// Held by a refresh. Taken after `serial`, never before it.
    pub(crate) refreshing: tokio::sync::Mutex<()>,
}

impl Txn {
    pub(crate) fn begin(shared: Arc<Shared>, mut config: TxnConfig) -> Result<Self> {
        let now = shared.sender.now()?;
        let read_ts = config.as_of.unwrap_or(now);
        config.read_only |= config.as_of.is_some();
        let offset_ms = u64::try_from(shared.sender.uncertainty().as_millis()).unwrap_or(u64::MAX);
        let meta = TxnMeta {
            id: new_id(&shared.env),
            anchor: Key::new(),
            epoch: 0,
            read_ts,
            write_ts: read_ts,
            min_ts: read_ts,
            // A read in the past asks for exactly that past: nothing about it is uncertain.
            global_limit: if config.as_of.is_some() { read_ts } else { now.add_ms(offset_ms) },
            priority: config.priority,
            read_seq: 0,
            ignored: IgnoredSeqs::default(),
            observed: Observed::default(),
        };
        let began = shared.env.clock.monotonic();
        let state = State::new(meta, config.deadline, began, shared.options.footprint_keys_max);
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            shared,
            config,
            state: Mutex::new(state),
            handles: AtomicUsize::new(1),
            flush_began: Notify::new(),
            serial: Arc::default(),
            refreshing: tokio::sync::Mutex::default(),
        });
        Ok(Self { inner })
    }

    pub fn id(&self) -> TxnId {
        self.inner.state().meta.id
    }

    /// The snapshot that reads see now. A refresh may move it up.
    pub fn read_timestamp(&self) -> Timestamp {
        self.inner.state().meta.read_ts
    }

    pub fn is_read_only(&self) -> bool {
        self.inner.config.read_only
    }

    /// Whether anything has been written (buffered or flushed) and not rolled back.
    pub fn has_writes(&self) -> bool {
        let state = self.inner.state();
        !state.buffer.is_empty() || state.has_replicated()
    }

    /// Begins a statement: its reads see the transaction's writes so far and none of its own (unless `latest`).
    /// Returns what to put into [`crate::ReadOptions::seq`] to keep reading at this point (cursors).
    pub fn statement(&self) -> SeqNum {
        let mut state = self.inner.state();
        state.meta.read_seq = state.seq;
        state.boundary = state.seq;
        state.seq
    }

    /// Buffers a write. Call [`Txn::flush_if_needed`] now and then when writing much.
    pub fn put(&self, key: Key, value: Bytes) -> Result<()> {
        if value.len() > limits::VALUE_BYTES_MAX {
            return Err(Error::LimitExceeded("value size"));
        }
        self.write(key, Some(value))
    }

    /// Buffers a write of a key that must not have a value: false if the transaction's own buffered writes give it one.
    /// A stored value fails the flush or the commit that sends the write, with [`basalt_kv_api::Error::KeyExists`]; so
    /// inserting many rows reads none.
    pub fn insert(&self, key: Key, value: Bytes) -> Result<bool> {
        if value.len() > limits::VALUE_BYTES_MAX {
            return Err(Error::LimitExceeded("value size"));
        }
        let mut state = self.writable(&key)?;
        let seq = state.next_seq()?;
        let boundary = state.boundary;
        let inserted = state.buffer.insert(key, seq, value, boundary);
        self.inner.account(&mut state);
        Ok(inserted)
    }

    /// Buffers a deletion.
    pub fn delete(&self, key: Key) -> Result<()> {
        self.write(key, None)
    }

    fn write(&self, key: Key, value: Option<Bytes>) -> Result<()> {
        let mut state = self.writable(&key)?;
        let seq = state.next_seq()?;
        let boundary = state.boundary;
        state.buffer.write(key, seq, value, boundary);
        self.inner.account(&mut state);
        Ok(())
    }

    /// The state, if `key` may be written now.
    fn writable(&self, key: &Key) -> Result<MutexGuard<'_, State>> {
        if self.inner.config.read_only {
            return Err(Error::ReadOnly);
        }
        if key.is_empty() || key.len() > limits::KEY_BYTES_MAX {
            return Err(Error::LimitExceeded("key size"));
        }
        let state = self.inner.state();
        state.check_active()?;
        if state.buffer.bytes() > 2 * self.inner.shared.options.buffer_bytes_max + limits::VALUE_BYTES_MAX {
            return Err(Error::LimitExceeded("buffered bytes"));
        }
        Ok(state)
    }

    pub fn savepoint(&self) -> Savepoint {
        let mut state = self.inner.state();
        state.boundary = state.seq;
        Savepoint { seq: state.seq, epoch: state.meta.epoch, incarnation: state.incarnation }
    }

    /// Undoes all writes since the savepoint, which stays valid. Begins a statement.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        let mut state = self.inner.state();
        state.check_active()?;
        if (savepoint.epoch, savepoint.incarnation) != (state.meta.epoch, state.incarnation) {
            return Err(Error::SavepointGone);
        }
        // Whatever it has not sent yet, and may wait for, need not be sent any more; the rest is sent again.
        state.stop_flush();
        state.flush_failed = None;
        if state.seq > savepoint.seq {
            state.buffer.truncate(savepoint.seq);
            if state.has_replicated() {
                let newest = state.seq;
                state.ignore_seqs(savepoint.seq, newest);
            }
            self.inner.account(&mut state);
        }
        state.meta.read_seq = state.seq;
        state.boundary = state.seq;
        Ok(())
    }

    /// Lowers the latest permitted commit timestamp.
    pub fn set_deadline(&self, deadline: Timestamp) {
        let mut state = self.inner.state();
        state.deadline = Some(state.deadline.map_or(deadline, |old| old.min(deadline)));
    }

    /// Waits of requests that block on locks last no longer than this, from now on; flushes and commits too.
    pub fn set_lock_timeout(&self, timeout: Option<Duration>) {
        self.inner.state().lock_wait = timeout.map_or(LockWait::Block, LockWait::Timeout);
    }

    /// Gives everything up. Never fails: what can't be cleaned up now, others clean up when they meet it.
    pub async fn rollback(&self) {
        let _serial = self.inner.serial_without_flush().await;
        let cleanup = {
            let mut state = self.inner.state();
            if matches!(state.phase, Phase::Committed | Phase::RolledBack) {
                return;
            }
            bump(&self.inner.shared.counters.rollbacks);
            self.inner.give_up(&mut state)
        };
        if let Some(cleanup) = cleanup {
            cleanup.start(&self.inner.shared).await;
        }
    }

    /// Prepares another attempt after an error with [`Error::restart`]: buffered writes, savepoints and the read
    /// footprint are forgotten, timestamps are new; locks stay unless the transaction was aborted.
    pub async fn restart(&self, how: Restart) -> Result<()> {
        let _serial = self.inner.serial_without_flush().await;
        let shared = &self.inner.shared;
        // Who reads the past goes on reading the same past.
        let (now, uncertainty) = match self.inner.config.as_of {
            Some(moment) => (moment, Duration::ZERO),
            None => (shared.sender.now()?, shared.sender.uncertainty()),
        };
        let cleanup = {
            let mut state = self.inner.state();
            let fresh = match state.phase {
                Phase::Active => how == Restart::NewTransaction,
                Phase::Aborted => true,
                _ => {
                    state.check_active()?;
                    return Ok(());
                }
            };
            let cleanup = if fresh { self.inner.give_up(&mut state) } else { None };
            let id = fresh.then(|| new_id(&shared.env));
            state.begin_again(id, now, uncertainty, shared.env.clock.monotonic());
            self.inner.account(&mut state);
            cleanup
        };
        bump(&shared.counters.restarts);
        if let Some(cleanup) = cleanup {
            cleanup.start(shared).await;
        }
        Ok(())
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for `serial`, but for no flush in the background: it may wait for a lock as long as it takes.
    async fn serial_without_flush(&self) -> OwnedMutexGuard<()> {
        let serial = self.serial.clone().lock_owned();
        tokio::pin!(serial);
        loop {
            let began = self.flush_began.notified();
            self.state().stop_flush();
            // One that was asked for before may come first in the queue.
            tokio::select! {
                biased;
                serial = &mut serial => return serial,
                () = began => {}
            }
        }
    }

    /// Brings the node's total of buffered bytes up to date.
    pub(crate) fn account(&self, state: &mut State) {
        account(&self.shared, state);
    }

    /// Ends the transaction here and says what others must still be told.
    pub(crate) fn give_up(&self, state: &mut State) -> Option<Cleanup> {
        give_up(&self.shared, state)
    }
}

fn account(shared: &Shared, state: &mut State) {
    let bytes = state.buffer.bytes();
    if bytes >= state.accounted {
        shared.buffered_bytes.fetch_add(bytes - state.accounted, Ordering::Relaxed);
    } else {
        shared.buffered_bytes.fetch_sub(state.accounted - bytes, Ordering::Relaxed);
    }
    state.accounted = bytes;
}

fn give_up(shared: &Shared, state: &mut State) -> Option<Cleanup> {
    let fate = match state.phase {
        // Replicated locks of an unknown outcome belong to whoever finds out; our own unreplicated ones may go.
        Phase::Ambiguous | Phase::Committing => Fate::Unknown,
        _ => Fate::Aborted,
    };
    if std::mem::replace(&mut state.registered, false) {
        shared.live.lock().txns.remove(&state.meta.id);
    }
    state.buffer.clear();
    account(shared, state);
    let cleanup = state.leaves_traces().then(|| Cleanup::new(state, fate));
    state.reads.clear();
    state.phase = Phase::RolledBack;
    cleanup
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if matches!(state.phase, Phase::Committed | Phase::RolledBack) {
            return;
        }
        if let Some(cleanup) = give_up(&self.shared, state) {
            cleanup.spawn(&self.shared);
        }
    }
}

fn new_id(env: &Env) -> TxnId {
    TxnId((u128::from(env.rng.next_u64()) << 64) | u128::from(env.rng.next_u64()))
}
