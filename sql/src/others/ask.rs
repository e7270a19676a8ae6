//! Asking.

use std::time::Duration;

use basalt_base::{NodeId, process_id};
use futures::future::join_all;

use super::message::{Answer, LockInfo, Question};
use crate::{output::Signal, services::SqlServices, sessions::Activity};

/// For how long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What nodes answered, and those that did not.
#[derive(Debug)]
pub struct Answers<T> {
    pub given: Vec<T>,
    pub silent: Vec<NodeId>,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    Done,
    NoSession,
    /// The node of the session does not answer.
    Silent(NodeId),
}

/// The sessions of all nodes, those of this node first.
pub async fn sessions(services: &SqlServices) -> Answers<Activity> {
    flat(services.sessions.all(), all(services, Question::Sessions).await)
}

/// The table locks of the sessions of all nodes.
pub async fn locks(services: &SqlServices) -> Answers<LockInfo> {
    flat(super::answer::locks(services), all(services, Question::Locks).await)
}

/// Sends a signal to a session, wherever it is.
pub async fn signal(services: &SqlServices, pid: i32, signal: Signal) -> Signalled {
    if services.sessions.signal(pid, signal) {
        return Signalled::Done;
    }
    to_owner(services, pid, Question::Signal(pid, signal)).await
}

/// Whether a session is there; [`Signalled::Done`] if so.
pub async fn is_there(services: &SqlServices, pid: i32) -> Signalled {
    if services.sessions.has_pid(pid) {
        return Signalled::Done;
    }
    to_owner(services, pid, Question::HasPid(pid)).await
}

async fn to_owner(services: &SqlServices, pid: i32, question: Question) -> Signalled {
    let owners = members(services).into_iter().filter(|node| process_id::is_of(pid, *node)).collect();
    let answers: Answers<bool> = some(services, owners, question).await;
    if answers.given.contains(&true) {
        Signalled::Done
    } else {
        answers.silent.first().map_or(Signalled::NoSession, |node| Signalled::Silent(*node))
    }
}

fn members(services: &SqlServices) -> Vec<NodeId> {
    services.others().map_or_else(Vec::new, |others| others.members())
}

async fn all<T: Answer>(services: &SqlServices, question: Question) -> Answers<T> {
    some(services, members(services), question).await
}

async fn some<T: Answer>(services: &SqlServices, nodes: Vec<NodeId>, question: Question) -> Answers<T> {
    let mut answers = Answers { given: Vec::new(), silent: Vec::new() };
    let Some(others) = services.others().filter(|_| !nodes.is_empty()) else { return answers };
    let question = question.encode();
    let asked = join_all(nodes.into_iter().map(|node| {
        let question = question.clone();
        async move {
            let answer = tokio::select! {
                biased;
                answer = others.ask(node, question) => answer,
                () = services.env.spawner.sleep(PATIENCE) => None,
            };
            (node, answer)
        }
    }));
    for (node, answer) in asked.await {
        match answer.map(T::decode) {
            Some(Ok(answer)) => answers.given.push(answer),
            Some(Err(error)) => {
                tracing::warn!(%node, %error, "an unreadable answer of another node");
                answers.silent.push(node);
            }
            None => answers.silent.push(node),
        }
    }
    answers
}

fn flat<T>(own: Vec<T>, others: Answers<Vec<T>>) -> Answers<T> {
    let Answers { given, silent } = others;
    Answers { given: own.into_iter().chain(given.into_iter().flatten()).collect(), silent }
}
