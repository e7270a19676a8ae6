use super::*;
use crate::{
    address_book, handshake,
    message::{Answer, Book, PURPOSE_INTRODUCE},
};

const COPY: &str = "node 2: its store is a copy: another process has spoken as this node since";

/// A copy of a node's store, as far as the network has one.
async fn copy(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let [from, to] = [folder, &copy].map(|folder| os_env(PathBuf::from(folder.path())).disk);
    address_book::write(&*to, &address_book::read(&*from).unwrap()).await.unwrap();
    copy
}

fn seat(node: u64, folder: TempDir) -> Seat {
    Seat::at(node, Security::Insecure, folder)
}

/// Waits until both have met the life that the other one has now, on disk.
async fn meet(first: &Node, second: &Node) {
    for (one, other) in [(first, second), (second, first)] {
        let life = *address_book::read(&*other.env.disk).unwrap().lives.last().unwrap();
        until("a meeting", || {
            one.wire.send(other.node_id, Class::Raft, Bytes::new());
            let met = address_book::read(&*one.env.disk).unwrap().met;
            met.iter().any(|met| (met.node_id, met.life) == (other.node_id.0, life))
        })
        .await;
    }
}

fn stop(node: Node) -> TempDir {
    drop(node.wire);
    node.folder
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_two_copies_comes_second_is_refused() {
    for copy_first in [false, true] {
        let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
        let [first, second] = nodes.try_into().ok().unwrap();
        meet(&first, &second).await;
        let original = stop(second);
        let copied = copy(&original).await;
        let (sooner, later) = if copy_first { (copied, original) } else { (original, copied) };
        let sooner = seat(2, sooner).start(&[first.known()]).await;
        meet(&first, &sooner).await;
        let later = seat(2, later).start(&[first.known()]).await;
        let reason = in_time("the refusal", later.wire.until_cast_out()).await;
        assert!(reason.starts_with(COPY), "{reason}");
        for node in [&first, &later] {
            node.must_complain(COPY).await;
        }
        // The one that came first stays, and still does when the other one has gone.
        drop(later);
        first.wire.send(NodeId(2), Class::Batch, Bytes::new());
        sooner.inbox.wait(NodeId(1), Class::Batch, 1).await;
        assert!(!sooner.complains(COPY));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_is_let_in_whoever_has_seen_it() {
    let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let [mut first, mut second] = nodes.try_into().ok().unwrap();
    meet(&first, &second).await;
    for _ in 0..3 {
        second = seat(2, stop(second)).start(&[first.known()]).await;
        meet(&first, &second).await;
    }
    // Now the other one sees nothing of the restarts.
    let folder = stop(first);
    for _ in 0..3 {
        second = seat(2, stop(second)).start(&[]).await;
    }
    // Both have moved since they met.
    let mut moved = seat(1, folder);
    moved.seeds = vec![second.address.clone()];
    first = moved.start(&[]).await;
    meet(&first, &second).await;
    assert!(!first.complains("copy") && !second.complains("copy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_running_node_is_kept_out_while_that_one_lives() {
    let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let [first, second] = nodes.try_into().ok().unwrap();
    meet(&first, &second).await;
    let copy = seat(2, copy(&second.folder).await).start(&[first.known()]).await;
    for node in [&first, &copy] {
        node.must_complain("node 2: another process still speaks as this node").await;
    }
    first.wire.send(NodeId(2), Class::Batch, Bytes::new());
    second.inbox.wait(NodeId(1), Class::Batch, 1).await;
    let folder = stop(second);
    meet(&first, &copy).await;
    let again = seat(2, folder).start(&[first.known()]).await;
    assert!(in_time("the refusal", again.wire.until_cast_out()).await.starts_with(COPY));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_an_older_build_have_no_lives() {
    let (folder, old) = (tempfile::tempdir().unwrap(), os_env(""));
    let record =
        crate::message::Record { node_id: 2, rpc_address: "127.0.0.1:1".into(), ..Default::default() };
    let book = Book { incarnation: 7, records: vec![record], ..Book::default() };
    address_book::write(&*os_env(PathBuf::from(folder.path())).disk, &book).await.unwrap();
    let node = seat(1, folder).start(&[]).await;
    assert_eq!(address_book::read(&*node.env.disk).unwrap().lives.len(), 1);
    assert_eq!(node.wire.statuses().len(), 2);
    let identity = handshake::Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(2),
        offset_max: OFFSET_MAX,
        replicas_wanted: 0,
        protocol: crate::PROTOCOL,
    };
    let greet = async |lives: &[u64]| -> Answer {
        let hello = identity.hello("127.0.0.1:1", PURPOSE_INTRODUCE);
        let hello = crate::message::Hello { lives: lives.to_vec(), ..hello };
        let opened = handshake::open(&old, &Security::Insecure, &quick(), &node.address, &hello).await;
        opened.ok().unwrap().answer
    };
    for (lives, refusal) in [(&[][..], 0), (&[5], 0), (&[5, 6], 0), (&[5], 11), (&[], 11), (&[6], 0)] {
        assert_eq!(greet(lives).await.refusal, refusal, "{lives:?}");
    }
}
