//! pg_tables, pg_indexes, pg_views.

use basalt_planner::TableKind;
use basalt_types::Datum;

use super::{
    relations::{all_tables, named_indexes, relation_kind, stored_tables},
    row::{FALSE, Rows, text},
};
use crate::{catalog::CatalogView, catalog_functions::index_definition};

pub(super) fn tables(out: &mut Rows, view: &CatalogView) {
    for table in all_tables(view) {
        if relation_kind(table) != 'r' {
            continue;
        }
        out.push(vec![
            ("schemaname", text(&table.schema)),
            ("tablename", text(&table.name)),
            ("tableowner", text("postgres")),
            ("hasindexes", Datum::Bool(named_indexes(table).next().is_some())),
            ("hasrules", FALSE),
            ("hastriggers", FALSE),
            ("rowsecurity", FALSE),
        ]);
    }
}

pub(super) fn indexes(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        for index in named_indexes(table) {
            out.push(vec![
                ("schemaname", text(&table.schema)),
                ("tablename", text(&table.name)),
                ("indexname", text(&index.name)),
                ("indexdef", text(index_definition(table, index, true))),
            ]);
        }
    }
}

pub(super) fn materialized_views(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        if let TableKind::Materialized { query, populated } = &table.kind {
            out.push(vec![
                ("schemaname", text(&table.schema)),
                ("matviewname", text(&table.name)),
                ("matviewowner", text("postgres")),
                ("hasindexes", Datum::Bool(named_indexes(table).next().is_some())),
                ("ispopulated", Datum::Bool(*populated)),
                ("definition", text(format!(" {query};"))),
            ]);
        }
    }
}

pub(super) fn views(out: &mut Rows, view: &CatalogView) {
    for table in stored_tables(view) {
        if let TableKind::View { query } = &table.kind {
            out.push(vec![
                ("schemaname", text(&table.schema)),
                ("viewname", text(&table.name)),
                ("viewowner", text("postgres")),
                ("definition", text(format!(" {query};"))),
            ]);
        }
    }
}
