//! Histories that are as they should be, some of them barely.

use super::{
    Case,
    Check::{Bank, Everything, GrowingReads, Linearizable, Lists, LongFork, Predicates, Registers, Sets},
    judge_all,
};
use crate::check::{
    Level::{ReadCommitted, Serializable, Snapshot},
    rw_register::Inference::{RealTime, Transactions},
};

pub(super) const CASES: &[Case] = &[
    Case("nothing", Everything(Serializable), &[], &[]),
    Case(
        "one after the other",
        Lists(Serializable),
        &["1 0-1 ok a1=1 a2=1", "2 2-3 ok r1=[1] a2=2", "3 4-5 ok r1=[1] r2=[1,2]"],
        &[],
    ),
    Case(
        "causal reverse: the later of two writes is seen alone",
        Lists(Serializable),
        &["1 0-1 ok a1=1", "2 2-3 ok a2=2", "3 0-9 ok r1=[] r2=[2]", "4 10-11 ok r1=[1] r2=[2]"],
        &[],
    ),
    Case(
        "causal reverse of a transaction that shares a key by reading only",
        Lists(Serializable),
        &["1 0-9 ok a1=1", "2 1-3 ok r5=[] r1=[1]", "3 4-5 ok r5=[] a2=2", "4 0-9 ok r1=[] r2=[2]"],
        &[],
    ),
    Case(
        "causal reverse of registers",
        Registers(Serializable, RealTime),
        &["1 0-1 ok w1=1", "2 2-3 ok w2=2", "3 0-9 ok r1=_ r2=2", "4 10-11 ok r1=1 r2=2"],
        &[],
    ),
    Case(
        "an unknown append that is seen late, and one that is never seen",
        Lists(Serializable),
        &["1 0-? ? a1=1", "2 0-? ? a1=2", "3 5-6 ok r1=[]", "4 50-51 ok r1=[1]"],
        &[],
    ),
    Case(
        "failed transactions and what they saw",
        Lists(Serializable),
        &["1 0-9 fail a1=1 r2=[7,8]", "2 0-9 fail r1=[1] a1=2 a1=3 r1=[9]", "3 20-21 ok r1=[] r2=[]"],
        &[],
    ),
    Case(
        "an unknown transaction that had no effect, and what it saw",
        Registers(Serializable, RealTime),
        &["1 0-9 fail w1=1", "2 0-? ? r1=1 w2=2", "3 20-21 ok r1=_ r2=_"],
        &[],
    ),
    Case(
        "several appends at once, with own reads between them",
        Lists(Serializable),
        &["1 0-9 ok a1=1 r1=[1] a1=2 r1=[1,2] a2=3", "2 0-9 ok r2=[] r1=[]", "3 0-9 ok r1=[1,2] r2=[3]"],
        &[],
    ),
    Case(
        "an acknowledged append after the last read",
        Lists(Serializable),
        &["1 0-1 ok a1=1", "2 2-3 ok r1=[1]", "3 4-5 ok a1=2", "4 4-5 ok r1=[1] a3=1", "5 6-7 ok a1=3"],
        &[],
    ),
    Case(
        "write skew, where only snapshots are promised",
        Lists(Snapshot),
        &["1 0-9 ok r1=[] a2=2", "2 0-9 ok r2=[] a1=1", "3 20-21 ok r1=[1] r2=[2]"],
        &[],
    ),
    Case(
        "read skew and reads that change, where only committed ones are promised",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1 a2=1", "2 0-9 ok r1=[] r2=[1] r1=[1]"],
        &[],
    ),
    Case(
        "overlapping reads that see a write, and do not",
        Registers(Serializable, RealTime),
        &["1 0-9 ok w1=1", "2 1-5 ok r1=1", "3 4-6 ok r1=_", "4 8-9 ok r1=1", "5 10-11 ok r1=1"],
        &[],
    ),
    Case(
        "blind writes whose order nobody knows",
        Registers(Serializable, Transactions),
        &["1 0-9 ok w1=1 w2=1", "2 0-9 ok w1=2 w2=2", "3 20-21 ok r1=1 r2=1"],
        &[],
    ),
    Case(
        "a chain of increments",
        Registers(Serializable, RealTime),
        &["1 0-9 ok r1=_ w1=1", "2 0-9 ok r1=1 w1=2", "3 0-9 ok r1=2 w1=3 r1=3", "4 10-11 ok r1=3"],
        &[],
    ),
    Case(
        "an insert that a scan came before, and one that it saw",
        Predicates(Serializable),
        &["1 0-9 ok s1={} +2:1=1", "2 0-9 ok s2={1=1} +1:1=2", "3 20-21 ok s1={1=2} s2={1=1}"],
        &[],
    ),
    Case(
        "a row that is deleted, and replaced by another one",
        Predicates(Serializable),
        &["1 0-1 ok +1:1=1", "2 2-9 ok s1={1=1} -1:1 +1:2=2", "3 2-9 ok s1={1=1}", "4 10-11 ok s1={2=2}"],
        &[],
    ),
    Case(
        "an unknown delete, done or not",
        Predicates(Serializable),
        &["1 0-1 ok +1:1=1", "2 2-? ? s1={1=1} -1:1", "3 5-6 ok s1={1=1}", "4 7-8 ok s1={}"],
        &[],
    ),
    Case(
        "a delete of a row that is not there yet",
        Predicates(Serializable),
        &["1 0-9 ok s1={} -1:1", "2 0-9 ok +1:1=1", "3 20-21 ok s1={1=1}"],
        &[],
    ),
    Case(
        "writes that all readers see in one order",
        LongFork,
        &[
            "1 0-9 ok w1=1",
            "2 0-9 ok w2=2",
            "3 0-9 ok r1=1 r2=_",
            "4 0-9 ok r1=1 r2=2",
            "5 0-9 fail r1=_ r2=2",
        ],
        &[],
    ),
    Case(
        "elements that come and go",
        Sets,
        &[
            "1 0-1 ok +1:1=1",
            "2 0-? ? +1:2=2",
            "3 0-1 fail +1:3=3",
            "4 5-6 ok s1={1=1}",
            "5 7-8 ok s1={1=1,2=2}",
            "6 8-? ? -1:2",
            "7 9-10 ok -1:1",
            "8 11-12 ok s1={2=2}",
            "9 13-14 ok s1={}",
        ],
        &[],
    ),
    Case(
        "transfers, partial reads and one that failed",
        Bank(2, 10),
        &[
            "1 0-1 ok r1=5 r2=5 w1=4 w2=6 r1=4 r2=6",
            "2 2-3 ok r1=4 r2=6",
            "3 2-3 ok r1=4",
            "4 2-3 fail r1=4 r2=5",
        ],
        &[],
    ),
    Case(
        "overlapping reads of a growing value",
        GrowingReads,
        &["1 0-9 ok r1=_ w1=1", "2 1-3 ok r1=1", "3 2-4 ok r1=_", "4 10-11 ok r1=1 w1=2"],
        &[],
    ),
    Case(
        "a register with overlapping and unknown operations",
        Linearizable,
        &[
            "1 0-9 ok w1=1",
            "2 1-2 ok r1=_",
            "3 3-4 ok r1=1",
            "4 3-? ? w1=2",
            "5 20-21 ok r1=2",
            "6 22-23 ok r1=2 w1=3",
        ],
        &[],
    ),
];

#[test]
fn none_is_accused() {
    judge_all(CASES);
}
