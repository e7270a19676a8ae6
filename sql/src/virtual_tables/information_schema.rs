//! The SQL standard's views of the catalog.

use basalt_planner::{Column, Table, TableKind};
use basalt_types::{Datum, Oid, SqlType, format_type, sql_type::type_info};

use super::{
    relations::{all_tables, attnum, columns, named_indexes, relation_kind, stored_tables},
    row::{Rows, text, yes_no},
};
use crate::{
    catalog::CatalogView,
    catalog_functions::{action_words, shown_default},
    session::SessionShared,
};

pub(super) fn fill(name: &str, out: &mut Rows, session: &SessionShared, view: &CatalogView) {
    let database = &session.database.name;
    match name {
        "tables" => tables(out, database, view),
        "columns" => column_rows(out, database, view),
        "sequences" => sequences(out, database, view),
        "referential_constraints" => referential_constraints(out, database, view),
        "schemata" => schemata(out, database, view),
        "views" => views(out, database, view),
        "table_constraints" => table_constraints(out, database, view),
        "key_column_usage" => key_columns(out, database, view),
        "constraint_column_usage" => constraint_columns(out, database, view),
        "check_constraints" => check_constraints(out, database, view),
        _ => {}
    }
}

fn tables(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in all_tables(view) {
        let kind = match table.kind {
            TableKind::Sequence(_) | TableKind::Materialized { .. } => continue,
            _ if relation_kind(table) == 'v' => "VIEW",
            _ => "BASE TABLE",
        };
        out.push(vec![
            ("table_catalog", text(database)),
            ("table_schema", text(&table.schema)),
            ("table_name", text(&table.name)),
            ("table_type", text(kind)),
            ("is_insertable_into", yes_no(table.kind == TableKind::Table)),
            ("is_typed", yes_no(false)),
        ]);
    }
}

fn column_rows(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in all_tables(view) {
        if matches!(table.kind, TableKind::Sequence(_) | TableKind::Materialized { .. }) {
            continue;
        }
        for (number, column) in columns(table) {
            let default = column.default.as_ref().filter(|_| column.identity_always.is_none());
            let mut row = vec![
                ("table_catalog", text(database)),
                ("table_schema", text(&table.schema)),
                ("table_name", text(&table.name)),
                ("column_name", text(&column.name)),
                ("ordinal_position", Datum::Int4(i32::from(number))),
                ("column_default", default.map_or(Datum::Null, |default| text(shown_default(view, default)))),
                ("is_nullable", yes_no(!column.not_null)),
                ("udt_catalog", text(database)),
                ("udt_schema", text("pg_catalog")),
                ("udt_name", text(column.ty.info().map_or("", |info| info.name))),
                ("dtd_identifier", text(number.to_string())),
                ("is_self_referencing", yes_no(false)),
                ("is_identity", yes_no(column.identity_always.is_some())),
                ("is_generated", text("NEVER")),
                ("is_updatable", yes_no(table.kind == TableKind::Table)),
            ];
            row.extend(type_columns(column));
            row.extend(identity_columns(view, table, column));
            out.push(row);
        }
    }
}

/// The columns that describe the sequence of an identity column.
fn identity_columns(view: &CatalogView, table: &Table, column: &Column) -> Vec<(&'static str, Datum)> {
    let mut row = vec![("identity_cycle", yes_no(false))];
    let Some(always) = column.identity_always else { return row };
    row.push(("identity_generation", text(if always { "ALWAYS" } else { "BY DEFAULT" })));
    let owned = stored_tables(view).find_map(|candidate| match &candidate.kind {
        TableKind::Sequence(sequence) if sequence.owner == Some((table.id, column.id)) => Some(sequence),
        _ => None,
    });
    if let Some(sequence) = owned {
        row.push(("identity_start", text(sequence.start.to_string())));
        row.push(("identity_increment", text(sequence.increment.to_string())));
        row.push(("identity_maximum", text(sequence.max.to_string())));
        row.push(("identity_minimum", text(sequence.min.to_string())));
        row.push(("identity_cycle", yes_no(sequence.cycle)));
    }
    row
}

fn sequences(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        let TableKind::Sequence(sequence) = &table.kind else { continue };
        let bits = match sequence.ty.oid {
            Oid::INT2 => 16,
            Oid::INT4 => 32,
            _ => 64,
        };
        out.push(vec![
            ("sequence_catalog", text(database)),
            ("sequence_schema", text(&table.schema)),
            ("sequence_name", text(&table.name)),
            ("data_type", text(format_type(sequence.ty))),
            ("numeric_precision", Datum::Int4(bits)),
            ("numeric_precision_radix", Datum::Int4(2)),
            ("numeric_scale", Datum::Int4(0)),
            ("start_value", text(sequence.start.to_string())),
            ("minimum_value", text(sequence.min.to_string())),
            ("maximum_value", text(sequence.max.to_string())),
            ("increment", text(sequence.increment.to_string())),
            ("cycle_option", yes_no(sequence.cycle)),
        ]);
    }
}

/// The columns that describe a type.
fn type_columns(column: &Column) -> Vec<(&'static str, Datum)> {
    let ty = column.ty;
    let is_array = type_info(ty.oid).is_some_and(|info| info.element != Oid(0));
    let name = if is_array { "ARRAY".to_owned() } else { format_type(ty.bare()) };
    let mut row = vec![("data_type", text(name))];
    let number = |value: i32| Datum::Int4(value);
    match ty.oid {
        Oid::VARCHAR | Oid::BPCHAR => {
            let length = if ty.typmod >= 4 { number(ty.typmod - 4) } else { Datum::Null };
            let octets = if ty.typmod >= 4 { (ty.typmod - 4).saturating_mul(4) } else { 1 << 30 };
            row.push(("character_maximum_length", length));
            row.push(("character_octet_length", number(octets)));
        }
        Oid::TEXT => row.push(("character_octet_length", number(1 << 30))),
        Oid::INT2 | Oid::INT4 | Oid::INT8 => {
            let bits = match ty.oid {
                Oid::INT2 => 16,
                Oid::INT4 => 32,
                _ => 64,
            };
            row.push(("numeric_precision", number(bits)));
            row.push(("numeric_precision_radix", number(2)));
            row.push(("numeric_scale", number(0)));
        }
        Oid::FLOAT4 | Oid::FLOAT8 => {
            row.push(("numeric_precision", number(if ty.oid == Oid::FLOAT4 { 24 } else { 53 })));
            row.push(("numeric_precision_radix", number(2)));
        }
        Oid::NUMERIC => {
            row.push(("numeric_precision_radix", number(10)));
            if ty.typmod >= 4 {
                row.push(("numeric_precision", number(((ty.typmod - 4) >> 16) & 0xffff)));
                row.push(("numeric_scale", number((ty.typmod - 4) & 0x7ff)));
            }
        }
        Oid::DATE => row.push(("datetime_precision", number(0))),
        Oid::TIME | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::INTERVAL => {
            row.push((
                "datetime_precision",
                number(if ty == SqlType::new(ty.oid, -1) { 6 } else { ty.typmod }),
            ));
        }
        _ => {}
    }
    row
}

fn schemata(out: &mut Rows, database: &str, view: &CatalogView) {
    let stored = view.snapshot.schemas.values().filter(|schema| schema.database == view.database);
    let names = stored.map(|schema| schema.name.as_str()).chain(["pg_catalog", "information_schema"]);
    for name in names {
        out.push(vec![
            ("catalog_name", text(database)),
            ("schema_name", text(name)),
            ("schema_owner", text("postgres")),
        ]);
    }
}

fn views(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        if let TableKind::View { query } = &table.kind {
            out.push(vec![
                ("table_catalog", text(database)),
                ("table_schema", text(&table.schema)),
                ("table_name", text(&table.name)),
                ("view_definition", text(format!(" {query};"))),
                ("check_option", text("NONE")),
                ("is_updatable", yes_no(false)),
                ("is_insertable_into", yes_no(false)),
            ]);
        }
    }
}

/// Name and kind of every constraint, NOT NULL included as in PostgreSQL.
fn all_constraints(table: &Table) -> Vec<(String, &'static str)> {
    let keys = named_indexes(table).filter(|index| index.constraint);
    let keys = keys.map(|index| (index.name.clone(), if index.primary { "PRIMARY KEY" } else { "UNIQUE" }));
    let foreign = table.foreign_keys.iter().map(|key| (key.name.clone(), "FOREIGN KEY"));
    let checks = foreign.chain(table.checks.iter().map(|check| (check.name.clone(), "CHECK")));
    let not_null = columns(table).filter(|(_, column)| column.not_null);
    let not_null =
        not_null.map(|(number, _)| (format!("{}_{}_{number}_not_null", table.schema_id, table.id), "CHECK"));
    keys.chain(checks).chain(not_null).collect()
}

fn table_constraints(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        for (name, kind) in all_constraints(table) {
            let key = table.foreign_keys.iter().find(|key| key.name == name);
            out.push(vec![
                ("constraint_catalog", text(database)),
                ("constraint_schema", text(&table.schema)),
                ("constraint_name", text(name)),
                ("table_catalog", text(database)),
                ("table_schema", text(&table.schema)),
                ("table_name", text(&table.name)),
                ("constraint_type", text(kind)),
                ("is_deferrable", yes_no(key.is_some_and(|key| key.deferrable))),
                ("initially_deferred", yes_no(key.is_some_and(|key| key.initially_deferred))),
                ("enforced", yes_no(true)),
            ]);
        }
    }
}

fn key_columns(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        let mut push = |constraint: &str, columns: Vec<(u32, Datum)>| {
            for (number, (column, referenced)) in (1..).zip(columns) {
                let Some(column) = table.column(column) else { continue };
                out.push(vec![
                    ("constraint_catalog", text(database)),
                    ("constraint_schema", text(&table.schema)),
                    ("constraint_name", text(constraint)),
                    ("table_catalog", text(database)),
                    ("table_schema", text(&table.schema)),
                    ("table_name", text(&table.name)),
                    ("column_name", text(&column.name)),
                    ("ordinal_position", Datum::Int4(number)),
                    ("position_in_unique_constraint", referenced),
                ]);
            }
        };
        for index in named_indexes(table).filter(|index| index.constraint) {
            push(&index.name, index.columns.iter().map(|part| (part.column, Datum::Null)).collect());
        }
        for key in &table.foreign_keys {
            let referenced = view.snapshot.tables.get(&key.referenced);
            let unique = referenced.and_then(|other| {
                other.unique_index(&key.referenced_columns).map(|position| &other.indexes[position])
            });
            let place = |column: u32| {
                let found =
                    unique.and_then(|index| index.columns.iter().position(|part| part.column == column));
                found.map_or(Datum::Null, |place| Datum::Int4(place as i32 + 1))
            };
            let columns = key.columns.iter().zip(&key.referenced_columns);
            push(&key.name, columns.map(|(own, other)| (*own, place(*other))).collect());
        }
    }
}

fn referential_constraints(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        for key in &table.foreign_keys {
            let referenced = view.snapshot.tables.get(&key.referenced);
            let unique = referenced.and_then(|other| {
                let position = other.unique_index(&key.referenced_columns)?;
                Some((&other.schema, &other.indexes[position].name))
            });
            out.push(vec![
                ("constraint_catalog", text(database)),
                ("constraint_schema", text(&table.schema)),
                ("constraint_name", text(&key.name)),
                ("unique_constraint_catalog", text(database)),
                ("unique_constraint_schema", unique.map_or(Datum::Null, |(schema, _)| text(schema))),
                ("unique_constraint_name", unique.map_or(Datum::Null, |(_, name)| text(name))),
                ("match_option", text(if key.match_full { "FULL" } else { "NONE" })),
                ("update_rule", text(action_words(key.on_update))),
                ("delete_rule", text(action_words(key.on_delete))),
            ]);
        }
    }
}

fn constraint_columns(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        let mut push = |used: &Table, schema: &str, constraint: &str, mut columns: Vec<u32>| {
            columns.sort_by_key(|column| attnum(used, *column));
            for column in columns.iter().filter_map(|column| used.column(*column)) {
                out.push(vec![
                    ("table_catalog", text(database)),
                    ("table_schema", text(&used.schema)),
                    ("table_name", text(&used.name)),
                    ("column_name", text(&column.name)),
                    ("constraint_catalog", text(database)),
                    ("constraint_schema", text(schema)),
                    ("constraint_name", text(constraint)),
                ]);
            }
        };
        for index in named_indexes(table).filter(|index| index.constraint) {
            let columns = index.columns.iter().map(|part| part.column).collect();
            push(table, &table.schema, &index.name, columns);
        }
        // A foreign key uses the columns that it refers to.
        for key in &table.foreign_keys {
            if let Some(referenced) = view.snapshot.tables.get(&key.referenced) {
                push(referenced, &table.schema, &key.name, key.referenced_columns.clone());
            }
        }
    }
}

fn check_constraints(out: &mut Rows, database: &str, view: &CatalogView) {
    for table in stored_tables(view) {
        let checks =
            table.checks.iter().map(|check| (check.name.clone(), format!("(({}))", check.expression)));
        let not_null = columns(table).filter(|(_, column)| column.not_null).map(|(number, column)| {
            let name = format!("{}_{}_{number}_not_null", table.schema_id, table.id);
            (name, format!("{} IS NOT NULL", column.name))
        });
        for (name, clause) in checks.chain(not_null) {
            out.push(vec![
                ("constraint_catalog", text(database)),
                ("constraint_schema", text(&table.schema)),
                ("constraint_name", text(name)),
                ("check_clause", text(clause)),
            ]);
        }
    }
}
