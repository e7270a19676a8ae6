//! Five stores and everything that can go wrong between them: crashes with torn tails, lost, repeated and late messages,
//! partitions, elections, splits, and members that come and go and come again.
//!
//! While it lasts, no two replicas may apply different entries at an index, and no term may have two leaders. When it is
//! over, every range must take writes again, its members must agree, nothing acknowledged may be lost, and nothing that
//! was refused may have happened.
//!
//! `BASALT_RAFT_SEEDS=first..last` runs other seeds than the usual ones.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::sim::{SimExecutor, SimRng, Tear};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    cluster::{Cluster, options},
    network::{Faults, Network, node_of},
    toy::{Toy, Witness},
};
use crate::{Error, Membership, MembershipChange, Options, RaftHandle, Role};

const NODES: u64 = 5;
const VOTERS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 150;

#[derive(Default)]
struct Answers {
    acknowledged: BTreeMap<u64, Vec<String>>,
    refused: Vec<(u64, String)>,
}

struct World<'a> {
    executor: &'a SimExecutor,
    cluster: Cluster<'a>,
    witness: Arc<Witness>,
    answers: Arc<Mutex<Answers>>,
    stop: Arc<AtomicBool>,
    /// When a dead store is started again.
    dead: BTreeMap<u64, usize>,
    /// Of the last replica added anywhere.
    generation: u64,
    /// The last replica that was to be added to a range on a store.
    added: BTreeMap<(u64, u64), ReplicaId>,
    changes: u64,
    splits: BTreeMap<u64, u64>,
    removals: Arc<AtomicU64>,
    crashes: u64,
}

#[test]
fn replicas_agree_and_nothing_acknowledged_is_lost_whatever_happens() {
    let mut total = [0; 5];
    let seeds = seeds();
    for seed in seeds.clone() {
        let executor = SimExecutor::new(seed);
        eprintln!("seed {seed}");
        let counts = executor.run(async { World::run(&executor, seed).await });
        executor.clear();
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    let [acknowledged, changes, splits, removals, crashes] = total;
    println!(
        "{} seeds: {acknowledged} writes, {changes} changes of membership, {splits} splits, {removals} removals, \
         {crashes} crashes",
        seeds.end - seeds.start
    );
    assert!(total.iter().all(|count| *count > 0), "{total:?}");
}

fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var("BASALT_RAFT_SEEDS") else { return 0..20 };
    let (first, last) = seeds.split_once("..").expect("BASALT_RAFT_SEEDS is first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

impl<'a> World<'a> {
    async fn run(executor: &'a SimExecutor, seed: u64) -> [u64; 5] {
        let witness = Arc::<Witness>::default();
        witness.learn(RangeId(1), 0, &Membership::voters(VOTERS.map(ReplicaId)));
        let toy = |id: u64| Toy::with(id, &VOTERS, u64::from(VOTERS.contains(&id)), witness.clone());
        let options = Options { snapshot_timeout: Duration::from_secs(3), ..options() };
        let cluster = Cluster::of(executor, (1..=NODES).map(toy).collect(), options, true).await;
        let mut world = Self {
            executor,
            cluster,
            witness,
            answers: Arc::default(),
            stop: Arc::default(),
            dead: BTreeMap::new(),
            generation: 0,
            added: BTreeMap::new(),
            changes: 0,
            splits: BTreeMap::new(),
            removals: Arc::default(),
            crashes: 0,
        };
        let rng = executor.rng();
        let delay_max = Duration::from_millis([0, 5, 50, 200][rng.below(4)]);
        let faults = Faults { lost: rng.below(15), repeated: rng.below(10), delay_max };
        world.cluster.network.set_faults(executor, Some(faults));
        for store in &world.cluster.stores {
            if rng.coin() {
                let (executor, most) = (executor.clone(), 1 + rng.below(10_000) as u64);
                store.disk.delay_syncs(move || {
                    executor.sleep(Duration::from_micros(executor.rng().below(most as usize) as u64))
                });
            }
        }
        for writer in 0..4 {
            world.spawn_writer(writer);
        }
        for step in 0..STEPS {
            executor.sleep(Duration::from_millis(20 + rng.below(200) as u64)).await;
            world.restart_due(step).await;
            world.disturb(step).await;
            world.collect_garbage();
        }
        world.heal().await;
        world.check(seed).await;
        let acknowledged = world.answers.lock().acknowledged.values().map(Vec::len).sum::<usize>();
        let removals = world.removals.load(Ordering::SeqCst);
        [acknowledged as u64, world.changes, world.ranges().len() as u64 - 1, removals, world.crashes]
    }

    fn rng(&self) -> &'a SimRng {
        self.executor.rng()
    }

    fn ranges(&self) -> Vec<u64> {
        self.witness.memberships.lock().keys().map(|range| range.0).collect()
    }

    fn any_range(&self) -> u64 {
        let ranges = self.ranges();
        ranges[self.rng().below(ranges.len())]
    }

    async fn disturb(&mut self, step: usize) {
        let node = 1 + self.rng().below(NODES as usize) as u64;
        let other = 1 + self.rng().below(NODES as usize) as u64;
        match self.rng().below(20) {
            0 | 1 => {
                // In the middle of whatever is under way.
                self.executor.steps(self.rng().below(300) as u64).await;
                self.crash(node, step);
            }
            2 => self.cluster.store(node).disk.stop_at_sync(self.rng().below(20) as u64),
            3 => {
                self.cluster.network.cut_link(node, other);
                if self.rng().coin() {
                    self.cluster.network.cut_link(other, node);
                }
            }
            4 | 5 => self.heal_network(),
            6 => drop(self.cluster.store(node).handle.campaign(RangeId(self.any_range()))),
            7 => {
                let range = self.any_range();
                if let Some(leader) = leader(&self.cluster.network, range) {
                    let members = self.membership(range).voters;
                    let target = members[self.rng().below(members.len())];
                    let _ = leader.transfer_leader(RangeId(range), target);
                }
            }
            8 => {
                let handle = self.cluster.store(node).handle.clone();
                let truncate = async move { drop(handle.truncate_log().await) };
                self.executor.spawner(node).spawn("truncate", Box::pin(truncate));
            }
            9 => drop(crate::StateMachine::flush(&*self.cluster.store(node).toy)),
            10 => self.split(),
            11 => self.pause(node),
            _ => self.change_membership(),
        }
    }

    fn crash(&mut self, node: u64, step: usize) {
        // Two at a time: more only wait.
        if self.dead.len() >= 2 || self.dead.contains_key(&node) {
            return;
        }
        self.cluster.kill(node);
        self.dead.insert(node, step + 1 + self.rng().below(15));
        if self.rng().coin() {
            // Known to be dead: the others may sleep without it.
            self.cluster.network.dead.lock().insert(node);
        }
        self.crashes += 1;
    }

    /// The store stands still for a while, and then goes on as if nothing had been.
    fn pause(&self, node: u64) {
        let executor = self.executor.clone();
        executor.pause(node);
        let length = Duration::from_millis(self.rng().below(4000) as u64);
        let resume = async move {
            executor.sleep(length).await;
            executor.resume(node);
        };
        self.executor.spawner(0).spawn("resume", Box::pin(resume));
    }

    /// Starts those that were dead long enough, and those whose disk stopped.
    async fn restart_due(&mut self, step: usize) {
        for node in 1..=NODES {
            let stopped = self.cluster.store(node).disk.is_stopped();
            if stopped && !self.dead.contains_key(&node) {
                self.cluster.kill(node);
                self.dead.insert(node, step);
                self.crashes += 1;
            }
            if self.dead.get(&node).is_some_and(|due| *due <= step) {
                self.dead.remove(&node);
                self.restart(node).await;
            }
        }
    }

    async fn restart(&mut self, node: u64) {
        let rng = self.executor.rng();
        let tear = if rng.coin() { Tear::Random(rng) } else { Tear::Lose };
        self.cluster.restart_torn(node, tear).await.unwrap();
        self.cluster.store(node).toy.eager.store(rng.coin(), Ordering::SeqCst);
        self.cluster.network.dead.lock().remove(&node);
        self.wake_all();
    }

    fn heal_network(&self) {
        self.cluster.network.heal_all();
        for node in self.dead.keys() {
            self.cluster.network.cut(*node);
        }
        self.wake_all();
    }

    /// Who knows which stores live wakes what they share when that changes.
    fn wake_all(&self) {
        for store in &self.cluster.stores {
            self.ranges().into_iter().for_each(|range| store.handle.wake(RangeId(range)));
        }
    }

    fn membership(&self, range: u64) -> Membership {
        self.witness.memberships.lock()[&RangeId(range)].1.clone()
    }

    fn split(&mut self) {
        let parent = [1, 1, 11][self.rng().below(3)];
        let Some(leader) = leader(&self.cluster.network, parent) else { return };
        // Nobody splits off the same range twice.
        let count = self.splits.entry(parent).or_default();
        *count += 1;
        if *count <= 4 {
            let child = parent * 10 + *count;
            drop(leader.propose(RangeId(parent), Bytes::from(format!("split {child}"))));
        }
    }

    fn change_membership(&mut self) {
        let rng = self.rng();
        let range = self.any_range();
        let Some(leader) = leader(&self.cluster.network, range) else { return };
        let Membership { voters, learners, .. } = self.membership(range);
        let Some(progress) = leader.progress(RangeId(range)) else { return };
        let Some(status) = leader.status(RangeId(range)) else { return };
        let others: Vec<ReplicaId> = voters.iter().copied().filter(|id| *id != status.replica_id).collect();
        let caught_up = |id: &&ReplicaId| {
            let member = progress.iter().find(|member| member.replica_id == **id);
            member.is_some_and(|member| member.matched + 10 >= status.last_index && member.recently_active)
        };
        let members: Vec<u64> = voters.iter().chain(&learners).map(|id| node_of(*id)).collect();
        let changes = if let Some(learner) = learners.iter().find(caught_up)
            && let Some(other) = others.get(rng.below(others.len().max(1)))
        {
            match rng.below(4) {
                _ if voters.len() < 3 => vec![MembershipChange::AddVoter(*learner)],
                0 => vec![MembershipChange::AddVoter(*learner), MembershipChange::AddLearner(*other)],
                1 => vec![MembershipChange::AddVoter(*learner)],
                _ => vec![MembershipChange::AddVoter(*learner), MembershipChange::Remove(*other)],
            }
        } else if voters.len() > 3 {
            vec![MembershipChange::Remove(others[rng.below(others.len())])]
        } else if let Some(learner) = learners.first() {
            if rng.below(4) > 0 {
                return;
            }
            vec![MembershipChange::Remove(*learner)]
        } else {
            // No store may get two: an earlier change that nobody has seen happen still may.
            let settled = |node: &u64| {
                let last = self.added.get(&(range, *node));
                last.is_none_or(|id| self.witness.learners.lock().contains(&(RangeId(range), *id)))
            };
            let free: Vec<u64> =
                (1..=NODES).filter(|node| !members.contains(node) && settled(node)).collect();
            let Some(node) = free.get(rng.below(free.len().max(1))) else { return };
            // Above all that a split may have taken over from the left side.
            self.generation += 1;
            let new = ReplicaId(self.generation * 100 + node);
            self.added.insert((range, *node), new);
            vec![MembershipChange::AddLearner(new)]
        };
        self.changes += 1;
        let command = Bytes::from(format!("change {}", self.changes));
        drop(leader.change_membership(RangeId(range), changes, command));
    }

    /// Removes replicas that no longer belong to their groups, as one does who knows the newest membership.
    fn collect_garbage(&self) {
        for store in self.cluster.stores.iter().filter(|store| !self.dead.contains_key(&store.id)) {
            for (range_id, status) in store.handle.statuses() {
                let member = self.membership(range_id.0).contains(status.replica_id);
                if member || self.rng().below(10) > 0 {
                    continue;
                }
                let (handle, removals) = (store.handle.clone(), self.removals.clone());
                let removal = async move {
                    let next = ReplicaId(status.replica_id.0 + 1);
                    if handle.remove_group(range_id, next).await.is_ok() {
                        removals.fetch_add(1, Ordering::SeqCst);
                    }
                };
                self.executor.spawner(store.id).spawn("removal", Box::pin(removal));
            }
        }
    }

    fn spawn_writer(&self, writer: u64) {
        let (executor, network) = (self.executor.clone(), self.cluster.network.clone());
        let (witness, answers, stop) = (self.witness.clone(), self.answers.clone(), self.stop.clone());
        let writes = async move {
            for turn in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                executor.sleep(Duration::from_millis(1 + executor.rng().below(200) as u64)).await;
                let ranges: Vec<u64> = witness.memberships.lock().keys().map(|range| range.0).collect();
                let range = ranges[executor.rng().below(ranges.len())];
                let Some(leader) = leader(&network, range) else { continue };
                let filler = "x".repeat(executor.rng().below(600));
                let command = format!("{writer}-{turn} {filler}");
                let proposal = leader.propose(RangeId(range), Bytes::from(command.clone()));
                let outcome = tokio::select! {
                    biased;
                    outcome = proposal => outcome,
                    () = executor.sleep(Duration::from_secs(2)) => continue,
                };
                let mut answers = answers.lock();
                match outcome {
                    Ok(_) => answers.acknowledged.entry(range).or_default().push(command),
                    Err(Error::Ambiguous(_)) => {}
                    Err(_) => answers.refused.push((range, command)),
                }
            }
        };
        self.executor.spawner(0).spawn("writer", Box::pin(writes));
    }

    /// Ends all that goes wrong.
    async fn heal(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.cluster.network.set_faults(self.executor, None);
        for node in 1..=NODES {
            self.executor.resume(node);
            if self.dead.remove(&node).is_some() || self.cluster.store(node).disk.is_stopped() {
                self.cluster.kill(node);
                self.restart(node).await;
            }
            // Whatever was armed and did not happen.
            self.cluster.store(node).disk.stop_at_sync(u64::MAX);
        }
        self.heal_network();
    }

    async fn check(&self, seed: u64) {
        for range in self.ranges() {
            self.check_progress(seed, range).await;
        }
        let answers = self.answers.lock();
        for (range, acknowledged) in &answers.acknowledged {
            let commands = self.witness.commands(*range);
            for command in acknowledged {
                let times = commands.iter().filter(|applied| *applied == command).count();
                assert_eq!(times, 1, "seed {seed}: range {range} has {command:.20} {times} times");
            }
        }
        for (range, command) in &answers.refused {
            let commands = self.witness.commands(*range);
            assert!(!commands.contains(command), "seed {seed}: refused in range {range}: {command:.20}");
        }
        for store in &self.cluster.stores {
            assert_eq!(store.handle.stopped(), None, "seed {seed}: store {}", store.id);
        }
    }

    /// The range takes writes, and its members have all of them.
    async fn check_progress(&self, seed: u64, range: u64) {
        let mut last = "no leader".to_owned();
        for turn in 0..600 {
            if let Some(leader) = leader(&self.cluster.network, range) {
                let command = format!("end {turn}");
                let proposal = leader.propose(RangeId(range), Bytes::from(command.clone()));
                let outcome = tokio::select! {
                    biased;
                    outcome = proposal => outcome.map(drop).map_err(|error| error.to_string()),
                    () = self.executor.sleep(Duration::from_secs(1)) => Err("no answer".to_owned()),
                };
                match outcome {
                    Ok(()) if self.agree(range, &command).await => return,
                    Ok(()) => last = "the members differ".to_owned(),
                    Err(error) => last = error,
                }
            }
            self.executor.sleep(Duration::from_millis(100)).await;
        }
        let states: Vec<_> = self
            .cluster
            .stores
            .iter()
            .map(|store| (store.id, store.handle.status(RangeId(range)), store.toy.commands(range).len()))
            .collect();
        let membership = self.membership(range);
        panic!("seed {seed}: range {range} makes no progress: {last}; {membership:?}; {states:?}");
    }

    async fn agree(&self, range: u64, command: &str) -> bool {
        for _ in 0..100 {
            let membership = self.membership(range);
            let expected = self.witness.commands(range);
            let has_all = |id: &ReplicaId| {
                let toy = &self.cluster.store(node_of(*id)).toy;
                toy.replica(range) == Some(*id) && toy.commands(range) == expected
            };
            let settled = !membership.is_joint() && expected.last().is_some_and(|last| last == command);
            if settled && membership.voters.iter().chain(&membership.learners).all(has_all) {
                return true;
            }
            // What is left of a removed replica may keep the snapshots of others away.
            self.collect_garbage();
            self.executor.sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

/// The store that thinks it leads the range, in the newest term.
fn leader(network: &Network, range: u64) -> Option<RaftHandle> {
    let handles = (1..=NODES).filter_map(|node| network.handle(node));
    let leaders = handles.filter_map(|handle| {
        let status = handle.status(RangeId(range))?;
        (status.role == Role::Leader && handle.stopped().is_none()).then_some((status.term, handle))
    });
    leaders.max_by_key(|(term, _)| *term).map(|(_, handle)| handle)
}
