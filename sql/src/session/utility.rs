//! Statements that are not planned: transaction control, settings, schema changes and the rest.

use std::sync::Arc;

use basalt_planner::{
    Field, Table,
    parse::{ParsedBody, ParsedStatement, Utility},
};
use basalt_txn::Isolation;
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Statement, TransactionAccessMode, TransactionIsolationLevel, TransactionMode};

use super::{Session, StatementPlan, plan_settings, transaction::Modes};
use crate::{Output, catalog::PG_CATALOG_SCHEMA, ddl, jobs, output::NoticeLevel, virtual_tables};

/// Statements that end a failed block, or lead out of it.
pub(crate) fn allowed_in_failed_block(parsed: &ParsedStatement) -> bool {
    match &parsed.body {
        ParsedBody::Sql(statement) => {
            matches!(**statement, Statement::Commit { .. } | Statement::Rollback { .. })
        }
        ParsedBody::Utility(_) => false,
    }
}

fn concurrent_name(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateIndex(_) => "CREATE INDEX CONCURRENTLY",
        _ => "DROP INDEX CONCURRENTLY",
    }
}

impl Session {
    /// Types of the parameters of a utility statement: those of the query that it names.
    pub(crate) fn utility_params(&self, parsed: &ParsedStatement, declared: &[Oid]) -> Result<Vec<SqlType>> {
        match &parsed.body {
            ParsedBody::Utility(Utility::Declare { query, .. }) if super::run::is_plannable(query) => {
                Ok(self.plan_query(query, declared)?.params.clone())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Columns that a utility statement returns.
    pub(crate) fn utility_fields(&self, parsed: &ParsedStatement) -> Result<Vec<Field>> {
        let field = |name: &str| Field { name: name.to_owned(), ty: SqlType::TEXT, table: Oid(0), attnum: 0 };
        Ok(match &parsed.body {
            ParsedBody::Utility(Utility::Show { name }) => match name.as_str() {
                "all" => vec![field("name"), field("setting"), field("description")],
                name => match self.shown_table(name) {
                    Some(table) => {
                        let columns = table.columns.iter();
                        columns.map(|column| Field { ty: column.ty, ..field(&column.name) }).collect()
                    }
                    None => vec![field(self.canonical_setting(name)?.as_str())],
                },
            },
            ParsedBody::Utility(Utility::Fetch { cursor, is_move: false, .. }) => {
                match self.cursors.get(cursor) {
                    Some(stored) => stored.fields.clone(),
                    None => self.portal(cursor)?.prepared.fields.clone(),
                }
            }
            ParsedBody::Sql(statement) => match &**statement {
                Statement::Execute { name: Some(name), .. } => {
                    self.statement(&ddl::names::last_part(name)?)?.fields.clone()
                }
                _ => Vec::new(),
            },
            ParsedBody::Utility(_) => Vec::new(),
        })
    }

    fn canonical_setting(&self, name: &str) -> Result<String> {
        let settings = self.shared.settings.lock();
        if settings.get(name).is_none() {
            return Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            ));
        }
        let all = settings.all();
        let known = all.into_iter().find(|(known, _, _)| known.eq_ignore_ascii_case(name));
        Ok(known.map_or_else(|| name.to_owned(), |(known, _, _)| known))
    }

    /// Runs a statement from its syntax tree and completes it.
    pub(crate) async fn run_utility(
        &mut self,
        parsed: &Arc<ParsedStatement>,
        types: &[SqlType],
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        match &parsed.body {
            ParsedBody::Utility(
                utility @ (Utility::CreateSequence { .. }
                | Utility::AlterSequence { .. }
                | Utility::Refresh { .. }
                | Utility::AlterRelation { .. }),
            ) => self.run_ddl(ddl::SchemaChange::Own(utility), params, out).await,
            ParsedBody::Utility(utility) => self.run_own_utility(parsed, utility, types, params, out).await,
            ParsedBody::Sql(statement) => self.run_sql_utility(parsed, statement, params, out).await,
        }
    }

    async fn run_own_utility(
        &mut self,
        parsed: &Arc<ParsedStatement>,
        utility: &Utility,
        types: &[SqlType],
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        match utility {
            Utility::Show { name } => self.show(parsed, name, out).await,
            Utility::AlterNode { node, change } => {
                let store = self.services.store.clone();
                let store = store.ok_or_else(|| SqlError::not_supported("ALTER NODE without a cluster"))?;
                store.change_node(*node, *change).await?;
                out.complete("ALTER NODE")
            }
            Utility::CancelJob { job } => {
                jobs::request_cancel(&self.services, *job).await?;
                out.complete("CANCEL JOB")
            }
            Utility::Set { local, name, values } => {
                self.set(*local, name, values)?;
                out.complete("SET")
            }
            Utility::Reset { name } => {
                match name {
                    Some(name) => Arc::make_mut(&mut self.shared.settings.lock()).reset(name)?,
                    None => Arc::make_mut(&mut self.shared.settings.lock()).reset_all(),
                }
                self.settings_changed(false);
                out.complete("RESET")
            }
            Utility::Vacuum { vacuum, analyze, tables } => {
                if *vacuum && matches!(self.block, super::BlockState::Block) {
                    return Err(SqlError::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        "VACUUM cannot run inside a transaction block",
                    ));
                }
                ddl::analyze::run(self, tables, *analyze).await?;
                out.complete(if *vacuum { "VACUUM" } else { "ANALYZE" })
            }
            Utility::SetConstraints { names, deferred } => {
                self.set_constraints(names, *deferred).await?;
                out.complete("SET CONSTRAINTS")
            }
            Utility::Checkpoint => out.complete("CHECKPOINT"),
            Utility::Reindex => out.complete("REINDEX"),
            Utility::Lock { tables, mode, .. } => {
                ddl::lock_table::run(self, tables, mode).await?;
                out.complete("LOCK TABLE")
            }
            Utility::Declare { name, binary, scroll, hold, query } => {
                self.declare_cursor(name, *binary, *scroll, *hold, query, types, params).await?;
                out.complete("DECLARE CURSOR")
            }
            Utility::Fetch { cursor, count, is_move } => self.fetch(cursor, *count, *is_move, out).await,
            Utility::CreateSequence { .. }
            | Utility::AlterSequence { .. }
            | Utility::Refresh { .. }
            | Utility::AlterRelation { .. } => Err(SqlError::internal("a schema change is run elsewhere")),
            Utility::Close { name } => {
                self.close_cursor(name.as_deref())?;
                out.complete(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" })
            }
        }
    }

    async fn run_sql_utility(
        &mut self,
        parsed: &Arc<ParsedStatement>,
        statement: &Statement,
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        match statement {
            Statement::StartTransaction { modes, begin, .. } => {
                let as_of = parsed.as_of.as_deref().map(|text| self.past_moment(text)).transpose()?;
                self.begin_block(Modes { as_of, ..transaction_modes(modes)? })?;
                out.complete(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            Statement::Commit { chain, .. } => {
                no_chain(*chain)?;
                let tag = self.commit_block().await?;
                out.complete(tag)
            }
            Statement::Rollback { chain, savepoint } => {
                no_chain(*chain)?;
                match savepoint {
                    Some(name) => self.rollback_to_savepoint(&ddl::names::fold(name))?,
                    None => self.rollback_block().await,
                }
                out.complete("ROLLBACK")
            }
            Statement::Savepoint { name } => {
                self.savepoint(&ddl::names::fold(name))?;
                out.complete("SAVEPOINT")
            }
            Statement::ReleaseSavepoint { name } => {
                self.release_savepoint(&ddl::names::fold(name))?;
                out.complete("RELEASE")
            }
            Statement::Set(ast::Set::SetTransaction { modes, session, .. }) => {
                let modes = transaction_modes(modes)?;
                if *session {
                    let read_only = modes.read_only.unwrap_or(false);
                    let value = if read_only { "on" } else { "off" };
                    Arc::make_mut(&mut self.shared.settings.lock())
                        .set("default_transaction_read_only", value)?;
                    self.settings_changed(false);
                } else {
                    self.set_transaction(modes)?;
                }
                out.complete("SET")
            }
            Statement::Prepare { name, data_types, statement } => {
                self.prepare_named(parsed, name, data_types, statement).await?;
                out.complete("PREPARE")
            }
            Statement::Execute { name: Some(name), parameters, .. } => {
                self.execute_named(&ddl::names::last_part(name)?, parameters, out).await
            }
            Statement::Deallocate { name, .. } => {
                if name.value.eq_ignore_ascii_case("all") && name.quote_style.is_none() {
                    self.statements.clear();
                    return out.complete("DEALLOCATE ALL");
                }
                let name = ddl::names::fold(name);
                self.statement(&name)?;
                self.close_statement(&name);
                out.complete("DEALLOCATE")
            }
            Statement::Discard { object_type } => self.discard(object_type, out).await,
            Statement::Copy { .. } => self.copy(statement, out).await,
            _ if parsed.concurrently && self.block != super::BlockState::Idle => Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{} cannot run inside a transaction block", concurrent_name(statement)),
            )),
            _ => self.run_ddl(ddl::SchemaChange::Sql(statement), params, out).await,
        }
    }

    async fn run_ddl(
        &mut self,
        statement: ddl::SchemaChange<'_>,
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        if let Some(open) = &self.open
            && open.read_only
        {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {} in a read-only transaction", statement.name()),
            ));
        }
        let was_idle = self.block == super::BlockState::Idle;
        let mut attempt = 1;
        loop {
            self.ensure_transaction()?;
            let deadline = self.deadline();
            let work = async {
                self.check_cluster().await?;
                self.catch_up_with_cluster().await?;
                ddl::run(self, statement, params).await
            };
            let mut result = super::run::with_deadline(deadline, work).await;
            if result.is_ok() && was_idle {
                result = self.commit_transaction().await.and(result);
            }
            if result.is_ok()
                && let Some(job) = self.begun_job.take()
            {
                let waited =
                    super::run::with_deadline(self.deadline(), job.wait(self.services.clone())).await;
                if let Err(error) = waited {
                    // Either it has ended, or the client has had enough of it.
                    job.cancel(&self.services).await;
                    return Err(error);
                }
            }
            match result {
                Ok(tag) => {
                    for notice in self.take_notices() {
                        out.notice(&notice);
                    }
                    return out.complete(&tag);
                }
                // Nothing of a schema change has reached the client yet.
                Err(error) if was_idle && super::run::is_retryable(&error) && attempt < 10 => {
                    self.abort_transaction().await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The table behind SHOW NODES and its like.
    fn shown_table(&self, name: &str) -> Option<Arc<Table>> {
        let table = virtual_tables::basalt::shown_by(name)?;
        self.services.virtual_schema.table(PG_CATALOG_SCHEMA, table).cloned()
    }

    async fn show(&mut self, parsed: &ParsedStatement, name: &str, out: &mut dyn Output) -> Result<()> {
        out.fields(&self.utility_fields(parsed)?)?;
        if let Some(table) = self.shown_table(name) {
            for row in virtual_tables::basalt::rows(&table, &self.services).await?.unwrap_or_default() {
                out.row(&row)?;
            }
            return out.complete("SHOW");
        }
        match name {
            "all" => {
                let all = self.shared.settings.lock().all();
                for (name, value, description) in all {
                    out.row(&[Datum::text(name), Datum::text(value), Datum::text(description)])?;
                }
            }
            name => {
                let value = self.shared.settings.lock().get(name).unwrap_or_default();
                out.row(&[Datum::text(value)])?;
            }
        }
        out.complete("SHOW")
    }

    fn set(&mut self, local: bool, name: &str, values: &[String]) -> Result<()> {
        if local && !matches!(self.block, super::BlockState::Block | super::BlockState::BlockFailed) {
            self.notice(
                NoticeLevel::Warning,
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            );
            return Ok(());
        }
        // Every level runs as SERIALIZABLE, and SHOW says so.
        let isolation = ["transaction_isolation", "default_transaction_isolation"];
        let asks_isolation = isolation.iter().any(|known| known.eq_ignore_ascii_case(name));
        let mut shared = self.shared.settings.lock();
        let settings = Arc::make_mut(&mut shared);
        match values {
            [] => settings.reset(name)?,
            values => {
                let value = values.join(", ");
                settings.set(name, &value)?;
                if asks_isolation {
                    settings.reset(name)?;
                }
            }
        }
        drop(shared);
        self.settings_changed(local);
        Ok(())
    }

    /// Remembers what survives a commit, and forgets what depended on the old values.
    fn settings_changed(&mut self, local: bool) {
        let settings = self.shared.settings.lock().clone();
        if let Some(open) = &mut self.open
            && !local
        {
            open.settings_session = settings.clone();
        }
        let name = settings.get("application_name").unwrap_or_default();
        self.services.sessions.update(self.id, |activity| activity.application_name = name);
        self.forget_view();
    }

    async fn discard(&mut self, what: &ast::DiscardObject, out: &mut dyn Output) -> Result<()> {
        let tag = match what {
            ast::DiscardObject::ALL => {
                if self.block == super::BlockState::Block {
                    return Err(SqlError::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.statements.clear();
                self.portals.clear();
                self.cursors.clear();
                Arc::make_mut(&mut self.shared.settings.lock()).reset_all();
                self.settings_changed(false);
                *self.shared.sequence_values.lock() = super::SequenceValues::default();
                self.abort_transaction().await;
                self.drop_temporary_tables().await;
                "DISCARD ALL"
            }
            ast::DiscardObject::PLANS => "DISCARD PLANS",
            ast::DiscardObject::SEQUENCES => {
                *self.shared.sequence_values.lock() = super::SequenceValues::default();
                "DISCARD SEQUENCES"
            }
            ast::DiscardObject::TEMP => {
                if self.open.is_some() && self.has_temporary {
                    return Err(SqlError::not_supported("DISCARD TEMP inside a transaction block"));
                }
                self.drop_temporary_tables().await;
                "DISCARD TEMP"
            }
        };
        out.complete(tag)
    }

    async fn prepare_named(
        &mut self,
        parsed: &ParsedStatement,
        name: &ast::Ident,
        data_types: &[ast::DataType],
        statement: &Statement,
    ) -> Result<()> {
        let name = ddl::names::fold(name);
        if self.statements.contains_key(&name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let types = data_types.iter().map(basalt_planner::bind::bind_type);
        let types: Vec<Oid> = types.map(|ty| ty.map(|ty| ty.oid)).collect::<Result<_>>()?;
        // The inner statement's own text, so that its plan is cached under it.
        let text: Arc<str> = statement.to_string().into();
        let inner = ParsedStatement {
            body: ParsedBody::Sql(Box::new(statement.clone())),
            text,
            source: parsed.source.clone(),
            as_of: None,
            concurrently: parsed.concurrently,
        };
        let prepared = self.prepare_statement(inner, &types).await?;
        self.statements.insert(name, Arc::new(prepared));
        Ok(())
    }

    async fn execute_named(&mut self, name: &str, args: &[ast::Expr], out: &mut dyn Output) -> Result<()> {
        let prepared = self.statement(name)?.clone();
        if args.len() != prepared.params.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                prepared.params.len(),
                args.len()
            )));
        }
        let Some(statement) = &prepared.statement else { return out.empty_query() };
        let eval = self.eval_context(Arc::new([]));
        let view = self.catalog_view();
        let mut params = Vec::with_capacity(args.len());
        for (arg, ty) in args.iter().zip(&prepared.params) {
            let expr = basalt_planner::bind::bind_expr_without_columns(
                arg,
                &statement.parsed.source,
                Some(*ty),
                &*view,
                &plan_settings(&eval),
            )?;
            params.push(crate::exec::eval::evaluate_constant(&expr, &eval)?);
        }
        let params: Arc<[Datum]> = params.into();
        if statement.planned.is_none() {
            return Box::pin(self.run_utility(&statement.parsed, &prepared.params, &params, out)).await;
        }
        let implicit = self.open.is_none();
        self.ensure_transaction()?;
        self.run_prepared(statement, &prepared.fields, &params, out).await?;
        if implicit && self.block == super::BlockState::Implicit {
            self.commit_transaction().await?;
        }
        Ok(())
    }

    async fn run_prepared(
        &mut self,
        statement: &StatementPlan,
        fields: &[Field],
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        let prepared = super::Prepared {
            statement: Some(statement.clone()),
            params: Vec::new(),
            fields: fields.to_vec(),
        };
        let mut portal = super::Portal {
            prepared: Arc::new(prepared),
            params: params.clone(),
            progress: super::bind::Progress::Ready,
            passed: None,
            hold: false,
        };
        Box::pin(self.run_portal("", &mut portal, 0, out)).await
    }

    async fn set_constraints(&mut self, names: &[String], deferred: bool) -> Result<()> {
        let snapshot = self.catalog_snapshot();
        for name in names {
            let keys = snapshot.tables.values().flat_map(|table| &table.foreign_keys);
            match keys.filter(|key| key.name == *name).map(|key| key.deferrable).max() {
                Some(true) => {}
                Some(false) => {
                    return Err(SqlError::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("constraint \"{name}\" is not deferrable"),
                    ));
                }
                None => {
                    return Err(SqlError::new(
                        SqlState::UNDEFINED_OBJECT,
                        format!("constraint \"{name}\" does not exist"),
                    ));
                }
            }
        }
        let Some(open) = &self.open else {
            self.notice(
                NoticeLevel::Warning,
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET CONSTRAINTS can only be used in transaction blocks",
            );
            return Ok(());
        };
        open.deferred.lock().set(names, deferred);
        if deferred { Ok(()) } else { self.run_deferred(false).await }
    }
}

fn transaction_modes(modes: &[TransactionMode]) -> Result<Modes> {
    let mut result = Modes::default();
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                result.read_only = Some(*access == TransactionAccessMode::ReadOnly);
            }
            TransactionMode::IsolationLevel(level) => {
                result.isolation = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                        Isolation::ReadCommitted
                    }
                    TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => {
                        Isolation::RepeatableRead
                    }
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                });
            }
        }
    }
    Ok(result)
}

fn no_chain(chain: bool) -> Result<()> {
    if chain { Err(SqlError::not_supported("AND CHAIN")) } else { Ok(()) }
}
