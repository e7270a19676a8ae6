//! All descriptors at one point.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use basalt_planner::Table;
use basalt_types::Oid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub id: Oid,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub id: Oid,
    pub database: Oid,
    pub name: String,
}

/// Any stored object.
#[derive(Clone, Debug)]
pub enum Descriptor {
    Database(Arc<Database>),
    Schema(Arc<Schema>),
    Table(Arc<Table>),
}

impl Descriptor {
    pub fn id(&self) -> Oid {
        match self {
            Self::Database(database) => database.id,
            Self::Schema(schema) => schema.id,
            Self::Table(table) => table.id,
        }
    }
}

/// Immutable once shared; a DDL transaction changes its own clone.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    pub databases: BTreeMap<Oid, Arc<Database>>,
    pub schemas: BTreeMap<Oid, Arc<Schema>>,
    pub tables: BTreeMap<Oid, Arc<Table>>,
    /// Tables, views, sequences and indexes by schema and name; an index maps to its own oid.
    relations: BTreeMap<(Oid, String), Oid>,
    /// Index oid to its table.
    index_tables: BTreeMap<Oid, Oid>,
    /// Tables with foreign keys, by the table that they refer to.
    referring: BTreeMap<Oid, BTreeSet<Oid>>,
}

impl CatalogSnapshot {
    pub fn put(&mut self, descriptor: Descriptor) {
        match descriptor {
            Descriptor::Database(database) => {
                self.databases.insert(database.id, database);
            }
            Descriptor::Schema(schema) => {
                self.schemas.insert(schema.id, schema);
            }
            Descriptor::Table(table) => {
                self.remove_names(table.id);
                self.relations.insert((table.schema_id, table.name.clone()), table.id);
                for index in &table.indexes {
                    if is_named_index(index) {
                        self.relations.insert((table.schema_id, index.name.clone()), index.oid);
                        self.index_tables.insert(index.oid, table.id);
                    }
                }
                for key in &table.foreign_keys {
                    self.referring.entry(key.referenced).or_default().insert(table.id);
                }
                self.tables.insert(table.id, table);
            }
        }
    }

    pub fn remove(&mut self, id: Oid) {
        self.databases.remove(&id);
        self.schemas.remove(&id);
        self.remove_names(id);
        self.tables.remove(&id);
    }

    pub fn descriptor(&self, id: Oid) -> Option<Descriptor> {
        let table = self.tables.get(&id).cloned().map(Descriptor::Table);
        let schema = || self.schemas.get(&id).cloned().map(Descriptor::Schema);
        let database = || self.databases.get(&id).cloned().map(Descriptor::Database);
        table.or_else(schema).or_else(database)
    }

    fn remove_names(&mut self, table: Oid) {
        if let Some(old) = self.tables.get(&table) {
            self.relations.remove(&(old.schema_id, old.name.clone()));
            for index in &old.indexes {
                self.relations.remove(&(old.schema_id, index.name.clone()));
                self.index_tables.remove(&index.oid);
            }
            for key in &old.foreign_keys {
                if let Some(tables) = self.referring.get_mut(&key.referenced) {
                    tables.remove(&table);
                }
            }
        }
    }

    pub fn database_named(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.values().find(|database| database.name == name)
    }

    pub fn schema_named(&self, database: Oid, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.values().find(|schema| schema.database == database && schema.name == name)
    }

    /// A table, view or sequence; not an index.
    pub fn table_named(&self, schema: Oid, name: &str) -> Option<&Arc<Table>> {
        let id = self.relations.get(&(schema, name.to_owned()))?;
        self.tables.get(id)
    }

    /// Any relation's oid, indexes included.
    pub fn relation_named(&self, schema: Oid, name: &str) -> Option<Oid> {
        self.relations.get(&(schema, name.to_owned())).copied()
    }

    /// The table of an index, with the index's position.
    pub fn index(&self, oid: Oid) -> Option<(&Arc<Table>, usize)> {
        let table = self.tables.get(self.index_tables.get(&oid)?)?;
        let position = table.indexes.iter().position(|index| index.oid == oid)?;
        Some((table, position))
    }

    /// Tables with foreign keys that refer to the table; it may be among them.
    pub fn referring(&self, table: Oid) -> impl Iterator<Item = &Arc<Table>> {
        let ids = self.referring.get(&table).into_iter().flatten();
        ids.filter_map(|id| self.tables.get(id))
    }

    pub fn tables_in_schema(&self, schema: Oid) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values().filter(move |table| table.schema_id == schema)
    }
}

/// The primary index over the hidden row id has no name.
pub fn is_named_index(index: &basalt_planner::Index) -> bool {
    !index.name.is_empty()
}
