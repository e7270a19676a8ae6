//! What becomes of a frame: who may say it, to whom, when; then what it says.

use std::sync::Arc;

use basalt_base::{ClockError, NodeId};
use basalt_kv_api::Class;
use bytes::{Bytes, BytesMut};

use super::{
    CallError, Peers,
    counts::Counters,
    frame::{FORMAT, Header, Kind, Ping, Pong, Refusal},
    state::Peer,
};

impl Peers {
    pub(super) fn receive(self: &Arc<Self>, from: NodeId, class: Class, message: Bytes) {
        if self.handler().is_none() {
            return;
        }
        Counters::increment(&self.counters.frames_received);
        if message.len() > self.config.bytes_max(class) || self.take(from, class, message).is_none() {
            Counters::increment(&self.counters.frames_malformed);
        }
    }

    /// `None` if the frame is malformed.
    fn take(self: &Arc<Self>, from: NodeId, class: Class, message: Bytes) -> Option<()> {
        let (header, payload) = Header::decode(message).ok()?;
        if header.format != FORMAT || header.cluster_id != self.cluster_id {
            Counters::increment(&self.counters.frames_foreign);
            self.on_foreign(from, &header, payload);
            return Some(());
        }
        let Some(peer) = self.peer(from) else { return Some(()) };
        if !self.is_current(&peer, &header) {
            Counters::increment(&self.counters.frames_stale);
            return Some(());
        }
        let incarnation = header.from_incarnation;
        let to_me = header.to_incarnation == self.incarnation;
        let clock = self.absorb(&peer, header.reading);
        match header.kind {
            Kind::Ping => self.on_ping(&peer, incarnation, &Ping::decode(payload).ok()?, to_me),
            Kind::Message => {
                // Without the reading, it is as good as lost.
                if clock.is_ok()
                    && let Some(handler) = self.handler()
                {
                    handler.message(from, class, payload);
                }
            }
            Kind::Call if !to_me => {
                // The predecessor may have executed it. That it is gone is what the caller learns from any answer.
                self.answer_nothing(&peer, &header, "the node has restarted");
            }
            _ if !to_me => Counters::increment(&self.counters.frames_stale),
            Kind::Pong => {
                let pong = Pong::decode(payload).ok()?;
                // A clock whose durable bound is late can't take the reading in, but the peer lives.
                let clock_is_right = !matches!(clock, Err(ClockError::TooFarAhead { .. }));
                self.on_pong(&peer, incarnation, pong, clock_is_right);
            }
            Kind::Call => self.on_call(&peer, &header, payload, clock),
            Kind::Cancel => {
                let cancelled =
                    peer.state_of(incarnation).is_some_and(|mut state| state.incoming.cancel(header.call_id));
                Counters::add(&self.counters.calls_cancelled, usize::from(cancelled));
            }
            Kind::Reply => match clock {
                Ok(()) => {
                    peer.state.lock().outgoing.answer(header.call_id, Ok(payload));
                }
                Err(ClockError::TooFarAhead { .. }) => self.lose(&peer, header.call_id),
                // It is asked for again.
                Err(ClockError::BoundReached { .. } | ClockError::Fenced) => {}
            },
            Kind::Refusal => self.on_refusal(&peer, &header, Refusal::decode(payload).ok()?),
        }
        Some(())
    }

    /// Whether the frame is of the peer's latest incarnation. A newer one than known is made known.
    fn is_current(&self, peer: &Peer, header: &Header) -> bool {
        let is_new = {
            let mut state = peer.state.lock();
            if header.from_incarnation == 0 || header.from_incarnation < state.incarnation {
                return false;
            }
            state.frame_at = self.now();
            let is_new = header.from_incarnation > state.incarnation;
            if is_new {
                let lost = state.adopt(header.from_incarnation);
                Counters::add(&self.counters.calls_lost, lost);
            }
            is_new
        };
        if is_new {
            self.tell(peer);
            // Until it answers, it is not up.
            self.ping(peer);
        }
        true
    }

    /// Two nodes that can't understand each other tell each other, and their callers.
    fn on_foreign(&self, from: NodeId, header: &Header, payload: Bytes) {
        match header.kind {
            Kind::Ping => {
                let reason = if header.format == FORMAT {
                    "it belongs to another cluster".to_owned()
                } else {
                    format!("it speaks version {FORMAT} of the protocol between nodes")
                };
                self.refuse(from, header.from_incarnation, 0, &reason);
            }
            Kind::Refusal if header.call_id == 0 => {
                if let (Some(peer), Ok(refusal)) = (self.peer(from), Refusal::decode(payload)) {
                    peer.state.lock().refusal = Some(refusal.reason);
                }
            }
            _ => {}
        }
    }

    fn on_refusal(&self, peer: &Peer, header: &Header, refusal: Refusal) {
        if header.call_id == 0 {
            peer.state.lock().refusal = Some(refusal.reason);
        } else if refusal.not_executed {
            peer.state.lock().outgoing.answer(header.call_id, Err(CallError::Refused(refusal.reason)));
        } else {
            self.lose(peer, header.call_id);
        }
    }

    fn lose(&self, peer: &Peer, call_id: u64) {
        let lost = peer.state.lock().outgoing.answer(call_id, Err(CallError::Lost));
        Counters::add(&self.counters.calls_lost, usize::from(lost));
    }

    /// Says that a call will not be executed, or, without a call, that this node wants nothing to do with the peer.
    pub(super) fn refuse(&self, to: NodeId, incarnation: u64, call_id: u64, reason: &str) {
        let frame = self.refusal(incarnation, call_id, true, reason);
        self.link.send(to, Class::Batch, frame.freeze());
    }

    /// Says that there will be no reply, and nothing more.
    pub(super) fn answer_nothing(&self, peer: &Peer, call: &Header, reason: &str) {
        let frame = self.refusal(call.from_incarnation, call.call_id, false, reason);
        self.link.send(peer.node, Class::Batch, frame.freeze());
    }

    pub(super) fn refusal(
        &self,
        incarnation: u64,
        call_id: u64,
        not_executed: bool,
        reason: &str,
    ) -> BytesMut {
        let mut frame = self.frame(Kind::Refusal, incarnation, call_id, &[]);
        Refusal { not_executed, reason: reason.to_owned() }.put(&mut frame);
        frame
    }
}
