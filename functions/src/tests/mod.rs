#[test]
fn registry_builds() {
    assert!(crate::registry().functions.len() > 100);
}
