//! What planning must know of the database. The descriptors themselves are owned and stored by the layer above.

use std::{collections::BTreeMap, fmt, sync::Arc};

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
    pub foreign_keys: Vec<ForeignKey>,
    /// COMMENT ON, by column id; 0 for the relation itself.
    pub comments: BTreeMap<u32, String>,
    /// Of a temporary table.
    pub on_commit: OnCommit,
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
    Sequence(Sequence),
    /// The rows of a query, stored when it was last refreshed.
    Materialized {
        query: String,
        /// `false` after WITH NO DATA: reading it fails.
        populated: bool,
    },
}

impl TableKind {
    /// Rows are entries of the key space.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Table | Self::Materialized { .. })
    }
}

/// The parameters of a sequence. Its current value is kept beside the catalog, because it changes without transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// smallint, integer or bigint.
    pub ty: SqlType,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    /// The column (table oid and column id) that it goes with.
    pub owner: Option<(Oid, u32)>,
    /// Rises with every ALTER SEQUENCE: a value that was kept for another one means nothing.
    pub generation: u32,
    /// The value at which this generation begins, and whether it has been given already.
    pub first: (i64, bool),
}

/// What COMMIT does to a temporary table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCommit {
    #[default]
    Preserve,
    DeleteRows,
    Drop,
}

/// A FOREIGN KEY constraint of the table that refers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its `pg_constraint` oid.
    pub oid: Oid,
    pub name: String,
    /// Column ids, paired with `referenced_columns`.
    pub columns: Vec<u32>,
    pub referenced: Oid,
    pub referenced_columns: Vec<u32>,
    pub on_delete: ReferentialAction,
    pub on_update: ReferentialAction,
    /// MATCH FULL: all or none of the columns are NULL.
    pub match_full: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
    /// False after NOT VALID: rows that were there before may refer to nothing.
    pub validated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferentialAction {
    #[default]
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
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
    pub state: IndexState,
}

/// How far an index has come that is built while its table is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexState {
    /// Complete: it may be read.
    #[default]
    Public,
    /// Every write keeps it, and what was there before is being added: it must not be read, and no promise rests on it.
    WriteOnly,
}

impl Index {
    pub fn is_public(&self) -> bool {
        self.state == IndexState::Public
    }
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
    /// False after NOT VALID: rows that were there before may violate it.
    pub validated: bool,
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

    /// Position of the unique index over exactly these columns, in any order, that is complete.
    pub fn unique_index(&self, columns: &[u32]) -> Option<usize> {
        let mut wanted = columns.to_vec();
        wanted.sort_unstable();
        self.indexes.iter().position(|index| {
            let mut own: Vec<u32> = index.columns.iter().map(|column| column.column).collect();
            own.sort_unstable();
            index.unique && index.is_public() && own == wanted
        })
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
    /// A stored relation by oid.
    fn table_by_id(&self, id: Oid) -> Option<Arc<Table>>;
    /// Tables that a change of `table` reads or changes through foreign keys. An insertion only looks at those it
    /// refers to.
    fn related(&self, table: &Table, inserts_only: bool) -> Vec<Arc<Table>>;
}
