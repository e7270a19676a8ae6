//! Schema changes.
//!
//! Each takes exclusive locks on the tables it changes, writes descriptors (and back-fills indexes) in the session's
//! transaction, and notes the changes in the transaction's own catalog snapshot. They are published when it commits.

pub mod alter_column;
pub mod alter_constraint;
pub mod alter_table;
pub mod analyze;
pub mod backfill;
pub mod comment;
pub mod create_index;
pub mod create_table;
pub mod database;
pub mod drop;
pub mod foreign_key;
pub mod garbage;
pub mod like;
pub mod lock_table;
pub mod materialized;
pub mod names;
pub mod new_relation;
pub mod parent;
pub mod relation;
pub mod rewrite;
pub(crate) mod row_count;
pub mod schema;
pub mod sequence;
pub mod table_definition;
pub mod temporary;
pub mod truncate;
pub mod view;

use std::sync::Arc;

use basalt_planner::{Table, parse::Utility};
use basalt_types::{Datum, Result, SqlError, SqlState};
use sqlparser::ast::{ObjectType, Statement};

use crate::{
    Session,
    catalog::{Descriptor, store::NameKind},
    locks::TableLockMode,
};

/// A schema change in one of the two kinds of syntax tree.
#[derive(Clone, Copy)]
pub(crate) enum SchemaChange<'a> {
    Sql(&'a Statement),
    Own(&'a Utility),
}

impl SchemaChange<'_> {
    pub fn name(self) -> String {
        match self {
            Self::Sql(statement) => command_name(statement),
            Self::Own(Utility::CreateSequence { .. }) => "CREATE SEQUENCE".to_owned(),
            Self::Own(Utility::AlterSequence { .. }) => "ALTER SEQUENCE".to_owned(),
            Self::Own(Utility::Refresh { .. }) => "REFRESH MATERIALIZED VIEW".to_owned(),
            Self::Own(_) => "ALTER TABLE".to_owned(),
        }
    }
}

/// Runs a schema change; returns its command tag.
pub(crate) async fn run(
    session: &mut Session,
    change: SchemaChange<'_>,
    params: &Arc<[Datum]>,
) -> Result<String> {
    match change {
        SchemaChange::Sql(statement) => run_sql(session, statement, params).await,
        SchemaChange::Own(Utility::CreateSequence { name, temporary, if_not_exists, options }) => {
            sequence::create(session, name, *temporary, *if_not_exists, options).await
        }
        SchemaChange::Own(Utility::AlterSequence { name, if_exists, options }) => {
            sequence::alter(session, name, *if_exists, options).await
        }
        SchemaChange::Own(Utility::Refresh { name, with_data }) => {
            materialized::refresh(session, name, *with_data).await
        }
        SchemaChange::Own(Utility::AlterRelation { kind, name, if_exists, change }) => {
            relation::alter(session, *kind, name, *if_exists, change).await
        }
        SchemaChange::Own(_) => Err(SqlError::internal("no schema change")),
    }
}

async fn run_sql(session: &mut Session, statement: &Statement, params: &Arc<[Datum]>) -> Result<String> {
    match statement {
        Statement::CreateTable(create) => create_table::run(session, create, params).await,
        Statement::CreateIndex(create) => create_index::run(session, create).await,
        Statement::AlterTable(alter) => alter_table::run(session, alter).await,
        Statement::AlterIndex { name, operation } => {
            alter_table::rename_index(session, name, operation).await
        }
        Statement::CreateView(create) if create.materialized => {
            materialized::create(session, create, params).await
        }
        Statement::CreateView(create) => view::create(session, create).await,
        Statement::Comment { object_type, object_name, comment, .. } => {
            comment::run(session, object_type, object_name, comment.as_deref()).await
        }
        Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            schema::create(session, schema_name, *if_not_exists).await
        }
        Statement::CreateDatabase { db_name, .. } => database::create(session, db_name).await,
        Statement::Drop { object_type, if_exists, names, cascade, .. } => match object_type {
            ObjectType::Database => database::drop(session, names, *if_exists).await,
            ObjectType::Schema => schema::drop(session, names, *if_exists, *cascade).await,
            ObjectType::Table
            | ObjectType::View
            | ObjectType::Index
            | ObjectType::MaterializedView
            | ObjectType::Sequence => drop::run(session, *object_type, names, *if_exists, *cascade).await,
            other => Err(SqlError::not_supported(format!("DROP {other}"))),
        },
        Statement::Truncate(truncate) => truncate::run(session, truncate).await,
        other => Err(SqlError::not_supported(command_name(other))),
    }
}

/// `CREATE TRIGGER`, for messages: the leading keywords of the statement.
pub(crate) fn command_name(statement: &Statement) -> String {
    let text = statement.to_string();
    let words = text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()));
    let words: Vec<&str> = words.take(3).collect();
    if words.is_empty() { "this statement".to_owned() } else { words.join(" ") }
}

impl Session {
    /// Fails if checks wait for the end of the transaction because rows of the table have changed: they were made for
    /// the table as it is.
    pub(crate) fn check_nothing_waits(&self, command: &str, table: &Table) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.deferred.lock().concerns(table.id)) {
            return Err(SqlError::new(
                SqlState::OBJECT_IN_USE,
                format!("cannot {command} \"{}\" because it has pending trigger events", table.name),
            ));
        }
        Ok(())
    }

    /// Locks a table exclusively and returns its newest descriptor.
    pub(crate) async fn lock_for_change(&mut self, table: &Arc<Table>) -> Result<Arc<Table>> {
        self.lock_table(table.id, TableLockMode::Exclusive).await?;
        // The transaction must read what was committed before the lock was granted.
        let open =
            self.open.as_mut().ok_or_else(|| SqlError::internal("schema change outside a transaction"))?;
        if !open.used && open.schema_changes.is_none() && !open.txn.has_writes() {
            open.txn.restart(basalt_txn::Restart::NewTransaction).await.map_err(crate::error::sql_error)?;
        } else if self.services.catalog.changed_at(table.id) >= open.txn.read_timestamp() {
            return Err(SqlError::new(
                SqlState::SERIALIZATION_FAILURE,
                "could not serialize access due to a concurrent schema change",
            ));
        }
        let open = self.open.as_mut().expect("checked above");
        // Whoever had the table before has committed by now: all of that must be seen, and committed after. It may have been
        // a node whose clock is ahead.
        let changed = self.services.catalog.changed_at(table.id).next();
        open.txn.catch_up(changed).await.map_err(crate::error::sql_error)?;
        open.used = true;
        open.txn.statement();
        self.catalog_snapshot().tables.get(&table.id).cloned().ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", table.name))
        })
    }

    /// Writes a new version of a table.
    pub(crate) fn write_table(&mut self, mut table: Table) -> Result<Arc<Table>> {
        table.version += 1;
        let table = Arc::new(table);
        let descriptor = Descriptor::Table(table.clone());
        let txn = &self.open.as_ref().expect("schema changes run in a transaction").txn;
        self.services.catalog.write(txn, &descriptor)?;
        self.change_schema(table.id, Some(descriptor))?;
        Ok(table)
    }

    /// Claims a relation's name in a schema.
    pub(crate) async fn claim_relation_name(
        &mut self,
        schema: basalt_types::Oid,
        name: &str,
        id: basalt_types::Oid,
    ) -> Result<()> {
        let open = self.open.as_ref().expect("schema changes run in a transaction");
        let services = self.services.clone();
        services.catalog.insert_name(&open.txn, schema, NameKind::Relation, name, id).await
    }

    /// Gives a relation's name back.
    pub(crate) async fn release_relation_name(
        &mut self,
        schema: basalt_types::Oid,
        name: &str,
        id: basalt_types::Oid,
    ) -> Result<()> {
        let open = self.open.as_ref().expect("schema changes run in a transaction");
        self.services.catalog.remove_name(&open.txn, schema, NameKind::Relation, name, id).await
    }

    /// Has an index's entries removed once the transaction has committed.
    pub(crate) fn discard_index(&mut self, table: basalt_types::Oid, index: u32) -> Result<()> {
        let open = self.open.as_ref().expect("schema changes run in a transaction");
        self.services.catalog.discard_index(&open.txn, table, index)
    }

    /// The table a statement names; `42P01` when there is none, `42809` when it is not a stored table.
    pub(crate) fn table_named(&self, name: &sqlparser::ast::ObjectName) -> Result<Arc<Table>> {
        self.find_table(name)?.ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("relation \"{}\" does not exist", names::display(name)),
            )
        })
    }

    /// Like [`Session::table_named`], without an error when there is none.
    pub(crate) fn find_table(&self, name: &sqlparser::ast::ObjectName) -> Result<Option<Arc<Table>>> {
        let view = self.catalog_view();
        basalt_planner::Catalog::table(&*view, &names::qualified(name)?)
    }
}
