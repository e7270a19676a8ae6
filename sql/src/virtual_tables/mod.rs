//! `pg_catalog` and `information_schema`: tables whose rows are made from descriptors when they are read.
//!
//! Every table of the list exists with PostgreSQL 15's columns; those that describe what Basalt does not have are empty.

mod absent;
pub(crate) mod basalt;
mod cluster;
mod definitions;
mod information_schema;
mod registry;
mod related;
pub(crate) mod relations;
mod row;
mod sequences;
mod signals;
mod summaries;

use std::{collections::BTreeMap, sync::Arc};

use basalt_env::BoxFuture;
use basalt_planner::{Column, Expr, Table, TableKind};
use basalt_types::{Datum, Oid, Result, Row, SqlType, sql_type};

use crate::{
    catalog::{CatalogView, INFORMATION_SCHEMA, PG_CATALOG_SCHEMA},
    exec::{
        ExecContext, VirtualTables, WaitingFunction,
        referential::{Checks, Reference},
    },
    session::SessionShared,
};
use definitions::Definition;

/// The definitions, the same in every database.
pub struct VirtualSchema {
    by_id: BTreeMap<Oid, Arc<Table>>,
    by_name: BTreeMap<(Oid, String), Oid>,
}

impl VirtualSchema {
    #[allow(clippy::new_without_default, reason = "made once, on purpose")]
    pub fn new() -> Self {
        let mut schema = Self { by_id: BTreeMap::new(), by_name: BTreeMap::new() };
        for definition in definitions::PG_CATALOG.iter().chain(absent::DEFINITIONS).chain(basalt::DEFINITIONS)
        {
            schema.add(PG_CATALOG_SCHEMA, "pg_catalog", definition);
        }
        for definition in definitions::INFORMATION_SCHEMA {
            schema.add(INFORMATION_SCHEMA, "information_schema", definition);
        }
        schema
    }

    fn add(&mut self, schema_id: Oid, schema: &str, &(name, oid, columns): &Definition) {
        let table = Table {
            id: Oid(oid),
            version: 1,
            database: Oid(0),
            schema_id,
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: TableKind::Virtual,
            columns: columns.split(',').zip(1..).map(|(column, id)| parse_column(column, id)).collect(),
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            comments: Default::default(),
            on_commit: Default::default(),
            next_column_id: 0,
            next_index_id: 0,
            row_estimate: Some(100.0),
        };
        self.by_name.insert((schema_id, name.to_owned()), table.id);
        self.by_id.insert(table.id, Arc::new(table));
    }

    pub fn table(&self, schema: Oid, name: &str) -> Option<&Arc<Table>> {
        self.by_id.get(self.by_name.get(&(schema, name.to_owned()))?)
    }

    pub fn table_by_id(&self, id: Oid) -> Option<&Arc<Table>> {
        self.by_id.get(&id)
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_id.values()
    }
}

fn parse_column(text: &str, id: u32) -> Column {
    let (name, type_name) = text.trim().split_once(' ').expect("a definition names a type");
    let ty = sql_type::type_by_name(type_name).expect("a definition names a known type");
    Column {
        id,
        name: name.to_owned(),
        ty: SqlType::new(ty.oid, -1),
        not_null: false,
        default: None,
        missing_value: None,
        hidden: false,
        identity_always: None,
    }
}

/// Makes rows for the statements of one session.
pub struct SessionTables {
    session: Arc<SessionShared>,
    view: Arc<CatalogView>,
    /// The transaction changes nothing but what is temporary.
    read_only: bool,
}

impl SessionTables {
    pub fn new(session: Arc<SessionShared>, view: Arc<CatalogView>, read_only: bool) -> Self {
        Self { session, view, read_only }
    }

    fn make(&self, table: &Table) -> Vec<Row> {
        let mut out = row::Rows::new(table);
        let (session, view) = (&*self.session, &*self.view);
        if table.schema_id == INFORMATION_SCHEMA {
            information_schema::fill(&table.name, &mut out, session, view);
            return out.finish();
        }
        match table.name.as_str() {
            "pg_class" => relations::classes(&mut out, view),
            "pg_attribute" => relations::attributes(&mut out, view),
            "pg_attrdef" => relations::defaults(&mut out, view),
            "pg_index" => relations::indexes(&mut out, view),
            "pg_sequence" => sequences::parameters(&mut out, view),
            "pg_depend" => sequences::dependencies(&mut out, view),
            "pg_description" => sequences::descriptions(&mut out, view),
            "pg_matviews" => summaries::materialized_views(&mut out, view),
            "pg_constraint" => relations::constraints(&mut out, view),
            "pg_type" => registry::types(&mut out),
            "pg_proc" => registry::functions(&mut out),
            "pg_operator" => registry::operators(&mut out),
            "pg_cast" => registry::casts(&mut out),
            "pg_namespace" => cluster::namespaces(&mut out, view),
            "pg_database" => cluster::databases(&mut out, view),
            "pg_roles" | "pg_authid" => cluster::roles(&mut out),
            "pg_user" => cluster::users(&mut out),
            "pg_am" => cluster::access_methods(&mut out),
            "pg_language" => cluster::languages(&mut out),
            "pg_collation" => cluster::collations(&mut out),
            "pg_tablespace" => cluster::tablespaces(&mut out),
            "pg_settings" => cluster::settings(&mut out, session),
            "pg_tables" => summaries::tables(&mut out, view),
            "pg_indexes" => summaries::indexes(&mut out, view),
            "pg_views" => summaries::views(&mut out, view),
            // Triggers, policies, publications and the like: there are none.
            _ => {}
        }
        out.finish()
    }
}

impl VirtualTables for SessionTables {
    fn rows<'a>(&'a self, table: &'a Table, _filter: Option<&'a Expr>) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            if let TableKind::Sequence(_) = table.kind {
                return self.sequence_row(table).await;
            }
            if matches!(table.name.as_str(), "pg_sequences") {
                return self.sequence_rows(table).await;
            }
            if table.schema_id == PG_CATALOG_SCHEMA && matches!(&*table.name, "pg_stat_activity" | "pg_locks")
            {
                let mut out = row::Rows::new(table);
                if table.name == "pg_locks" {
                    cluster::locks(&mut out, &self.session, &self.view).await;
                } else {
                    cluster::activity(&mut out, &self.session).await;
                }
                return Ok(out.finish());
            }
            if let Some(rows) = basalt::rows(table, &self.session.services).await? {
                return Ok(rows);
            }
            Ok(self.make(table))
        })
    }

    fn references(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>> {
        self.outgoing(table)
    }

    fn referring(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>> {
        self.incoming(table)
    }

    fn checks(&self, table: &Arc<Table>, context: &ExecContext) -> Result<Checks> {
        self.bound_checks(table, context)
    }

    fn defaults(&self, table: &Arc<Table>, positions: &[usize], context: &ExecContext) -> Result<Row> {
        self.default_values(table, positions, context)
    }

    fn call<'a>(&'a self, function: WaitingFunction, args: &'a [Datum]) -> BoxFuture<'a, Result<Datum>> {
        match function {
            WaitingFunction::Sequence(operation) => Box::pin(self.run_sequence(operation, args)),
            WaitingFunction::Signal(signal) => Box::pin(self.signal(signal, args)),
        }
    }
}
