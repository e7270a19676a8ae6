//! Lists that no serial order explains.

use super::{
    Case,
    Check::{Everything, Lists},
    judge_all,
};
use crate::check::{
    Kind,
    Level::{ReadCommitted, Serializable, Snapshot},
};

pub(super) const CASES: &[Case] = &[
    Case(
        "two writers in opposite orders",
        Lists(Serializable),
        &["1 0-9 ok a1=1 a2=1", "2 0-9 ok a1=2 a2=2", "3 0-9 ok r1=[1,2] r2=[2,1]"],
        &[Kind::G0],
    ),
    Case(
        "three writers in a circle",
        Lists(ReadCommitted),
        &[
            "1 0-9 ok a1=1 a3=1",
            "2 0-9 ok a1=2 a2=2",
            "3 0-9 ok a2=3 a3=3",
            "4 20-21 ok r1=[1,2] r2=[2,3] r3=[3,1]",
        ],
        &[Kind::G0],
    ),
    Case(
        "an append between two of another transaction",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1 a1=3", "2 0-9 ok a1=2", "3 20-21 ok r1=[1,2,3]"],
        &[Kind::G0],
    ),
    Case(
        "an element of a failed transaction",
        Lists(Serializable),
        &["1 0-9 fail a1=1", "2 0-9 ok r1=[1]"],
        &[Kind::G1a],
    ),
    Case(
        "an element of a failed transaction in the middle",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1", "2 0-9 fail a1=2 r1=[1,2]", "3 0-9 ok a1=3", "4 20-21 ok r1=[1,2,3]"],
        &[Kind::G1a],
    ),
    Case(
        "a failed element in a shorter read of another order",
        Lists(Serializable),
        &["1 0-9 ok a1=1 a1=3", "2 0-9 fail a1=2", "3 0-9 ok r1=[1,3]", "4 0-9 ok r1=[2]"],
        &[Kind::IncompatibleOrder, Kind::G1a],
    ),
    Case(
        "the first of two appends",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1 a1=2", "2 0-9 ok r1=[1]", "3 20-21 ok r1=[1,2]"],
        &[Kind::G1b],
    ),
    Case(
        "the first of two appends, at a higher level",
        Lists(Serializable),
        &["1 0-9 ok a1=1 a1=2", "2 0-9 ok r1=[1]"],
        &[Kind::G1b, Kind::GSingle],
    ),
    Case(
        "two transactions that see each other",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1 r2=[2]", "2 0-9 ok a2=2 r1=[1]"],
        &[Kind::G1c],
    ),
    Case(
        "three transactions that see each other in a circle",
        Lists(Serializable),
        &["1 0-9 ok a1=1 r3=[3]", "2 0-9 ok a2=2 r1=[1]", "3 0-9 ok a3=3 r2=[2]"],
        &[Kind::G1c],
    ),
    Case(
        "one that is seen, and written over",
        Lists(Snapshot),
        &["1 0-9 ok a1=1 a2=1", "2 0-9 ok a1=2 r2=[1]", "3 20-21 ok r1=[2,1] r2=[1]"],
        &[Kind::G1c],
    ),
    Case(
        "half of a transaction",
        Lists(Serializable),
        &["1 0-9 ok a1=1 a2=1", "2 0-9 ok r1=[] r2=[1]", "3 20-21 ok r1=[1] r2=[1]"],
        &[Kind::GSingle],
    ),
    Case(
        "half of a transaction that nobody saw whole",
        Lists(Snapshot),
        &["1 0-9 ok a1=1 a2=1", "2 0-9 ok r1=[] r2=[1]"],
        &[Kind::GSingle],
    ),
    Case(
        "a consequence without its cause",
        Lists(Serializable),
        &["1 0-9 ok a1=1", "2 0-9 ok r1=[1] a2=2", "3 0-9 ok r1=[] r2=[2]"],
        &[Kind::GSingle],
    ),
    Case(
        "half of an unknown transaction",
        Lists(Serializable),
        &["1 0-? ? a1=1 a2=2", "2 5-6 ok r1=[1] r2=[]"],
        &[Kind::GSingle],
    ),
    Case(
        "two appends to one state",
        Lists(Snapshot),
        &["1 0-9 ok r1=[] a1=1", "2 0-9 ok r1=[] a1=2", "3 20-21 ok r1=[1,2]"],
        &[Kind::LostUpdate],
    ),
    Case(
        "two appends to one state, never read",
        Lists(Serializable),
        &["1 0-9 ok r1=[] a1=1", "2 0-9 ok r1=[] a1=2"],
        &[Kind::LostUpdate],
    ),
    Case(
        "write skew",
        Lists(Serializable),
        &["1 0-9 ok r1=[] a2=2", "2 0-9 ok r2=[] a1=1", "3 20-21 ok r1=[1] r2=[2]"],
        &[Kind::WriteSkew],
    ),
    Case(
        "write skew of three",
        Lists(Serializable),
        &["1 0-9 ok r1=[] a2=2", "2 0-9 ok r2=[] a3=3", "3 0-9 ok r3=[] a1=1"],
        &[Kind::G2Item],
    ),
    Case(
        "write skew seen by a reader only",
        Lists(Serializable),
        // The anomaly of Fekete, O'Neil and O'Neil (2004): without the third transaction there is an order.
        &["1 0-9 ok r1=[] r2=[] a1=1", "2 0-9 ok r2=[] a2=2", "3 0-9 ok r1=[] r2=[2]"],
        &[Kind::G2Item],
    ),
    Case(
        "two writes in two orders",
        Lists(Snapshot),
        &["1 0-9 ok a1=1", "2 0-9 ok a2=2", "3 0-9 ok r1=[1] r2=[]", "4 0-9 ok r1=[] r2=[2]"],
        &[Kind::GNonadjacent],
    ),
    Case(
        "reads in two orders",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1", "2 0-9 ok a1=2", "3 0-9 ok r1=[1,2]", "4 0-9 ok r1=[2,1]"],
        &[Kind::IncompatibleOrder],
    ),
    Case(
        "a read with a gap",
        Lists(Serializable),
        &["1 0-9 ok a1=1", "2 0-9 ok a1=2", "3 0-9 ok a1=3", "4 0-9 ok r1=[1,2,3]", "5 0-9 ok r1=[1,3]"],
        &[Kind::IncompatibleOrder],
    ),
    Case(
        "an element twice in a row",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1", "2 0-9 ok r1=[1,1]"],
        &[Kind::Duplicate],
    ),
    Case(
        "an element again after others",
        Lists(Serializable),
        &["1 0-9 ok a1=1", "2 0-9 ok a1=2", "3 0-9 ok r1=[1,2,1]"],
        &[Kind::Duplicate, Kind::G0],
    ),
    Case(
        "an element of nobody",
        Lists(ReadCommitted),
        &["1 0-9 ok a1=1", "2 0-9 ok r1=[1,7]"],
        &[Kind::NeverWritten],
    ),
    Case(
        "an append that is gone",
        Lists(Serializable),
        &["1 0-5 ok a1=1", "2 10-15 ok r1=[]"],
        &[Kind::LostWrite],
    ),
    Case(
        "an append that is gone from between others",
        Lists(ReadCommitted),
        &["1 0-1 ok a1=1", "2 2-3 ok a1=2", "3 4-5 ok a1=3", "4 6-7 ok r1=[1,3]"],
        &[Kind::LostWrite],
    ),
    Case(
        "a read older than the last one",
        Lists(Serializable),
        &["1 0-1 ok a1=1", "2 2-3 ok r1=[1]", "3 4-5 ok r1=[]"],
        &[Kind::GSingleRealTime],
    ),
    Case(
        "an unknown append, seen and not seen",
        Lists(Serializable),
        &["1 0-? ? a1=1", "2 2-3 ok r1=[1]", "3 4-5 ok r1=[]"],
        &[Kind::GSingleRealTime],
    ),
    Case(
        "an append before one that had ended",
        Lists(Serializable),
        &["1 0-1 ok a1=1", "2 2-3 ok a1=2", "3 4-5 ok r1=[2,1]"],
        &[Kind::G0RealTime],
    ),
    Case(
        "an element of the future",
        Lists(Serializable),
        &["1 0-1 ok r1=[1]", "2 2-3 ok a1=1"],
        &[Kind::G1cRealTime],
    ),
    Case("an own append that is not seen", Lists(ReadCommitted), &["1 0-9 ok a1=1 r1=[]"], &[Kind::Internal]),
    Case(
        "a list that changes between two reads",
        Lists(Snapshot),
        &["1 0-9 ok r1=[] r1=[2]", "2 0-9 ok a1=2"],
        &[Kind::Internal, Kind::GSingle],
    ),
    Case(
        "an element that two transactions appended",
        Lists(Serializable),
        &["1 0-9 ok a1=1", "2 20-29 fail a1=1"],
        &[Kind::BadHistory],
    ),
    Case(
        "a circle over a list and a register",
        Everything(Serializable),
        &["1 0-9 ok a1=1 r2=_", "2 0-9 ok w2=2 r1=[]", "3 20-21 ok r1=[1] r2=2"],
        &[Kind::WriteSkew],
    ),
];

#[test]
fn all_are_found() {
    judge_all(CASES);
}
