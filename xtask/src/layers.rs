//! The layering: which crate of the workspace uses which, checked against `layers.toml`.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{
    json::Json,
    process::{cargo, output, root},
};

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The crate's name in `layers.toml`.
fn short(name: &str) -> &str {
    name.strip_prefix("basalt-").unwrap_or(name)
}

/// Lines of the form `name = ["name", …]`, which may continue; `#` begins a comment.
fn allowed(text: &str) -> Edges {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let joined = lines.collect::<String>();
    let mut edges = Edges::new();
    for entry in joined.split(']').filter(|entry| !entry.trim().is_empty()) {
        let (name, uses) = entry.split_once("= [").expect("every entry is name = [...]");
        let uses = uses.split(',').map(|used| used.trim().trim_matches('"').to_owned());
        let uses = uses.filter(|used| !used.is_empty()).collect();
        assert!(edges.insert(name.trim().to_owned(), uses).is_none(), "{name} is there twice");
    }
    edges
}

/// What the manifests say, by kind of dependency.
fn actual(metadata: &Json, development: bool) -> Edges {
    let mut edges = Edges::new();
    for package in metadata.get("packages").expect("cargo lists packages").list() {
        let name = package.get("name").and_then(Json::text).expect("a package has a name");
        let uses = edges.entry(short(name).to_owned()).or_default();
        for dependency in package.get("dependencies").expect("a package has dependencies").list() {
            let is_ours = dependency.get("path").is_some_and(|path| path.text().is_some());
            let is_development = dependency.get("kind").and_then(Json::text) == Some("dev");
            if is_ours && is_development == development {
                uses.insert(
                    short(dependency.get("name").and_then(Json::text).expect("it has a name")).to_owned(),
                );
            }
        }
    }
    edges
}

fn metadata() -> Json {
    let text = output(cargo().args(["metadata", "--no-deps", "--offline", "--format-version", "1"]));
    Json::parse(&text.expect("cargo describes the workspace")).expect("cargo prints JSON")
}

fn listed() -> Edges {
    allowed(&fs::read_to_string(root().join("layers.toml")).expect("the list is there"))
}

#[test]
fn crates_use_only_what_their_layer_may() {
    let allowed = listed();
    let actual = actual(&metadata(), false);
    assert_eq!(
        actual.keys().collect::<Vec<_>>(),
        allowed.keys().collect::<Vec<_>>(),
        "crates of the workspace"
    );
    let mut wrong = Vec::new();
    for (name, uses) in &actual {
        for used in uses.difference(&allowed[name]) {
            wrong.push(format!("{name} -> {used}"));
        }
    }
    assert!(wrong.is_empty(), "not allowed by layers.toml: {}", wrong.join(", "));
}

/// Tests may reach for an implementation of what their crate abstracts, but never upwards into SQL or the server.
#[test]
fn tests_do_not_reach_upwards() {
    let top: BTreeSet<&str> = ["server", "sql-analytic", "pgwire"].into();
    for (name, uses) in actual(&metadata(), true) {
        let upwards: Vec<_> = uses.iter().filter(|used| top.contains(used.as_str())).collect();
        assert!(upwards.is_empty() || top.contains(name.as_str()), "{name} tests with {upwards:?}");
    }
}

#[test]
fn the_list_has_no_cycles() {
    let mut left = listed();
    loop {
        let bottom: Vec<String> =
            left.iter().filter(|(_, uses)| uses.is_empty()).map(|(name, _)| name.clone()).collect();
        if bottom.is_empty() {
            break;
        }
        for name in &bottom {
            left.remove(name);
        }
        for uses in left.values_mut() {
            uses.retain(|used| !bottom.contains(used));
        }
    }
    assert!(left.is_empty(), "these use each other: {:?}", left.keys());
}

#[test]
fn the_reader_of_the_list_sees_every_form() {
    let edges = allowed("# comment\na = []\nb = [\"a\"] # more\nc = [\n  \"a\", \"b\",\n]\n");
    assert_eq!(edges["c"], BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_eq!(edges["b"].len(), 1);
    assert!(edges["a"].is_empty());
}
