//! Compares the tables with the journal.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::{
    Outcome,
    load::{ACCOUNTS, Fate, INITIAL, Journal, Kind, filler},
};

/// Every violation, in words; empty is what should be.
pub async fn violations(client: &Client, journal: &Journal) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    presence(&mut found, journal, Kind::Event, &ids(client, "select id from events").await?);
    presence(&mut found, journal, Kind::Transfer, &ids(client, "select id from transfers").await?);
    pairs(&mut found, client, journal).await?;
    events(&mut found, client).await?;
    balances(&mut found, client).await?;
    Ok(found)
}

async fn ids(client: &Client, query: &str) -> Outcome<BTreeSet<i64>> {
    Ok(client.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Acknowledged is there, refused is not, and nothing is there that nobody wrote.
fn presence(found: &mut Vec<String>, journal: &Journal, kind: Kind, there: &BTreeSet<i64>) {
    let mut written = BTreeSet::new();
    for (id, fate) in journal.of_kind(kind) {
        written.insert(id);
        match (fate, there.contains(&id)) {
            (Fate::Acknowledged, false) => found.push(format!("acknowledged but missing: {kind:?} {id}")),
            (Fate::Refused, true) => found.push(format!("refused but there: {kind:?} {id}")),
            _ => {}
        }
    }
    found.extend(there.difference(&written).map(|id| format!("written by nobody: {kind:?} {id}")));
}

async fn pairs(found: &mut Vec<String>, client: &Client, journal: &Journal) -> Outcome {
    let mut halves: BTreeMap<i64, i32> = BTreeMap::new();
    for row in client.query("select half, id, filler from pairs", &[]).await? {
        let (half, id): (i32, i64) = (row.get(0), row.get(1));
        *halves.entry(id).or_default() |= 1 << half;
        if row.get::<_, String>(2) != filler(id) {
            found.push(format!("torn: pair {id} half {half}"));
        }
    }
    found.extend(halves.iter().filter(|half| *half.1 != 3).map(|(id, _)| format!("half a pair: {id}")));
    presence(found, journal, Kind::Pair, &halves.into_keys().collect());
    Ok(())
}

/// The index of the events says what the table says.
async fn events(found: &mut Vec<String>, client: &Client) -> Outcome {
    let mut by_task: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for row in client.query("select task, id, filler from events", &[]).await? {
        let id: i64 = row.get(1);
        by_task.entry(row.get(0)).or_default().insert(id);
        if row.get::<_, String>(2) != filler(id) {
            found.push(format!("torn: event {id}"));
        }
    }
    for (task, expected) in by_task {
        let rows = client.query("select id from events where task = $1", &[&task]).await?;
        let indexed: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        if indexed != expected {
            let differing: Vec<_> = indexed.symmetric_difference(&expected).take(5).collect();
            found.push(format!("index and table differ for task {task}: {differing:?}"));
        }
    }
    Ok(())
}

/// Each account holds what its transfers leave it.
async fn balances(found: &mut Vec<String>, client: &Client) -> Outcome {
    let mut expected: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, INITIAL)).collect();
    for row in client.query("select source, target, amount from transfers", &[]).await? {
        let amount: i64 = row.get(2);
        *expected.entry(row.get(0)).or_default() -= amount;
        *expected.entry(row.get(1)).or_default() += amount;
    }
    let rows = client.query("select id, balance from accounts", &[]).await?;
    let held: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if held.values().sum::<i64>() != ACCOUNTS * INITIAL {
        found.push(format!("the sum of the balances is {}", held.values().sum::<i64>()));
    }
    for (id, balance) in &expected {
        if held.get(id) != Some(balance) {
            found.push(format!("account {id} holds {:?}, its transfers say {balance}", held.get(id)));
        }
    }
    Ok(())
}
