//! What transactions cost, in numbers that do not depend on the machine. `docs/benchmarks.md` has the table.

use basalt_sim::{Cost, Shape, cost, idle};

/// Messages of Raft and syncs also depend on how what is sent meets; a tenth of them may come and go.
fn is_about(found: u64, expected: u64) -> bool {
    found.abs_diff(expected) <= expected / 10 + 1
}

/// So do bytes, which carry messages that belong to nothing in particular, too.
fn is_no_more(found: u64, expected: u64) -> bool {
    found <= expected + expected / 10 + 64
}

#[test]
fn transactions_cost_what_the_documentation_says() {
    let cost_of =
        |(delays, commit_delays), entries, requests, messages, syncs, (log_bytes, network_bytes)| Cost {
            delays,
            commit_delays,
            entries,
            requests,
            messages,
            syncs,
            log_bytes,
            network_bytes,
        };
    let expected = [
        (Shape::OneRange, cost_of((2, 2), 1, 0, 13, 3, (964, 1_524))),
        (Shape::TwoRanges, cost_of((4, 4), 4, 2, 41, 10, (4_242, 6_202))),
        (Shape::Elsewhere, cost_of((6, 4), 1, 3, 14, 3, (1_047, 2_791))),
        (Shape::ReadHere, cost_of((0, 0), 0, 0, 0, 0, (4, 23))),
        (Shape::ReadTwoRanges, cost_of((2, 0), 0, 1, 1, 0, (33, 455))),
    ];
    for (shape, expected) in expected {
        let mut found = cost(shape);
        assert!(is_about(found.messages, expected.messages), "{shape:?}: {found:?}");
        assert!(is_about(found.syncs, expected.syncs), "{shape:?}: {found:?}");
        assert!(is_no_more(found.log_bytes, expected.log_bytes), "{shape:?}: {found:?}");
        assert!(is_no_more(found.network_bytes, expected.network_bytes), "{shape:?}: {found:?}");
        (found.messages, found.syncs) = (expected.messages, expected.syncs);
        (found.log_bytes, found.network_bytes) = (expected.log_bytes, expected.network_bytes);
        assert_eq!(found, expected, "{shape:?}");
    }
}

#[test]
fn balance_wakes_no_idle_range() {
    let (left, balanced) = (idle(150, false), idle(150, true));
    assert!(left.moves == 0 && left.led_least == 0, "{left:?}");
    assert!(balanced.moves > 80 && balanced.led_least * 4 >= 150, "{balanced:?}");
    // A question and an answer for each other node, each time it is a node's turn.
    assert!(balanced.messages <= left.messages + 100, "{balanced:?}, {left:?}");
    assert!(balanced.raft_messages <= left.raft_messages + 20, "{balanced:?}, {left:?}");
}
