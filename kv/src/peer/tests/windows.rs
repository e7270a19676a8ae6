//! Which call ids may still be executed.

use basalt_kv_api::Class;
use bytes::{Bytes, BytesMut};
use futures::future::AbortHandle;

use crate::peer::{
    CallError,
    frame::{CallState, HEADER_BYTES, Ping},
    incoming::{Admission, Incoming},
    outgoing::{Outgoing, Strike},
};

fn ping(asked_below: u64, asked: &[u64]) -> Ping {
    Ping { stamp_micros: 0, clock_offset_max_micros: 0, asked_below, asked: asked.to_vec() }
}

fn run(incoming: &mut Incoming, id: u64) {
    assert_eq!(incoming.admit(id, 10), Admission::Execute);
    incoming.begin(id, AbortHandle::new_pair().0);
}

#[test]
fn what_is_not_waited_for_is_refused_and_what_is_may_come() {
    let mut incoming = Incoming::default();
    run(&mut incoming, 1);
    run(&mut incoming, 2);
    assert!(incoming.finish(1, Some(Bytes::from_static(b"one"))));
    let settled = incoming.settle(&ping(5, &[1, 2, 3]));
    assert_eq!(settled.resend, [Bytes::from_static(b"one")]);
    assert_eq!(settled.states, [(3, CallState::Unknown)]);
    let fates = [Admission::Repeated, Admission::Repeated, Admission::Execute, Admission::Forgotten];
    assert_eq!([1, 2, 3, 4].map(|id| incoming.admit(id, 10)), fates);
    assert_eq!(incoming.admit(5, 10), Admission::Execute);
    assert_eq!(incoming.admit(5, 1), Admission::Full);
    // The caller has its answer to the first and has given up the second.
    assert_eq!(incoming.settle(&ping(5, &[3])).cancelled, 1);
    assert_eq!([1, 2].map(|id| incoming.admit(id, 10)), [Admission::Forgotten, Admission::Forgotten]);
}

#[test]
fn a_late_ping_opens_nothing_again() {
    let mut incoming = Incoming::default();
    run(&mut incoming, 1);
    assert!(incoming.finish(1, None));
    incoming.settle(&ping(3, &[1, 2]));
    incoming.settle(&ping(3, &[]));
    incoming.settle(&ping(3, &[1, 2]));
    assert_eq!([1, 2].map(|id| incoming.admit(id, 10)), [Admission::Forgotten, Admission::Forgotten]);
    incoming.settle(&ping(2, &[1]));
    assert_eq!(incoming.admit(1, 10), Admission::Forgotten);
}

#[test]
fn the_window_is_bounded_and_forgets_safely() {
    let mut incoming = Incoming::default();
    let answer = Bytes::from(vec![0; 1_000]);
    for id in 1..=100_000 {
        run(&mut incoming, id);
        assert!(incoming.finish(id, Some(answer.clone())));
    }
    assert_eq!(incoming.admit(1, 10), Admission::Forgotten);
    assert_eq!(incoming.admit(99_999, 10), Admission::Repeated);
    // Nor does a ping make room for a forgotten one.
    let settled = incoming.settle(&ping(100_001, &[1, 50_000, 100_000]));
    assert_eq!(settled.resend.len(), 1, "answers are kept up to a limit");
    assert_eq!(settled.states, [(1, CallState::Unknown), (50_000, CallState::Finished)]);
    assert_eq!(incoming.admit(1, 10), Admission::Forgotten);
}

#[test]
fn cancelled_calls_do_not_come_back() {
    let mut incoming = Incoming::default();
    run(&mut incoming, 1);
    assert!(incoming.cancel(1) && !incoming.cancel(1));
    assert!(!incoming.finish(1, None));
    assert_eq!(incoming.admit(1, 10), Admission::Repeated);
    run(&mut incoming, 2);
    assert_eq!(incoming.cancel_all(), 1);
    assert_eq!(incoming.admit(2, 10), Admission::Repeated);
    incoming.refuse(3, Bytes::from_static(b"no"));
    assert_eq!(incoming.admit(3, 10), Admission::Repeated);
}

#[test]
fn a_call_that_was_sent_again_is_not_certainly_unsent() {
    let mut outgoing = Outgoing::default();
    let (first, _, _answer) = outgoing.begin(Class::Batch, BytesMut::zeroed(HEADER_BYTES), 1);
    let (second, _, _answer) = outgoing.begin(Class::Batch, BytesMut::zeroed(HEADER_BYTES), 1);
    assert_eq!(outgoing.ask(), (1, vec![]), "the young are not asked about");
    assert_eq!(outgoing.ask(), (3, vec![1, 2]));
    // The peer says that it does not know the first before the link has said that it does not take it.
    assert!(matches!(outgoing.strike(first, CallState::Unknown), Strike::Resend(Class::Batch, _)));
    assert!(!outgoing.not_sent(first) && outgoing.not_sent(second));
    assert_eq!(outgoing.len(), 1);
}

#[test]
fn large_calls_have_time() {
    for (megabytes, sent_again_at) in [(0, [1, 2, 4, 8, 16]), (9, [10, 20, 40, 80, 160])] {
        let mut outgoing = Outgoing::default();
        let frame = BytesMut::zeroed(HEADER_BYTES + (megabytes << 20));
        let (id, _, mut answer) = outgoing.begin(Class::Snapshot, frame, 1);
        let mut again = Vec::new();
        let lost_at = (1..1_000).find(|strike| match outgoing.strike(id, CallState::Unknown) {
            Strike::Wait => false,
            Strike::Resend(Class::Snapshot, _) => {
                again.push(*strike);
                false
            }
            Strike::Resend(..) => panic!("of another class"),
            Strike::Lost => true,
        });
        assert_eq!((again, lost_at), (sent_again_at.to_vec(), Some(17 * (1 + megabytes as i32))));
        assert_eq!(answer.try_recv(), Ok(Err(CallError::Lost)));
    }
}
