//! The transaction of pgbench's tpcb-like script, with an id for each row of its history.

use basalt_sim::check::history::Operation;
use tokio_postgres::{Client, Error};

use super::{SLOT, number, widen};
use crate::{
    chaos::Outcome,
    cluster::{attempt::Attempt, recorder::Recorder, status::rows},
};

const BRANCHES: u64 = 4;
const TELLERS: u64 = 10 * BRANCHES;
/// Of each branch.
const ACCOUNTS: u64 = 200;
const HISTORY: u64 = 1;

pub struct Tpcb;

pub async fn create(client: &Client) -> Outcome {
    client
        .batch_execute(
            "create table branches (id int8 primary key, balance int8 not null);
             create table tellers (id int8 primary key, branch int8 not null, balance int8 not null);
             create table accounts (id int8 primary key, branch int8, balance int8, pad text);
             create table history (id int8 primary key, teller int8 not null, branch int8 not null,
                                   account int8 not null, delta int8 not null, at timestamp not null)",
        )
        .await?;
    let fill = format!(
        "insert into branches select i, 0 from generate_series(0, {}) as g(i);
         insert into tellers select i, i % {BRANCHES}, 0 from generate_series(0, {}) as g(i)",
        BRANCHES - 1,
        TELLERS - 1
    );
    client.batch_execute(&fill).await?;
    for branch in 0..BRANCHES {
        let from = branch * SLOT;
        let fill = format!(
            "insert into accounts select i, {branch}, 0, null from generate_series({from}, {}) as g(i)",
            from + ACCOUNTS - 1
        );
        client.batch_execute(&fill).await?;
    }
    widen(client, "accounts", BRANCHES).await
}

pub async fn step(attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
    let (branch, teller) = (fastrand::u64(0..BRANCHES), fastrand::u64(0..TELLERS));
    let account = fastrand::u64(0..BRANCHES) * SLOT + fastrand::u64(0..ACCOUNTS);
    let (id, delta) = (recorder.event(), fastrand::i64(-5_000..=5_000));
    attempt.begin().await?;
    for statement in [
        format!("update accounts set balance = balance + {delta} where id = {account}"),
        format!("select balance from accounts where id = {account}"),
        format!("update tellers set balance = balance + {delta} where id = {teller}"),
        format!("update branches set balance = balance + {delta} where id = {branch}"),
    ] {
        attempt.query(&statement).await?;
    }
    attempt.did(Operation::Insert { set: HISTORY, key: id, value: 0 });
    let insert = format!(
        "insert into history values ({id}, {teller}, {branch}, {account}, {delta}, current_timestamp)"
    );
    attempt.query(&insert).await?;
    attempt.commit().await
}

pub async fn read_all(attempt: &mut Attempt<'_>) -> Result<String, Error> {
    let found = attempt.query("select id from history order by id").await?;
    let rows = found.iter().filter_map(|row| Some((number(row[0].as_ref())?, 0))).collect();
    attempt.did(Operation::Scan { set: HISTORY, rows });
    Ok(format!("{found:?}"))
}

/// What is moved is moved everywhere alike.
pub async fn contradictions(client: &Client) -> Outcome<Vec<String>> {
    let sums = "select (select sum(balance) from accounts), (select sum(balance) from tellers),
                       (select sum(balance) from branches), (select coalesce(sum(delta), 0) from history)";
    let mut found = Vec::new();
    let sums = rows(client, sums).await?.pop().unwrap_or_default();
    if sums.iter().any(|sum| *sum != sums[0]) {
        found.push(format!("the sums of accounts, tellers, branches and history differ: {sums:?}"));
    }
    for (table, column) in [("tellers", "teller"), ("branches", "branch")] {
        let each = format!(
            "select t.id, t.balance, sum(h.delta) from {table} t join history h on h.{column} = t.id
             group by t.id, t.balance having t.balance <> sum(h.delta)"
        );
        found.extend(rows(client, &each).await?.iter().map(|row| format!("{table}: {row:?}")));
    }
    Ok(found)
}
