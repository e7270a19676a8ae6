//! The catalog as one statement sees it: a snapshot, the session's database and search path, and the virtual tables.

use std::{collections::BTreeSet, sync::Arc};

use basalt_planner::{Catalog, Table, catalog::QualifiedName};
use basalt_types::{Oid, Result, SqlError, SqlState};

use super::{CatalogSnapshot, INFORMATION_SCHEMA, PG_CATALOG_SCHEMA};
use crate::virtual_tables::VirtualSchema;

/// Resolves names for one statement.
#[derive(Clone)]
pub struct CatalogView {
    pub snapshot: Arc<CatalogSnapshot>,
    pub database: Oid,
    pub database_name: String,
    /// Existing schemas of the search path, without the implicit pg_catalog.
    pub search_path: Vec<Oid>,
    /// `pg_catalog` stands somewhere in the written path, at this place; else it is searched first.
    pub explicit_pg_catalog: Option<usize>,
    pub virtual_schema: Arc<VirtualSchema>,
    /// The session's schema of temporary tables, searched before all others.
    pub temporary: Option<Oid>,
}

impl CatalogView {
    /// A schema of this database by name; the two virtual ones included.
    pub fn schema(&self, name: &str) -> Option<Oid> {
        match name {
            "pg_catalog" => Some(PG_CATALOG_SCHEMA),
            "information_schema" => Some(INFORMATION_SCHEMA),
            "pg_temp" => self.temporary,
            name => self.snapshot.schema_named(self.database, name).map(|schema| schema.id),
        }
    }

    pub fn schema_name(&self, id: Oid) -> Option<&str> {
        match id {
            PG_CATALOG_SCHEMA => Some("pg_catalog"),
            INFORMATION_SCHEMA => Some("information_schema"),
            id => self.snapshot.schemas.get(&id).map(|schema| schema.name.as_str()),
        }
    }

    /// The schema where an unqualified CREATE puts its object.
    pub fn creation_schema(&self) -> Result<Oid> {
        self.search_path.iter().copied().find(|schema| Some(*schema) != self.temporary).ok_or_else(|| {
            SqlError::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
        })
    }

    /// Schemas in the order of search, pg_catalog included.
    pub fn searched_schemas(&self) -> Vec<Oid> {
        let mut schemas = self.search_path.clone();
        let place = self.explicit_pg_catalog.unwrap_or(0).min(schemas.len());
        schemas.insert(place, PG_CATALOG_SCHEMA);
        if let Some(temporary) = self.temporary {
            schemas.insert(0, temporary);
        }
        schemas
    }

    /// A stored or virtual table by oid.
    pub fn table_by_id(&self, id: Oid) -> Option<&Arc<Table>> {
        self.snapshot.tables.get(&id).or_else(|| self.virtual_schema.table_by_id(id))
    }

    /// The oid of a relation, indexes included.
    pub fn relation_oid(&self, name: &QualifiedName) -> Result<Option<Oid>> {
        self.resolve(name, |schema| {
            let stored = self.snapshot.relation_named(schema, &name.name);
            stored.or_else(|| self.virtual_schema.table(schema, &name.name).map(|table| table.id))
        })
    }

    /// Whether an unqualified name finds this relation.
    pub fn is_visible(&self, id: Oid, schema: Oid, name: &str) -> bool {
        let unqualified = QualifiedName { database: None, schema: None, name: name.to_owned() };
        self.searched_schemas().contains(&schema)
            && self.relation_oid(&unqualified).ok().flatten() == Some(id)
    }

    fn resolve<T>(&self, name: &QualifiedName, find: impl Fn(Oid) -> Option<T>) -> Result<Option<T>> {
        if let Some(database) = &name.database
            && *database != self.database_name
        {
            return Err(SqlError::not_supported(format!("cross-database reference to \"{name}\"")));
        }
        match &name.schema {
            Some(schema) => Ok(self.schema(schema).and_then(find)),
            None => Ok(self.searched_schemas().into_iter().find_map(find)),
        }
    }
}

impl Catalog for CatalogView {
    fn table(&self, name: &QualifiedName) -> Result<Option<Arc<Table>>> {
        self.resolve(name, |schema| {
            let stored = self.snapshot.table_named(schema, &name.name);
            stored.or_else(|| self.virtual_schema.table(schema, &name.name)).cloned()
        })
    }

    fn table_by_id(&self, id: Oid) -> Option<Arc<Table>> {
        self.snapshot.tables.get(&id).cloned()
    }

    fn related(&self, table: &Table, inserts_only: bool) -> Vec<Arc<Table>> {
        let parents = |table: &Table| -> Vec<Arc<Table>> {
            let ids = table.foreign_keys.iter().map(|key| key.referenced);
            ids.filter_map(|id| self.snapshot.tables.get(&id).cloned()).collect()
        };
        let mut found = parents(table);
        if inserts_only {
            return found;
        }
        let mut seen = BTreeSet::from([table.id]);
        let mut waiting = vec![table.id];
        while let Some(id) = waiting.pop() {
            for child in self.snapshot.referring(id) {
                if seen.insert(child.id) {
                    found.extend(parents(child));
                    found.push(child.clone());
                    waiting.push(child.id);
                }
            }
        }
        found
    }

    fn type_exists(&self, _schema: Option<&str>, _name: &str) -> bool {
        false
    }
}
