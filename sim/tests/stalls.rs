//! How long a fault may hold clients up, on a machine that is never busy. `docs/faults.md` has what real processes take.

use basalt_sim::{StallFault, stall};

const SEEDS: u64 = 20;

fn assert_short(fault: StallFault) {
    for seed in 1..=SEEDS {
        let stall = stall(fault, seed);
        let found = fault.figure(&stall);
        assert!(found <= fault.goal(), "seed {seed}: {found:?}\n{}", stall.errors.join("\n"));
    }
}

#[test]
fn a_dead_node_holds_up_clients_of_the_others_for_three_seconds_at_most() {
    assert_short(StallFault::Killed);
}

#[test]
fn a_frozen_node_holds_up_clients_of_the_others_for_three_seconds_at_most() {
    assert_short(StallFault::Frozen);
}

#[test]
fn a_cut_between_two_nodes_holds_up_their_clients_for_five_seconds_at_most() {
    assert_short(StallFault::Cut);
}

#[test]
fn without_a_majority_clients_learn_it_within_four_seconds() {
    assert_short(StallFault::Minority);
}
