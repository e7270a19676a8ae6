//! Transfers between accounts, each with its receipt.

use std::collections::{BTreeMap, BTreeSet};

use basalt_sim::check::{
    Anomaly, bank,
    history::{Operation, Transaction},
    sets,
};
use tokio_postgres::{Client, Error};

use super::{SLOT, number, one_in, widen};
use crate::{
    chaos::Outcome,
    cluster::{
        attempt::{Attempt, Rows},
        recorder::Recorder,
        status::rows,
    },
};

const SLOTS: u64 = 4;
const PER_SLOT: u64 = 5;
const INITIAL: u64 = 1_000_000;
/// The receipts, as a set.
const RECEIPTS: u64 = 1;

pub struct Bank;

fn accounts() -> BTreeSet<u64> {
    (0..SLOTS * PER_SLOT).map(|index| index % SLOTS * SLOT + index / SLOTS).collect()
}

pub async fn create(client: &Client) -> Outcome {
    client
        .batch_execute(
            "create table accounts (id int8 primary key, balance int8, pad text);
             create table receipts (id int8 primary key, source int8 not null, target int8 not null, amount int8 not null)",
        )
        .await?;
    for id in accounts() {
        client.batch_execute(&format!("insert into accounts values ({id}, {INITIAL}, null)")).await?;
    }
    widen(client, "accounts", SLOTS).await
}

pub async fn step(attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
    if one_in(4) {
        return read_accounts(attempt).await.map(|_| ());
    }
    let all: Vec<u64> = accounts().into_iter().collect();
    let source = fastrand::usize(0..all.len());
    let target = (source + fastrand::usize(1..all.len())) % all.len();
    let (source, target) = (all[source], all[target]);
    let (id, amount) = (recorder.event(), fastrand::u64(1..10));
    attempt.begin().await?;
    if one_in(3) {
        // Read first, and write what was computed here.
        let query = format!("select id, balance from accounts where id in ({source}, {target})");
        let held = balances(&attempt.query(&query).await?);
        for (account, balance) in [
            (source, held.get(&source).map(|balance| balance.wrapping_sub(amount))),
            (target, held.get(&target).map(|balance| balance.wrapping_add(amount))),
        ] {
            // One that is not there keeps its transfer from happening, and shows in the sums.
            let balance = balance.unwrap_or_default();
            attempt.query(&format!("update accounts set balance = {balance} where id = {account}")).await?;
        }
    } else {
        for (account, sign) in [(source, '-'), (target, '+')] {
            let update =
                format!("update accounts set balance = balance {sign} {amount} where id = {account}");
            attempt.query(&update).await?;
        }
    }
    attempt.did(Operation::Insert { set: RECEIPTS, key: id, value: amount });
    attempt.query(&format!("insert into receipts values ({id}, {source}, {target}, {amount})")).await?;
    if one_in(20) { attempt.roll_back().await } else { attempt.commit().await }
}

fn balances(rows: &Rows) -> BTreeMap<u64, u64> {
    rows.iter().filter_map(|row| Some((number(row[0].as_ref())?, number(row[1].as_ref())?))).collect()
}

async fn read_accounts(attempt: &mut Attempt<'_>) -> Result<BTreeMap<u64, u64>, Error> {
    let ids: Vec<String> = accounts().iter().map(u64::to_string).collect();
    let query = format!("select id, balance from accounts where id in ({})", ids.join(", "));
    let held = balances(&attempt.query(&query).await?);
    for account in accounts() {
        attempt.did(Operation::Read { key: account, value: held.get(&account).copied() });
    }
    Ok(held)
}

pub async fn read_all(attempt: &mut Attempt<'_>) -> Result<String, Error> {
    attempt.begin().await?;
    let held = read_accounts(attempt).await?;
    let rows = attempt.query("select id, amount from receipts").await?;
    let rows: Vec<(u64, u64)> = balances(&rows).into_iter().collect();
    let found = format!("{held:?}, {} receipts {:?}", rows.len(), rows.last());
    attempt.did(Operation::Scan { set: RECEIPTS, rows });
    attempt.commit().await?;
    Ok(found)
}

pub fn judge(history: &[Transaction]) -> Vec<Anomaly> {
    let total = u128::from(SLOTS * PER_SLOT * INITIAL);
    let mut found = bank::check(history, &accounts(), total);
    found.extend(sets::check(history));
    found
}

/// Each account holds what its receipts leave it.
pub async fn contradictions(client: &Client) -> Outcome<Vec<String>> {
    let mut expected: BTreeMap<u64, u64> = accounts().into_iter().map(|id| (id, INITIAL)).collect();
    for row in rows(client, "select source, target, amount from receipts").await? {
        let fields: Vec<u64> = row.iter().filter_map(|field| number(field.as_ref())).collect();
        let [source, target, amount] = fields[..] else { return Err(format!("no receipt: {row:?}").into()) };
        *expected.entry(source).or_default() -= amount;
        *expected.entry(target).or_default() += amount;
    }
    let held = balances(&rows(client, "select id, balance from accounts where balance is not null").await?);
    let differ = |(id, balance): (&u64, &u64)| {
        (held.get(id) != Some(balance))
            .then(|| format!("account {id} holds {:?}, its receipts say {balance}", held.get(id)))
    };
    Ok(expected.iter().filter_map(differ).collect())
}
