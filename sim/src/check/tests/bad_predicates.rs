//! Phantoms, and forks of what readers see.

use super::{
    Case,
    Check::{Everything, LongFork, Predicates},
    judge_all,
};
use crate::check::{
    Kind,
    Level::{ReadCommitted, Serializable, Snapshot},
};

pub(super) const CASES: &[Case] = &[
    Case(
        "two inserts into sets that the other one saw empty",
        Predicates(Serializable),
        &["1 0-9 ok s1={} +2:1=1", "2 0-9 ok s2={} +1:1=2"],
        &[Kind::G2],
    ),
    Case(
        "two inserts into one set that both saw empty",
        Predicates(Serializable),
        &["1 0-9 ok s1={} +1:1=1", "2 0-9 ok s1={} +1:2=2", "3 20-21 ok s1={1=1,2=2}"],
        &[Kind::G2],
    ),
    Case(
        "three inserts in a circle",
        Predicates(Serializable),
        &["1 0-9 ok s1={} +2:1=1", "2 0-9 ok s2={} +3:1=2", "3 0-9 ok s3={} +1:1=3"],
        &[Kind::G2],
    ),
    Case(
        "an insert and a register",
        Everything(Serializable),
        &["1 0-9 ok s1={} w5=1", "2 0-9 ok r5=_ +1:1=2"],
        &[Kind::G2],
    ),
    Case(
        "an insert and a list",
        Everything(Serializable),
        &["1 0-9 ok s1={} a5=1", "2 0-9 ok r5=[] +1:1=2", "3 20-21 ok s1={1=2} r5=[1]"],
        &[Kind::G2],
    ),
    Case(
        "one of two rows of a transaction",
        Predicates(Snapshot),
        &["1 0-9 ok +1:1=1 +2:1=2", "2 0-9 ok s1={} s2={1=2}"],
        &[Kind::GSinglePredicate],
    ),
    Case(
        "one of two rows in one set",
        Predicates(Serializable),
        &["1 0-9 ok +1:1=1 +1:2=2", "2 0-9 ok s1={2=2}"],
        &[Kind::GSinglePredicate],
    ),
    Case(
        "a deleted row beside its successor",
        Predicates(Snapshot),
        &["1 0-1 ok +1:1=1", "2 2-9 ok s1={1=1} -1:1 +1:2=2", "3 2-9 ok s1={1=1,2=2}"],
        &[Kind::GSinglePredicate],
    ),
    Case(
        "two deletes of what the other one counted on",
        Predicates(Serializable),
        &["1 0-1 ok +1:1=1 +1:2=2", "2 2-9 ok s1={1=1,2=2} -1:1", "3 2-9 ok s1={1=1,2=2} -1:2"],
        &[Kind::G2],
    ),
    Case(
        "a row of a failed transaction",
        Predicates(ReadCommitted),
        &["1 0-9 fail +1:1=1", "2 0-9 ok s1={1=1}"],
        &[Kind::G1a],
    ),
    Case("a row of nobody", Predicates(ReadCommitted), &["1 0-9 ok s1={1=1}"], &[Kind::NeverWritten]),
    Case(
        "a row with another value",
        Predicates(ReadCommitted),
        &["1 0-1 ok +1:1=1", "2 2-3 ok s1={1=8}"],
        &[Kind::NeverWritten],
    ),
    Case(
        "inserts that see each other",
        Predicates(ReadCommitted),
        &["1 0-9 ok +1:1=1 s2={1=2}", "2 0-9 ok +2:1=2 s1={1=1}"],
        &[Kind::G1c],
    ),
    Case(
        "a scan without a row that was acknowledged",
        Predicates(Serializable),
        &["1 0-1 ok +1:1=1", "2 2-3 ok s1={}"],
        &[Kind::G2RealTime],
    ),
    Case(
        "a scan with a row whose delete was acknowledged",
        Predicates(Serializable),
        &["1 0-1 ok +1:1=1", "2 2-3 ok s1={1=1} -1:1", "3 4-5 ok s1={1=1}"],
        &[Kind::G2RealTime],
    ),
    Case(
        "a row of the future",
        Predicates(Serializable),
        &["1 0-1 ok s1={1=1}", "2 2-3 ok +1:1=1"],
        &[Kind::G1cRealTime],
    ),
    Case(
        "an own row that is not seen",
        Predicates(ReadCommitted),
        &["1 0-9 ok +1:1=1 s1={}"],
        &[Kind::Internal],
    ),
    Case(
        "an own delete that is not seen",
        Predicates(ReadCommitted),
        &["1 0-1 ok +1:1=1", "2 2-3 ok s1={1=1} -1:1 s1={1=1}"],
        &[Kind::Internal],
    ),
    Case(
        "a row that comes between two scans",
        Predicates(Snapshot),
        &["1 0-9 ok s1={} s1={1=1}", "2 0-9 ok +1:1=1"],
        &[Kind::Internal, Kind::GSinglePredicate],
    ),
    Case(
        "two readers, two orders",
        LongFork,
        &["1 0-9 ok w1=1", "2 0-9 ok w2=2", "3 0-9 ok r1=1 r2=_", "4 0-9 ok r1=_ r2=2"],
        &[Kind::LongFork],
    ),
    Case(
        "two orders among many readers, times apart",
        LongFork,
        &[
            "1 0-1 ok w1=1",
            "2 0-1 ok w2=2",
            "3 0-1 ok w3=3",
            "4 2-3 ok r1=_ r2=_ r3=_",
            "5 4-5 ok r1=1 r2=_ r3=_",
            "6 6-7 ok r1=1 r2=2 r3=_",
            "7 8-9 ok r1=1 r2=_ r3=3",
            "8 10-11 ok r1=1 r2=2 r3=3",
        ],
        &[Kind::LongFork],
    ),
    Case("a key written twice", LongFork, &["1 0-9 ok w1=1", "2 0-9 ok w1=2"], &[Kind::BadHistory]),
];

#[test]
fn all_are_found() {
    judge_all(CASES);
}
