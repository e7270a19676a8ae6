//! One-phase commits over several ranges that this store has to itself.
//!
//! A commit over several ranges needs locks, a record and a resolution because its parts live and die apart. On a store
//! that has the only replica of each range they need not: latches, lock table and timestamp cache are the store's, so the
//! writes are evaluated under one set of latches as if they were in one range; and the commands, one for each range, go
//! into the log as one batch, which a crash keeps or loses as a whole ([`RaftHandle::propose_together`]).
//!
//! None of the commands may be rejected when it is applied, or the others would be half a transaction:
//!
//! * a lease without end, which all of these have, changes only when the store starts, before it serves, and gets an end
//!   under the latches of the whole range;
//! * the generation changes with a split, which latches its whole range, transaction records included, and so waits for
//!   ours, even where all that we change of a range is the record of a transaction that locked there and wrote elsewhere;
//! * the garbage-collection threshold is compared after the evaluation has read. Versions go only after the threshold
//!   was raised, so what was read then is all there was, and a threshold raised later has nothing to say;
//! * a range whose lease has no end is not closed to writes any further, and what was closed before is evaluated above.
//!
//! Until all commands are applied the latches stay, so nobody sees a part.
//!
//! [`RaftHandle::propose_together`]: basalt_raft::RaftHandle::propose_together

use std::{collections::BTreeSet, sync::Arc};

use basalt_base::{Key, Span, Timestamp, keys};
use basalt_kv_api::{BatchHeader, BatchRequest, BatchResponse, Error, Request, Result};
use basalt_raft::ProposalFuture;
use basalt_storage::{Family, Op, WriteBatch};

use super::{
    Store,
    detach::Detach,
    execute::Turns,
    proposal::Proposed,
    verdict::{Part, verdict},
};
use crate::{
    concurrency::{LatchGuard, Marks},
    counts::Counters,
    evaluate::Effects,
    replica::{
        Command, CommandOutcome, Header, LeaseView, RangeDescriptor, Replica, StatsDelta, apply::data_bytes,
    },
    routing::Origin,
};

/// A range's part of a commit.
struct Share {
    replica: Arc<Replica>,
    descriptor: Arc<RangeDescriptor>,
    lease_sequence: u64,
    marks: Arc<Marks>,
    promised: Timestamp,
    batch: WriteBatch,
}

impl Store {
    /// Whether writes of `keys` could be committed by [`Store::commit_together`] now.
    pub(crate) fn may_commit_together(&self, keys: &mut dyn Iterator<Item = &Key>) -> bool {
        let mut ranges = BTreeSet::new();
        let mut current: Option<Arc<RangeDescriptor>> = None;
        for key in keys {
            if current.as_ref().is_some_and(|descriptor| descriptor.contains(key)) {
                continue;
            }
            let Some(replica) = self.states.ranges.by_key(key).filter(|replica| replica.is_alone_for_good())
            else {
                return false;
            };
            ranges.insert(replica.range_id);
            if ranges.len() > self.config.together_ranges_max {
                return false;
            }
            current = Some(replica.descriptor());
        }
        true
    }

    /// Commits a transaction's writes in one phase over several ranges. [`Error::RangeMismatch`], without effect, when
    /// that is not possible.
    pub(crate) async fn commit_together(self: &Arc<Self>, batch: &BatchRequest) -> Result<BatchResponse> {
        let only_writes = batch.requests.iter().all(|request| {
            matches!(request, Request::Put { .. } | Request::Delete { .. } | Request::EndTxn { .. })
        });
        if !only_writes {
            return Err(Error::RangeMismatch);
        }
        Counters::increment(&self.counters.batches);
        let mut turns = Turns::new(batch.header.clone());
        loop {
            let guard = self.begin_turn(&mut turns, &batch.requests).await?;
            let Turns { header, waits, .. } = &turns;
            // Under the latches no range of ours can split.
            let mut shares = self.shares(header, &batch.requests)?;
            let everything = LeaseView {
                descriptor: everything(),
                sequence: 0,
                marks: Arc::new(highest_marks(&shares)),
                promised: shares.iter().map(|share| share.promised).max().unwrap_or_default(),
                is_alone: true,
                until: Timestamp::MAX,
            };
            let anchor = &shares.first().ok_or(Error::RangeMismatch)?.replica;
            match self.evaluate(anchor, &everything, header, &batch.requests, waits, Origin::Here) {
                Ok(product) => {
                    let Some(command) = product.command else {
                        self.take_effect(&product.effects, &[]);
                        drop(guard);
                        return self.answer(product.responses, product.txn);
                    };
                    divide(command, header, &mut shares)?;
                    match self.propose_together(shares, guard, product.effects).await? {
                        Proposed::Applied => {
                            Counters::increment(&self.counters.commits_together);
                            return self.answer(product.responses, product.txn);
                        }
                        Proposed::Again => {}
                    }
                }
                Err(stop) => {
                    self.after_stop(stop, guard, &mut turns, &batch.requests).await?;
                }
            }
        }
    }

    /// The ranges of the requests, that of the transaction's record included.
    fn shares(&self, header: &BatchHeader, requests: &[Request]) -> Result<Vec<Share>> {
        let anchor = header.txn.as_ref().map(|txn| &txn.anchor).filter(|anchor| !anchor.is_empty());
        let written = requests.iter().filter_map(|request| match request {
            Request::Put { key, .. } | Request::Delete { key, .. } => Some(key),
            _ => None,
        });
        let mut shares: Vec<Share> = Vec::new();
        for key in anchor.into_iter().chain(written) {
            if shares.iter().any(|share| share.descriptor.contains(key)) {
                continue;
            }
            let replica = self.states.ranges.by_key(key).ok_or(Error::RangeMismatch)?;
            let view = self.lease_view(&replica, Timestamp::ZERO)?;
            if !view.descriptor.contains(key)
                || !view.is_alone
                || shares.len() >= self.config.together_ranges_max
            {
                return Err(Error::RangeMismatch);
            }
            shares.push(Share {
                replica,
                descriptor: view.descriptor,
                lease_sequence: view.sequence,
                marks: view.marks,
                promised: view.promised,
                batch: WriteBatch::new(),
            });
        }
        Ok(shares)
    }

    async fn propose_together(
        self: &Arc<Self>,
        shares: Vec<Share>,
        guard: LatchGuard,
        effects: Effects,
    ) -> Result<Proposed> {
        let mut replicas = Vec::with_capacity(shares.len());
        let mut commands = Vec::with_capacity(shares.len());
        for share in shares {
            if share.batch.is_empty() {
                continue;
            }
            Counters::increment(&self.counters.proposals);
            let bytes = i64::try_from(data_bytes(&share.batch)).unwrap_or(i64::MAX);
            let command = Command {
                // No timestamp to be checked again: see above.
                header: Header {
                    lease_sequence: share.lease_sequence,
                    generation: share.descriptor.generation,
                    ..Header::default()
                },
                stats: StatsDelta { bytes, garbage: bytes },
                batch: share.batch,
                ..Command::default()
            };
            commands.push((share.replica.range_id, command.encode()));
            replicas.push(share.replica);
        }
        let futures = self.raft().propose_together(commands);
        let tail = Tail { store: Arc::clone(self), replicas, futures, guard, effects };
        Detach::new(&self.env.spawner, Box::pin(tail.finish())).await
    }
}

/// Gives each range its part of the command.
fn divide(command: Command, header: &BatchHeader, shares: &mut [Share]) -> Result<()> {
    if !command.resolves.is_empty() {
        return Err(Error::RangeMismatch);
    }
    let anchor = header.txn.as_ref().map(|txn| &txn.anchor[..]).unwrap_or_default();
    for op in command.batch.ops {
        let key = match &op {
            Op::Put { family: Family::Data, key, .. } => &key[..],
            // The transaction's record.
            Op::Put { family: Family::Local, .. } | Op::Delete { family: Family::Local, .. } => anchor,
            _ => return Err(Error::Internal("a one-phase commit writes versions only".to_owned())),
        };
        let share = shares.iter_mut().find(|share| share.descriptor.contains(key));
        let share = share.ok_or_else(|| Error::Internal("a write outside the commit's ranges".to_owned()))?;
        let threshold = share.replica.gc_threshold();
        if !command.header.write_ts.is_zero() && command.header.write_ts <= threshold {
            return Err(Error::BelowGcThreshold { read_ts: command.header.write_ts, threshold });
        }
        share.batch.ops.push(op);
    }
    Ok(())
}

/// The bounds within which such a commit is evaluated.
fn everything() -> Arc<RangeDescriptor> {
    Arc::new(RangeDescriptor {
        range_id: basalt_base::RangeId(0),
        generation: 0,
        span: Span::new(keys::KEY_MIN, keys::KEY_MAX),
        replicas: Vec::new(),
        next_replica_id: basalt_base::ReplicaId(0),
    })
}

/// What must happen once the log has decided, whoever still waits for it.
struct Tail {
    store: Arc<Store>,
    replicas: Vec<Arc<Replica>>,
    futures: Vec<ProposalFuture>,
    guard: LatchGuard,
    effects: Effects,
}

impl Tail {
    async fn finish(mut self) -> Result<Proposed> {
        let mut parts: Vec<Part> = Vec::with_capacity(self.futures.len());
        for future in &mut self.futures {
            parts.push(future.await.and_then(|outcome| match outcome.downcast::<CommandOutcome>() {
                Ok(outcome) => Ok(outcome.rejected),
                Err(_) => Err(basalt_raft::Error::Ambiguous("the command's outcome was lost".to_owned())),
            }));
        }
        let late: Vec<ProposalFuture> = self.futures.iter_mut().filter_map(ProposalFuture::late).collect();
        let verdict = verdict(&parts);
        if !late.is_empty() {
            // Committed but not applied everywhere: the latches stay until it is.
            self.futures = late;
            let spawner = Arc::clone(&self.store.env.spawner);
            spawner.spawn("kv late commit", self.finish_late());
        } else if let Ok(Proposed::Applied) = verdict {
            self.store.take_effect(&self.effects, &[]);
            drop(self.guard);
            for replica in &self.replicas {
                self.store.note_growth(replica);
            }
        }
        verdict
    }

    fn finish_late(self) -> basalt_env::BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.finish().await {
                tracing::debug!(%error, "a late commit had no effect");
            }
        })
    }
}

/// The record is in the first range, and what is known of aborted transactions is asked for there.
fn highest_marks(shares: &[Share]) -> Marks {
    let highest = |of: fn(&Marks) -> Timestamp| shares.iter().map(|share| of(&share.marks)).max();
    Marks {
        lease_start: highest(|marks| marks.lease_start).unwrap_or_default(),
        reads: highest(|marks| marks.reads).unwrap_or_default(),
        pushes: highest(|marks| marks.pushes).unwrap_or_default(),
        inherited: shares.first().map(|share| Arc::clone(&share.marks.inherited)).unwrap_or_default(),
    }
}
