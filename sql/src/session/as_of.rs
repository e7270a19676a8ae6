//! AS OF SYSTEM TIME: reading the state of a moment in the past.
//!
//! Such a transaction only reads, at a timestamp that never moves, so it waits for nobody and nobody for it, and any replica
//! that has come as far can answer. It is planned with the descriptors of today: if one of them is not what it was at
//! that moment, the rows could be read wrongly, so that is an error.

use basalt_base::Timestamp;
use basalt_planner::{Planned, parse::ParsedStatement};
use basalt_types::{
    Result, SqlError, SqlState,
    datetime::{parse_interval, parse_timestamptz, timestamptz_plus_interval},
};

use super::{BlockState, Session, transaction::Modes};
use crate::services::POSTGRES_EPOCH_UNIX_MICROS;

impl Session {
    /// Opens a transaction for the statement if there is none: in the past, if it says so.
    pub(crate) fn ensure_transaction_for(&mut self, parsed: &ParsedStatement) -> Result<()> {
        let Some(text) = &parsed.as_of else { return self.ensure_transaction() };
        if self.open.is_some() || self.block != BlockState::Idle {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "AS OF SYSTEM TIME must not be used within a transaction that has begun without it",
            )
            .with_hint("Say it at the beginning: BEGIN AS OF SYSTEM TIME '…'."));
        }
        let as_of = Some(self.past_moment(text)?);
        self.open_transaction(Modes { as_of, ..Modes::default() })?;
        self.block = BlockState::Implicit;
        Ok(())
    }

    /// A timestamp, or an interval back from now. Never in the future.
    pub(crate) fn past_moment(&self, text: &str) -> Result<Timestamp> {
        let io = self.io_settings();
        let now = self.services.now_micros();
        let micros = match parse_interval(text, -1, io.interval_style) {
            Ok(interval) => timestamptz_plus_interval(now, &interval, &io.time_zone)?,
            Err(_) => parse_timestamptz(text, &io)?,
        };
        if micros > now {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("AS OF SYSTEM TIME is in the future: \"{text}\""),
            )
            .with_hint("Ten seconds ago are '-10s'."));
        }
        let unix_millis = micros.saturating_add(POSTGRES_EPOCH_UNIX_MICROS).div_euclid(1_000);
        if unix_millis <= 0 {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("AS OF SYSTEM TIME is too long ago: \"{text}\""),
            ));
        }
        Ok(Timestamp::from_unix_ms(unix_millis))
    }

    /// Whether the tables of a plan are what they were at the moment that the transaction reads.
    pub(crate) async fn check_descriptors_of_then(&self, planned: &Planned) -> Result<()> {
        let Some(open) = self.open.as_ref().filter(|open| open.is_historic) else { return Ok(()) };
        let now = self.services.catalog.current();
        for dependency in &planned.dependencies {
            let Some(table) = now.tables.get(&dependency.table) else { continue };
            let then = self.services.catalog.stored_table(&open.txn, table.id).await?;
            if then.is_none_or(|then| then.version != table.version) {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("relation \"{}\" was changed after the moment that is read", table.name),
                ));
            }
        }
        Ok(())
    }
}
