//! A write load that knows what it was promised.
//!
//! Each task writes rows whose ids it never uses twice and records for each what became of it. Three kinds of writes
//! can be half-applied, each in its own way: a transfer (two accounts and its record, an explicit transaction), a pair
//! (two rows at both ends of a table, one statement, so that they lie in different ranges once it has split), and an
//! event (one row and its entry in a secondary index).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_postgres::{Client, Error, error::SqlState};

use super::{Outcome, process};

pub const ACCOUNTS: i64 = 100;
pub const INITIAL: i64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Event,
    Pair,
    Transfer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Acknowledged,
    /// An error or a rollback: must not be there.
    Refused,
    /// The connection broke: may be there, whole.
    Unknown,
}

/// What became of every write so far.
#[derive(Default)]
pub struct Journal {
    writes: Mutex<Vec<(Kind, i64, Fate)>>,
    next_id: AtomicU64,
    pub retries: AtomicU64,
    pub errors: Mutex<Vec<String>>,
}

impl Journal {
    fn fresh_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) as i64
    }

    fn record(&self, kind: Kind, id: i64, fate: Fate) {
        self.writes.lock().expect("nobody panics with it").push((kind, id, fate));
    }

    pub fn of_kind(&self, kind: Kind) -> Vec<(i64, Fate)> {
        let writes = self.writes.lock().expect("nobody panics with it");
        writes.iter().filter(|write| write.0 == kind).map(|write| (write.1, write.2)).collect()
    }

    pub fn count(&self, fate: Fate) -> usize {
        self.writes.lock().expect("nobody panics with it").iter().filter(|write| write.2 == fate).count()
    }
}

pub async fn create_tables(client: &Client) -> Outcome {
    client
        .batch_execute(
            "create table accounts (id int8 primary key, balance int8 not null);
             create table transfers (id int8 primary key, source int8 not null, target int8 not null, amount int8 not null);
             create table pairs (half int4, id int8, filler text not null, primary key (half, id));
             create table events (id int8 primary key, task int4 not null, filler text not null);
             create index events_task on events (task)",
        )
        .await?;
    for id in 0..ACCOUNTS {
        client.execute("insert into accounts values ($1, $2)", &[&id, &INITIAL]).await?;
    }
    Ok(())
}

/// Tasks that write until told to stop or until their connection breaks.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub fn start(port: u16, tasks: u32, journal: &Arc<Journal>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..tasks)
            .map(|task| tokio::spawn(run(port, task, Arc::clone(journal), Arc::clone(&stop))))
            .collect();
        Self { stop, tasks }
    }

    /// Ends the load; a task whose answer does not come within `patience` is given up, its write unknown.
    pub async fn finish(self, patience: Duration) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        for mut task in self.tasks {
            if tokio::time::timeout(patience, &mut task).await.is_err() {
                task.abort();
                return Err("a client of the load still waits for its answer".into());
            }
        }
        Ok(())
    }
}

async fn run(port: u16, task: u32, journal: Arc<Journal>, stop: Arc<AtomicBool>) {
    let Ok(mut client) = process::connect(port).await else { return };
    let mut step = u64::from(task) * 7_919;
    while !stop.load(Ordering::Relaxed) {
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (step >> 33) as i64;
        let id = journal.fresh_id();
        let (kind, rolled_back) = match dice % 10 {
            0..=3 => (Kind::Event, false),
            4..=5 => (Kind::Pair, false),
            6 => (Kind::Transfer, true),
            _ => (Kind::Transfer, false),
        };
        let result = match kind {
            Kind::Event => event(&client, id, task).await,
            Kind::Pair => pair(&client, id).await,
            Kind::Transfer => transfer(&mut client, id, dice / 10, rolled_back).await,
        };
        let fate = match &result {
            Ok(()) if rolled_back => Fate::Refused,
            Ok(()) => Fate::Acknowledged,
            // 40003 says that the outcome is unknown; any other answer is a definite no.
            Err(error) if error.code() == Some(&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN) => Fate::Unknown,
            Err(error) if error.as_db_error().is_some() => Fate::Refused,
            Err(_) => Fate::Unknown,
        };
        journal.record(kind, id, fate);
        if let Err(error) = result {
            match error.code() {
                Some(code)
                    if *code == SqlState::T_R_SERIALIZATION_FAILURE
                        || *code == SqlState::T_R_DEADLOCK_DETECTED =>
                {
                    journal.retries.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    let text = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                    journal.errors.lock().expect("nobody panics with it").push(text);
                }
            }
            if client.is_closed() {
                return;
            }
        }
    }
}

/// 300 bytes that depend on the id, so that tables grow and a torn row shows.
pub fn filler(id: i64) -> String {
    format!("{id:020}").repeat(15)
}

async fn event(client: &Client, id: i64, task: u32) -> Result<(), Error> {
    client
        .execute("insert into events values ($1, $2, $3)", &[&id, &(task as i32), &filler(id)])
        .await
        .map(|_| ())
}

async fn pair(client: &Client, id: i64) -> Result<(), Error> {
    let filler = filler(id);
    client.execute("insert into pairs values (0, $1, $2), (1, $1, $2)", &[&id, &filler]).await.map(|_| ())
}

async fn transfer(client: &mut Client, id: i64, dice: i64, rolled_back: bool) -> Result<(), Error> {
    let source = dice % ACCOUNTS;
    let target = (source + 1 + dice / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
    let amount = dice % 17 + 1;
    let transaction = client.transaction().await?;
    transaction
        .execute("update accounts set balance = balance - $1 where id = $2", &[&amount, &source])
        .await?;
    transaction
        .execute("update accounts set balance = balance + $1 where id = $2", &[&amount, &target])
        .await?;
    transaction
        .execute("insert into transfers values ($1, $2, $3, $4)", &[&id, &source, &target, &amount])
        .await?;
    if rolled_back { transaction.rollback().await } else { transaction.commit().await }
}
