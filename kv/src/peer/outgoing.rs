//! Calls to one peer that wait for their replies.
//!
//! A call ends with its reply, with the end of the peer, or because it can be shown that there will be no reply: the link
//! may lose frames. So every ping asks about the calls that are older than the ping before. A call that the peer does
//! not know is sent again (the peer executes no id twice), at doubling intervals, because it may only be slow: large, or
//! behind something large. If that goes on for too many pings, it is lost.

use std::collections::BTreeMap;

use basalt_kv_api::Class;
use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::{
    CallError,
    frame::{self, CallState},
};

/// Answers that a call is not worked on before it is lost. Fewer are bad luck of frames that overtake each other.
const STRIKES_MAX: u64 = 16;
/// A link moves as much between two pings, at least: larger calls have that much more time.
const BYTES_PER_STRIKE: u64 = 1 << 20;

pub type Answer = Result<Bytes, CallError>;

struct Waiting {
    class: Class,
    frame: Bytes,
    answer: oneshot::Sender<Answer>,
    strikes: u64,
}

pub struct Outgoing {
    next_id: u64,
    /// Of the next ping: what was the next id at the last one.
    asked_below: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { next_id: 1, asked_below: 1, waiting: BTreeMap::new() }
    }
}

impl Outgoing {
    /// Notes a call, and completes its frame.
    pub fn begin(
        &mut self,
        class: Class,
        mut frame: BytesMut,
        to_incarnation: u64,
    ) -> (u64, Bytes, oneshot::Receiver<Answer>) {
        let id = self.next_id;
        self.next_id += 1;
        frame::address(&mut frame, to_incarnation, id);
        let frame = frame.freeze();
        let (answer, receiver) = oneshot::channel();
        self.waiting.insert(id, Waiting { class, frame: frame.clone(), answer, strikes: 0 });
        (id, frame, receiver)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// False if nobody waits for it any more.
    pub fn answer(&mut self, id: u64, answer: Answer) -> bool {
        let waiting = self.waiting.remove(&id);
        waiting.is_some_and(|waiting| waiting.answer.send(answer).is_ok())
    }

    /// Nobody waits any more. True if somebody did.
    pub fn give_up(&mut self, id: u64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// The link has not taken the frame. True if no later attempt was made: it is certainly not sent.
    pub fn not_sent(&mut self, id: u64) -> bool {
        let unsent = self.waiting.get(&id).is_some_and(|waiting| waiting.strikes == 0);
        if unsent {
            self.waiting.remove(&id);
        }
        unsent
    }

    pub fn lose_all(&mut self) -> usize {
        let lost = std::mem::take(&mut self.waiting);
        let count = lost.len();
        for waiting in lost.into_values() {
            let _ = waiting.answer.send(Err(CallError::Lost));
        }
        count
    }

    /// What the next ping says and asks. Calls that are younger than the last ping are given time.
    pub fn ask(&mut self) -> (u64, Vec<u64>) {
        let below = self.asked_below;
        self.asked_below = self.next_id;
        (below, self.waiting.range(..below).map(|(id, _)| *id).take(frame::ASKED_MAX).collect())
    }

    /// The peer does not work on the call. Gives the frame to send once more, if any; loses the call after too often.
    pub fn strike(&mut self, id: u64, state: CallState) -> Strike {
        let Some(waiting) = self.waiting.get_mut(&id) else { return Strike::Wait };
        waiting.strikes += 1;
        let patience = 1 + waiting.frame.len() as u64 / BYTES_PER_STRIKE;
        let turn = waiting.strikes / patience;
        if turn > STRIKES_MAX {
            return if self.answer(id, Err(CallError::Lost)) { Strike::Lost } else { Strike::Wait };
        }
        match state {
            CallState::Unknown if waiting.strikes.is_multiple_of(patience) && turn.is_power_of_two() => {
                Strike::Resend(waiting.class, waiting.frame.clone())
            }
            // The call may be under way, or its reply.
            CallState::Unknown | CallState::Finished => Strike::Wait,
        }
    }
}

pub enum Strike {
    Wait,
    Resend(Class, Bytes),
    Lost,
}
