//! Prepared statements and portals of the extended protocol.

use std::sync::Arc;

use basalt_planner::{Field, PlannedBody, parse, parse::ParsedStatement};
use basalt_types::{
    Datum, IoSettings, Oid, Result, SqlError, SqlState, SqlType, binary_in, text_from_utf8, text_in,
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Session, StatementPlan, stored_cursor::StoredCursor};
use crate::{Output, exec::RowStream};

/// A named (or the unnamed) statement.
#[derive(Debug)]
pub struct Prepared {
    /// `None` for an empty query.
    pub statement: Option<StatementPlan>,
    pub params: Vec<SqlType>,
    pub fields: Vec<Field>,
}

/// A bound statement, perhaps half-way through its rows.
pub struct Portal {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) params: Arc<[Datum]>,
    pub(crate) progress: Progress,
    /// The rows that a cursor has passed, as long as it can go back to all of them.
    pub(crate) passed: Option<Box<StoredCursor>>,
    /// DECLARE … WITH HOLD, materialised at commit.
    pub(crate) hold: bool,
}

pub(crate) enum Progress {
    Ready,
    /// Rows of the last batch not sent yet, and the rest.
    Rows {
        pending: std::vec::IntoIter<Vec<Datum>>,
        stream: Option<OpenStream>,
    },
    Done,
}

/// A stream kept between calls. The mutex is never locked: it makes the session shareable, which the futures of its
/// methods need.
pub(crate) type OpenStream = Mutex<Box<dyn RowStream>>;

impl Portal {
    /// The columns of its rows; none when it returns no rows.
    pub fn fields(&self) -> &[Field] {
        &self.prepared.fields
    }

    pub(crate) fn outlives_transaction(&self) -> bool {
        self.hold
    }
}

impl Session {
    /// Parse: the empty name is replaced, another must be new.
    pub async fn parse(&mut self, name: &str, sql: &str, params: &[Oid]) -> Result<()> {
        let _deadline = self.deadline();
        let result = self.try_parse(name, sql, params).await;
        self.settle(result).await
    }

    async fn try_parse(&mut self, name: &str, sql: &str, params: &[Oid]) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if self.statements.len() >= self.services.options.prepared_statements_max {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many prepared statements in this session",
            ));
        }
        let prepared = self.prepare(sql, params).await?;
        self.statements.insert(name.to_owned(), Arc::new(prepared));
        Ok(())
    }

    pub(crate) async fn prepare(&mut self, sql: &str, params: &[Oid]) -> Result<Prepared> {
        let mut statements = parse::parse(sql)?;
        if statements.len() > 1 {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let Some(statement) = statements.pop() else {
            return Ok(Prepared { statement: None, params: Vec::new(), fields: Vec::new() });
        };
        self.prepare_statement(statement, params).await
    }

    pub(crate) async fn prepare_statement(
        &mut self,
        parsed: ParsedStatement,
        params: &[Oid],
    ) -> Result<Prepared> {
        if !super::utility::allowed_in_failed_block(&parsed) {
            self.check_not_failed()?;
        }
        let statement = self.plan(Arc::new(parsed), params).await?;
        let (param_types, fields) = match &statement.planned {
            Some(planned) => (planned.params.clone(), self.fields_of(planned)),
            None => {
                let types = self.utility_params(&statement.parsed, params)?;
                (types, self.utility_fields(&statement.parsed)?)
            }
        };
        Ok(Prepared { statement: Some(statement), params: param_types, fields })
    }

    pub fn statement(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            SqlError::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    /// What Describe may say of a statement: nothing of its columns in a failed block, or once they have changed.
    pub fn describe(&self, name: &str) -> Result<&Prepared> {
        let prepared = self.statement(name)?;
        if !prepared.fields.is_empty() {
            self.check_not_failed()?;
            if let Some(statement) = &prepared.statement {
                self.check_promise(statement)?;
            }
        }
        Ok(prepared)
    }

    pub fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| no_portal(name))
    }

    /// Bind: decodes the parameters and makes the portal. `is_binary` tells the format of each.
    pub async fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        params: &[Option<Bytes>],
        is_binary: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<()> {
        let result = self.try_bind(portal, statement, params, is_binary);
        self.settle(result).await
    }

    fn try_bind(
        &mut self,
        portal: &str,
        statement: &str,
        params: &[Option<Bytes>],
        is_binary: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        let prepared = self.statement(statement)?.clone();
        let allowed = prepared
            .statement
            .as_ref()
            .is_none_or(|plan| super::utility::allowed_in_failed_block(&plan.parsed));
        if !allowed {
            self.check_not_failed()?;
        }
        if params.len() != prepared.params.len() {
            return Err(SqlError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                    params.len(),
                    prepared.params.len()
                ),
            ));
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{portal}\" already exists"),
            ));
        }
        if self.portals.len() >= self.services.options.portals_max {
            return Err(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many portals in this session",
            ));
        }
        let values: Arc<[Datum]> = if params.is_empty() {
            Arc::new([])
        } else {
            let io = self.io_settings();
            let decode = |(index, (value, ty)): (usize, (&Option<Bytes>, &SqlType))| {
                let binary = is_binary(index);
                // The text of a reg* value names an object.
                if let (
                    Some(bytes),
                    Oid::REGCLASS | Oid::REGTYPE | Oid::REGPROC | Oid::REGROLE | Oid::REGNAMESPACE,
                    false,
                ) = (value, ty.oid, binary)
                {
                    let text = text_from_utf8(bytes)?;
                    self.catalog_view();
                    let context = self.eval_context(Arc::new([]));
                    return basalt_functions::io::input_in(&context, *ty, text);
                }
                decode_param(value.as_ref(), *ty, binary, &io)
            };
            params.iter().zip(&prepared.params).enumerate().map(decode).collect::<Result<_>>()?
        };
        if let Some(statement) = &prepared.statement {
            self.check_promise(statement)?;
        }
        let bound = Portal { prepared, params: values, progress: Progress::Ready, passed: None, hold: false };
        self.portals.insert(portal.to_owned(), bound);
        Ok(())
    }

    /// Execute: at most `max_rows` rows (0 = all); ends with completion, an empty-query answer or a suspension.
    pub async fn execute(&mut self, portal: &str, max_rows: u32, out: &mut dyn Output) -> Result<()> {
        let result = self.try_execute(portal, max_rows, out).await;
        self.settle(result).await
    }

    /// As [`Session::execute`] of all rows, with Sync as the client's next message. A data change that is the whole
    /// transaction is committed here, and run again after a conflict as one in a simple query is: the client has heard
    /// nothing of it yet.
    pub async fn execute_last(&mut self, portal: &str, out: &mut dyn Output) -> Result<()> {
        let result = if self.is_lone_change(portal) {
            let portal = self.portals.remove(portal).expect("it was looked at");
            let statement = portal.prepared.statement.as_ref().expect("a change has a statement");
            self.begin_activity(&statement.parsed.text);
            let result = Box::pin(self.run_autocommit(statement, &portal.params, out)).await;
            self.end_activity();
            result
        } else {
            self.try_execute(portal, 0, out).await
        };
        self.settle(result).await
    }

    fn is_lone_change(&self, portal: &str) -> bool {
        let Some(portal) = self.portals.get(portal) else { return false };
        let planned = portal.prepared.statement.as_ref().and_then(|statement| statement.planned.as_ref());
        self.block == super::BlockState::Idle
            && self.open.is_none()
            && matches!(portal.progress, Progress::Ready)
            && planned.is_some_and(|planned| matches!(planned.body, PlannedBody::Dml { .. }))
    }

    async fn try_execute(&mut self, name: &str, max_rows: u32, out: &mut dyn Output) -> Result<()> {
        // Taken out while it runs, so that the portal and the session can be borrowed apart.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let result = self.run_portal(name, &mut portal, max_rows, out).await;
        let statement_ended_transaction = self.open.is_none() && !portal.outlives_transaction();
        if result.is_ok() && !statement_ended_transaction {
            self.portals.insert(name.to_owned(), portal);
        }
        result
    }

    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// Ends the implicit transaction.
    pub async fn sync(&mut self) -> Result<()> {
        match self.block {
            super::BlockState::Implicit => {
                let result = self.commit_transaction().await;
                self.end_activity();
                result
            }
            super::BlockState::ImplicitFailed => {
                self.abort_transaction().await;
                Ok(())
            }
            super::BlockState::Idle => {
                self.portals.retain(|_, portal| portal.outlives_transaction());
                Ok(())
            }
            super::BlockState::Block | super::BlockState::BlockFailed => Ok(()),
        }
    }

    /// The client was told of an error that this session did not raise.
    pub fn fail(&mut self) {
        self.block = match self.block {
            super::BlockState::Block | super::BlockState::BlockFailed => super::BlockState::BlockFailed,
            super::BlockState::Idle | super::BlockState::Implicit | super::BlockState::ImplicitFailed => {
                super::BlockState::ImplicitFailed
            }
        };
    }

    /// Fails the transaction if `result` is an error.
    pub(crate) async fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.fail_transaction().await;
        }
        result
    }

    pub(crate) fn io_settings(&self) -> IoSettings {
        let mut io = self.shared.settings.lock().hot().io.clone();
        let start = self.open.as_ref().map(|open| open.start_micros);
        io.now_micros = Some(start.unwrap_or_else(|| self.services.now_micros()));
        io
    }
}

fn decode_param(value: Option<&Bytes>, ty: SqlType, binary: bool, io: &IoSettings) -> Result<Datum> {
    let Some(bytes) = value else { return Ok(Datum::Null) };
    if binary {
        return binary_in(ty, bytes);
    }
    text_in(ty, text_from_utf8(bytes)?, io)
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}
