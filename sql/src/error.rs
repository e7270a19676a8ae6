//! The one place where errors of the layers below become SQLSTATEs.

use basalt_kv_api as kv;
use basalt_types::{SqlError, SqlState};

/// What a client is told.
pub fn sql_error(error: basalt_txn::Error) -> SqlError {
    use basalt_txn::Error;
    match error {
        Error::Store(error) => store_error(error),
        Error::Ended(state) => SqlError::new(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            format!("current transaction is {state}, commands ignored until end of transaction block"),
        ),
        Error::ReadOnly => SqlError::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "cannot execute a data-modifying statement in a read-only transaction",
        ),
        Error::SavepointGone => SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "could not serialize access: the savepoint belongs to an earlier attempt of the transaction",
        ),
        Error::LimitExceeded(what) => {
            SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("transaction exceeds a limit: {what}"))
        }
    }
}

/// What a client is told of an error of the store.
pub fn store_error(error: kv::Error) -> SqlError {
    use kv::Error;
    match error {
        Error::WriteTooOld { .. }
        | Error::Uncertain { .. }
        | Error::RefreshFailed { .. }
        | Error::RefreshRequired { .. } => serialization_failure(&error.to_string()),
        Error::TxnAborted { reason } => serialization_failure(&reason),
        Error::DeadlineExceeded => serialization_failure("a schema change took effect before the commit"),
        Error::Deadlock { holder } => SqlError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
            .with_detail(format!("The transaction waited for {holder}, which waits for it in turn."))
            .with_hint("See server log for query details."),
        Error::LockNotAvailable { .. } => {
            SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
        }
        Error::BelowGcThreshold { .. } => {
            SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, error.to_string())
        }
        Error::RangeMismatch | Error::NotLeaseholder | Error::RangeNotFound | Error::Unavailable(_) => {
            SqlError::new(SqlState::CANNOT_CONNECT_NOW, error.to_string())
        }
        Error::Unproven { cause, .. } => store_error(*cause),
        Error::Ambiguous { reason } => {
            SqlError::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "the outcome of the commit is unknown")
                .with_detail(format!("The commit may or may not have taken effect: {reason}."))
                .with_hint("Check whether the changes are there before trying again.")
        }
        Error::KeyExists { .. } => {
            SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate key value violates unique constraint")
        }
        Error::DiskFull => SqlError::new(SqlState::DISK_FULL, "could not write: no space left on device")
            .with_hint("Free disk space; reads go on, and writes will succeed again when there is room."),
        Error::LimitExceeded(_) => SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, error.to_string()),
        Error::Corruption(_) => SqlError::new(SqlState::DATA_CORRUPTED, error.to_string()),
        Error::Program(inner) => match inner.downcast_ref::<SqlError>() {
            Some(error) => error.clone(),
            None => SqlError::internal(inner.to_string()),
        },
        Error::Invalid(_) | Error::Internal(_) => SqlError::internal(error.to_string()),
    }
}

fn serialization_failure(detail: &str) -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_detail(format!("Reason: {detail}."))
        .with_hint("The transaction might succeed if retried.")
}
