//! Histories as text. A line is a transaction: its number, its time (`3-?` if its end is not known), its outcome (`ok`,
//! `fail` or `?`), and its operations.
//!
//! | | |
//! |---|---|
//! | `a1=7`, `r1=[5,7]` | appends 7 to list 1; reads it |
//! | `w1=7`, `r1=7`, `r1=_` | writes 7 to register 1; reads it; reads nothing |
//! | `+1:4=7`, `-1:4`, `s1={4=7}` | inserts row 4 with value 7 into set 1; deletes it; scans the set |

use crate::check::history::{Operation, Outcome, Transaction};

pub(super) fn history(lines: &[&str]) -> Vec<Transaction> {
    lines
        .iter()
        .map(|line| transaction(line).unwrap_or_else(|| panic!("not a transaction: {line}")))
        .collect()
}

fn transaction(line: &str) -> Option<Transaction> {
    let mut words = line.split_whitespace();
    let id = words.next()?.parse().ok()?;
    let (started, ended) = words.next()?.split_once('-')?;
    let outcome = match words.next()? {
        "ok" => Outcome::Committed,
        "fail" => Outcome::Failed,
        "?" => Outcome::Unknown,
        _ => return None,
    };
    Some(Transaction {
        id,
        process: usize::try_from(id).ok()?,
        started: started.parse().ok()?,
        ended: if ended == "?" { None } else { Some(ended.parse().ok()?) },
        outcome,
        operations: words.map(operation).collect::<Option<_>>()?,
    })
}

fn operation(word: &str) -> Option<Operation> {
    let (name, rest) = word.split_at_checked(1)?;
    if name == "-" {
        let (set, key) = rest.split_once(':')?;
        return Some(Operation::Delete { set: number(set)?, key: number(key)? });
    }
    let (place, value) = rest.split_once('=')?;
    if name == "+" {
        let (set, key) = place.split_once(':')?;
        return Some(Operation::Insert { set: number(set)?, key: number(key)?, value: number(value)? });
    }
    let key = number(place)?;
    match (name, value) {
        ("a", _) => Some(Operation::Append { key, value: number(value)? }),
        ("w", _) => Some(Operation::Write { key, value: number(value)? }),
        ("r", "_") => Some(Operation::Read { key, value: None }),
        ("r", "[]") => Some(Operation::ReadList { key, values: None }),
        ("r", _) => match inner(value, '[', ']') {
            Some(list) => Some(Operation::ReadList {
                key,
                values: Some(list.split(',').map(number).collect::<Option<_>>()?),
            }),
            None => Some(Operation::Read { key, value: Some(number(value)?) }),
        },
        ("s", "{}") => Some(Operation::Scan { set: key, rows: Vec::new() }),
        ("s", _) => {
            let rows = inner(value, '{', '}')?.split(',').map(|row| {
                let (key, value) = row.split_once('=')?;
                Some((number(key)?, number(value)?))
            });
            Some(Operation::Scan { set: key, rows: rows.collect::<Option<_>>()? })
        }
        _ => None,
    }
}

fn inner(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}
