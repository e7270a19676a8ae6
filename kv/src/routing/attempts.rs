//! One batch for one range, sent until somebody serves it.
//!
//! A node that refuses says who it thinks serves the range, so most detours are one step long. Where nobody serves (an
//! election, a lease that must run out first), the replicas are asked in turn, with growing pauses, for as long as the
//! store's patience lasts. A commit of which it is not known whether it was executed is not sent again.

use std::{sync::Arc, time::Duration};

use basalt_base::{NodeId, RangeId};
use basalt_env::{Bug, planted};
use basalt_kv_api::{BatchRequest, BatchResponse, Error, Result, wire};

use super::{
    Located, program,
    remote::{PeerReply, PeerRequest},
};
use crate::{
    counts::Counters,
    peer::CallError,
    replica::RangeDescriptor,
    store::{Store, decides, open::FIRST_RANGE},
};

/// Attempts without a pause between them.
const AT_ONCE: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The patience of a request for a range most of whose nodes are known to be out of reach.
const PATIENCE_CUT_OFF: Duration = Duration::from_millis(250);

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A function call: it happens once.
    Here,
    /// A message, which may have been sent twice.
    Peer,
}

/// The attempts at one batch.
pub(crate) struct Attempts {
    count: u32,
    since: Duration,
    last_asked: Option<NodeId>,
    /// Since when most nodes of the range are known to be out of reach.
    cut_off_since: Option<Duration>,
    /// What is tried: the range that is asked; none, while the first one is asked for it.
    range: Option<Arc<RangeDescriptor>>,
    /// What may have been executed is not sent again, though the batch decides nothing itself.
    pub once: bool,
}

/// What one attempt gave.
pub(crate) enum Attempt {
    Answered(Result<BatchResponse>),
    /// Nothing was done: look again for the range.
    Again,
}

impl Attempts {
    /// From now on.
    pub fn begin(store: &Store) -> Self {
        let since = store.env().clock.monotonic();
        Self { count: 0, since, last_asked: None, cut_off_since: None, range: None, once: false }
    }

    fn range_id(&self) -> RangeId {
        self.range.as_ref().map_or(FIRST_RANGE, |range| range.range_id)
    }

    /// Waits a little before the next attempt; fails when it has taken too long.
    pub async fn pause(&mut self, store: &Store, why: &str) -> Result<()> {
        let now = store.env().clock.monotonic();
        let patience = store.breakers.patience(self.range_id(), store.config().routing_patience);
        if now.saturating_sub(self.since) > patience {
            store.breakers.trip(self.range_id());
            return Err(Error::Unavailable(why.to_owned()));
        }
        if store.is_cut_off(self.range.as_deref()) {
            // Since it was noticed: this node may have stood still itself, and hear the others in a moment.
            if now.saturating_sub(*self.cut_off_since.get_or_insert(now)) > PATIENCE_CUT_OFF {
                return Err(Error::Unavailable(why.to_owned()));
            }
        } else {
            self.cut_off_since = None;
        }
        self.count += 1;
        if self.count > AT_ONCE {
            let doublings = (self.count - AT_ONCE).min(8);
            let pause = (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX);
            store.env().spawner.sleep(pause).await;
        }
        Ok(())
    }

    /// Whom to ask now: who serves the range as far as is known, or else each replica in turn.
    fn target(&mut self, located: &Located, me: NodeId) -> Option<NodeId> {
        let named = located.holder.filter(|holder| self.last_asked != Some(*holder));
        let replicas = &located.descriptor.replicas;
        let in_turn = || {
            let here = replicas.iter().position(|place| place.node_id == me).unwrap_or(0);
            let index = (here + self.count as usize) % replicas.len().max(1);
            replicas.get(index).map(|place| place.node_id)
        };
        let target = named.or_else(in_turn);
        self.last_asked = target;
        target
    }
}

impl Store {
    /// Sends the batch, which lies in the range, to one of its replicas.
    pub(crate) async fn attempt(
        self: &Arc<Self>,
        located: &Located,
        batch: &BatchRequest,
        attempts: &mut Attempts,
    ) -> Attempt {
        let me = self.ident().node_id;
        attempts.range = Some(Arc::clone(&located.descriptor));
        let Some(target) = attempts.target(located, me) else {
            self.cache.evict(&located.descriptor.span.start);
            return Attempt::Again;
        };
        if target == me {
            let result = self.attempt_here(located, batch).await;
            return self.judge(located, result);
        }
        Counters::increment(&self.counters.batches_sent);
        let stripped = program::has_program(batch).then(|| program::without_programs(batch));
        let encoded = match wire::encode_request(stripped.as_ref().unwrap_or(batch)) {
            Ok(encoded) => encoded,
            Err(error) => return Attempt::Answered(Err(Error::Internal(error.to_string()))),
        };
        let range_id = located.descriptor.range_id;
        let relay = self.relay_to(located, target, attempts.count);
        let request = match relay {
            Some(_) => PeerRequest::Relay { range_id, batch: encoded },
            None => PeerRequest::Batch { range_id, batch: encoded },
        };
        let reply = match self.peers().call(relay.unwrap_or(target), request.encode()).await {
            // The node in between stops, or does not know what became of the batch.
            Ok(bytes) if bytes.is_empty() && relay.is_some() => Err(CallError::Lost),
            reply => reply,
        };
        let reply = match reply {
            Ok(bytes) => PeerReply::decode(bytes),
            Err(CallError::NotSent | CallError::Refused(_)) => {
                self.out_of_reach(located, attempts);
                return Attempt::Again;
            }
            Err(CallError::Lost) => {
                self.out_of_reach(located, attempts);
                if (attempts.once || decides(batch)) && !planted(Bug::RetryLostCommit) {
                    let reason = format!("node {target} did not answer");
                    return Attempt::Answered(Err(Error::Ambiguous { reason }));
                }
                return Attempt::Again;
            }
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                // A node that stops answers with nothing.
                let reason = format!("node {target}: {error}");
                return Attempt::Answered(Err(Error::Ambiguous { reason }));
            }
        };
        if let Ok(response) = &reply.result {
            // The clocks of all that a transaction has touched are behind its timestamps.
            self.hear_of(response.now);
        }
        for hint in &reply.hints {
            self.cache.insert(Arc::clone(&hint.descriptor), hint.holder);
        }
        let result = match (reply.result, stripped) {
            (Ok(response), Some(_)) => program::run(batch, response),
            (result, _) => result,
        };
        match result {
            Err(Error::NotLeaseholder) if reply.hints.is_empty() => {
                self.cache.set_holder(&located.descriptor, None);
                Attempt::Again
            }
            Err(Error::NotLeaseholder) => Attempt::Again,
            Err(Error::RangeNotFound | Error::RangeMismatch) if !reply.hints.is_empty() => Attempt::Again,
            Err(Error::RangeNotFound | Error::RangeMismatch) => {
                self.cache.evict(&located.descriptor.span.start);
                Attempt::Again
            }
            // Any replica may have answered: that says nothing about who serves.
            result if batch.header.from_any_replica => Attempt::Answered(result),
            result => {
                if relay.is_none() {
                    self.cache.set_holder(&located.descriptor, Some(target));
                }
                if !matches!(result, Err(Error::Unavailable(_))) {
                    self.breakers.close(located.descriptor.range_id);
                }
                Attempt::Answered(result)
            }
        }
    }

    /// Nobody was there. When nobody was at any of the range's places, they may be those of long ago, and of nodes that are gone
    /// for ever: then only the meta range knows better, for nobody else will say so. A node that hardly hears anybody need not ask.
    fn out_of_reach(&self, located: &Located, attempts: &Attempts) {
        let round = u32::try_from(located.descriptor.replicas.len()).unwrap_or(u32::MAX).max(1);
        if attempts.count % round == round - 1 && !self.is_cut_off(None) {
            self.cache.evict(&located.descriptor.span.start);
        } else {
            self.cache.set_holder(&located.descriptor, None);
        }
    }

    async fn attempt_here(
        self: &Arc<Self>,
        located: &Located,
        batch: &BatchRequest,
    ) -> Result<BatchResponse> {
        let replica = self.states.ranges.by_id(located.descriptor.range_id).ok_or(Error::RangeNotFound)?;
        self.ensure_lease(&replica).await?;
        self.execute(&replica, batch, Origin::Here).await
    }

    /// What a refusal by this node itself means for the route.
    fn judge(&self, located: &Located, result: Result<BatchResponse>) -> Attempt {
        match result {
            Err(Error::NotLeaseholder) => {
                let replica = self.states.ranges.by_id(located.descriptor.range_id);
                let holder = replica.and_then(|replica| self.holder_of(&replica));
                let me = self.ident().node_id;
                self.cache.set_holder(&located.descriptor, holder.filter(|holder| *holder != me));
                Attempt::Again
            }
            Err(Error::RangeNotFound | Error::RangeMismatch) => {
                self.cache.evict(&located.descriptor.span.start);
                Attempt::Again
            }
            result => {
                if !matches!(result, Err(Error::Unavailable(_))) {
                    self.breakers.close(located.descriptor.range_id);
                }
                Attempt::Answered(result)
            }
        }
    }
}
