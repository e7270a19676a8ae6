//! One try of a transaction, and what its client can know of its outcome.

use std::time::{Duration, Instant};

use basalt_sim::check::history::{Operation, Outcome};
use tokio_postgres::{Client, Error, error::SqlState};

use super::{
    failure::{Failure, Moment},
    recorder::Recorder,
    session::Session,
    status::rows,
};

/// Longer than any failover should take: a client that gives up sooner would hide a stall.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Between the server's word that an idle connection ends and a statement that was sent before it arrived. Well below what
/// a statement that is under way is given by a server that stops.
const CROSSING_MAX: Duration = Duration::from_secs(3);

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
    /// A transaction block was begun and not ended.
    in_block: bool,
    /// When the last statement was sent.
    sent: Option<Instant>,
}

pub type Rows = Vec<Vec<Option<String>>>;

impl Attempt<'_> {
    pub async fn begin(&mut self) -> Result<(), Error> {
        self.query("begin").await?;
        self.trail.in_block = true;
        Ok(())
    }

    /// A statement within a transaction, or one that writes nothing.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, Error> {
        self.trail.sent = Some(Instant::now());
        rows(self.client, statement).await
    }

    /// A statement that is a transaction of its own.
    pub async fn alone(&mut self, statement: &str) -> Result<Rows, Error> {
        self.trail.deciding = true;
        self.query(statement).await
    }

    pub async fn commit(&mut self) -> Result<(), Error> {
        self.trail.deciding = true;
        let answer = self.query("commit").await;
        // One that is refused ends the block, too, and the connection is idle: a server that stops may end it then.
        if answer.as_ref().err().is_none_or(leaves_open) {
            self.trail.in_block = false;
        }
        answer.map(drop)
    }

    pub async fn roll_back(&mut self) -> Result<(), Error> {
        self.trail.rolled_back = true;
        self.query("rollback").await?;
        self.trail.in_block = false;
        Ok(())
    }

    pub fn did(&mut self, operation: Operation) {
        self.trail.operations.push(operation);
    }
}

impl Trail {
    /// Whether the server ended the connection because it was idle, and did not read the statement that failed: its word has
    /// crossed the first one of a transaction on the way.
    fn was_crossed(&self, answer: &Error) -> bool {
        answer.code() == Some(&SqlState::ADMIN_SHUTDOWN)
            && !self.in_block
            && self.sent.is_some_and(|sent| sent.elapsed() < CROSSING_MAX)
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
            note_all(recorder, session);
            recorder.note(Failure::of(error.as_ref(), Moment::Connecting));
            // A refusal comes at once; without a pause clients would do nothing else.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return None;
        }
    };
    let started = recorder.event();
    let mut trail = Trail::default();
    let tried = tokio::time::timeout(PATIENCE, body(&mut Attempt { client, trail: &mut trail })).await;
    let (outcome, stays) = match tried {
        Ok(Ok(())) if trail.rolled_back => (Outcome::Failed, true),
        Ok(Ok(())) => (Outcome::Committed, true),
        Ok(Err(error)) => {
            let is_open = leaves_open(&error) && !client.is_closed();
            let undone = if is_open && trail.in_block { undo(client).await } else { Ok(()) };
            let stays = is_open && undone.is_ok();
            let (outcome, failure) = failed(session, &trail, &error).await;
            recorder.note(failure);
            if let Err(failure) = undone {
                recorder.note(failure);
            }
            (outcome, stays)
        }
        Err(_) => {
            recorder.note(silence());
            (if trail.deciding { Outcome::Unknown } else { Outcome::Failed }, false)
        }
    };
    note_all(recorder, session);
    recorder.record(process, started, outcome, trail.operations);
    if !stays {
        session.leave();
    }
    Some(outcome)
}

fn note_all(recorder: &Recorder, session: &mut Session) {
    session.take_failures().into_iter().for_each(|failure| recorder.note(failure));
}

/// Whether the connection outlives the error.
fn leaves_open(error: &Error) -> bool {
    error.as_db_error().is_some_and(|answer| answer.severity() != "FATAL")
}

/// What an error says of the transaction, and what is noted of it.
async fn failed(session: &mut Session, trail: &Trail, error: &Error) -> (Outcome, Failure) {
    if trail.was_crossed(error) {
        return (Outcome::Failed, Failure::of(error, Moment::Crossing));
    }
    // A driver that hears that an idle connection ends does not send what it was given meanwhile, and does not say why.
    if error.as_db_error().is_none()
        && !trail.in_block
        && let Some(word) = session.last_words().await
        && trail.was_crossed(&word)
    {
        return (Outcome::Failed, Failure::of(&word, Moment::Crossing));
    }
    (outcome_of(error, trail.deciding), Failure::of(error, Moment::Working))
}

fn silence() -> Failure {
    Failure::unsaid(Moment::Working, format!("no answer within {PATIENCE:?}"))
}

/// Ends what is open of a transaction that failed.
async fn undo(client: &Client) -> Result<(), Failure> {
    match tokio::time::timeout(PATIENCE, client.simple_query("rollback")).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::of(&error, Moment::Working)),
        Err(_) => Err(silence()),
    }
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
