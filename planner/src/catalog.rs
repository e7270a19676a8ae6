//! What planning must know of the database. The descriptors themselves are owned and stored by the layer above.

use std::{fmt, sync::Arc};

use basalt_types::{Oid, Result, SqlType};

/// A table, view, virtual table or sequence as planning and execution see it. Immutable; a change makes a new version.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its `pg_class` oid and its number in the key space.
    pub id: Oid,
    /// Increases with every change of the descriptor.
    pub version: u64,
    pub database: Oid,
    pub schema_id: Oid,
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// Public columns in order.
    pub columns: Vec<Column>,
    /// `indexes[0]` is the primary index. Empty for views and virtual tables.
    pub indexes: Vec<Index>,
    pub checks: Vec<Check>,
    /// The next free column and index ids, never reused.
    pub next_column_id: u32,
    pub next_index_id: u32,
    /// The planner's guess of the row count, when known.
    pub row_estimate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableKind {
    Table,
    /// Its defining query, with names qualified as at definition.
    View {
        query: String,
    },
    /// Rows are made by the session (pg_catalog, information_schema).
    Virtual,
    Sequence,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Stable within the table; keys stored rows. Also `attnum` is its position + 1.
    pub id: u32,
    pub name: String,
    pub ty: SqlType,
    pub not_null: bool,
    /// SQL text of DEFAULT, already checked.
    pub default: Option<String>,
    /// What a stored row without this column holds (a column added with a constant default).
    pub missing_value: Option<basalt_types::Datum>,
    /// Not expanded by `*`, not listed (the hidden row id).
    pub hidden: bool,
    /// GENERATED {ALWAYS|BY DEFAULT} AS IDENTITY; `Some(true)` for ALWAYS.
    pub identity_always: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Unique within the table; part of the key.
    pub id: u32,
    /// Its `pg_class` oid.
    pub oid: Oid,
    pub name: String,
    pub unique: bool,
    /// The table's primary key constraint (false for the primary index over a hidden row id).
    pub primary: bool,
    /// Backs a UNIQUE or PRIMARY KEY constraint of the same name.
    pub constraint: bool,
    pub columns: Vec<IndexColumn>,
    /// Columns that a secondary index entry stores besides.
    pub stored: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexColumn {
    /// [`Column::id`].
    pub column: u32,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub name: String,
    /// SQL text over the table's columns.
    pub expression: String,
}

impl Table {
    pub fn primary(&self) -> &Index {
        &self.indexes[0]
    }

    pub fn column(&self, id: u32) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Position of a column by id.
    pub fn position(&self, id: u32) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A name as written, already case-folded: `[database.][schema.]name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualifiedName {
    pub database: Option<String>,
    pub schema: Option<String>,
    pub name: String,
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.database, &self.schema].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(&self.name)
    }
}

/// Resolves names for one statement. Everything was loaded before: no call waits.
pub trait Catalog: Send + Sync {
    /// By `search_path` when unqualified. `Ok(None)` when there is none; the caller words the error.
    fn table(&self, name: &QualifiedName) -> Result<Option<Arc<Table>>>;
    /// A type by name that is not built in (none yet), for a proper error.
    fn type_exists(&self, schema: Option<&str>, name: &str) -> bool;
}
