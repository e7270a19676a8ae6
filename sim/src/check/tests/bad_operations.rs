//! Sets, sums, growing values and single registers that went wrong.

use std::collections::BTreeMap;

use super::{
    Case,
    Check::{Bank, GrowingReads, Linearizable, Sets},
    expect, judge_all,
};
use crate::check::{
    Kind,
    linearizable::{self, Action, Operation},
    monotonic::{Entry, check_timestamps},
};

pub(super) const CASES: &[Case] = &[
    Case("an element that is gone", Sets, &["1 0-1 ok +1:1=1", "2 2-3 ok s1={}"], &[Kind::LostWrite]),
    Case(
        "an unknown element, seen and gone",
        Sets,
        &["1 0-? ? +1:1=1", "2 2-3 ok s1={1=1}", "3 4-5 ok s1={}"],
        &[Kind::LostWrite],
    ),
    Case(
        "one of many elements is gone",
        Sets,
        &["1 0-1 ok +1:1=1", "2 0-1 ok +1:2=2", "3 0-1 ok +1:3=3", "4 2-3 ok s1={1=1,3=3}"],
        &[Kind::LostWrite],
    ),
    Case(
        "gone before anybody removed it",
        Sets,
        &["1 0-1 ok +1:1=1", "2 2-3 ok s1={}", "3 4-5 ok -1:1"],
        &[Kind::LostWrite],
    ),
    Case("an element of nobody", Sets, &["1 2-3 ok s1={9=9}"], &[Kind::NeverWritten]),
    Case("an element of the future", Sets, &["1 0-1 ok s1={9=9}", "2 2-3 ok +1:9=9"], &[Kind::NeverWritten]),
    Case(
        "an element of a failed transaction",
        Sets,
        &["1 0-1 fail +1:1=1", "2 2-3 ok s1={1=1}"],
        &[Kind::G1a],
    ),
    Case(
        "a removed element comes back",
        Sets,
        &["1 0-1 ok +1:1=1", "2 2-3 ok -1:1", "3 4-5 ok s1={}", "4 6-7 ok s1={1=1}"],
        &[Kind::Revived],
    ),
    Case("an element twice", Sets, &["1 0-1 ok +1:1=1", "2 2-3 ok s1={1=1,1=1}"], &[Kind::Duplicate]),
    Case("money is made", Bank(2, 10), &["1 0-1 ok r1=5 r2=5", "2 2-3 ok r1=5 r2=6"], &[Kind::WrongSum]),
    Case(
        "money is lost in a transfer that reads all",
        Bank(3, 12),
        &["1 0-1 ok r1=5 r2=4 r3=_ w1=4 w2=5"],
        &[Kind::WrongSum],
    ),
    Case("a balance changes between two reads", Bank(2, 10), &["1 0-1 ok r1=5 r1=6 r2=5"], &[Kind::Internal]),
    Case("a value falls", GrowingReads, &["1 0-1 ok r1=5", "2 2-3 ok r1=4"], &[Kind::NotMonotonic]),
    Case(
        "a written value is not reached",
        GrowingReads,
        &["1 0-1 ok r1=_ w1=1", "2 2-3 ok r1=_ w1=2"],
        &[Kind::NotMonotonic],
    ),
    Case(
        "a stale read",
        Linearizable,
        &["1 0-1 ok w1=1", "2 2-3 ok w1=2", "3 4-5 ok r1=1"],
        &[Kind::NotLinearizable],
    ),
    Case(
        "seen, then unseen",
        Linearizable,
        &["1 0-9 ok w1=1", "2 1-2 ok r1=1", "3 3-4 ok r1=_"],
        &[Kind::NotLinearizable],
    ),
    Case(
        "one unknown write, taken back",
        Linearizable,
        &["1 0-? ? w1=1", "2 1-2 ok w1=2", "3 3-4 ok r1=1", "4 5-6 ok r1=2"],
        &[Kind::NotLinearizable],
    ),
    Case(
        "two swaps of one value",
        Linearizable,
        &["1 0-9 ok r1=_ w1=1", "2 0-9 ok r1=_ w1=2"],
        &[Kind::NotLinearizable],
    ),
    Case(
        "the second of two keys",
        Linearizable,
        &["1 0-1 ok w1=1", "2 0-1 ok w2=2", "3 2-3 ok r1=1", "4 2-3 ok r2=_"],
        &[Kind::NotLinearizable],
    ),
];

#[test]
fn all_are_found() {
    judge_all(CASES);
}

#[test]
fn timestamps_must_order_the_values() {
    let entry = |value, timestamp| Entry { key: 1, value, timestamp, process: 0 };
    let other = Entry { key: 2, value: 1, timestamp: 3, process: 1 };
    let cases: [(&str, Vec<Entry>, &[Kind]); 4] = [
        ("growing", vec![entry(2, 20), entry(1, 10), entry(7, 30), other], &[]),
        ("a later timestamp, a smaller value", vec![entry(1, 20), entry(2, 10)], &[Kind::NotMonotonic]),
        ("one timestamp", vec![entry(1, 10), entry(2, 10)], &[Kind::NotMonotonic]),
        ("one value", vec![entry(1, 10), entry(1, 20)], &[Kind::NotMonotonic]),
    ];
    for (name, entries, expected) in cases {
        expect(name, check_timestamps(&entries), expected);
    }
}

#[test]
fn refused_swaps_are_reads_of_something_else() {
    let operation = |action, invoked, completed| Operation { client: 0, action, invoked, completed };
    let write = operation(Action::Write(1), 0, Some(1));
    let lost = operation(Action::Write(2), 2, None);
    let refused = operation(Action::Refused { expected: Some(1) }, 4, Some(5));
    let read = operation(Action::Read(Some(1)), 6, Some(7));
    let cases: [(&str, Vec<Operation>, &[Kind]); 4] = [
        ("refused without a reason", vec![write, refused], &[Kind::NotLinearizable]),
        ("an unknown write is the reason", vec![write, lost, refused], &[]),
        (
            "an unknown write is the reason, then undone",
            vec![write, lost, refused, read],
            &[Kind::NotLinearizable],
        ),
        (
            "done without a reason",
            vec![write, operation(Action::Swap { from: Some(3), to: 4 }, 4, Some(5))],
            &[Kind::NotLinearizable],
        ),
    ];
    for (name, history, expected) in cases {
        expect(name, linearizable::check_keys(None, &BTreeMap::from([(1, history)])), expected);
    }
}
