use basalt_kv_api::{Capacity, Directory};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_of_itself_reaches_all() {
    // Nobody knows all: the second node stands between the others.
    let first = Seat::new(1);
    let first_address = (NodeId(1), first.address());
    let second = Seat::new(2).start(&[first_address]).await;
    let first = first.start(&[]).await;
    let third = Seat::new(3).start(&[second.known()]).await;
    let nodes = [first, second, third];
    for node in &nodes {
        until("all nodes", || {
            let infos = node.wire.nodes();
            infos.len() == 3
                && infos.iter().all(|info| info.locality == [("zone".into(), format!("z{}", info.node_id))])
        })
        .await;
    }
    nodes[0].wire.set_draining(true);
    let capacity = Capacity { size_bytes: 1_000, available_bytes: 500, used_bytes: 10 };
    assert!(nodes[0].wire.nodes().iter().all(|info| info.capacity.is_none()));
    nodes[0].wire.set_store(capacity);
    nodes[0].wire.set_addresses("sql:2", "http:3");
    for node in &nodes {
        until("the news", || {
            let statuses = node.wire.statuses();
            let status = &statuses[0];
            status.draining
                && status.capacity == Some(capacity)
                && (status.node.sql_address.as_str(), status.node.http_address.as_str())
                    == ("sql:2", "http:3")
                && node.wire.nodes()[0].draining
                && node.wire.nodes()[0].capacity == Some(capacity)
        })
        .await;
    }
    until("signs of life", || nodes[2].wire.statuses().iter().all(|status| status.silent_for.is_some()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_sight_of_all_asks_its_seeds() {
    let first = Seat::new(1).start(&[]).await;
    let mut second = Seat::new(2);
    second.seeds = vec![second.address(), first.address.clone()];
    let second = second.start(&[]).await;
    for node in [&first, &second] {
        until("both nodes", || node.wire.nodes().len() == 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_survives_a_restart() {
    let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let [first, second] = nodes.try_into().ok().unwrap();
    first.wire.remove_node(NodeId(2));
    in_time("the news", second.wire.until_cast_out()).await;
    let (env, folder) = (first.env.clone(), first.folder);
    until("the file", || {
        crate::address_book::read(&*env.disk).unwrap().records.iter().any(|record| record.removed)
    })
    .await;
    drop(first.wire);
    let again = Seat::at(1, Security::Insecure, folder).start(&[second.known()]).await;
    assert!(!again.wire.send(NodeId(2), Class::Raft, Bytes::new()));
    assert_eq!(again.wire.nodes().len(), 1);
}
