//! Who is alive: pings, what they ask, and what silence means.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use basalt_env::Spawner;
use basalt_kv_api::Class;

use super::{
    Handler, Peers,
    counts::Counters,
    frame::{Kind, Ping, Pong},
    outgoing::Strike,
    state::Peer,
};

/// Ends with the peers.
pub async fn run(peers: Weak<Peers>, spawner: Arc<dyn Spawner>, interval: Duration) {
    // Silence is looked for more often: its calls are lost only when it is noticed.
    for turn in 0_u64.. {
        match peers.upgrade() {
            Some(peers) => peers.tick(turn.is_multiple_of(2)),
            None => return,
        }
        spawner.sleep(interval / 2).await;
    }
}

impl Peers {
    /// Notices who has fallen silent, and pings all others if it is time.
    fn tick(&self, pings: bool) {
        let Some(handler) = self.handler() else { return };
        self.look_whether_held_up(&*handler);
        for peer in self.all() {
            self.check_silence(&peer);
        }
        if !pings {
            return;
        }
        for node in self.directory.nodes() {
            // Those that are down, too: so they come back.
            if let Some(peer) = self.peer(node.node_id) {
                self.ping(&peer);
            }
        }
    }

    /// A node whose disk does not answer can talk, but neither vote nor keep what it is told. Its own pings go on: it sees who is
    /// up, and asks others on behalf of its clients.
    fn look_whether_held_up(&self, handler: &dyn Handler) {
        let held_up = handler.held_up_for();
        let is_held_up = held_up >= self.config.held_up_max && self.directory.has_peers();
        if self.is_held_up.swap(is_held_up, Ordering::Relaxed) == is_held_up {
            return;
        }
        if is_held_up {
            tracing::warn!(
                ?held_up,
                "the disk does not answer: this node is down to the others until it does"
            );
        } else {
            tracing::info!("the disk answers again, and so does this node");
        }
    }

    fn check_silence(&self, peer: &Peer) {
        let now = self.now();
        {
            let mut state = peer.state.lock();
            let falls_silent = state.is_up && !state.is_up(now, self.config.silence_max);
            if falls_silent {
                state.is_up = false;
                let lost = state.outgoing.lose_all();
                Counters::add(&self.counters.calls_lost, lost);
            }
            // What waits for a lock here must not get it on behalf of a node that is gone: others would wait for its end. If only
            // pings or only answers get lost, the caller gives its calls up and says so.
            let silence_max =
                if falls_silent { self.config.silence_max / 2 } else { self.config.silence_max };
            if now.saturating_sub(state.frame_at) >= silence_max {
                let cancelled = state.incoming.cancel_all();
                Counters::add(&self.counters.calls_cancelled, cancelled);
            }
        }
        self.tell(peer);
    }

    pub(super) fn ping(&self, peer: &Peer) {
        let (incarnation, (asked_below, asked)) = {
            let mut state = peer.state.lock();
            (state.incarnation, state.outgoing.ask())
        };
        let ping = Ping {
            stamp_micros: micros(self.now()),
            clock_offset_max_micros: micros(self.config.clock_offset_max),
            asked_below,
            asked,
        };
        let mut frame = self.frame(Kind::Ping, incarnation, 0, &[]);
        ping.put(&mut frame);
        self.link.send(peer.node, Class::Raft, frame.freeze());
    }

    /// A peer has asked for a sign of life.
    pub(super) fn on_ping(&self, peer: &Peer, incarnation: u64, ping: &Ping, to_me: bool) {
        if ping.clock_offset_max_micros != micros(self.config.clock_offset_max) {
            let ours = self.config.clock_offset_max;
            let theirs = Duration::from_micros(ping.clock_offset_max_micros);
            let reason = format!("clocks may differ by {ours:?} here, and by {theirs:?} there");
            self.refuse(peer.node, incarnation, 0, &reason);
            return;
        }
        let state = peer.state_of(incarnation).filter(|_| to_me);
        let settled = state.map(|mut state| state.incoming.settle(ping)).unwrap_or_default();
        Counters::add(&self.counters.calls_cancelled, settled.cancelled);
        if self.is_held_up.load(Ordering::Relaxed) {
            return;
        }
        Counters::add(&self.counters.frames_resent, settled.resend.len());
        let pong = Pong {
            stamp_micros: ping.stamp_micros,
            wall_micros: self.env.clock.wall_micros(),
            states: settled.states,
        };
        let mut frame = self.frame(Kind::Pong, incarnation, 0, &[]);
        pong.put(&mut frame);
        self.link.send(peer.node, Class::Raft, frame.freeze());
        for answer in settled.resend {
            self.link.send(peer.node, Class::Batch, answer);
        }
    }

    /// A peer has answered a ping of this incarnation. If its clock is wrong, that is all that counts.
    pub(super) fn on_pong(&self, peer: &Peer, incarnation: u64, pong: Pong, clock_is_right: bool) {
        let now = self.now();
        let sent_at = Duration::from_micros(pong.stamp_micros);
        let round_trip = match now.checked_sub(sent_at) {
            Some(round_trip) if round_trip < self.config.silence_max => round_trip,
            // Too late to say anything about now.
            _ => return,
        };
        let mut resend = Vec::new();
        {
            let Some(mut state) = peer.state_of(incarnation) else { return };
            // Late or repeated. What it says of calls must count once.
            if state.stamp_answered.is_some_and(|answered| sent_at <= answered) {
                return;
            }
            state.stamp_answered = Some(sent_at);
            state.offsets.add(now, round_trip, self.env.clock.wall_micros(), pong.wall_micros);
            if clock_is_right {
                state.heard_at = Some(now);
                state.is_up = true;
                state.refusal = None;
            }
            for (id, call) in pong.states {
                match state.outgoing.strike(id, call) {
                    Strike::Wait => {}
                    Strike::Resend(class, frame) => resend.push((class, frame)),
                    Strike::Lost => Counters::increment(&self.counters.calls_lost),
                }
            }
        }
        self.tell(peer);
        Counters::add(&self.counters.frames_resent, resend.len());
        for (class, frame) in resend {
            self.link.send(peer.node, class, frame);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
