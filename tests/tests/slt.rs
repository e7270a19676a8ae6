//! Every `.slt` file, against a node.

use std::path::Path;

use basalt_sqllogictest::{files, run_file};
use basalt_tests::Node;

#[tokio::test]
async fn statements_answer_as_postgresql_does() {
    let node = Node::start(&[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sqllogictest/slt");
    let files = files(&folder).expect("the files are there");
    assert!(files.len() > 20, "only {} files", files.len());
    let (mut passed, mut failures) = (0, Vec::new());
    for file in files {
        let result = run_file(&node.url(), &file).await;
        passed += result.passed;
        failures.extend(result.failures);
    }
    assert!(failures.is_empty(), "{passed} passed, {} failed\n{}", failures.len(), failures.join("\n"));
}
