//! What clients do, and what must be true of it.
//!
//! All tables have wide rows between the narrow ones that the workload is about, so that they consist of several ranges,
//! and most transactions touch more than one.

mod bank;
mod list_append;
mod register;
mod rotation;
mod sets;
mod tpcb;

use basalt_sim::check::{Anomaly, history::Transaction};
use tokio_postgres::{Client, Error};

use super::{attempt::Attempt, recorder::Recorder};
use crate::chaos::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Bank,
    ListAppend,
    Register,
    Set,
    Tpcb,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Bank, Self::ListAppend, Self::Register, Self::Set, Self::Tpcb];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::ListAppend => "list-append",
            Self::Register => "register",
            Self::Set => "set",
            Self::Tpcb => "tpcb",
        }
    }

    pub fn named(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("no workload {name}").into())
    }
}

/// One workload of one run.
pub enum Workload {
    Bank(bank::Bank),
    ListAppend(list_append::ListAppend),
    Register(register::Register),
    Set(sets::Sets),
    Tpcb(tpcb::Tpcb),
}

impl Workload {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bank => Self::Bank(bank::Bank),
            Kind::ListAppend => Self::ListAppend(list_append::ListAppend::default()),
            Kind::Register => Self::Register(register::Register::default()),
            Kind::Set => Self::Set(sets::Sets::default()),
            Kind::Tpcb => Self::Tpcb(tpcb::Tpcb),
        }
    }

    pub async fn create(&self, client: &Client) -> Outcome {
        match self {
            Self::Bank(_) => bank::create(client).await,
            Self::ListAppend(_) => list_append::create(client).await,
            Self::Register(_) => register::create(client).await,
            Self::Set(_) => sets::create(client).await,
            Self::Tpcb(_) => tpcb::create(client).await,
        }
    }

    /// One transaction, drawn at random.
    pub async fn step(&self, attempt: &mut Attempt<'_>, recorder: &Recorder) -> Result<(), Error> {
        match self {
            Self::Bank(_) => bank::step(attempt, recorder).await,
            Self::ListAppend(lists) => lists.step(attempt, recorder).await,
            Self::Register(registers) => registers.step(attempt, recorder).await,
            Self::Set(sets) => sets.step(attempt, recorder).await,
            Self::Tpcb(_) => tpcb::step(attempt, recorder).await,
        }
    }

    /// Reads everything, for the end; also returns what it found, to compare what nodes say.
    pub async fn read_all(&self, attempt: &mut Attempt<'_>) -> Result<String, Error> {
        match self {
            Self::Bank(_) => bank::read_all(attempt).await,
            Self::ListAppend(lists) => lists.read_all(attempt).await,
            Self::Register(registers) => registers.read_all(attempt).await,
            Self::Set(sets) => sets.read_all(attempt).await,
            Self::Tpcb(_) => tpcb::read_all(attempt).await,
        }
    }

    /// What the history, which ends with reads of everything, contradicts.
    pub fn judge(&self, history: &[Transaction]) -> Vec<Anomaly> {
        match self {
            Self::Bank(_) => bank::judge(history),
            Self::ListAppend(_) => list_append::judge(history),
            Self::Register(_) => register::judge(history),
            Self::Set(_) | Self::Tpcb(_) => basalt_sim::check::sets::check(history),
        }
    }

    /// What the tables say of themselves that can't be.
    pub async fn contradictions(&self, client: &Client) -> Outcome<Vec<String>> {
        match self {
            Self::Bank(_) => bank::contradictions(client).await,
            Self::Set(_) => sets::contradictions(client).await,
            Self::Tpcb(_) => tpcb::contradictions(client).await,
            Self::ListAppend(_) | Self::Register(_) => Ok(Vec::new()),
        }
    }
}

/// Rows of a slot begin at its number times this.
const SLOT: u64 = 1_000_000;
/// Of each slot, the second half belongs to the wide rows.
const WIDE_FROM: u64 = 500_000;
/// More than a range may hold, at the size that the harness sets.
const WIDE_ROWS: u64 = 60;
const WIDE_BYTES: u64 = 20_000;

/// Wide rows after each slot of a table that has the columns `id` and `pad`.
async fn widen(client: &Client, table: &str, slots: u64) -> Outcome {
    for slot in 0..slots {
        let from = slot * SLOT + WIDE_FROM;
        let insert = format!(
            "insert into {table} (id, pad) select i, repeat('x', {WIDE_BYTES}) from generate_series({from}, {}) as g(i)",
            from + WIDE_ROWS - 1
        );
        client.batch_execute(&insert).await?;
    }
    Ok(())
}

/// A number of a row; the queries of workloads return numbers only.
fn number(field: Option<&String>) -> Option<u64> {
    field?.parse().ok()
}

/// In one of that many.
fn one_in(count: u32) -> bool {
    fastrand::u32(0..count) == 0
}
