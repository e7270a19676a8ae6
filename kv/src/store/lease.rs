//! The right to serve a range: who has it, for how long, and how it is kept.
//!
//! A range whose only replica is here has a lease without end, taken at the start ([`super::open`]). Every other lease
//! has an end. It is taken by the leader of the group, in an entry of its own term: so when it is applied here, everything
//! that an earlier leaseholder has had committed is applied, too. It is extended while it is used, and left to lapse when
//! it is not, so that idle ranges cost nothing.
//!
//! A request is served only if the lease covers the highest timestamp that the request depends on with the largest
//! difference of clocks to spare (*stasis*). The next lease begins at the end of this one, so it begins above all that was
//! read here; the low-water mark of the range says so to writers. A lease that is given away takes along what was read
//! ([`crate::concurrency::ReadSummary`]), so that only writers of that go above it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{Key, NodeId, RangeId, Timestamp};
use basalt_env::{Bug, Env, planted};
use basalt_kv_api::{BatchHeader, BatchResponse, Error, Request, Response, Result};
use basalt_raft::Role;
use parking_lot::Mutex;

use super::{Store, open::alive, proposal::raft_error};
use crate::{
    concurrency::{Access, LatchGuard, LatchSpan, ReadSummary, Signal},
    counts::Counters,
    replica::{Command, CommandOutcome, Header, Lease, LeaseTrigger, LeaseView, Replica, Trigger},
};

/// How often leases are looked at.
const INTERVAL: Duration = Duration::from_millis(200);
const INTERVAL_ALONE: Duration = Duration::from_secs(2);

/// Tombstones that go with a lease, in an entry of the log.
const TOMBSTONES_MAX: usize = 512;

/// Reads of points, of spans, and pushes that go with it.
const SUMMARY_MAX: usize = 256;

/// Looks at a lease before a request is sent elsewhere.
const ATTEMPTS: u32 = 3;

/// Proposals of leases that are under way, one a range.
#[derive(Default)]
pub struct Leases {
    under_way: Mutex<BTreeMap<RangeId, Arc<Signal>>>,
}

impl Store {
    /// The lease under which a request may be evaluated now. `at`: the highest timestamp that it depends on.
    pub(super) fn lease_view(&self, replica: &Replica, at: Timestamp) -> Result<LeaseView> {
        let stasis_ms = self.stasis_ms();
        let lease = replica.lease();
        let at = if lease.expires() { at.max(self.now()?) } else { at };
        if lease.expires() && at > self.clock.bound() {
            // The next process of this node begins above the bound, and must begin above all that was served.
            return Err(Error::NotLeaseholder);
        }
        let view = replica.lease_view(self.ident.node_id, self.incarnation, at, stasis_ms);
        view.ok_or(Error::NotLeaseholder)
    }

    /// Whether this process holds the lease now.
    pub(super) fn serves(&self, replica: &Replica) -> bool {
        let lease = replica.lease();
        lease.is_of(self.ident.node_id, self.incarnation)
            && (!lease.expires() || self.now().is_ok_and(|now| lease.covers(now, self.stasis_ms())))
    }

    /// The keys that this process would serve at `at`, a reading of its clock, which is not asked.
    pub fn served_at(&self, at: Timestamp) -> Vec<basalt_base::Span> {
        let stasis_ms = self.stasis_ms();
        let serves = |replica: &Arc<Replica>| {
            replica.would_serve(self.ident.node_id, self.incarnation, at.max(self.clock.latest()), stasis_ms)
        };
        let replicas = self.states.ranges.all().into_iter().filter(serves);
        replicas.map(|replica| replica.descriptor().span.clone()).collect()
    }

    fn stasis_ms(&self) -> u64 {
        if planted(Bug::IgnoreStasis) {
            return 0;
        }
        u64::try_from(self.config.clock_offset_max.as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes or extends the lease if that is up to this replica; [`Error::NotLeaseholder`] if it is not.
    pub(crate) async fn ensure_lease(self: &Arc<Self>, replica: &Arc<Replica>) -> Result<()> {
        // The second look is at what the first proposal, ours or somebody else's, has given.
        for attempt in 0..ATTEMPTS {
            let lease = replica.lease();
            if !lease.expires()
                && lease.is_of(self.ident.node_id, self.incarnation)
                && !replica.is_capped()
                && !replica.is_revoked()
            {
                return Ok(());
            }
            let now = self.now()?;
            let view = replica.lease_view(self.ident.node_id, self.incarnation, now, self.stasis_ms());
            if view.is_some() {
                return Ok(());
            }
            let is_ours = lease.is_of(self.ident.node_id, self.incarnation);
            // Nobody serves under a lease of this node's earlier process, and what that has served lies below the clock.
            let is_others = lease.node_id != self.ident.node_id && lease.sequence > 0;
            let is_early = now < lease.expiration && !planted(Bug::TakeLeaseEarly);
            if is_others && lease.expires() && is_early || !self.leads(replica) || attempt + 1 == ATTEMPTS {
                break;
            }
            let is_new = !is_ours || replica.is_revoked();
            if is_new && self.is_shedding() && !self.successors(replica).is_empty() {
                break;
            }
            self.propose_lease(replica, |old| self.next_lease(replica, old, now, is_new)).await?;
        }
        Err(Error::NotLeaseholder)
    }

    pub(super) fn leads(&self, replica: &Replica) -> bool {
        let status = self.raft().status(replica.range_id);
        status.is_some_and(|status| status.role == Role::Leader && status.replica_id == replica.replica_id)
    }

    fn lease_end(&self, now: Timestamp) -> Timestamp {
        now.add_ms(u64::try_from(self.config.lease_duration.as_millis()).unwrap_or(u64::MAX >> 22))
    }

    /// A lease of this process that follows `old`.
    pub(super) fn next_lease(
        &self,
        replica: &Replica,
        old: &Lease,
        now: Timestamp,
        is_new: bool,
    ) -> LeaseTrigger {
        let expiration = if replica.is_alone() { Timestamp::ZERO } else { self.lease_end(now) };
        let lease = if is_new {
            // What this process has served it knows. A start in the future would put writes there, where a reader whose
            // clock is right does not look for them.
            let served =
                if old.node_id == self.ident.node_id { replica.highest_served() } else { old.expiration };
            let served = if planted(Bug::TakeLeaseEarly) { replica.highest_served() } else { served };
            Lease {
                sequence: old.sequence + 1,
                node_id: self.ident.node_id,
                incarnation: self.incarnation,
                start: now.max(served.next()).max(old.start.next()),
                expiration,
            }
        } else {
            Lease { expiration: self.lease_end(now), ..*old }
        };
        LeaseTrigger { lease, replaces: old.expiration, ..LeaseTrigger::default() }
    }

    /// Proposes what `next` makes of the lease in force, unless somebody does already: then waits for that.
    async fn propose_lease(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        next: impl FnOnce(&Lease) -> LeaseTrigger,
    ) -> Result<()> {
        let (done, is_first) = {
            let mut under_way = self.leases.under_way.lock();
            match under_way.get(&replica.range_id) {
                Some(done) => (Arc::clone(done), false),
                None => {
                    let done = Arc::new(Signal::default());
                    under_way.insert(replica.range_id, Arc::clone(&done));
                    (done, true)
                }
            }
        };
        if is_first {
            Counters::increment(&self.counters.lease_proposals);
            let old = replica.lease();
            let trigger = next(&old);
            if old.sequence > 0 && trigger.lease.node_id != old.node_id {
                Counters::increment(&self.counters.lease_takeovers);
            }
            if !old.expires() && trigger.lease.expires() {
                replica.cap_at(trigger.lease.expiration);
            }
            let mut command = lease_command(replica, trigger);
            command.header.closed_ts = self.close(replica);
            let proposal = self.raft().propose(replica.range_id, command.encode());
            let (store, replica, done) = (Arc::clone(self), Arc::clone(replica), Arc::clone(&done));
            // Goes on when nobody waits any more: its outcome is what the next proposal depends on.
            let task = async move {
                match proposal.await {
                    Ok(_) => {}
                    // It may still come into force.
                    Err(error @ basalt_raft::Error::Ambiguous(_)) => {
                        tracing::debug!(range = %replica.range_id, %error, "perhaps no lease");
                    }
                    Err(error) => {
                        store.note_full(&error);
                        tracing::debug!(range = %replica.range_id, %error, "no lease");
                        replica.cap_at(Timestamp::ZERO);
                    }
                }
                store.leases.under_way.lock().remove(&replica.range_id);
                done.fire();
            };
            self.env.spawner.spawn("kv lease", Box::pin(task));
        }
        let in_time = self.in_time(replica, self.config.lease_duration, done.wait()).await;
        in_time.ok_or(Error::NotLeaseholder)
    }

    /// Gives a lease without end one, which must be in force before another replica can be.
    pub(super) async fn limit_lease(self: &Arc<Self>, replica: &Arc<Replica>) -> Result<()> {
        if replica.lease().expires() {
            return Ok(());
        }
        // Commits over several ranges rely on the lease that it had before.
        let _guard = self.latch_all(replica, &replica.descriptor().span).await?;
        let now = self.now()?;
        self.propose_lease(replica, |old| LeaseTrigger {
            lease: Lease { expiration: self.lease_end(now), ..*old },
            replaces: old.expiration,
            ..LeaseTrigger::default()
        })
        .await?;
        if replica.lease().expires() { Ok(()) } else { Err(Error::NotLeaseholder) }
    }

    pub(super) async fn admin_transfer_lease(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        key: &Key,
        to: NodeId,
    ) -> Result<BatchResponse> {
        if !replica.descriptor().contains(key) {
            return Err(Error::RangeMismatch);
        }
        if to != self.ident.node_id {
            let incarnation = self.peers.incarnation_of(to);
            let down = || Error::Unavailable(format!("node {to} is down"));
            self.transfer_lease(replica, to, incarnation.ok_or_else(down)?).await?;
        }
        let now = self.now().unwrap_or_default();
        Ok(BatchResponse { responses: vec![Response::AdminTransferLease], txn: None, now })
    }

    /// Gives the lease to the given incarnation of a node that has a replica, and leads it to lead. Nothing is served here
    /// from the moment when the last request has ended, until it is known that this has failed.
    pub(super) async fn transfer_lease(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        node_id: NodeId,
        incarnation: u64,
    ) -> Result<()> {
        let directory = self.directory.nodes();
        let is_draining = |info: &basalt_kv_api::NodeInfo| info.node_id == node_id && info.draining;
        if directory.iter().any(is_draining) {
            return Err(Error::Unavailable(format!("node {node_id} is draining")));
        }
        let descriptor = replica.descriptor();
        let target = descriptor
            .replica_on(node_id)
            .filter(|target| replica.membership().voters.contains(target))
            .ok_or_else(|| Error::Invalid(format!("node {node_id} has no voting replica of the range")))?;
        let guard = self.latch_all(replica, &descriptor.span).await?;
        let view = self.lease_view(replica, Timestamp::ZERO)?;
        if view.is_alone {
            return Err(Error::Invalid("a range with one replica keeps its lease".to_owned()));
        }
        if !planted(Bug::UseGivenLease) {
            replica.revoke(view.sequence);
        }
        let start = self.now()?.max(replica.highest_served().next());
        let old = replica.lease();
        let lease = Lease {
            sequence: old.sequence + 1,
            node_id,
            incarnation,
            start,
            expiration: self.lease_end(start),
        };
        // No transaction is aborted any more, here, until the lease is another.
        let tombstones = self.markers.tombstones(&replica.marks().inherited, TOMBSTONES_MAX);
        let trigger = LeaseTrigger {
            lease,
            replaces: old.expiration,
            is_transfer: true,
            tombstones: Some(tombstones),
            reads: Some(self.summarize_reads(replica)),
        };
        let proposal = self.raft().propose(replica.range_id, lease_command(replica, trigger).encode());
        // However it ends, the lease of before is not used again: if it is still in force, a new one follows it.
        let patience = self.env.spawner.sleep(self.config.proposal_patience);
        let outcome = tokio::select! {
            biased;
            outcome = proposal => outcome.map_err(raft_error)?,
            () = patience => return Err(Error::Unavailable("the range does not decide".to_owned())),
        };
        let rejected = outcome.downcast::<CommandOutcome>().is_ok_and(|outcome| outcome.rejected.is_some());
        drop(guard);
        if rejected {
            return Err(Error::NotLeaseholder);
        }
        Counters::increment(&self.counters.lease_transfers);
        self.raft().transfer_leader(replica.range_id, target).map_err(raft_error)
    }

    /// What was read and pushed here, under this lease or before. Nothing is any more: the range is latched.
    fn summarize_reads(&self, replica: &Replica) -> ReadSummary {
        let marks = replica.marks();
        let mut summary =
            ReadSummary { low_water: marks.reads, pushes_low_water: marks.pushes, ..ReadSummary::default() };
        self.reads.summarize(&replica.descriptor().span, SUMMARY_MAX, &mut summary);
        self.markers.summarize(SUMMARY_MAX, &mut summary);
        summary
    }

    /// Excludes every request of the range. Those that the log holds up are not waited for without end, for they hold up
    /// whoever comes behind.
    async fn latch_all(&self, replica: &Replica, span: &basalt_base::Span) -> Result<LatchGuard> {
        let mut guard = self.latches.acquire(everything_in(span));
        self.patiently(replica, guard.wait(), "requests of the range do not end").await?;
        Ok(guard)
    }

    /// Extends leases that are used.
    pub(super) async fn keep_leases(store: Weak<Self>, env: Env) {
        let mut interval = INTERVAL;
        loop {
            env.spawner.sleep(interval).await;
            let Some(store) = alive(&store) else { return };
            // The leases of a node without peers have no end.
            interval = if store.other_nodes().is_empty() { INTERVAL_ALONE } else { INTERVAL };
            store.look_at_room();
            store.raft().set_reluctant(store.is_shedding());
            if store.is_shedding() {
                let task = Arc::clone(&store);
                let task = async move { task.shed_leases().await };
                store.env.spawner.spawn("kv shedding", Box::pin(task));
            }
            let Ok(now) = store.now() else { continue };
            for replica in store.states.ranges.all() {
                store.keep_lease(&replica, now);
            }
        }
    }

    fn keep_lease(self: &Arc<Self>, replica: &Arc<Replica>, now: Timestamp) {
        let lease = replica.lease();
        let is_ours = lease.is_of(self.ident.node_id, self.incarnation);
        if !is_ours || !lease.expires() || replica.is_revoked() {
            return;
        }
        let half = self.config.lease_duration / 2;
        let half_ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX >> 22);
        if now.add_ms(half_ms) < lease.expiration || replica.served() == 0 || !self.leads(replica) {
            return;
        }
        replica.take_served();
        let (store, replica) = (Arc::clone(self), Arc::clone(replica));
        let task = async move {
            let extension = |old: &Lease| store.next_lease(&replica, old, now, false);
            if let Err(error) = store.propose_lease(&replica, extension).await {
                tracing::debug!(range = %replica.range_id, %error, "a lease was not extended");
            }
        };
        self.env.spawner.spawn("kv lease extension", Box::pin(task));
    }
}

pub(super) fn lease_command(replica: &Replica, trigger: LeaseTrigger) -> Command {
    let state = replica.state();
    Command {
        header: Header {
            lease_sequence: state.lease.sequence,
            generation: state.descriptor.generation,
            ..Header::default()
        },
        trigger: Trigger::Lease(trigger),
        ..Command::default()
    }
}

/// Excludes every request of the range.
pub(super) fn everything_in(span: &basalt_base::Span) -> Vec<LatchSpan> {
    let spans = [span.clone(), basalt_base::keys::range_local_span(span)];
    spans.into_iter().map(|span| LatchSpan::span(span, Access::Write, Timestamp::ZERO)).collect()
}

/// The highest timestamp that the outcome of the requests depends on.
pub(super) fn highest_timestamp(header: &BatchHeader, requests: &[Request]) -> Timestamp {
    let start = header.txn.as_ref().map_or(header.timestamp, |txn| txn.read_ts.max(txn.write_ts));
    requests.iter().fold(start, |highest, request| match request {
        Request::Refresh { to, .. } => highest.max(*to),
        Request::QueryWrite { at, .. } => highest.max(*at),
        // Its fate may be kept in memory only: the next leaseholder knows of transactions that began before its lease that
        // it does not know all of them, and this one must not decide about others.
        Request::PushTxn { pushee, push_to, .. } => highest.max(*push_to).max(pushee.min_ts),
        _ => highest,
    })
}
