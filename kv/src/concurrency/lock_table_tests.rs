//! Scripts of named transactions: who gets a lock, who waits behind whom, and in which order they are woken.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use basalt_base::{Key, Timestamp, TxnId};
use basalt_kv_api::{Error, IgnoredSeqs, LockStrength, Observed, TxnMeta, TxnPriority};

use super::{HolderInfo, LockTable, QueuePlace, Signal, Want};

fn txn(name: &str) -> TxnMeta {
    TxnMeta {
        id: TxnId(u128::from(name.as_bytes()[0])),
        anchor: Key::new(),
        epoch: 0,
        read_ts: Timestamp(10),
        write_ts: Timestamp(10),
        min_ts: Timestamp(10),
        global_limit: Timestamp(10),
        priority: TxnPriority(0),
        read_seq: 0,
        ignored: IgnoredSeqs::default(),
        observed: Observed::default(),
    }
}

/// Interprets one command per line and records what it says. A waiting request is named `txn:key`.
struct Script {
    table: Arc<LockTable>,
    waiting: BTreeMap<String, (QueuePlace, Arc<Signal>)>,
}

impl Script {
    fn run(script: &str) -> String {
        let mut state = Self { table: Arc::new(LockTable::new(100, 100)), waiting: BTreeMap::new() };
        let mut out = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = state.step(line);
            let woken: Vec<String> = state
                .waiting
                .iter()
                .filter(|(_, (_, signal))| signal.is_fired())
                .map(|(name, _)| name.clone())
                .collect();
            writeln!(
                out,
                "{line}: {answer}{}",
                if woken.is_empty() { String::new() } else { format!(" ready {}", woken.join(" ")) }
            )
            .unwrap();
        }
        out
    }

    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let key = words.get(2).map_or_else(Key::new, |key| Key::copy_from_slice(key.as_bytes()));
        match (words[0], words[1]) {
            (verb @ ("x" | "s" | "r"), name) => {
                let want = match verb {
                    "x" => Want::Lock(LockStrength::Exclusive),
                    "s" => Want::Lock(LockStrength::Shared),
                    _ => Want::Read,
                };
                self.request(name, &key, want)
            }
            ("commit", name) => {
                self.table.release_txn(txn(name).id);
                "done".to_owned()
            }
            ("intent", name) => {
                let info = HolderInfo::new(&txn(name), &key, Timestamp(1));
                self.table.add_discovered(&key, info, LockStrength::Exclusive);
                "noted".to_owned()
            }
            ("resolve", name) => {
                self.table.resolved(&key, txn(name).id, false);
                "done".to_owned()
            }
            ("finish", name) => {
                let released = self.table.resolved(&key, txn(name).id, true);
                if released { "released" } else { "nothing" }.to_owned()
            }
            ("cancel", place) => {
                self.waiting.remove(place);
                "gone".to_owned()
            }
            other => panic!("unknown command {other:?}"),
        }
    }

    fn request(&mut self, name: &str, key: &Key, want: Want) -> String {
        let meta = txn(name);
        let place_name = format!("{name}:{}", String::from_utf8_lossy(key));
        let order = self.waiting.get(&place_name).map(|(place, _)| place.order());
        let blocked = match want {
            Want::Lock(strength) => self.table.acquire(key, strength, &meta, order, Timestamp(1)).err(),
            Want::Read => self.table.check(key, want, Some(meta.id), order),
        };
        if blocked.is_none() {
            self.waiting.remove(&place_name);
            return "ok".to_owned();
        }
        if let Some((place, signal)) = self.waiting.get_mut(&place_name) {
            *signal = place.signal();
            return "waits on".to_owned();
        }
        match self.table.enqueue(key, want, Some(meta.id), None) {
            Ok(place) => {
                let signal = place.signal();
                self.waiting.insert(place_name, (place, signal));
                "waits".to_owned()
            }
            Err(Error::Deadlock { holder }) => {
                format!("deadlock with {}", char::from(holder.0 as u8))
            }
            Err(error) => error.to_string(),
        }
    }
}

fn check(script: &str) {
    let commands: String = script
        .lines()
        .map(|line| line.split(':').next().unwrap_or_default())
        .filter(|line| !line.trim().is_empty())
        .fold(String::new(), |all, line| all + line + "\n");
    // Names of places contain colons, so they are written with a dash in scripts.
    let got = Script::run(&commands.replace('-', ":"));
    let expected: String = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |all, line| all + &line.replace('-', ":") + "\n");
    assert_eq!(got, expected);
}

#[test]
fn exclusive_waiters_are_served_in_order_of_arrival() {
    check(
        "x a k: ok
         x b k: waits
         x c k: waits
         x d k: waits
         commit a: done ready b-k
         x e k: waits ready b-k
         x b k: ok
         commit b: done ready c-k
         cancel c-k: gone ready d-k
         x d k: ok
         commit d: done ready e-k
         x e k: ok",
    );
}

#[test]
fn shared_locks_are_compatible_but_do_not_overtake_an_exclusive_waiter() {
    check(
        "s a k: ok
         s b k: ok
         x c k: waits
         s d k: waits
         commit a: done
         commit b: done ready c-k
         x c k: ok
         commit c: done ready d-k
         s d k: ok",
    );
}

#[test]
fn an_own_lock_is_taken_again_and_promoted_past_the_queue() {
    check(
        "s a k: ok
         x b k: waits
         x a k: ok
         x a k: ok
         commit a: done ready b-k",
    );
}

#[test]
fn readers_wait_for_replicated_locks_only() {
    check(
        "x a k: ok
         r b k: ok
         intent a k: noted
         r b k: waits
         r c k: waits
         commit a: done
         resolve a k: done ready b-k c-k
         r b k: ok ready c-k",
    );
}

#[test]
fn resolving_a_finished_transaction_releases_its_unreplicated_lock_too() {
    check(
        "x a k: ok
         x a l: ok
         x b k: waits
         x c l: waits
         resolve a k: done
         finish a k: released ready b-k
         finish a k: nothing ready b-k
         x b k: ok
         finish a l: released ready c-l",
    );
}

#[test]
fn the_request_that_closes_a_cycle_is_the_victim() {
    check(
        "x a k: ok
         x b l: ok
         x c m: ok
         x a l: waits
         x b m: waits
         x c k: deadlock with a
         commit c: done ready b-m
         x b m: ok
         commit b: done ready a-l
         x a l: ok",
    );
}

#[test]
fn two_shared_holders_that_promote_are_a_deadlock() {
    check(
        "s a k: ok
         s b k: ok
         x a k: waits
         x b k: deadlock with a
         commit b: done ready a-k
         x a k: ok",
    );
}

#[test]
fn waiting_behind_a_claim_closes_cycles_too() {
    check(
        "x a k: ok
         x b l: ok
         x b k: waits
         x c m: ok
         x c k: waits
         x b m: deadlock with c
         commit a: done ready b-k",
    );
}

#[test]
fn an_idle_table_is_empty() {
    let table = Arc::new(LockTable::new(2, 1));
    let key = Key::from_static(b"k");
    table.acquire(&key, LockStrength::Exclusive, &txn("a"), None, Timestamp(1)).unwrap();
    assert!(table.holds(&key, txn("a").id, LockStrength::Exclusive));
    let want = Want::Lock(LockStrength::Exclusive);
    let place = table.enqueue(&key, want, Some(txn("b").id), None).unwrap();
    // The queue is bounded.
    let full = table.enqueue(&key, want, Some(txn("c").id), None);
    assert!(matches!(full, Err(Error::LockNotAvailable { holder: Some(_) })));
    drop(place);
    table.release_txn(txn("a").id);
    assert!(table.is_empty());
    // Locks beyond the bound of a transaction are not kept.
    for name in [&b"k"[..], b"l", b"m"] {
        let key = Key::copy_from_slice(name);
        table.acquire(&key, LockStrength::Exclusive, &txn("a"), None, Timestamp(1)).unwrap();
    }
    assert!(!table.holds(b"m", txn("a").id, LockStrength::Exclusive));
}
