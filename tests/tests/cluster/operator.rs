//! Nodes join, are emptied before a stop, and leave for good; by the commands that an operator has.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use basalt_tests::{
    binary,
    chaos::wait::until,
    cluster::{
        member::Member,
        real::{Plan, RealCluster},
        session::Session,
        status::{own_id, rows},
    },
    run,
};
use tempfile::TempDir;

use crate::NODES;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `basalt node`, for the node that is asked, and returns what it printed.
fn node_command(member: &Member, words: &[&str]) -> String {
    let url = url(member);
    let arguments = [&["node"][..], words, &["--url", url.as_str()]].concat();
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}: {said}{complaint}", output.status);
    said
}

fn url(member: &Member) -> String {
    format!("postgresql://postgres@127.0.0.1:{}/postgres", member.site.sql_port)
}

/// The status of each node, as `ls` lists them.
fn listed(member: &Member) -> BTreeMap<i64, String> {
    let said = node_command(member, &["ls"]);
    let mut lines = said.lines();
    assert!(lines.next().unwrap_or_default().starts_with("node_id"), "{said}");
    let listed = lines.map(|line| {
        let mut words = line.split_whitespace();
        let id = words.next().and_then(|word| word.parse().ok());
        (id.unwrap_or_else(|| panic!("no node: {line}")), words.next().unwrap_or_default().to_owned())
    });
    listed.collect()
}

async fn until_listed(member: &Member, id: i64, status: &str) {
    let what = format!("node {id} is {status}");
    let is_listed = async || Ok(listed(member).get(&id).map(String::as_str) == Some(status));
    until(&what, Duration::from_secs(20), is_listed).await.unwrap();
}

/// Waits for a command that runs to say so.
async fn until_said(log: &Path, text: &str) {
    let said = || fs::read_to_string(log).unwrap();
    let heard = until(text, PATIENCE, async || Ok(said().contains(text))).await;
    assert!(heard.is_ok(), "{text:?} is not in {:?}", said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_listed_and_a_drained_one_serves_nothing_until_it_is_taken_back() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::start(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    cluster.whole(NODES, PATIENCE).await.unwrap();
    let ids = cluster.ids().await.unwrap();
    let live: BTreeMap<i64, String> = ids.iter().map(|id| (*id, "live".to_owned())).collect();
    for member in &cluster.members {
        assert_eq!(listed(member), live);
    }
    let busiest = cluster.busiest().await.unwrap();
    let (drained, id) = (&cluster.members[busiest], ids[busiest]);
    let said = node_command(drained, &["drain"]);
    assert!(said.contains(&format!("node {id}: 0 leases left")), "{said}");
    assert!(said.contains(&format!("node {id} serves no range that another node could serve")), "{said}");
    let asked = &cluster.members[(busiest + 1) % NODES];
    until_listed(asked, id, "draining").await;
    // By those who took them, after statements that want all of them.
    let client = asked.connect().await.unwrap();
    client.batch_execute("create table t (id int8 primary key); insert into t values (1)").await.unwrap();
    let held = format!("select count(*) from basalt_ranges where leaseholder = {id}");
    until("the drained node has no lease", Duration::from_secs(10), async || {
        Ok(rows(&client, &held).await? == [[Some("0".to_owned())]])
    })
    .await
    .unwrap();
    // It is a way to the others all the same.
    let through = drained.connect().await.unwrap();
    through.batch_execute("insert into t values (2)").await.unwrap();

    let said = node_command(drained, &["drain", "--undo"]);
    assert!(said.contains("takes leases again"), "{said}");
    until_listed(asked, id, "live").await;
    cluster.stop(busiest).await.unwrap();
    assert_eq!(rows(&client, "select count(*) from t").await.unwrap(), [[Some("2".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_when_another_has_room_for_what_it_holds() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::prepare(&Plan::new(&binary(), folder.path(), NODES + 1)).await.unwrap();
    for node in 0..NODES {
        cluster.start_node(node).await.unwrap();
    }
    let leaving = NODES - 1;
    let id = own_id(&cluster.members[leaving]).await.unwrap();
    let client = cluster.members[0].connect().await.unwrap();
    client
        .batch_execute("create table t (id int8 primary key); insert into t values (1), (2)")
        .await
        .unwrap();
    until("every range has its three replicas", PATIENCE, async || {
        let ranges = cluster.ranges().await?;
        Ok(ranges.iter().all(|range| range.replicas.len() == NODES && range.replicas.contains(&id)))
    })
    .await
    .unwrap();

    let refused = run(&["node", "decommission", "99", "--url", &url(&cluster.members[0])]);
    assert!(!refused.status.success());
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert!(complaint.contains("node 99 does not exist"), "{complaint}");

    // It goes on until it is done, so it is read while it runs.
    let log = folder.path().join("decommission.log");
    let output = File::create(&log).unwrap();
    let mut command = Command::new(binary())
        .args(["node", "decommission", &id.to_string(), "--url", &url(&cluster.members[0])])
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    until_said(&log, "replicas left").await;
    until_said(&log, "is there another node that could take them?").await;
    assert!(command.try_wait().unwrap().is_none(), "{}", said());
    assert_eq!(listed(&cluster.members[0])[&id], "decommissioning");
    // Two nodes are too few for three replicas: none was given up.
    let ranges = cluster.ranges().await.unwrap();
    assert!(ranges.iter().all(|range| range.replicas.len() == NODES), "{ranges:?}");

    cluster.start_node(NODES).await.unwrap();
    until_said(&log, "is no part of the cluster").await;
    until("the command ends", PATIENCE, async || Ok(command.try_wait()?.is_some())).await.unwrap();
    assert!(command.wait().unwrap().success(), "{}", said());
    println!("{}", said());
    assert_eq!(listed(&cluster.members[0])[&id], "decommissioned");
    for range in cluster.ranges().await.unwrap() {
        assert!(range.replicas.len() == NODES && !range.replicas.contains(&id), "{range:?}");
    }
    // Its process hears that it is no part of the cluster, and ends.
    cluster.members[leaving].ends(PATIENCE).await.unwrap();
    let newest = cluster.members[NODES].connect().await.unwrap();
    assert_eq!(rows(&newest, "select count(*) from t").await.unwrap(), [[Some("2".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_becomes_three_and_its_data_outlives_it() {
    const ROWS: i64 = 3_000;
    let patience = Duration::from_secs(60);
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::prepare(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    cluster.start_node(0).await.unwrap();
    let client = cluster.members[0].connect().await.unwrap();
    client.batch_execute("create table t (id int8 primary key, pad text not null)").await.unwrap();
    // More than one range, at the size that the plan sets.
    let fill = format!("insert into t select i, repeat('x', 1000) from generate_series(1, {ROWS}) as g(i)");
    client.batch_execute(&fill).await.unwrap();
    cluster.start_node(1).await.unwrap();
    cluster.start_node(2).await.unwrap();
    cluster.whole(NODES, patience).await.unwrap();
    client.batch_execute("insert into t values (0, 'by three')").await.unwrap();
    let ranges = cluster.ranges().await.unwrap();
    assert!(ranges.len() > 1, "{ranges:?}");
    let told = "select count(*) from basalt_nodes where used_bytes > 0 and used_bytes + available_bytes <= capacity_bytes";
    let all_told = until("all nodes tell their capacity", patience, async || {
        Ok(rows(&client, told).await?[0][0].as_deref() == Some("3"))
    });
    all_told.await.unwrap();
    cluster.kill(0).unwrap();
    for node in [1, 2] {
        let mut session = Session::new(&[cluster.members[node].site.sql_port], 0);
        let mut counted = Vec::new();
        // The leases have to expire first.
        let counts = until("a node alone with another counts", patience, async || {
            match rows(session.client().await?, "select count(*), sum(length(pad)) from t").await {
                Ok(rows) => counted = rows,
                Err(error) => println!("node {}: {error:?}", node + 1),
            }
            Ok(!counted.is_empty())
        });
        counts.await.unwrap();
        let expected = vec![Some((ROWS + 1).to_string()), Some((ROWS * 1_000 + 8).to_string())];
        assert_eq!(counted, [expected]);
    }
}
