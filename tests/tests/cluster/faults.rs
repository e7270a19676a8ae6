//! Three nodes lose nothing while processes die, freeze, are cut off and are restarted, a minute each; and who restarts
//! them in turn shows clients no error.

use std::time::Duration;

use basalt_tests::{
    binary,
    cluster::{
        campaign::describe,
        nemesis::Nemesis,
        real::Plan,
        run::{Setting, run},
        workload::Kind,
    },
};
use tempfile::TempDir;

use crate::NODES;

async fn survives(nemesis: Nemesis, workload: Kind) {
    let folder = TempDir::new().unwrap();
    let plan = Plan::new(&binary(), folder.path(), NODES);
    let setting = Setting {
        workload,
        nemesis,
        time: Duration::from_secs(60),
        clients: 8,
        hold: Duration::from_secs(5),
        acknowledged_min: 1_000,
    };
    let report = run(&plan, &setting).await.unwrap();
    let told = describe(0, &report);
    println!("{told}");
    // A fault that has changed nothing, too few acknowledgements, and errors of a planned restart are among them.
    assert!(report.violations.is_empty(), "{told}");
    assert!(!report.faults.is_empty(), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_kept_when_leaseholders_are_killed() {
    survives(Nemesis::KillOne, Kind::Bank).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_stay_serializable_when_leaseholders_freeze() {
    survives(Nemesis::Freeze, Kind::ListAppend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_stay_linearizable_when_one_direction_is_cut() {
    survives(Nemesis::OneWay, Kind::Register).await;
}

/// Several statements each, over several ranges, with locks: what a node that stops must not cut short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_see_no_error_through_rolling_restarts() {
    survives(Nemesis::RollingRestart, Kind::Bank).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_and_their_index_stay_whole_through_rolling_restarts() {
    survives(Nemesis::RollingRestart, Kind::Set).await;
}
