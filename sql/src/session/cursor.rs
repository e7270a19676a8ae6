//! Server-side cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor is a portal with a name, read
//! forwards; SCROLL and WITH HOLD keep its rows.

use std::sync::Arc;

use basalt_planner::parse::{FetchCount, ParsedStatement};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};

use super::{BlockState, Portal, Session, bind::Progress, stored_cursor::StoredCursor};
use crate::{
    Output,
    exec::{memory::Reservation, scope::row_bytes},
};

impl Session {
    pub(crate) async fn declare_cursor(
        &mut self,
        name: &str,
        binary: bool,
        scroll: bool,
        hold: bool,
        query: &ParsedStatement,
        declared: &[SqlType],
        params: &Arc<[Datum]>,
    ) -> Result<()> {
        if binary {
            return Err(SqlError::not_supported("DECLARE BINARY CURSOR"));
        }
        if self.block != BlockState::Block && !hold {
            return Err(SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.portals.contains_key(name) || self.cursors.contains_key(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.portals.len() + self.cursors.len() >= self.services.options.portals_max {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many portals in this session",
            ));
        }
        let declared: Vec<Oid> = declared.iter().map(|ty| ty.oid).collect();
        let prepared = self.prepare_statement(query.clone(), &declared).await?;
        if prepared.fields.is_empty() {
            return Err(SqlError::new(
                SqlState::INVALID_CURSOR_DEFINITION,
                "DECLARE CURSOR must specify a SELECT statement",
            ));
        }
        // The cursor sees the database as of its declaration: start reading now.
        let statement = prepared.statement.clone().expect("a statement with fields");
        let planned = statement.planned.clone().ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_CURSOR_DEFINITION,
                "DECLARE CURSOR must specify a SELECT statement",
            )
        })?;
        if planned.params.len() > params.len() {
            let missing = params.len() + 1;
            return Err(SqlError::new(
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter ${missing}"),
            ));
        }
        let implicit = self.open.is_none();
        self.ensure_transaction()?;
        let mut stream = self.start(&statement.parsed, &planned, params).await?;
        if scroll || hold {
            let budget = self.services.memory.statement(self.services.options.statement_memory_bytes);
            let mut memory = Reservation::new(&budget);
            let mut rows = Vec::new();
            while let Some(batch) = stream.next_batch().await? {
                memory.grow(batch.iter().map(|row| row_bytes(row)).sum())?;
                rows.extend(batch);
                self.cancel.check()?;
            }
            drop(stream);
            let cursor = StoredCursor::new(prepared.fields.clone(), rows, hold, memory);
            self.cursors.insert(name.to_owned(), cursor);
            if implicit && self.block == BlockState::Implicit {
                self.commit_transaction().await?;
            }
            return Ok(());
        }
        let progress = Progress::Rows { pending: Vec::new().into_iter(), stream: Some(stream.into()) };
        let portal = Portal { prepared: Arc::new(prepared), params: params.clone(), progress, hold: false };
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    pub(crate) async fn fetch(
        &mut self,
        cursor: &str,
        count: FetchCount,
        is_move: bool,
        out: &mut dyn Output,
    ) -> Result<()> {
        if let Some(stored) = self.cursors.get_mut(cursor) {
            if !is_move {
                out.fields(&stored.fields)?;
            }
            let rows = stored.fetch(count);
            if !is_move {
                for row in &rows {
                    out.row(row)?;
                }
            }
            return out.complete(&format!("{} {}", if is_move { "MOVE" } else { "FETCH" }, rows.len()));
        }
        let most = match count {
            FetchCount::All => u64::MAX,
            FetchCount::Rows(rows) if rows > 0 => rows.unsigned_abs(),
            _ if !self.portals.contains_key(cursor) => return Err(no_cursor(cursor)),
            _ => {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "cursor can only scan forward",
                )
                .with_hint("Declare it with SCROLL option to enable backward scan."));
            }
        };
        let cancel = self.cancel.clone();
        let portal = self.portals.get_mut(cursor).ok_or_else(|| no_cursor(cursor))?;
        if !is_move {
            out.fields(&portal.prepared.fields)?;
        }
        let mut rows = 0;
        if let Progress::Rows { pending, stream, .. } = &mut portal.progress {
            'fetch: while rows < most {
                for row in pending.by_ref() {
                    if !is_move {
                        out.row(&row)?;
                    }
                    rows += 1;
                    if rows == most {
                        break 'fetch;
                    }
                }
                if out.is_full() {
                    out.flush().await?;
                }
                cancel.check()?;
                let Some(running) = stream else { break };
                match running.get_mut().next_batch().await? {
                    Some(batch) => *pending = batch.into_iter(),
                    None => {
                        *stream = None;
                        break;
                    }
                }
            }
        }
        out.complete(&format!("{} {rows}", if is_move { "MOVE" } else { "FETCH" }))
    }

    pub(crate) fn close_cursor(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            None => {
                self.portals.clear();
                self.cursors.clear();
            }
            Some(name) if self.cursors.remove(name).is_some() => {}
            Some(name) => {
                self.portals.remove(name).ok_or_else(|| no_cursor(name))?;
            }
        }
        Ok(())
    }
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
