//! The program: settings, exit codes, a store that is in use.

use std::{
    fs,
    process::{Child, Command, Stdio},
    str,
    time::{Duration, Instant},
};

use basalt_tests::{Node, PATIENCE, binary, run};
use tokio_postgres::{NoTls, error::SqlState};

fn fails(arguments: &[&str], code: i32, message: &str) {
    let output = run(arguments);
    let stderr = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
}

#[test]
fn a_second_process_on_a_store_is_refused() {
    let node = Node::start(&[]);
    let store = node.store();
    let arguments = ["start", "--insecure", "--sql-addr", "127.0.0.1:0", "--store", store.to_str().unwrap()];
    fails(&arguments, 1, "in use by another process");
}

#[test]
fn wrong_settings_are_refused() {
    fails(&["start"], 2, "--insecure");
    fails(&["start", "--insecure", "--sql-addr", "0.0.0.0:0"], 2, "loopback");
    fails(&["start", "--insecure", "--cache", "lots"], 2, "not a size");
    fails(&["start", "--insecure", "--max-clock-offset", "1m"], 2, "not a time");
    fails(&["start", "--insecure", "--max-clock-offset", "5s"], 2, "must be between 20ms and 1s");
    fails(&["cluster", "--insecure", "--max-clock-offset", "5s"], 2, "must be between 20ms and 1s");
    fails(&["start", "--nonsense"], 2, "--nonsense");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("basalt.toml");
    fs::write(&file, "log = \"info\"\nsql_port = 1\n").unwrap();
    fails(&["start", "--insecure", "--config", file.to_str().unwrap()], 2, "line 2");
    fails(&["start", "--insecure", "--config", "missing.toml"], 2, "missing.toml");
}

#[test]
fn the_version_is_printed() {
    let output = run(&["version"]);
    assert!(output.status.success());
    assert!(str::from_utf8(&output.stdout).unwrap().starts_with("basalt "));
}

/// A node that nobody answers: it waits for the cluster that it is to join.
fn waiting_node(store: &std::path::Path, port: u16, more: &[&str]) -> Child {
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(binary());
    command.args([
        "start",
        "--insecure",
        "--log",
        "error",
        "--join",
        "127.0.0.1:9",
        "--rpc-addr",
        "127.0.0.1:0",
    ]);
    command.args(["--sql-addr", &address, "--store"]).arg(store).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_node_that_starts_says_so() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut node = waiting_node(&folder.path().join("store"), port, &[]);
    let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let Err(error) = tokio_postgres::connect(&url, NoTls).await else { panic!("it serves alone") };
        match error.as_db_error() {
            Some(answer) => break answer.clone(),
            None => assert!(Instant::now() < deadline && node.try_wait().unwrap().is_none(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(answer.code(), &SqlState::CANNOT_CONNECT_NOW);
    assert_eq!(answer.message(), "the database system is starting up");
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn a_port_that_is_taken_is_noticed_before_a_store_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["start", "--insecure", "--sql-addr", &address, "--store", store.to_str().unwrap()];
    fails(&arguments, 1, "cannot listen on");
    assert!(!store.join("LOCK").exists());
}

#[test]
fn a_node_may_end_with_its_standard_input() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut node = waiting_node(&folder.path().join("store"), port, &["--stop-with-stdin"]);
    drop(node.stdin.take());
    assert!(node.wait().unwrap().success());
}
