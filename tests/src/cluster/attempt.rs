//! One try of a transaction, and what its client can know of its outcome.

use std::time::Duration;

use basalt_sim::check::history::{Operation, Outcome};
use tokio_postgres::{Client, Error, error::SqlState};

use super::{recorder::Recorder, session::Session, status::rows};

/// Longer than any failover should take: a client that gives up sooner would hide a stall.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The statements of a transaction, with a record of what they did. Writes are recorded when they are sent and reads when
/// they are answered, so that the record holds what may have happened however it ends.
pub struct Attempt<'a> {
    client: &'a Client,
    trail: &'a mut Trail,
}

#[derive(Default)]
struct Trail {
    operations: Vec<Operation>,
    /// The statement under way may make writes durable.
    deciding: bool,
    /// The client took back what it did.
    rolled_back: bool,
}

pub type Rows = Vec<Vec<Option<String>>>;

impl Attempt<'_> {
    pub async fn begin(&mut self) -> Result<(), Error> {
        self.client.simple_query("begin").await.map(|_| ())
    }

    /// A statement within a transaction, or one that writes nothing.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, Error> {
        rows(self.client, statement).await
    }

    /// A statement that is a transaction of its own.
    pub async fn alone(&mut self, statement: &str) -> Result<Rows, Error> {
        self.trail.deciding = true;
        rows(self.client, statement).await
    }

    pub async fn commit(&mut self) -> Result<(), Error> {
        self.trail.deciding = true;
        self.client.simple_query("commit").await.map(|_| ())
    }

    pub async fn roll_back(&mut self) -> Result<(), Error> {
        self.trail.rolled_back = true;
        self.client.simple_query("rollback").await.map(|_| ())
    }

    pub fn did(&mut self, operation: Operation) {
        self.trail.operations.push(operation);
    }
}

/// Tries once and records how it ended. Without a connection nothing is recorded.
pub async fn attempt(
    session: &mut Session,
    recorder: &Recorder,
    process: usize,
    body: impl AsyncFnOnce(&mut Attempt<'_>) -> Result<(), Error>,
) -> Option<Outcome> {
    let client = match session.client().await {
        Ok(client) => client,
        Err(error) => {
            recorder.note_error(format!("connecting: {}", cause(error.as_ref())));
            // A refusal comes at once; without a pause clients would do nothing else.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return None;
        }
    };
    let started = recorder.event();
    let mut trail = Trail::default();
    let tried = tokio::time::timeout(PATIENCE, body(&mut Attempt { client, trail: &mut trail })).await;
    let outcome = match &tried {
        Ok(Ok(())) if trail.rolled_back => Outcome::Failed,
        Ok(Ok(())) => Outcome::Committed,
        Ok(Err(error)) => outcome_of(error, trail.deciding),
        Err(_) if trail.deciding => Outcome::Unknown,
        Err(_) => Outcome::Failed,
    };
    let is_open = match tried {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            recorder.note_error(told(&error));
            error.as_db_error().is_some() && !client.is_closed() && reset(client).await
        }
        Err(_) => {
            recorder.note_error(format!("no answer within {PATIENCE:?}"));
            false
        }
    };
    recorder.record(process, started, outcome, trail.operations);
    if !is_open {
        session.leave();
    }
    Some(outcome)
}

/// Ends what is open of a transaction that failed.
async fn reset(client: &Client) -> bool {
    matches!(tokio::time::timeout(PATIENCE, client.simple_query("rollback")).await, Ok(Ok(_)))
}

/// Any answer but 40003 is a definite no: a node that does not know the outcome has to say so.
fn outcome_of(error: &Error, deciding: bool) -> Outcome {
    match error.code() {
        Some(code) if *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => Outcome::Unknown,
        Some(_) => Outcome::Failed,
        None if deciding => Outcome::Unknown,
        None => Outcome::Failed,
    }
}

fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), without_numbers(error.message())),
        None => cause(error),
    }
}

/// The innermost reason.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    without_numbers(&innermost.to_string())
}

/// So that messages that differ in an id only are counted together.
fn without_numbers(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if short.ends_with('#') => {}
            '0'..='9' => short.push('#'),
            _ => short.push(character),
        }
    }
    short
}
