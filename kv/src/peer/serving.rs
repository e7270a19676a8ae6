//! Calls of other nodes, executed here.

use std::sync::{Arc, Weak, atomic::Ordering};

use basalt_base::ClockError;
use basalt_kv_api::Class;
use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};

use super::{
    Peers,
    counts::Counters,
    frame::{Header, Kind},
    incoming::Admission,
    state::Peer,
};

impl Peers {
    pub(super) fn on_call(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        header: &Header,
        request: Bytes,
        clock: Result<(), ClockError>,
    ) {
        let (id, incarnation) = (header.call_id, header.from_incarnation);
        let (Some(handler), true) = (self.handler(), id > 0) else { return };
        let (abort, registration) = AbortHandle::new_pair();
        let refusal = {
            let Some(mut state) = peer.state_of(incarnation) else { return };
            let refusal = match (state.incoming.admit(id, self.config.calls_max), clock) {
                (Admission::Repeated, _) => {
                    Counters::increment(&self.counters.calls_repeated);
                    return;
                }
                (Admission::Forgotten, _) => {
                    drop(state);
                    return self.answer_nothing(peer, header, "the call is too old");
                }
                (Admission::Full, _) => Some("too many calls".to_owned()),
                (Admission::Execute, Err(error)) => Some(error.to_string()),
                (Admission::Execute, Ok(())) if self.refuses.load(Ordering::SeqCst) => {
                    Some("the node stops".to_owned())
                }
                (Admission::Execute, Ok(())) => None,
            };
            match refusal {
                None => {
                    state.incoming.begin(id, abort);
                    None
                }
                Some(reason) => {
                    // Remembered: a repeated frame could be accepted later.
                    let frame = self.refusal(incarnation, id, true, &reason).freeze();
                    state.incoming.refuse(id, frame.clone());
                    Some(frame)
                }
            }
        };
        if let Some(frame) = refusal {
            Counters::increment(&self.counters.calls_refused);
            self.link.send(peer.node, Class::Batch, frame);
            return;
        }
        Counters::increment(&self.counters.calls_served);
        let served =
            Served { peers: Arc::downgrade(self), peer: Arc::clone(peer), incarnation, id, ended: false };
        let from = peer.node;
        let work = async move { handler.call(from, request).await };
        self.env.spawner.spawn(
            "peer-call",
            Box::pin(async move {
                let answer = Abortable::new(work, registration).await;
                served.end(answer.ok());
            }),
        );
    }
}

/// A call while it is executed. If the task dies, the caller learns that there will be no answer.
struct Served {
    peers: Weak<Peers>,
    peer: Arc<Peer>,
    /// Of the caller.
    incarnation: u64,
    id: u64,
    ended: bool,
}

impl Served {
    fn end(mut self, answer: Option<Bytes>) {
        self.ended = true;
        let (Some(peers), Some(answer)) = (self.peers.upgrade(), answer) else {
            self.note(None);
            return;
        };
        let mut frame = peers.frame(Kind::Reply, self.incarnation, self.id, &answer);
        if frame.len() > peers.config.message_bytes_max {
            let reason = format!("a reply of {} bytes is too large", answer.len());
            tracing::error!(node = %self.peer.node, reason, "the reply of a call can't be sent");
            frame = peers.refusal(self.incarnation, self.id, false, &reason);
        }
        let frame = frame.freeze();
        if self.note(Some(frame.clone())) {
            // If it gets lost, the caller's next ping asks for it.
            peers.link.send(self.peer.node, Class::Batch, frame);
        }
    }

    /// True if somebody waits for the answer.
    fn note(&self, answer: Option<Bytes>) -> bool {
        self.peer.state_of(self.incarnation).is_some_and(|mut state| state.incoming.finish(self.id, answer))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.ended {
            self.note(None);
        }
    }
}
