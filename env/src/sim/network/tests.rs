use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::sim::SimExecutor;

/// When, from whom, which class, which number.
type Log = Arc<Mutex<Vec<(Duration, u64, u8, u32)>>>;

struct Net {
    executor: SimExecutor,
    network: SimNetwork,
    log: Log,
}

impl Net {
    /// Nodes 1 to `nodes`, all of which write into one log.
    fn new(seed: u64, nodes: u64, faults: LinkFaults) -> Self {
        let executor = SimExecutor::new(seed);
        let net = Self { network: SimNetwork::new(&executor), executor, log: Log::default() };
        net.network.set_link_faults(faults);
        (1..=nodes).for_each(|node| net.connect(node));
        net
    }

    fn connect(&self, node: u64) {
        let (executor, log) = (self.executor.clone(), self.log.clone());
        let receive: Receive = Arc::new(move |from, class, body| {
            let number = u32::from_be_bytes(body[..4].try_into().unwrap());
            log.lock().push((executor.now(), from, class, number));
        });
        self.network.connect(node, receive);
    }

    fn send(&self, from: u64, to: u64, number: u32) -> bool {
        self.network.send(from, to, 7, Bytes::copy_from_slice(&number.to_be_bytes()))
    }

    fn run(&self, millis: u64) {
        self.executor.run(self.executor.sleep(Duration::from_millis(millis)));
    }

    /// The numbers that have arrived since the last call, in order.
    fn arrived(&self) -> Vec<u32> {
        self.log.lock().drain(..).map(|(_, _, _, number)| number).collect()
    }

    /// Whether a message passes from `from` to `to` now.
    fn reaches(&self, from: u64, to: u64) -> bool {
        self.arrived();
        assert!(self.send(from, to, 1));
        self.run(10);
        !self.arrived().is_empty()
    }
}

fn unordered() -> LinkFaults {
    LinkFaults { in_order: false, ..LinkFaults::default() }
}

#[test]
fn a_seed_fixes_the_sequence_of_deliveries() {
    let trace = |seed| {
        let faults = LinkFaults {
            slow_one_in: 10,
            slow_max: Duration::from_millis(20),
            drop_one_in: 10,
            duplicate_one_in: 10,
            ..unordered()
        };
        let net = Net::new(seed, 3, faults);
        for number in 0..200 {
            net.send(1 + u64::from(number) % 3, 1 + u64::from(number / 3) % 3, number);
            net.run(u64::from(number % 2));
        }
        net.run(100);
        let log = net.log.lock().clone();
        (log, net.network.counts())
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).0, trace(2).0);
    let (log, counts) = trace(3);
    assert_eq!(counts.sent, 200);
    assert_eq!(counts.delivered, log.len() as u64);
    assert_eq!(counts.delivered, counts.sent - counts.dropped + counts.duplicated);
    assert!(counts.dropped > 5 && counts.duplicated > 5 && counts.slow > 5, "{counts:?}");
    assert_eq!(counts.bytes[&7], 800);
}

#[test]
fn delays_are_within_their_range_and_reorder_unless_forbidden() {
    for in_order in [true, false] {
        let net = Net::new(1, 2, LinkFaults { in_order, ..LinkFaults::default() });
        (0..100).for_each(|number| assert!(net.send(1, 2, number)));
        net.run(10);
        let log = net.log.lock().clone();
        let least = LinkFaults::default().delay_min;
        let most = LinkFaults::default().delay_max;
        assert!(
            log.iter().all(|(at, from, class, _)| (least..=most).contains(at) && (*from, *class) == (1, 7))
        );
        let numbers = net.arrived();
        assert_eq!(numbers.len(), 100);
        assert_eq!(numbers.is_sorted(), in_order);
    }
}

#[test]
fn a_slow_message_takes_longer() {
    let slow = LinkFaults { slow_one_in: 1, slow_max: Duration::from_secs(1), ..LinkFaults::default() };
    let net = Net::new(1, 2, slow);
    net.send(1, 2, 1);
    net.run(2000);
    assert!(net.log.lock()[0].0 > Duration::from_millis(1));
    assert_eq!(net.network.counts().slow, 1);
}

#[test]
fn a_narrow_link_carries_one_message_after_the_other() {
    let net = Net::new(1, 2, LinkFaults { bytes_per_second: 1_000_000, ..unordered() });
    let large = |first: u8| {
        let mut body = vec![0; 1_000_000];
        body[3] = first;
        Bytes::from(body)
    };
    net.network.send(1, 2, 0, large(1));
    net.network.send(1, 2, 1, large(2));
    net.run(1500);
    assert_eq!(net.arrived(), [1]);
    net.run(1000);
    assert_eq!(net.arrived(), [2]);
}

#[test]
fn faults_of_one_direction_override_the_others() {
    let net = Net::new(1, 3, LinkFaults::default());
    let lossy = LinkFaults { drop_one_in: 1, ..LinkFaults::default() };
    net.network.set_faults_between(1, 2, Some(lossy));
    assert!(!net.reaches(1, 2));
    assert!(net.reaches(2, 1) && net.reaches(1, 3));
    net.network.set_faults_between(1, 2, None);
    assert!(net.reaches(1, 2));
    assert_eq!(net.network.counts().dropped, 1);
}

#[test]
fn what_is_under_way_to_an_earlier_incarnation_is_lost() {
    let net = Net::new(1, 2, LinkFaults::default());
    assert!(!net.send(1, 3, 1), "node 3 was never connected");
    net.send(1, 2, 1);
    net.connect(2);
    net.send(1, 2, 2);
    net.run(10);
    assert_eq!(net.arrived(), [2]);
    net.network.disconnect(2);
    assert!(net.send(1, 2, 3), "a known node that is down looks like one that is slow");
    net.connect(2);
    net.run(10);
    assert!(net.arrived().is_empty());
    let counts = net.network.counts();
    assert_eq!((counts.sent, counts.delivered, counts.stale), (3, 1, 2));
}

#[test]
fn a_cut_link_loses_what_is_under_way_and_a_clogged_one_keeps_it() {
    let net = Net::new(1, 2, LinkFaults::default());
    net.send(1, 2, 1);
    net.network.block(1, 2);
    net.send(1, 2, 2);
    net.run(10);
    net.network.unblock(1, 2);
    net.run(10);
    assert!(net.arrived().is_empty());
    assert_eq!(net.network.counts().cut, 2);

    net.send(1, 2, 1);
    net.network.clog(1, 2);
    net.send(1, 2, 2);
    net.run(1000);
    assert!(net.arrived().is_empty());
    assert_eq!(net.network.counts().clogged, 2);
    // Still on the wire when the link opens.
    net.send(1, 2, 3);
    net.network.heal();
    net.run(10);
    assert_eq!(net.arrived(), [1, 2, 3]);
    assert_eq!(net.network.counts().clogged, 2);
}

#[test]
fn patterns_cut_what_they_say() {
    let nodes = [1, 2, 3, 4, 5];
    let reached = |net: &Net| {
        nodes.map(|from| {
            let reached = nodes.iter().filter(|to| **to != from && net.reaches(from, **to)).copied();
            reached.collect::<Vec<u64>>()
        })
    };
    let net = Net::new(1, 5, LinkFaults::default());
    net.network.partition(&[&[1, 2], &[3, 4, 5]]);
    assert_eq!(reached(&net), [vec![2], vec![1], vec![4, 5], vec![3, 5], vec![3, 4]]);
    net.network.heal();
    assert!(reached(&net).iter().all(|others| others.len() == 4));

    net.network.isolate(3);
    assert_eq!(reached(&net), [vec![2, 4, 5], vec![1, 4, 5], vec![], vec![1, 2, 5], vec![1, 2, 4]]);
    net.network.heal();

    net.network.majority_ring(&nodes);
    assert_eq!(reached(&net), [vec![2, 5], vec![1, 3], vec![2, 4], vec![3, 5], vec![1, 4]]);
    net.network.heal();

    net.network.block(1, 2);
    assert!(!net.reaches(1, 2) && net.reaches(2, 1) && net.network.is_cut(1, 2));

    let net = Net::new(1, 3, LinkFaults::default());
    net.network.majority_ring(&[1, 2, 3]);
    assert!(!net.reaches(1, 3) && !net.reaches(3, 1));
    assert!(net.reaches(1, 2) && net.reaches(2, 3) && net.reaches(3, 2));
}

#[test]
fn a_receiver_may_answer_at_once() {
    let net = Net::new(1, 1, LinkFaults::default());
    let network = net.network.clone();
    let echo: Receive = Arc::new(move |from, class, body| assert!(network.send(2, from, class, body)));
    net.network.connect(2, echo);
    net.send(1, 2, 5);
    net.run(10);
    assert_eq!(net.arrived(), [5]);
    net.network.clear();
    assert!(!net.send(1, 2, 5));
}

#[test]
fn a_frozen_node_receives_when_it_thaws() {
    let net = Net::new(1, 2, LinkFaults::default());
    net.network.freeze(2);
    (0..20).for_each(|number| assert!(net.send(1, 2, number)));
    net.run(1000);
    assert!(net.arrived().is_empty());
    assert!(net.reaches(2, 1), "only receiving stops here; its tasks are the executor's");
    net.network.thaw(2);
    net.run(1);
    assert_eq!(net.arrived(), (0..20).collect::<Vec<_>>());
    net.network.freeze(2);
    net.send(1, 2, 1);
    net.run(10);
    // It was killed while it stood still.
    net.connect(2);
    net.network.thaw(2);
    net.run(10);
    assert!(net.arrived().is_empty());
    let counts = net.network.counts();
    assert_eq!((counts.frozen, counts.stale, counts.overflowed), (21, 1, 0));
    assert!(net.reaches(1, 2));
}

#[test]
fn what_waits_is_bounded() {
    let net = Net::new(1, 2, LinkFaults::default());
    net.network.clog(1, 2);
    (0..10_050).for_each(|number| assert!(net.send(1, 2, number)));
    net.run(10);
    net.network.heal();
    net.run(10);
    assert_eq!(net.arrived(), (0..10_000).collect::<Vec<_>>());
    assert_eq!(net.network.counts().overflowed, 50);
}
