//! `pg_catalog` and `information_schema`: tables whose rows are made from descriptors when they are read.

use std::{collections::BTreeMap, sync::Arc};

use basalt_env::BoxFuture;
use basalt_planner::{Expr, Table};
use basalt_types::{Oid, Result, Row, SqlError};

use crate::{catalog::CatalogView, exec::VirtualTables, session::SessionShared};

/// The definitions, the same in every database.
pub struct VirtualSchema {
    by_id: BTreeMap<Oid, Arc<Table>>,
    by_name: BTreeMap<(Oid, String), Oid>,
}

impl VirtualSchema {
    #[allow(clippy::new_without_default, reason = "made once, on purpose")]
    pub fn new() -> Self {
        Self { by_id: BTreeMap::new(), by_name: BTreeMap::new() }
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

/// Makes rows for the statements of one session.
pub struct SessionTables {
    session: Arc<SessionShared>,
    view: Arc<CatalogView>,
}

impl SessionTables {
    pub fn new(session: Arc<SessionShared>, view: Arc<CatalogView>) -> Self {
        Self { session, view }
    }
}

impl VirtualTables for SessionTables {
    fn rows<'a>(&'a self, table: &'a Table, _filter: Option<&'a Expr>) -> BoxFuture<'a, Result<Vec<Row>>> {
        let _ = (&self.session, &self.view);
        Box::pin(std::future::ready(Err(SqlError::not_supported(format!("reading {}", table.name)))))
    }
}
