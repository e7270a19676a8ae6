//! Histories of a serial store are always sound; damaged ones are mostly found.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{
    Anomaly, Level, dependencies,
    history::{Operation, Outcome, Transaction},
    linearizable, list_append,
    rw_register::Inference,
    sets,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The state of a store that runs one transaction after the other.
#[derive(Default)]
struct Store {
    lists: BTreeMap<u64, Vec<u64>>,
    registers: BTreeMap<u64, u64>,
    sets: BTreeMap<u64, BTreeMap<u64, u64>>,
}

/// What the keys were before a transaction.
type Undo = BTreeMap<u64, (Vec<u64>, Option<u64>, BTreeMap<u64, u64>)>;

impl Store {
    fn save(&self, key: u64, undo: &mut Undo) {
        undo.entry(key).or_insert_with(|| {
            let list = self.lists.get(&key).cloned().unwrap_or_default();
            let set = self.sets.get(&key).cloned().unwrap_or_default();
            (list, self.registers.get(&key).copied(), set)
        });
    }

    fn restore(&mut self, undo: Undo) {
        for (key, (list, register, set)) in undo {
            self.lists.insert(key, list);
            self.sets.insert(key, set);
            match register {
                Some(value) => self.registers.insert(key, value),
                None => self.registers.remove(&key),
            };
        }
    }

    /// One thing with one key, and what it returned.
    fn step(&mut self, kind: u64, key: u64, value: u64) -> Vec<Operation> {
        let set = self.sets.entry(key).or_default();
        let scan =
            Operation::Scan { set: key, rows: set.iter().map(|(key, value)| (*key, *value)).collect() };
        match kind {
            0 => vec![Operation::ReadList { key, values: self.lists.get(&key).cloned() }],
            1 => vec![Operation::Read { key, value: self.registers.get(&key).copied() }],
            2 => vec![scan],
            3 => {
                self.lists.entry(key).or_default().push(value);
                vec![Operation::Append { key, value }]
            }
            4 => {
                self.registers.insert(key, value);
                vec![Operation::Write { key, value }]
            }
            5 => {
                set.insert(value, value);
                vec![Operation::Insert { set: key, key: value, value }]
            }
            _ => match set.pop_first() {
                Some((row, _)) => vec![scan, Operation::Delete { set: key, key: row }],
                None => vec![scan],
            },
        }
    }
}

/// What a history is made of.
struct Shape {
    transactions: u64,
    clients: usize,
    keys: u64,
    /// After so many transactions all keys are replaced by fresh ones.
    uses_max: u64,
    operations_max: u64,
}

const SMALL: Shape = Shape { transactions: 150, clients: 8, keys: 3, uses_max: 60, operations_max: 4 };
const LARGE: Shape = Shape { transactions: 24_000, clients: 20, keys: 10, uses_max: 500, operations_max: 4 };

/// Transactions overlap in time and take effect one by one, between start and end; some fail, some are unknown, and at
/// the end all is read.
fn serial_history(seed: u64, shape: &Shape) -> Vec<Transaction> {
    let mut random = Random(seed);
    let mut store = Store::default();
    let mut history = Vec::new();
    // When each client ends what it does.
    let mut busy_until = vec![0; shape.clients];
    let mut keys = BTreeSet::new();
    for id in 0..shape.transactions {
        let effect = (id + 10) * 100;
        let first = usize::try_from(random.below(20)).unwrap();
        let mut clients = (0..shape.clients).map(|client| (first + client) % shape.clients);
        let Some(process) = clients.find(|client| busy_until[*client] + 1 < effect) else { continue };
        let started = (effect - random.below(800)).max(busy_until[process] + 1);
        let ended = effect + 1 + random.below(800);
        busy_until[process] = ended;
        let outcome = match random.below(10) {
            0 => Outcome::Failed,
            1 => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        let applied = outcome == Outcome::Committed || outcome == Outcome::Unknown && random.below(2) == 0;
        let (mut operations, mut undo) = (Vec::new(), Undo::new());
        for position in 0..=random.below(shape.operations_max) {
            let key = random.below(shape.keys) + shape.keys * (id / shape.uses_max);
            keys.insert(key);
            store.save(key, &mut undo);
            operations.extend(store.step(random.below(7), key, id * 10 + position + 1));
        }
        if !applied {
            store.restore(undo);
        }
        let ended = (outcome != Outcome::Unknown).then_some(ended);
        history.push(Transaction { id, process, started, ended, outcome, operations });
    }
    let started = (shape.transactions + 100) * 100;
    let operations =
        keys.iter().flat_map(|key| (0..3).flat_map(|kind| store.step(kind, *key, 0)).collect::<Vec<_>>());
    history.push(Transaction {
        id: shape.transactions,
        process: usize::MAX,
        started,
        ended: Some(started + 1),
        outcome: Outcome::Committed,
        operations: operations.collect(),
    });
    history
}

fn judge(history: &[Transaction]) -> Vec<Anomaly> {
    dependencies::check(history, Level::Serializable, Inference::RealTime)
}

#[test]
fn serial_histories_pass() {
    for seed in 0..60 {
        let history = serial_history(seed, &SMALL);
        let found = judge(&history);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
        let found = linearizable::check_keys(None, &linearizable::by_key(&history));
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
        let found = sets::check(&history);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
    }
}

#[test]
fn fifty_thousand_operations_are_judged() {
    let history = serial_history(1, &LARGE);
    let operations: usize = history.iter().map(|transaction| transaction.operations.len()).sum();
    assert!(operations > 50_000, "{operations}");
    let found = judge(&history);
    assert!(found.is_empty(), "{}", found[0]);
}

/// A broken store may put everything into one circle; the search has to end all the same.
#[test]
fn a_history_that_is_one_circle_is_judged() {
    let mut history = serial_history(2, &LARGE);
    let mut random = Random(3);
    // Snapshots that are taken and written without any control.
    for transaction in &mut history {
        for operation in &mut transaction.operations {
            if let Operation::ReadList { values: Some(values), .. } = operation {
                values.truncate(usize::try_from(random.below(20)).unwrap());
            }
        }
    }
    assert!(!judge(&history).is_empty());
}

/// A way of damaging a history. Returns whether there was something to damage.
type Damage = fn(&mut [Transaction], &mut Random) -> bool;

/// Picks one of the list reads with at least `length` elements, in committed transactions.
fn some_list<'a>(
    history: &'a mut [Transaction],
    random: &mut Random,
    length: usize,
) -> Option<(u64, &'a mut Vec<u64>)> {
    let committed = history.iter_mut().filter(|transaction| transaction.outcome == Outcome::Committed);
    let lists =
        committed.flat_map(|transaction| &mut transaction.operations).filter_map(
            |operation| match operation {
                Operation::ReadList { key, values: Some(values) } if values.len() >= length => {
                    Some((*key, values))
                }
                _ => None,
            },
        );
    let mut lists: Vec<_> = lists.collect();
    let picked = usize::try_from(random.below(lists.len().max(1) as u64)).unwrap();
    (picked < lists.len()).then(|| lists.swap_remove(picked))
}

fn swap_elements(history: &mut [Transaction], random: &mut Random) -> bool {
    some_list(history, random, 3).map(|(_, values)| values.swap(0, 1)).is_some()
}

fn drop_element(history: &mut [Transaction], random: &mut Random) -> bool {
    some_list(history, random, 3).map(|(_, values)| values.remove(0)).is_some()
}

fn repeat_element(history: &mut [Transaction], random: &mut Random) -> bool {
    some_list(history, random, 1).map(|(_, values)| values.insert(0, values[0])).is_some()
}

fn read_stale(history: &mut [Transaction], random: &mut Random) -> bool {
    some_list(history, random, 4).map(|(_, values)| values.truncate(values.len() - 3)).is_some()
}

/// Nobody sees an element that was acknowledged.
fn lose_append(history: &mut [Transaction], random: &mut Random) -> bool {
    let Some((key, lost)) = some_list(history, random, 1).map(|(key, values)| (key, values[0])) else {
        return false;
    };
    for operation in history.iter_mut().flat_map(|transaction| &mut transaction.operations) {
        match operation {
            Operation::ReadList { key: read, values: Some(values) } if *read == key => {
                values.retain(|value| *value != lost);
            }
            _ => {}
        }
    }
    history.iter().any(|transaction| {
        transaction.outcome == Outcome::Committed
            && transaction.operations.contains(&Operation::Append { key, value: lost })
    })
}

/// A transaction whose effects were seen says that it failed.
fn deny_commit(history: &mut [Transaction], random: &mut Random) -> bool {
    let Some((key, seen)) = some_list(history, random, 1).map(|(key, values)| (key, values[0])) else {
        return false;
    };
    let wanted = Operation::Append { key, value: seen };
    let writer = history.iter_mut().find(|transaction| transaction.operations.contains(&wanted));
    writer.map(|writer| writer.outcome = Outcome::Failed).is_some()
}

#[test]
fn damage_is_mostly_found() {
    const ROUNDS: u64 = 60;
    // At least so many of a hundred. A shorter read is no anomaly when it overlaps what it lacks.
    let kinds: [(&str, Damage, u64); 6] = [
        ("two elements swapped", swap_elements, 100),
        ("an element dropped", drop_element, 95),
        ("an element repeated", repeat_element, 100),
        ("a stale read", read_stale, 60),
        ("an append lost", lose_append, 95),
        ("a commit denied", deny_commit, 100),
    ];
    for (name, damage, floor) in kinds {
        let (mut damaged, mut found) = (0, 0);
        for seed in 0..ROUNDS {
            let mut history = serial_history(seed, &SMALL);
            if damage(&mut history, &mut Random(seed + 1_000)) {
                damaged += 1;
                found += u64::from(!list_append::check(&history, Level::Serializable).is_empty());
            }
        }
        assert!(damaged > ROUNDS / 2, "{name}: {damaged} histories were damaged");
        assert!(found * 100 >= damaged * floor, "{name}: found {found} of {damaged}");
    }
}
