//! What a statement costs in allocations, on a node in the simulator, where every run is the same.
//!
//! Times differ from machine to machine; counts do not. A bound here is the figure measured when it was last lowered, with
//! a little room: when a change makes it fail, either the change wastes something, or it is worth saying so here.

#[path = "../queries/harness.rs"]
#[allow(dead_code, reason = "the queries use the rest")]
mod harness;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use harness::with_node;

/// Counts allocations while asked to.
struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything through to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ON.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        }
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised to us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: u64 = 200;
/// It is moved once for each layer that boxes it.
const FUTURE_BYTES_MAX: usize = 4_000;

/// Allocations and bytes of one execution of each of `steps`, run in turn (prepared, one parameter each).
async fn cost(client: &mut harness::Client, steps: &[&str]) -> (u64, u64) {
    for (number, sql) in steps.iter().enumerate() {
        client.prepare(&format!("s{number}"), sql).await;
    }
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            ALLOCATIONS.store(0, Ordering::Relaxed);
            BYTES.store(0, Ordering::Relaxed);
            ON.store(true, Ordering::Relaxed);
        }
        for number in 0..steps.len() {
            client.execute(&format!("s{number}"), &(1 + round % 50).to_string()).await;
        }
    }
    ON.store(false, Ordering::Relaxed);
    (ALLOCATIONS.load(Ordering::Relaxed) / ROUNDS, BYTES.load(Ordering::Relaxed) / ROUNDS)
}

/// One test only: the counters are the process's.
#[test]
fn statements_allocate_no_more_than_they_did() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, filler char(84));
            INSERT INTO t SELECT i, i, 'x' FROM generate_series(1, 100) i;
            CREATE TABLE log (id int, note text)";
        assert_eq!(client.run(setup).await, "");
        let cases: &[(&str, &[&str], u64)] = &[
            ("point select", &["SELECT n FROM t WHERE id = $1"], 72),
            ("point update", &["UPDATE t SET n = n + 1 WHERE id = $1"], 184),
            ("insert", &["INSERT INTO log VALUES ($1, 'a note')"], 128),
            (
                "transaction",
                &[
                    "BEGIN",
                    "UPDATE t SET n = n + 1 WHERE id = $1",
                    "SELECT n FROM t WHERE id = $1",
                    "INSERT INTO log VALUES ($1, 'a note')",
                    "COMMIT",
                ],
                310,
            ),
        ];
        let mut report = String::new();
        let mut wasteful = false;
        for (name, steps, allowed) in cases {
            let (allocations, bytes) = cost(&mut client, steps).await;
            report += &format!("{name}: {allocations} allocations of {allowed}, {bytes} bytes\n");
            wasteful |= allocations > *allowed;
            client.discard().await;
        }
        let future = client.execution_future_bytes();
        report += &format!("future of an execution: {future} bytes\n");
        wasteful |= future > FUTURE_BYTES_MAX;
        println!("{report}");
        assert!(!wasteful, "more allocations than before:\n{report}");
    });
}
