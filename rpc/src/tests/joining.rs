use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use basalt_env::BoxFuture;

use super::*;
use crate::{JoinHandler, JoinRequest, RpcError, join};

/// Gives one id to each store.
#[derive(Default)]
struct Register {
    given: Mutex<BTreeMap<u128, NodeId>>,
    asked: Mutex<Vec<JoinRequest>>,
}

impl JoinHandler for Register {
    fn join(&self, request: JoinRequest) -> BoxFuture<'_, Result<NodeId, String>> {
        Box::pin(async move {
            if request.joiner == 0 {
                return Err("there is no majority to give it an id".to_owned());
            }
            let mut given = self.given.lock();
            let next = NodeId(given.len() as u64 + 2);
            self.asked.lock().push(request.clone());
            Ok(*given.entry(request.joiner).or_insert(next))
        })
    }
}

async fn ask(seat: &Seat, addresses: &[String], joiner: u128) -> Result<crate::Joined, RpcError> {
    in_time("an answer", join(&seat.env, &seat.security, &quick(), addresses, joiner, &seat.local(), 3)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_and_meet() {
    let register = Arc::new(Register::default());
    let mut nodes = vec![Seat::new(1).start(&[]).await];
    nodes[0].wire.admit_with(register.clone());
    for joiner in [7, 8] {
        let mut seat = Seat::new(0);
        // The second one finds nobody at the first address, and asks the next.
        let addresses = ["127.0.0.1:1".to_owned(), nodes[0].address.clone()];
        let joined = ask(&seat, &addresses, joiner).await.unwrap();
        let again = ask(&seat, &addresses, joiner).await.unwrap();
        assert_eq!((joined.node_id, joined.cluster_id), (again.node_id, CLUSTER));
        assert_eq!((joined.offset_max, joined.replicas_wanted), (OFFSET_MAX, 3));
        assert!(joined.known.addresses().contains(&nodes[0].known()));
        seat.node_id = joined.node_id;
        let known = joined.known.addresses();
        nodes.push(seat.start(&known).await);
    }
    assert_eq!(nodes.iter().map(|node| node.node_id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(register.asked.lock().iter().all(|request| request.clock_offset_micros.abs() < 500_000));
    // Everybody has heard of everybody, and messages pass between the two that joined.
    for node in &nodes {
        until("all nodes", || basalt_kv_api::Directory::nodes(&node.wire).len() == 3).await;
    }
    assert!(nodes[2].wire.send(NodeId(2), Class::Batch, Bytes::new()));
    nodes[1].inbox.wait(NodeId(3), Class::Batch, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_join_learns_why() {
    let first = Seat::new(1).start(&[]).await;
    first.wire.admit_with(Arc::new(Register::default()));
    let seat = Seat::new(0);
    let error = ask(&seat, std::slice::from_ref(&first.address), 0).await.unwrap_err().to_string();
    assert!(error.contains("there is no majority to give it an id"), "{error}");
    first.must_complain("there is no majority to give it an id").await;

    let closed = Seat::new(2).start(&[]).await;
    let error = ask(&seat, std::slice::from_ref(&closed.address), 1).await.unwrap_err().to_string();
    assert!(error.contains("node 2 cannot take in other nodes now"), "{error}");

    let error = ask(&seat, &["127.0.0.1:1".to_owned()], 1).await.unwrap_err().to_string();
    assert!(error.contains("cannot reach 127.0.0.1:1"), "{error}");
    let error = ask(&seat, &[], 1).await.unwrap_err().to_string();
    assert!(error.contains("no address was given"), "{error}");
    let error = ask(&seat, &[seat.address()], 1).await.unwrap_err().to_string();
    assert!(error.contains("is that of this node itself"), "{error}");
    let error = ask(&seat, &["192.0.2.1:1".to_owned()], 1).await.unwrap_err().to_string();
    assert!(error.contains("--insecure uses loopback only"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_of_another_version_is_refused() {
    let first = Seat::new(1).start(&[]).await;
    first.wire.admit_with(Arc::new(Register::default()));
    let seat = Seat::new(0);
    let (options, local) = (WireOptions { protocol: (2, 3), ..quick() }, seat.local());
    let addresses = [first.address.clone()];
    // It ends by itself: asking again is no use.
    let joining = join(&seat.env, &seat.security, &options, &addresses, 1, &local, usize::MAX);
    let error = in_time("an answer", joining).await.unwrap_err().to_string();
    let reason = "speaks versions 2 to 3 of the protocol, and node 1 versions 1 to 1";
    assert!(error.contains(reason), "{error}");
    first.must_complain(reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_too_far_off_keeps_a_node_out() {
    struct Late(Arc<dyn basalt_env::Clock>);
    impl basalt_env::Clock for Late {
        fn wall_micros(&self) -> i64 {
            self.0.wall_micros() - 3_600_000_000
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }
    let first = Seat::new(1).start(&[]).await;
    first.wire.admit_with(Arc::new(Register::default()));
    let mut seat = Seat::new(0);
    seat.env.clock = Arc::new(Late(seat.env.clock.clone()));
    let error = ask(&seat, std::slice::from_ref(&first.address), 1).await.unwrap_err().to_string();
    let reason = "its clock and that of node 1 are 3600.";
    assert!(error.contains(reason) && error.contains("500ms is the most"), "{error}");
    first.must_complain(reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_slow_is_made_again() {
    /// Its first stamp is old when it arrives.
    struct Slow(Arc<dyn basalt_env::Clock>, AtomicU32, AtomicU32);
    impl basalt_env::Clock for Slow {
        fn wall_micros(&self) -> i64 {
            let delay = if self.1.fetch_add(1, Ordering::Relaxed) == 0 { 2_000_000 } else { 0 };
            self.0.wall_micros() - delay
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic() + Duration::from_secs(2) * self.2.fetch_add(1, Ordering::Relaxed)
        }
    }
    let first = Seat::new(1).start(&[]).await;
    first.wire.admit_with(Arc::new(Register::default()));
    let mut seat = Seat::new(0);
    seat.env.clock = Arc::new(Slow(seat.env.clock.clone(), AtomicU32::new(0), AtomicU32::new(0)));
    ask(&seat, std::slice::from_ref(&first.address), 1).await.unwrap();
    first.must_complain("apart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_hangs_up_is_asked_again() {
    let first = Seat::new(1).start(&[]).await;
    first.wire.admit_with(Arc::new(Register::default()));
    // Hangs up at once, then is the node.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = first.address.clone();
    let relay = async {
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(node).await.unwrap();
        // Until either side ends it.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        std::future::pending::<()>().await
    };
    let seat = Seat::new(0);
    tokio::select! {
        () = relay => unreachable!(),
        joined = ask(&seat, std::slice::from_ref(&address), 1) => assert_eq!(joined.unwrap().node_id, NodeId(2)),
    }
}
