//! A backend with a language of its own, one verb a statement, so that every turn of the protocol can be asked for.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use std::time::Duration;

use async_trait::async_trait;
use basalt_pgwire::{
    Backend, BackendSession, BindRequest, CancelHandle, Field, Format, Limits, NameKind, NameTable, Notice,
    ResultSink, Severity, StartupInfo, StatementDescription, TransactionStatus, decode_utf8,
};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use tokio::sync::watch;

/// What tests look at.
#[derive(Default)]
pub struct Observed {
    pub rows: AtomicU64,
    pub copied_bytes: AtomicUsize,
    /// Sessions opened, and sessions that were closed in good order.
    pub opened: AtomicUsize,
    pub closed: watch::Sender<usize>,
    /// Statements that have begun to hang.
    pub hanging: watch::Sender<usize>,
    /// By process id.
    pub cancels: Mutex<BTreeMap<i32, CancelHandle>>,
    /// Cancel requests that were for nobody here.
    pub foreign: Mutex<Vec<(i32, Vec<u8>)>>,
}

#[derive(Default, Clone)]
pub struct FakeBackend {
    pub observed: Arc<Observed>,
}

#[async_trait]
impl Backend for FakeBackend {
    async fn connect(&self, startup: StartupInfo) -> Result<Box<dyn BackendSession>> {
        match startup.database.as_str() {
            "missing" => {
                return Err(SqlError::new(
                    SqlState::INVALID_CATALOG_NAME,
                    "database \"missing\" does not exist",
                ));
            }
            "panic" => panic!("asked to panic"),
            _ => {}
        }
        self.observed.cancels.lock().unwrap().insert(startup.process_id, startup.cancel.clone());
        self.observed.opened.fetch_add(1, Ordering::Relaxed);
        let limits = Limits::default();
        Ok(Box::new(FakeSession {
            observed: self.observed.clone(),
            cancel: startup.cancel.clone(),
            startup,
            statements: NameTable::new(NameKind::Statement, limits.statements_max),
            portals: NameTable::new(NameKind::Portal, limits.portals_max),
            status: TransactionStatus::Idle,
            implicit_failed: false,
            commit_fails: false,
            changes: Vec::new(),
            notices: Vec::new(),
        }))
    }

    async fn cancel(&self, process_id: i32, secret: &[u8]) {
        // Whoever waits for the end of the connection finds it done.
        tokio::task::yield_now().await;
        self.observed.foreign.lock().unwrap().push((process_id, secret.to_vec()));
    }
}

struct FakeSession {
    observed: Arc<Observed>,
    cancel: CancelHandle,
    startup: StartupInfo,
    statements: NameTable<String>,
    portals: NameTable<Portal>,
    status: TransactionStatus,
    implicit_failed: bool,
    commit_fails: bool,
    changes: Vec<(String, String)>,
    notices: Vec<Notice>,
}

#[derive(Clone, Default)]
struct Portal {
    sql: String,
    parameter: Datum,
    format: Format,
    position: i32,
}

fn verb(sql: &str) -> (String, &str) {
    let sql = sql.trim().trim_end_matches(';');
    let (verb, rest) = sql.split_once(' ').unwrap_or((sql, ""));
    (verb.to_ascii_lowercase(), rest.trim())
}

fn parse_count(text: &str) -> Result<i32> {
    text.parse().map_err(|_| SqlError::invalid_text("integer", text))
}

/// The type of a statement's one parameter and its one column.
fn echo_type(verb: &str) -> Option<SqlType> {
    match verb {
        "echo_int" => Some(SqlType::INT4),
        "echo_text" => Some(SqlType::TEXT),
        "echo_bool" => Some(SqlType::BOOL),
        _ => None,
    }
}

fn fields_of(sql: &str, format: Format) -> Option<Vec<Field>> {
    let (verb, _) = verb(sql);
    let ty = match verb.as_str() {
        "series" => SqlType::INT4,
        "whoami" => SqlType::TEXT,
        echo => echo_type(echo)?,
    };
    Some(vec![Field { format, ..Field::new("value", ty) }])
}

impl FakeSession {
    fn failed(&mut self, error: SqlError) -> SqlError {
        if self.status == TransactionStatus::InBlock {
            self.status = TransactionStatus::Failed;
        }
        self.implicit_failed = true;
        error
    }

    async fn run(&mut self, portal: &mut Portal, max_rows: u32, out: &mut dyn ResultSink) -> Result<()> {
        let sql = portal.sql.clone();
        let (verb, argument) = verb(&sql);
        if self.status == TransactionStatus::Failed && !matches!(verb.as_str(), "rollback" | "commit") {
            return Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        if let Some(fields) = fields_of(&sql, portal.format) {
            out.row_description(&fields)?;
        }
        match verb.as_str() {
            "" => return out.empty_query(),
            "series" => return self.series(portal, parse_count(argument)?, max_rows, out).await,
            "whoami" => {
                let options = format!("{:?}", self.startup.options);
                let text = format!("{} {} {options}", self.startup.user, self.startup.database);
                out.row(&[Datum::text(text)])?;
                return out.command_complete("SELECT 1");
            }
            "fail" => return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error").at(3)),
            "fail_after_row" => {
                out.row_description(&[Field::new("value", SqlType::INT4)])?;
                out.row(&[Datum::Int4(1)])?;
                return Err(SqlError::division_by_zero());
            }
            "wrong_row" => {
                out.row_description(&[Field::new("value", SqlType::INT4)])?;
                return out.row(&[]);
            }
            "silent" => return Ok(()),
            "panic" => panic!("asked to panic"),
            "hang" => {
                self.observed.hanging.send_modify(|count| *count += 1);
                return Err(self.cancel.cancelled().await.error());
            }
            "stubborn" => {
                self.observed.hanging.send_modify(|count| *count += 1);
                return std::future::pending().await;
            }
            "begin" | "start" => self.status = TransactionStatus::InBlock,
            "commit" | "rollback" => self.status = TransactionStatus::Idle,
            "commit_fails" => self.commit_fails = true,
            "set" => {
                let (name, value) = argument.split_once(' ').unwrap();
                self.changes.push((name.to_owned(), value.to_owned()));
            }
            "notice" => out.notice(&Notice {
                severity: Severity::Notice,
                content: SqlError::new(SqlState::SUCCESSFUL_COMPLETION, argument),
            }),
            "copy_in" => return self.copy_in(argument, out).await,
            "copy_out" => {
                out.copy_out_start(Format::Text, 1)?;
                for line in 0..parse_count(argument)? {
                    out.copy_out_data(format!("{line}\n").as_bytes())?;
                    out.flush_if_full().await?;
                }
                out.copy_out_end()?;
                return out.command_complete(&format!("COPY {argument}"));
            }
            _ if echo_type(&verb).is_some() => {
                out.row(std::slice::from_ref(&portal.parameter))?;
                return out.command_complete("SELECT 1");
            }
            other => return Err(SqlError::not_supported(other)),
        }
        out.command_complete(&verb.to_ascii_uppercase())
    }

    async fn series(
        &self,
        portal: &mut Portal,
        end: i32,
        max_rows: u32,
        out: &mut dyn ResultSink,
    ) -> Result<()> {
        let mut sent = 0;
        while portal.position < end {
            if max_rows > 0 && sent == max_rows {
                return out.portal_suspended();
            }
            portal.position += 1;
            sent += 1;
            out.row(&[Datum::Int4(portal.position)])?;
            self.observed.rows.fetch_add(1, Ordering::Relaxed);
            out.flush_if_full().await?;
        }
        out.command_complete(&format!("SELECT {sent}"))
    }

    async fn copy_in(&self, fail_after: &str, out: &mut dyn ResultSink) -> Result<()> {
        out.copy_in_start(Format::Text, 2)?;
        let (mut chunks, mut lines) = (0, 0);
        while let Some(chunk) = out.copy_read().await? {
            chunks += 1;
            self.observed.copied_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
            if fail_after.parse() == Ok(chunks) {
                let error =
                    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "extra data after last expected column");
                return Err(error.with_context(format!("COPY t, line {lines}")));
            }
        }
        out.command_complete(&format!("COPY {lines}"))
    }
}

#[async_trait]
impl BackendSession for FakeSession {
    fn parameters(&self) -> Vec<(String, String)> {
        vec![("timezone".to_owned(), "Europe/Bern".to_owned())]
    }

    async fn simple_query(&mut self, sql: &str, out: &mut dyn ResultSink) -> Result<()> {
        if self.implicit_failed {
            return Err(SqlError::internal("a statement after an error without a sync between"));
        }
        for statement in sql.trim_end_matches(';').split(';') {
            let mut portal = Portal { sql: statement.to_owned(), ..Portal::default() };
            if let Err(error) = self.run(&mut portal, 0, out).await {
                let error = self.failed(error);
                self.implicit_failed = false;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn parse(&mut self, name: &str, sql: &str, _types: &[Oid]) -> Result<()> {
        if verb(sql).0 == "fail_parse" {
            let error = SqlError::new(SqlState::SYNTAX_ERROR, "syntax error").at(1);
            return Err(self.failed(error));
        }
        self.statements.insert(name, sql.to_owned())
    }

    async fn describe_statement(&mut self, name: &str) -> Result<StatementDescription> {
        let sql = self.statements.get(name)?;
        let parameters = echo_type(&verb(sql).0).map(|ty| ty.oid);
        Ok(StatementDescription {
            parameters: parameters.into_iter().collect(),
            fields: fields_of(sql, Format::Text),
        })
    }

    async fn bind(&mut self, request: BindRequest<'_>) -> Result<()> {
        let sql = self.statements.get(request.statement)?.clone();
        let parameter = match request.parameters.first() {
            None | Some(None) => Datum::Null,
            Some(Some(bytes)) => match (verb(&sql).0.as_str(), request.parameter_formats.get(0)) {
                ("echo_int", Format::Binary) => {
                    Datum::Int4(i32::from_be_bytes(bytes[..].try_into().unwrap()))
                }
                ("echo_int", Format::Text) => Datum::Int4(decode_utf8(bytes)?.parse().unwrap()),
                ("echo_bool", _) => Datum::Bool(bytes[0] == 1),
                _ => Datum::text(decode_utf8(bytes)?),
            },
        };
        let columns = fields_of(&sql, Format::Text).map_or(0, |fields| fields.len());
        let format = request.result_formats.resolve(columns)?.first().copied().unwrap_or_default();
        self.portals.insert(request.portal, Portal { sql, parameter, format, position: 0 })
    }

    async fn describe_portal(&mut self, name: &str) -> Result<Option<Vec<Field>>> {
        let portal = self.portals.get(name)?;
        Ok(fields_of(&portal.sql, portal.format))
    }

    async fn execute(&mut self, name: &str, max_rows: u32, out: &mut dyn ResultSink) -> Result<()> {
        let mut portal = self.portals.get(name)?.clone();
        let result = self.run(&mut portal, max_rows, out).await;
        *self.portals.get_mut(name)? = portal;
        result.map_err(|error| self.failed(error))
    }

    async fn close_statement(&mut self, name: &str) -> Result<()> {
        self.statements.remove(name);
        Ok(())
    }

    async fn close_portal(&mut self, name: &str) -> Result<()> {
        self.portals.remove(name);
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.implicit_failed = false;
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        }
        if std::mem::take(&mut self.commit_fails) {
            return Err(SqlError::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access"));
        }
        Ok(())
    }

    fn fail(&mut self, error: &SqlError) {
        self.failed(error.clone());
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    fn idle_timeout(&self) -> Option<Duration> {
        (self.status != TransactionStatus::Idle && self.startup.user == "impatient")
            .then_some(Duration::from_millis(20))
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    async fn close(&mut self) {
        self.observed.closed.send_modify(|count| *count += 1);
    }
}
