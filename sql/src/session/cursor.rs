//! Server-side cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor is a portal with a name, read forwards.

use std::sync::Arc;

use basalt_planner::parse::{FetchCount, ParsedStatement};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};

use super::{BlockState, Portal, Session, bind::Progress};
use crate::Output;

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
        if scroll {
            return Err(SqlError::not_supported("DECLARE SCROLL CURSOR"));
        }
        if hold {
            return Err(SqlError::not_supported("DECLARE CURSOR WITH HOLD"));
        }
        if self.block != BlockState::Block {
            return Err(SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.portals.contains_key(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.portals.len() >= self.services.options.portals_max {
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
        let stream = self.start(&statement.parsed, &planned, params).await?;
        let progress =
            Progress::Rows { pending: Vec::new().into_iter(), stream: Some(stream.into()), sent: 0 };
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
        let most = match count {
            FetchCount::All => u64::MAX,
            FetchCount::Rows(rows) => u64::try_from(rows)
                .map_err(|_| SqlError::not_supported("FETCH backwards from a forward-only cursor"))?,
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
            None => self.portals.clear(),
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
