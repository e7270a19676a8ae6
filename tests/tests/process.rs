//! The program: settings, exit codes, a store that is in use.

use std::{fs, str};

use basalt_tests::{Node, run};

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
