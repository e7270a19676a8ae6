//! Latches: short mutual exclusion between requests on keys and spans, from evaluation until application.
//!
//! A request declares everything it touches at once and then waits for *earlier* overlapping declarations, so waits
//! always point back in time and cannot form a cycle. A read at `r` and a write at `w > r` do not disturb each other:
//! the write cannot change what the read sees, and the timestamp cache keeps it from moving below `r`.
//!
//! Points live in an ordered map, spans in two lists by access: point reads (the common case) look only at the few
//! write spans. A [`LatchGuard`] releases on drop, so a cancelled request lets go; a proposal takes the guard along.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use basalt_base::{Key, Span, Timestamp};
use parking_lot::Mutex;

use super::Signal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What a latch covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    Point(Key),
    Span(Span),
}

/// One declared access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchSpan {
    pub extent: Extent,
    pub access: Access,
    /// Reads: the highest timestamp read. Writes: the lowest timestamp that may be affected.
    /// A write at [`Timestamp::MAX`] excludes other writes only.
    pub timestamp: Timestamp,
}

impl LatchSpan {
    pub fn point(key: Key, access: Access, timestamp: Timestamp) -> Self {
        Self { extent: Extent::Point(key), access, timestamp }
    }

    pub fn span(span: Span, access: Access, timestamp: Timestamp) -> Self {
        Self { extent: Extent::Span(span), access, timestamp }
    }
}

struct Held {
    owner: u64,
    access: Access,
    timestamp: Timestamp,
    signal: Arc<Signal>,
}

impl Held {
    fn conflicts(&self, owner: u64, access: Access, timestamp: Timestamp) -> bool {
        if self.owner == owner {
            return false;
        }
        match (self.access, access) {
            (Access::Read, Access::Read) => false,
            (Access::Write, Access::Write) => true,
            (Access::Read, Access::Write) => timestamp <= self.timestamp,
            (Access::Write, Access::Read) => self.timestamp <= timestamp,
        }
    }
}

#[derive(Default)]
struct State {
    next: u64,
    /// By key and sequence number, so that several requests may hold one key.
    points: BTreeMap<(Key, u64), Held>,
    read_spans: BTreeMap<u64, (Span, Held)>,
    write_spans: BTreeMap<u64, (Span, Held)>,
}

/// All latches of one store.
#[derive(Default)]
pub struct Latches {
    state: Mutex<State>,
}

impl Latches {
    /// Declares `spans`. The caller must `wait` on the guard before it evaluates.
    pub fn acquire(self: &Arc<Self>, spans: Vec<LatchSpan>) -> LatchGuard {
        let signal = Arc::new(Signal::default());
        let mut blockers = Vec::new();
        let mut state = self.state.lock();
        let first = state.next;
        state.next += 1 + spans.len() as u64;
        for (index, span) in spans.iter().enumerate() {
            let sequence = first + index as u64;
            state.collect_conflicts(span, first, &mut blockers);
            let held = Held {
                owner: first,
                access: span.access,
                timestamp: span.timestamp,
                signal: Arc::clone(&signal),
            };
            match &span.extent {
                Extent::Point(key) => {
                    state.points.insert((key.clone(), sequence), held);
                }
                Extent::Span(covered) => {
                    state.spans_mut(span.access).insert(sequence, (covered.clone(), held));
                }
            }
        }
        drop(state);
        LatchGuard { latches: Arc::clone(self), first, spans, signal, blockers }
    }

    /// How many latches are declared now.
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.points.len() + state.read_spans.len() + state.write_spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&self, first: u64, spans: &[LatchSpan]) {
        let mut state = self.state.lock();
        for (index, span) in spans.iter().enumerate() {
            let sequence = first + index as u64;
            match &span.extent {
                Extent::Point(key) => {
                    state.points.remove(&(key.clone(), sequence));
                }
                Extent::Span(_) => {
                    state.spans_mut(span.access).remove(&sequence);
                }
            }
        }
    }
}

impl State {
    fn spans_mut(&mut self, access: Access) -> &mut BTreeMap<u64, (Span, Held)> {
        match access {
            Access::Read => &mut self.read_spans,
            Access::Write => &mut self.write_spans,
        }
    }

    fn collect_conflicts(&self, wanted: &LatchSpan, owner: u64, out: &mut Vec<Arc<Signal>>) {
        let mut consider = |held: &Held| {
            if held.conflicts(owner, wanted.access, wanted.timestamp) {
                out.push(Arc::clone(&held.signal));
            }
        };
        let range = match &wanted.extent {
            Extent::Point(key) => {
                (Bound::Included((key.clone(), 0)), Bound::Included((key.clone(), u64::MAX)))
            }
            Extent::Span(span) if span.is_empty() => return,
            Extent::Span(span) => {
                (Bound::Included((span.start.clone(), 0)), Bound::Excluded((span.end.clone(), 0)))
            }
        };
        self.points.range(range).for_each(|(_, held)| consider(held));
        let overlaps = |span: &Span| match &wanted.extent {
            Extent::Point(key) => span.contains(key),
            Extent::Span(wanted) => span.overlaps(wanted),
        };
        for (span, held) in self.write_spans.values() {
            if overlaps(span) {
                consider(held);
            }
        }
        if wanted.access == Access::Write {
            for (span, held) in self.read_spans.values() {
                if overlaps(span) {
                    consider(held);
                }
            }
        }
    }
}

/// Declared latches; released on drop.
pub struct LatchGuard {
    latches: Arc<Latches>,
    first: u64,
    spans: Vec<LatchSpan>,
    signal: Arc<Signal>,
    blockers: Vec<Arc<Signal>>,
}

impl LatchGuard {
    /// Completes when every earlier overlapping latch is gone.
    pub async fn wait(&mut self) {
        while let Some(blocker) = self.blockers.last() {
            blocker.wait().await;
            self.blockers.pop();
        }
    }

    pub fn must_wait(&self) -> bool {
        self.blockers.iter().any(|blocker| !blocker.is_fired())
    }
}

impl Drop for LatchGuard {
    fn drop(&mut self) {
        self.latches.release(self.first, &self.spans);
        self.signal.fire();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::copy_from_slice(text.as_bytes())
    }

    fn ts(value: u64) -> Timestamp {
        Timestamp(value)
    }

    fn point(text: &str, access: Access, at: u64) -> LatchSpan {
        LatchSpan::point(key(text), access, ts(at))
    }

    fn span(from: &str, to: &str, access: Access, at: u64) -> LatchSpan {
        LatchSpan::span(Span::new(key(from), key(to)), access, ts(at))
    }

    #[test]
    fn conflicts_follow_access_overlap_and_timestamps() {
        use Access::{Read, Write};
        let cases = [
            (point("b", Read, 5), point("b", Read, 5), false),
            (point("b", Write, 5), point("b", Read, 5), true),
            (point("b", Write, 6), point("b", Read, 5), false),
            (point("b", Read, 5), point("b", Write, 5), true),
            (point("b", Read, 5), point("b", Write, 6), false),
            (point("b", Write, 5), point("b", Write, 9), true),
            (point("b", Write, 5), point("c", Write, 5), false),
            (span("a", "c", Read, 5), point("b", Write, 4), true),
            (span("a", "c", Read, 5), point("c", Write, 4), false),
            (span("a", "c", Write, 0), span("b", "d", Read, 4), true),
            (span("a", "c", Write, 0), span("c", "d", Write, 4), false),
            (point("b", Write, 1), span("a", "c", Read, 4), true),
            (span("a", "z", Write, u64::MAX), point("b", Read, 4), false),
            (span("a", "z", Write, u64::MAX), point("b", Write, 4), true),
        ];
        for (held, wanted, conflict) in cases {
            let latches = Arc::new(Latches::default());
            let first = latches.acquire(vec![held.clone()]);
            let second = latches.acquire(vec![wanted.clone()]);
            assert!(!first.must_wait());
            assert_eq!(second.must_wait(), conflict, "{held:?} then {wanted:?}");
            drop(first);
            assert!(!second.must_wait());
            drop(second);
            assert!(latches.is_empty());
        }
    }

    #[test]
    fn a_request_never_waits_for_itself_and_a_dropped_wait_lets_go() {
        let latches = Arc::new(Latches::default());
        let own = latches.acquire(vec![
            point("b", Access::Read, 5),
            point("b", Access::Write, 5),
            span("a", "c", Access::Read, 5),
        ]);
        assert!(!own.must_wait());
        let waiting = latches.acquire(vec![point("b", Access::Write, 5)]);
        let behind = latches.acquire(vec![point("b", Access::Write, 5)]);
        assert!(waiting.must_wait() && behind.must_wait());
        drop(waiting);
        drop(own);
        assert!(!behind.must_wait());
    }
}
