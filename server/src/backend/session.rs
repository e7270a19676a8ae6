//! A SQL session as the protocol drives it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use basalt_pgwire::{
    BackendSession, BindRequest, Field, Format, FormatCodes, Notice, ResultSink, StatementDescription,
    TransactionStatus,
};
use basalt_sql::{BlockState, Session, session::SessionShared};
use basalt_types::{Oid, Result, SqlError, SqlState};

use super::output::{ClientOutput, LastSettings, client_field, client_notice};

/// The formats of a simple query's answers.
const ALL_TEXT: FormatCodes = FormatCodes::AllText;

pub struct ClientSession {
    session: Session,
    last_settings: LastSettings,
    /// The result formats that Bind asked for; the unnamed portal's apart, because it is bound all the time.
    unnamed_formats: FormatCodes,
    named_formats: BTreeMap<String, FormatCodes>,
}

impl ClientSession {
    pub fn new(session: Session) -> Self {
        Self {
            session,
            last_settings: None,
            unnamed_formats: FormatCodes::AllText,
            named_formats: BTreeMap::new(),
        }
    }

    async fn try_bind(&mut self, request: &BindRequest<'_>) -> Result<()> {
        let formats = &request.parameter_formats;
        if let Some(count) = formats.count()
            && count != request.parameters.len()
        {
            return Err(SqlError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message has {count} parameter formats but {} parameters",
                    request.parameters.len()
                ),
            ));
        }
        let is_binary = |index| formats.get(index) == Format::Binary;
        self.session.bind(request.portal, request.statement, &request.parameters, &is_binary).await?;
        request.result_formats.check_result(self.session.portal(request.portal)?.fields().len())
    }
}

#[async_trait]
impl BackendSession for ClientSession {
    fn parameters(&self) -> Vec<(String, String)> {
        self.session.reported_settings()
    }

    async fn simple_query(&mut self, sql: &str, out: &mut dyn ResultSink) -> Result<()> {
        let mut output = ClientOutput {
            sink: out,
            shared: self.session.shared().clone(),
            last_settings: &mut self.last_settings,
            formats: &ALL_TEXT,
            named_ids: Vec::new(),
            names: true,
        };
        self.session.simple_query(sql, &mut output).await
    }

    async fn parse(&mut self, name: &str, sql: &str, parameter_types: &[Oid]) -> Result<()> {
        self.session.parse(name, sql, parameter_types).await
    }

    async fn describe_statement(&mut self, name: &str) -> Result<StatementDescription> {
        let statement = match self.session.describe(name) {
            Ok(statement) => statement,
            Err(error) => {
                self.session.fail();
                return Err(error);
            }
        };
        let fields = statement.fields.iter().map(|field| client_field(field, Format::Text, true));
        Ok(StatementDescription {
            parameters: statement.params.iter().map(|ty| ty.oid).collect(),
            fields: (!statement.fields.is_empty()).then(|| fields.collect()),
        })
    }

    async fn bind(&mut self, request: BindRequest<'_>) -> Result<()> {
        if let Err(error) = self.try_bind(&request).await {
            self.session.fail();
            return Err(error);
        }
        if request.portal.is_empty() {
            self.unnamed_formats = request.result_formats;
        } else {
            self.named_formats.insert(request.portal.to_owned(), request.result_formats);
        }
        Ok(())
    }

    async fn describe_portal(&mut self, name: &str) -> Result<Option<Vec<Field>>> {
        let formats = formats_of(&self.unnamed_formats, &self.named_formats, name);
        let fields = match self.session.portal(name) {
            Ok(portal) => portal.fields(),
            Err(error) => {
                self.session.fail();
                return Err(error);
            }
        };
        let columns = fields.iter().enumerate();
        let columns = columns.map(|(index, field)| client_field(field, formats.get(index), true));
        Ok((!fields.is_empty()).then(|| columns.collect()))
    }

    async fn execute(&mut self, portal: &str, max_rows: u32, out: &mut dyn ResultSink) -> Result<()> {
        let shared = self.session.shared().clone();
        let formats = formats_of(&self.unnamed_formats, &self.named_formats, portal);
        let mut output = portal_output(out, shared, &mut self.last_settings, formats);
        self.session.execute(portal, max_rows, &mut output).await
    }

    async fn execute_last(&mut self, portal: &str, out: &mut dyn ResultSink) -> Result<()> {
        let shared = self.session.shared().clone();
        let formats = formats_of(&self.unnamed_formats, &self.named_formats, portal);
        let mut output = portal_output(out, shared, &mut self.last_settings, formats);
        self.session.execute_last(portal, &mut output).await
    }

    async fn close_statement(&mut self, name: &str) -> Result<()> {
        self.session.close_statement(name);
        Ok(())
    }

    async fn close_portal(&mut self, name: &str) -> Result<()> {
        self.session.close_portal(name);
        self.named_formats.remove(name);
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        let result = self.session.sync().await;
        if self.session.block_state() == BlockState::Idle {
            // Portals that clients bound end with the transaction.
            self.named_formats.clear();
        }
        result
    }

    fn fail(&mut self, _error: &SqlError) {
        self.session.fail();
    }

    fn transaction_status(&self) -> TransactionStatus {
        match self.session.block_state() {
            BlockState::Idle | BlockState::Implicit => TransactionStatus::Idle,
            BlockState::Block => TransactionStatus::InBlock,
            BlockState::ImplicitFailed | BlockState::BlockFailed => TransactionStatus::Failed,
        }
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.session.take_parameter_changes()
    }

    fn idle_timeout(&self) -> Option<Duration> {
        let settings = self.session.shared().settings.lock();
        let milliseconds = match self.session.block_state() {
            BlockState::Idle => settings.millis("idle_session_timeout"),
            _ => settings.millis("idle_in_transaction_session_timeout"),
        };
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.session.take_notices().iter().map(client_notice).collect()
    }

    async fn close(&mut self) {
        self.session.close().await;
    }
}

fn formats_of<'a>(
    unnamed: &'a FormatCodes,
    named: &'a BTreeMap<String, FormatCodes>,
    portal: &str,
) -> &'a FormatCodes {
    if portal.is_empty() { unnamed } else { named.get(portal).unwrap_or(&ALL_TEXT) }
}

fn portal_output<'a>(
    sink: &'a mut dyn ResultSink,
    shared: Arc<SessionShared>,
    last_settings: &'a mut LastSettings,
    formats: &'a FormatCodes,
) -> ClientOutput<'a> {
    ClientOutput { sink, shared, last_settings, formats, named_ids: Vec::new(), names: false }
}
