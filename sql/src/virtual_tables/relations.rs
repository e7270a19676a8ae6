//! pg_class, pg_attribute, pg_attrdef, pg_index, pg_constraint.

use std::sync::Arc;

use basalt_planner::{Index, Table, TableKind, catalog::ReferentialAction};
use basalt_types::{Datum, Oid, SqlType};

use super::row::{FALSE, Rows, TRUE, int2_array, int2_vector, letter, oid, oid_vector, text};
use crate::catalog::{CatalogView, POSTGRES_ROLE, snapshot::is_named_index};

/// The access methods of pg_am.
pub(super) const HEAP: Oid = Oid(2);
pub(super) const BTREE: Oid = Oid(403);

/// Stored tables of the session's database, then the virtual ones.
pub(super) fn all_tables(view: &CatalogView) -> impl Iterator<Item = &Arc<Table>> {
    stored_tables(view).chain(view.virtual_schema.tables())
}

pub(super) fn stored_tables(view: &CatalogView) -> impl Iterator<Item = &Arc<Table>> {
    view.snapshot.tables.values().filter(|table| table.database == view.database)
}

pub(super) fn named_indexes(table: &Table) -> impl Iterator<Item = &Index> {
    table.indexes.iter().filter(|index| is_named_index(index))
}

/// Visible columns with their attribute numbers.
pub(super) fn columns(table: &Table) -> impl Iterator<Item = (i16, &basalt_planner::Column)> {
    (1..).zip(&table.columns).filter(|(_, column)| !column.hidden)
}

pub(super) fn attnum(table: &Table, column: u32) -> i16 {
    table.position(column).map_or(0, |position| position as i16 + 1)
}

/// Oids of objects that have none of their own.
pub(crate) fn default_oid(table: Oid, attnum: i16) -> Oid {
    Oid(0x4000_0000 | (table.0.wrapping_mul(1_601).wrapping_add(attnum as u32) & 0x3fff_ffff))
}

pub(crate) fn check_oid(table: Oid, position: usize) -> Oid {
    Oid(0x8000_0000 | (table.0.wrapping_mul(257).wrapping_add(position as u32) & 0x7fff_ffff))
}

/// The oids of system views begin here.
const FIRST_VIEW: u32 = 12_000;

pub(super) fn relation_kind(table: &Table) -> char {
    match table.kind {
        // What PostgreSQL has as a view over its catalogs: those have the low oids.
        TableKind::Virtual if table.id.0 >= FIRST_VIEW => 'v',
        TableKind::Table | TableKind::Virtual => 'r',
        TableKind::View { .. } => 'v',
        TableKind::Sequence(_) => 'S',
        TableKind::Materialized { .. } => 'm',
    }
}

pub(super) fn classes(out: &mut Rows, view: &CatalogView) {
    out.default(&[
        ("reltype", oid(Oid(0))),
        ("reloftype", oid(Oid(0))),
        ("relowner", oid(POSTGRES_ROLE)),
        ("reltablespace", oid(Oid(0))),
        ("relpages", Datum::Int4(0)),
        ("reltuples", Datum::Float4(-1.0)),
        ("relallvisible", Datum::Int4(0)),
        ("reltoastrelid", oid(Oid(0))),
        ("relhasindex", FALSE),
        ("relisshared", FALSE),
        ("relpersistence", letter('p')),
        ("relchecks", Datum::Int2(0)),
        ("relhasrules", FALSE),
        ("relhastriggers", FALSE),
        ("relhassubclass", FALSE),
        ("relrowsecurity", FALSE),
        ("relforcerowsecurity", FALSE),
        ("relispopulated", TRUE),
        ("relispartition", FALSE),
        ("relrewrite", oid(Oid(0))),
        ("relfrozenxid", oid(Oid(0))),
        ("relminmxid", oid(Oid(0))),
    ]);
    for table in all_tables(view) {
        let is_view = relation_kind(table) == 'v';
        let is_sequence = matches!(table.kind, TableKind::Sequence(_));
        let populated = !matches!(table.kind, TableKind::Materialized { populated: false, .. });
        out.push(vec![
            ("oid", oid(table.id)),
            ("relpersistence", letter(if table.schema.starts_with("pg_temp_") { 't' } else { 'p' })),
            ("relispopulated", Datum::Bool(populated)),
            ("relhastriggers", Datum::Bool(!table.foreign_keys.is_empty())),
            ("relname", text(&table.name)),
            ("relnamespace", oid(table.schema_id)),
            ("relam", oid(if is_view || is_sequence { Oid(0) } else { HEAP })),
            ("relfilenode", oid(if is_view { Oid(0) } else { table.id })),
            ("reltuples", Datum::Float4(table.row_estimate.map_or(-1.0, |rows| rows as f32))),
            ("relhasindex", Datum::Bool(named_indexes(table).next().is_some())),
            ("relkind", letter(relation_kind(table))),
            ("relnatts", Datum::Int2(columns(table).count() as i16)),
            ("relchecks", Datum::Int2(table.checks.len() as i16)),
            ("relhasrules", Datum::Bool(is_view)),
            ("relreplident", letter(if is_view { 'n' } else { 'd' })),
        ]);
        for index in named_indexes(table) {
            out.push(vec![
                ("oid", oid(index.oid)),
                ("relname", text(&index.name)),
                ("relnamespace", oid(table.schema_id)),
                ("relam", oid(BTREE)),
                ("relfilenode", oid(index.oid)),
                ("relkind", letter('i')),
                ("relnatts", Datum::Int2((index.columns.len() + index.stored.len()) as i16)),
                ("relreplident", letter('n')),
            ]);
        }
    }
}

fn push_attribute(
    out: &mut Rows,
    relation: Oid,
    number: i16,
    name: &str,
    ty: SqlType,
    not_null: bool,
    default: bool,
) {
    let info = ty.info();
    let length = info.map_or(-1, |info| info.length);
    let is_text = matches!(ty.oid, Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME);
    let dimensions = i32::from(info.is_some_and(|info| info.element != Oid(0)));
    out.push(vec![
        ("attrelid", oid(relation)),
        ("attname", text(name)),
        ("atttypid", oid(ty.oid)),
        ("attlen", Datum::Int2(length)),
        ("attnum", Datum::Int2(number)),
        ("attndims", Datum::Int4(dimensions)),
        ("atttypmod", Datum::Int4(ty.typmod)),
        ("attbyval", Datum::Bool((1..=8).contains(&length))),
        ("attnotnull", Datum::Bool(not_null)),
        ("atthasdef", Datum::Bool(default)),
        ("attcollation", oid(if is_text { Oid(100) } else { Oid(0) })),
        (
            "attstorage",
            letter(match (ty.oid, length) {
                (Oid::NUMERIC, _) => 'm',
                (_, -1) => 'x',
                _ => 'p',
            }),
        ),
    ]);
}

pub(super) fn attributes(out: &mut Rows, view: &CatalogView) {
    out.default(&[
        ("attstattarget", Datum::Int4(-1)),
        ("attcacheoff", Datum::Int4(-1)),
        ("attalign", letter('i')),
        ("attcompression", Datum::Char(0)),
        ("atthasmissing", FALSE),
        ("attidentity", Datum::Char(0)),
        ("attgenerated", Datum::Char(0)),
        ("attisdropped", FALSE),
        ("attislocal", TRUE),
        ("attinhcount", Datum::Int4(0)),
    ]);
    for table in all_tables(view) {
        for (number, column) in columns(table) {
            let has_default = column.default.is_some() && column.identity_always.is_none();
            push_attribute(out, table.id, number, &column.name, column.ty, column.not_null, has_default);
            if let Some(always) = column.identity_always {
                out.set_last("attidentity", Datum::Char(if always { b'a' } else { b'd' }));
            }
        }
        for index in named_indexes(table) {
            let ids = index.columns.iter().map(|column| column.column).chain(index.stored.iter().copied());
            for (number, column) in (1..).zip(ids.filter_map(|id| table.column(id))) {
                push_attribute(out, index.oid, number, &column.name, column.ty, false, false);
            }
        }
    }
}

pub(super) fn defaults(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        for (number, column) in columns(table) {
            if let Some(default) = &column.default
                && column.identity_always.is_none()
            {
                out.push(vec![
                    ("oid", oid(default_oid(table.id, number))),
                    ("adrelid", oid(table.id)),
                    ("adnum", Datum::Int2(number)),
                    ("adbin", text(default)),
                ]);
            }
        }
    }
}

pub(super) fn indexes(out: &mut Rows, view: &CatalogView) {
    out.default(&[
        ("indnullsnotdistinct", FALSE),
        ("indisexclusion", FALSE),
        ("indimmediate", TRUE),
        ("indisclustered", FALSE),
        ("indcheckxmin", FALSE),
        ("indisready", TRUE),
        ("indislive", TRUE),
        ("indisreplident", FALSE),
    ]);
    for table in stored_tables(view) {
        for index in named_indexes(table) {
            let keys = index.columns.iter().map(|column| attnum(table, column.column));
            let stored = index.stored.iter().map(|&column| attnum(table, column));
            let zeros = || index.columns.iter().map(|_| Oid(0));
            // Bit 0: descending; bit 1: NULLs first, which descending columns have.
            let options = index.columns.iter().map(|column| if column.descending { 3 } else { 0 });
            out.push(vec![
                ("indexrelid", oid(index.oid)),
                ("indrelid", oid(table.id)),
                ("indisvalid", Datum::Bool(index.is_public())),
                ("indnatts", Datum::Int2((index.columns.len() + index.stored.len()) as i16)),
                ("indnkeyatts", Datum::Int2(index.columns.len() as i16)),
                ("indisunique", Datum::Bool(index.unique)),
                ("indisprimary", Datum::Bool(index.primary)),
                ("indkey", int2_vector(keys.chain(stored))),
                ("indcollation", oid_vector(zeros())),
                ("indclass", oid_vector(zeros())),
                ("indoption", int2_vector(options)),
            ]);
        }
    }
}

fn action_letter(action: ReferentialAction) -> char {
    match action {
        ReferentialAction::NoAction => 'a',
        ReferentialAction::Restrict => 'r',
        ReferentialAction::Cascade => 'c',
        ReferentialAction::SetNull => 'n',
        ReferentialAction::SetDefault => 'd',
    }
}

pub(super) fn constraints(out: &mut Rows, view: &CatalogView) {
    out.default(&[
        ("condeferrable", FALSE),
        ("condeferred", FALSE),
        ("convalidated", TRUE),
        ("contypid", oid(Oid(0))),
        ("conindid", oid(Oid(0))),
        ("conparentid", oid(Oid(0))),
        ("confrelid", oid(Oid(0))),
        ("confupdtype", letter(' ')),
        ("confdeltype", letter(' ')),
        ("confmatchtype", letter(' ')),
        ("conislocal", TRUE),
        ("coninhcount", Datum::Int4(0)),
        ("connoinherit", TRUE),
    ]);
    for table in stored_tables(view) {
        for index in named_indexes(table).filter(|index| index.constraint) {
            let keys = index.columns.iter().map(|column| attnum(table, column.column));
            out.push(vec![
                // Oids are unique within a catalog: the index's own serves its constraint.
                ("oid", oid(index.oid)),
                ("conname", text(&index.name)),
                ("connamespace", oid(table.schema_id)),
                ("contype", letter(if index.primary { 'p' } else { 'u' })),
                ("conrelid", oid(table.id)),
                ("conindid", oid(index.oid)),
                ("conkey", int2_array(keys)),
            ]);
        }
        for key in &table.foreign_keys {
            let referenced = view.snapshot.tables.get(&key.referenced);
            let index = referenced.and_then(|other| {
                other.unique_index(&key.referenced_columns).map(|position| other.indexes[position].oid)
            });
            let others = key.referenced_columns.iter();
            let others = others.map(|&column| referenced.map_or(0, |other| attnum(other, column)));
            out.push(vec![
                ("oid", oid(key.oid)),
                ("conname", text(&key.name)),
                ("connamespace", oid(table.schema_id)),
                ("contype", letter('f')),
                ("condeferrable", Datum::Bool(key.deferrable)),
                ("condeferred", Datum::Bool(key.initially_deferred)),
                ("convalidated", Datum::Bool(key.validated)),
                ("conrelid", oid(table.id)),
                ("conindid", oid(index.unwrap_or_default())),
                ("confrelid", oid(key.referenced)),
                ("confupdtype", letter(action_letter(key.on_update))),
                ("confdeltype", letter(action_letter(key.on_delete))),
                ("confmatchtype", letter(if key.match_full { 'f' } else { 's' })),
                ("conkey", int2_array(key.columns.iter().map(|&column| attnum(table, column)))),
                ("confkey", int2_array(others)),
            ]);
        }
        for (position, check) in table.checks.iter().enumerate() {
            out.push(vec![
                ("oid", oid(check_oid(table.id, position))),
                ("conname", text(&check.name)),
                ("connamespace", oid(table.schema_id)),
                ("contype", letter('c')),
                ("convalidated", Datum::Bool(check.validated)),
                ("conrelid", oid(table.id)),
                ("connoinherit", FALSE),
                ("conbin", text(&check.expression)),
            ]);
        }
    }
}
