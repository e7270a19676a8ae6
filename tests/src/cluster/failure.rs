//! What clients are told instead of an answer, and what of it they may be told although nothing has failed.

use std::{collections::BTreeMap, error::Error as StdError, fmt};

use tokio_postgres::{Error, error::SqlState};

/// What a client was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// A statement or a transaction was under way.
    Working,
    /// It had a connection, on which nothing was under way.
    Idle,
    /// It began something on an idle connection that the server had just ended: the two have crossed on the way, and the
    /// server has read nothing of it. The protocol has no word by which a server could ask for an end and wait for it, so no
    /// stop of a server avoids this; a client may send the same again elsewhere.
    Crossing,
    /// It was asking for a connection, and another host gave it one.
    PassingOver,
    /// It was asking for a connection, and no host gave it one.
    Connecting,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    pub moment: Moment,
    /// The SQLSTATE, if it was a server that said so.
    pub state: Option<String>,
    /// Without its numbers, so that messages that differ in an id only are counted together.
    pub message: String,
}

impl Failure {
    pub fn of(error: &(dyn StdError + 'static), moment: Moment) -> Self {
        let answer = error.downcast_ref::<Error>().and_then(Error::as_db_error);
        let (state, message) = match answer {
            Some(answer) => (Some(answer.code().code().to_owned()), without_numbers(answer.message())),
            None => (None, without_numbers(&innermost(error).to_string())),
        };
        Self { moment, state, message }
    }

    /// What no server said.
    pub fn unsaid(moment: Moment, message: String) -> Self {
        Self { moment, state: None, message }
    }

    /// Whether a client that knows several hosts may be told so by a cluster in which nothing fails: that it should try its
    /// transaction again, that a connection which it does not use will end, and that it should ask another host.
    pub fn is_part_of_service(&self) -> bool {
        let is_any_of =
            |known: &[SqlState]| known.iter().any(|known| self.state.as_deref() == Some(known.code()));
        match self.moment {
            Moment::Working => {
                is_any_of(&[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED])
            }
            Moment::Idle | Moment::Crossing => is_any_of(&[SqlState::ADMIN_SHUTDOWN]),
            Moment::PassingOver => true,
            Moment::Connecting => false,
        }
    }

    /// Under which it is counted; nothing where the client went on all the same.
    fn label(&self) -> Option<String> {
        let state = self.state.as_deref().unwrap_or("no SQLSTATE");
        match self.moment {
            Moment::Working => Some(state.to_owned()),
            Moment::Idle => Some(format!("{state} while idle")),
            Moment::Crossing => Some(format!("{state} on the way")),
            Moment::PassingOver => None,
            Moment::Connecting => Some("no connection".to_owned()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.moment {
            Moment::Working => "",
            Moment::Idle => "while idle: ",
            Moment::Crossing => "on the way: ",
            Moment::PassingOver => "passing over a host: ",
            Moment::Connecting => "connecting: ",
        })?;
        match &self.state {
            Some(state) => write!(formatter, "{state} {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// How often clients were told what, by SQLSTATE; the most frequent first.
pub fn by_state<'a>(failures: impl IntoIterator<Item = &'a (Failure, u64)>) -> String {
    let mut counts = BTreeMap::<String, u64>::new();
    for (failure, count) in failures {
        if let Some(label) = failure.label() {
            *counts.entry(label).or_default() += count;
        }
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let texts: Vec<String> = counts.iter().map(|(label, count)| format!("{label}: {count}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(moment: Moment, state: Option<&str>) -> Failure {
        Failure { moment, state: state.map(str::to_owned), message: "told".to_owned() }
    }

    #[test]
    fn a_planned_restart_may_ask_for_retries_and_end_what_is_idle() {
        let cases = [
            (Moment::Working, Some("40001"), true),
            (Moment::Working, Some("40P01"), true),
            (Moment::Working, Some("40003"), false),
            (Moment::Working, Some("57P01"), false),
            (Moment::Working, Some("57P03"), false),
            (Moment::Working, None, false),
            (Moment::Idle, Some("57P01"), true),
            (Moment::Idle, Some("57P03"), false),
            (Moment::Idle, None, false),
            (Moment::Crossing, Some("57P01"), true),
            (Moment::Crossing, Some("40003"), false),
            (Moment::Crossing, None, false),
            (Moment::PassingOver, Some("57P03"), true),
            (Moment::PassingOver, None, true),
            (Moment::Connecting, Some("57P03"), false),
            (Moment::Connecting, None, false),
        ];
        for (moment, state, expected) in cases {
            assert_eq!(failure(moment, state).is_part_of_service(), expected, "{moment:?} {state:?}");
        }
    }

    #[test]
    fn failures_are_counted_by_what_clients_can_tell_apart() {
        let told = [
            (failure(Moment::Working, Some("57P03")), 2),
            (failure(Moment::Working, Some("40001")), 7),
            (Failure { message: "other".to_owned(), ..failure(Moment::Working, Some("57P03")) }, 3),
            (failure(Moment::Idle, Some("57P01")), 1),
            (failure(Moment::PassingOver, None), 9),
        ];
        assert_eq!(by_state(&told), "40001: 7, 57P03: 5, 57P01 while idle: 1");
        assert_eq!(by_state([]), "none");
        assert_eq!(without_numbers("range 17 of 4"), "range # of #");
    }
}
