//! What transactions cost, in numbers that do not depend on the machine. `docs/benchmarks.md` has the table.

use basalt_sim::{Cost, Shape, cost};

#[test]
fn transactions_cost_what_the_documentation_says() {
    let expected = [
        (
            Shape::OneRange,
            Cost { delays: 2, commit_delays: 2, entries: 1, requests: 0, messages: 13, syncs: 3 },
        ),
        (
            Shape::TwoRanges,
            Cost { delays: 6, commit_delays: 6, entries: 6, requests: 3, messages: 51, syncs: 11 },
        ),
        (
            Shape::Elsewhere,
            Cost { delays: 6, commit_delays: 4, entries: 1, requests: 3, messages: 14, syncs: 3 },
        ),
    ];
    for (shape, expected) in expected {
        assert_eq!(cost(shape), expected, "{shape:?}");
    }
}
