//! A disk that breaks under a running node.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use basalt_tests::{Node, PATIENCE};
use tempfile::TempDir;

/// A library whose syncs fail on request, to be loaded before the system's.
fn fail_syncs(folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("native/fail_syncs.c");
    let library = folder.join("fail_syncs.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .expect("the build needs a C compiler too");
    assert!(compiled.success());
    library.display().to_string()
}

#[tokio::test]
async fn a_log_that_cannot_be_synced_ends_the_node_and_loses_nothing_acknowledged() {
    let folder = TempDir::new().unwrap();
    let library = fail_syncs(folder.path());
    let (marker, said) = (folder.path().join("broken"), folder.path().join("said"));
    let mut node = Node::start_prepared(&[], {
        let (marker, said) = (marker.clone(), said.clone());
        move |command| {
            let said = File::create(&said).expect("there is room for what the node says");
            command.env("LD_PRELOAD", &library).env("FAIL_SYNCS_WHILE", &marker).stderr(said);
        }
    });
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();

    File::create(&marker).unwrap();
    let refused = tokio::time::timeout(PATIENCE, client.execute("INSERT INTO t VALUES (2)", &[])).await;
    refused.expect("an answer, or the end of the connection").unwrap_err();
    assert_eq!(node.ended().await.code(), Some(1));
    let said = fs::read_to_string(&said).unwrap();
    // Other threads may log their end after it.
    let reason = said.lines().find(|line| line.starts_with("basalt: store ")).unwrap_or_default();
    assert!(reason.contains("has failed"), "{said}");
    assert!(reason.contains("log/") && reason.contains("Input/output error"), "{said}");

    fs::remove_file(&marker).unwrap();
    node.restart();
    let client = node.connect().await;
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    // What was not acknowledged may be there all the same: its bytes were written.
    assert_eq!(rows[0].get::<_, i32>(0), 1);
    client.execute("INSERT INTO t VALUES (3)", &[]).await.unwrap();
}
