//! Stored bytes: index keys ([`key`]) and rows ([`row`]).

pub mod key;
pub mod row;
mod stored_value;

#[cfg(test)]
mod tests;

use crate::{SqlError, SqlState};

fn corrupted(what: &str) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, what)
}
