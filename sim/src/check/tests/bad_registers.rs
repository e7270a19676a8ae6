//! Registers that no serial order explains.

use super::{Case, Check::Registers, judge_all};
use crate::check::{
    Kind,
    Level::{ReadCommitted, Serializable, Snapshot},
    rw_register::Inference::{RealTime, Transactions},
};

pub(super) const CASES: &[Case] = &[
    Case(
        "two writers in opposite orders",
        Registers(Serializable, RealTime),
        &["1 0-99 ok w1=1 w2=1", "2 0-99 ok w1=2 w2=2", "3 10-11 ok r1=1 r2=2", "4 20-21 ok r1=2 r2=1"],
        &[Kind::G0],
    ),
    Case(
        "a value of a failed transaction",
        Registers(ReadCommitted, Transactions),
        &["1 0-9 fail w1=1", "2 0-9 ok r1=1"],
        &[Kind::G1a],
    ),
    Case(
        "a failed value under an own write",
        Registers(Serializable, RealTime),
        &["1 0-9 fail w1=1", "2 0-9 ok r1=1 w1=2", "3 20-21 ok r1=2"],
        &[Kind::G1a],
    ),
    Case(
        "the first of two writes",
        Registers(ReadCommitted, Transactions),
        &["1 0-9 ok w1=1 w1=2", "2 0-9 ok r1=1"],
        &[Kind::G1b],
    ),
    Case(
        "two transactions that see each other",
        Registers(ReadCommitted, Transactions),
        &["1 0-9 ok w1=1 r2=2", "2 0-9 ok w2=2 r1=1"],
        &[Kind::G1c],
    ),
    Case(
        "unknown transactions that see each other",
        Registers(Serializable, Transactions),
        &["1 0-? ? w1=1 r2=2", "2 0-? ? w2=2 r1=1 w3=3", "3 5-6 ok r3=3"],
        &[Kind::G1c],
    ),
    Case(
        "values that replaced each other",
        Registers(Serializable, Transactions),
        &["1 0-9 ok r1=2 w1=1", "2 0-9 ok r1=1 w1=2"],
        &[Kind::CyclicVersions, Kind::G1c],
    ),
    Case(
        "half of a transaction",
        Registers(Snapshot, Transactions),
        &["1 0-9 ok w1=1 w2=1", "2 0-9 ok r1=_ r2=1"],
        &[Kind::GSingle],
    ),
    Case(
        "half of a transaction that replaced values",
        Registers(Serializable, Transactions),
        &["1 0-1 ok w1=1 w2=2", "2 2-9 ok r1=1 w1=3 r2=2 w2=4", "3 2-9 ok r1=1 r2=4"],
        &[Kind::GSingle],
    ),
    Case(
        "two increments of one value",
        Registers(Snapshot, Transactions),
        &["1 0-1 ok w1=1", "2 2-9 ok r1=1 w1=2", "3 2-9 ok r1=1 w1=3"],
        &[Kind::LostUpdate],
    ),
    Case(
        "two first increments",
        Registers(Serializable, RealTime),
        &["1 0-9 ok r1=_ w1=1", "2 0-9 ok r1=_ w1=2", "3 10-11 ok r1=2"],
        &[Kind::LostUpdate],
    ),
    Case(
        "write skew",
        Registers(Serializable, Transactions),
        &["1 0-9 ok r1=_ r2=_ w1=1", "2 0-9 ok r1=_ r2=_ w2=2"],
        &[Kind::WriteSkew],
    ),
    Case(
        "write skew of replaced values",
        Registers(Serializable, RealTime),
        &["1 0-1 ok w1=1 w2=2", "2 2-9 ok r1=1 r2=2 w1=3", "3 2-9 ok r1=1 r2=2 w2=4"],
        &[Kind::WriteSkew],
    ),
    Case(
        "write skew of three",
        Registers(Serializable, Transactions),
        &["1 0-9 ok r1=_ w2=2", "2 0-9 ok r2=_ w3=3", "3 0-9 ok r3=_ w1=1"],
        &[Kind::G2Item],
    ),
    Case(
        "two writes in two orders",
        Registers(Snapshot, Transactions),
        &["1 0-9 ok w1=1", "2 0-9 ok w2=2", "3 0-9 ok r1=1 r2=_", "4 0-9 ok r1=_ r2=2"],
        &[Kind::GNonadjacent],
    ),
    Case(
        "a value that had been replaced",
        Registers(Serializable, RealTime),
        &["1 0-1 ok w1=1", "2 2-3 ok w1=2", "3 4-5 ok r1=1"],
        &[Kind::GSingleRealTime],
    ),
    Case(
        "a value that had been replaced, without a serial promise",
        Registers(Snapshot, RealTime),
        &["1 0-1 ok w1=1", "2 2-3 ok w1=2", "3 4-5 ok r1=1"],
        &[Kind::CyclicVersions],
    ),
    Case(
        "an acknowledged write that is gone",
        Registers(Serializable, RealTime),
        &["1 0-1 ok w1=1", "2 2-3 ok r1=_"],
        &[Kind::GSingleRealTime],
    ),
    Case(
        "an unknown write, seen and not seen",
        Registers(Serializable, RealTime),
        &["1 0-? ? w1=1", "2 2-3 ok r1=1", "3 4-5 ok r1=_"],
        &[Kind::GSingleRealTime],
    ),
    Case(
        "a value of the future",
        Registers(Serializable, RealTime),
        &["1 0-1 ok r1=1", "2 2-3 ok w1=1"],
        &[Kind::G1cRealTime],
    ),
    Case(
        "a value of nobody",
        Registers(ReadCommitted, Transactions),
        &["1 0-9 ok w1=1", "2 0-9 ok r1=7"],
        &[Kind::NeverWritten],
    ),
    Case(
        "an own write that is not seen",
        Registers(ReadCommitted, Transactions),
        &["1 0-1 ok w1=1", "2 2-9 ok w1=2 r1=1"],
        &[Kind::Internal],
    ),
    Case(
        "a value that changes between two reads",
        Registers(Snapshot, Transactions),
        &["1 0-1 ok w1=1", "2 2-9 ok r1=_ r1=1"],
        &[Kind::Internal, Kind::GSingle],
    ),
];

#[test]
fn all_are_found() {
    judge_all(CASES);
}
