//! Server-side cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor is a portal with a name, read
//! forwards; SCROLL and WITH HOLD keep its rows, and a cursor over a simple plan the first ones that it passed.

use std::sync::Arc;

use basalt_planner::{
    Plan, PlanNode, Planned, PlannedBody,
    parse::{FetchCount, ParsedStatement},
};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};

use super::{BlockState, Interrupts, Portal, Session, bind::Progress, stored_cursor::StoredCursor};
use crate::{
    Cancel, Output,
    exec::{memory::Reservation, scope::row_bytes},
};

impl Session {
    pub(crate) async fn declare_cursor(
        &mut self,
        name: &str,
        binary: bool,
        scroll: Option<bool>,
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
        self.ensure_transaction_for(&statement.parsed)?;
        let mut stream = self.start(&statement.parsed, &planned, params).await?;
        if scroll == Some(true) || hold {
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
        let passed = (scroll.is_none() && reads_backwards(&planned)).then(|| {
            let budget = self.services.memory.statement(PASSED_BYTES_MAX);
            let memory = Reservation::new(&budget);
            Box::new(StoredCursor::new(prepared.fields.clone(), Vec::new(), false, memory))
        });
        let prepared = Arc::new(prepared);
        let portal = Portal { prepared, params: params.clone(), progress, passed, hold: false };
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
        let cancel = self.cancel.clone();
        // The node may have been given up since the rows were read.
        Cancel::check(&*cancel)?;
        if let Some(stored) = self.cursors.get_mut(cursor) {
            return move_among(stored, count, is_move, out);
        }
        if let Some(portal) = self.portals.get_mut(cursor) {
            read_ahead(portal, count, &cancel).await?;
            Cancel::check(&*cancel)?;
            if let Some(passed) = &mut portal.passed {
                return move_among(passed, count, is_move, out);
            }
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
        let portal = self.portals.get_mut(cursor).ok_or_else(|| no_cursor(cursor))?;
        if !is_move {
            out.fields(&portal.prepared.fields)?;
        }
        let mut rows = 0;
        if let Progress::Rows { pending, stream, .. } = &mut portal.progress {
            'fetch: while rows < most {
                Cancel::check(&*cancel)?;
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

/// Bytes of passed rows that a cursor keeps which nobody declared with SCROLL. Past them it only goes forwards.
const PASSED_BYTES_MAX: usize = 1 << 20;

/// Whether PostgreSQL would run the plan backwards, too, so that a cursor over it may go back without SCROLL.
fn reads_backwards(planned: &Planned) -> bool {
    fn of(plan: &Plan) -> bool {
        match &plan.node {
            PlanNode::Scan(scan) => scan.lock.is_none(),
            PlanNode::VirtualScan { .. }
            | PlanNode::FunctionScan { .. }
            | PlanNode::Values { .. }
            | PlanNode::Sort { .. } => true,
            PlanNode::Filter { input, .. }
            | PlanNode::Project { input, .. }
            | PlanNode::Limit { input, .. } => of(input),
            _ => false,
        }
    }
    matches!(&planned.body, PlannedBody::Query(plan) if of(plan))
}

/// FETCH or MOVE among rows that are kept.
fn move_among(kept: &mut StoredCursor, count: FetchCount, is_move: bool, out: &mut dyn Output) -> Result<()> {
    if !is_move {
        out.fields(&kept.fields)?;
    }
    let rows = kept.fetch(count);
    if !is_move {
        for row in &rows {
            out.row(row)?;
        }
    }
    out.complete(&format!("{} {}", if is_move { "MOVE" } else { "FETCH" }, rows.len()))
}

/// Reads the rows that a cursor moves over to those that it keeps; when they are too many, it keeps none from then on.
async fn read_ahead(portal: &mut Portal, count: FetchCount, cancel: &Interrupts) -> Result<()> {
    let Progress::Rows { pending, stream } = &mut portal.progress else { return Ok(()) };
    let Some(mut passed) = portal.passed.take() else { return Ok(()) };
    let needed = passed.needed(count);
    while passed.len() < needed {
        let Some(row) = pending.next() else {
            cancel.check()?;
            let Some(running) = stream else { break };
            match running.get_mut().next_batch().await? {
                Some(batch) => *pending = batch.into_iter(),
                None => *stream = None,
            }
            continue;
        };
        if let Some(row) = passed.push(row) {
            let ahead = passed.ahead().chain(std::iter::once(row)).chain(pending.by_ref());
            *pending = ahead.collect::<Vec<_>>().into_iter();
            return Ok(());
        }
    }
    portal.passed = Some(passed);
    Ok(())
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
