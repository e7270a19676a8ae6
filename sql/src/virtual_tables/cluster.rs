//! Databases, schemas, roles, settings, sessions: what is not about one relation.

use basalt_base::NodeId;
use basalt_types::{Datum, Oid};

use super::row::{FALSE, Rows, TRUE, letter, oid, text};
use crate::{
    catalog::{CatalogView, INFORMATION_SCHEMA, PG_CATALOG_SCHEMA, POSTGRES_ROLE},
    others::ask,
    session::SessionShared,
};

const UTF8: Datum = Datum::Int4(6);
/// pg_database, as pg_locks names it.
const DATABASE_CATALOG: Oid = Oid(1_262);

pub(super) fn namespaces(out: &mut Rows, view: &CatalogView) {
    out.default(&[("nspowner", oid(POSTGRES_ROLE))]);
    let virtual_schemas = [(PG_CATALOG_SCHEMA, "pg_catalog"), (INFORMATION_SCHEMA, "information_schema")];
    for (id, name) in virtual_schemas {
        out.push(vec![("oid", oid(id)), ("nspname", text(name))]);
    }
    for schema in view.snapshot.schemas.values().filter(|schema| schema.database == view.database) {
        out.push(vec![("oid", oid(schema.id)), ("nspname", text(&schema.name))]);
    }
}

pub(super) fn databases(out: &mut Rows, view: &CatalogView) {
    for database in view.snapshot.databases.values() {
        out.push(vec![
            ("oid", oid(database.id)),
            ("datname", text(&database.name)),
            ("datdba", oid(POSTGRES_ROLE)),
            ("encoding", UTF8),
            ("datlocprovider", letter('c')),
            ("datistemplate", FALSE),
            ("datallowconn", TRUE),
            ("datconnlimit", Datum::Int4(-1)),
            ("dattablespace", oid(Oid(1_663))),
            ("datcollate", text("C")),
            ("datctype", text("C")),
        ]);
    }
}

pub(super) fn roles(out: &mut Rows) {
    let mut values = vec![
        ("oid", oid(POSTGRES_ROLE)),
        ("rolname", text("postgres")),
        ("rolsuper", TRUE),
        ("rolinherit", TRUE),
        ("rolcreaterole", TRUE),
        ("rolcreatedb", TRUE),
        ("rolcanlogin", TRUE),
        ("rolreplication", TRUE),
        ("rolbypassrls", TRUE),
        ("rolconnlimit", Datum::Int4(-1)),
    ];
    if !out.has("rolconfig") {
        values.retain(|(name, _)| *name != "rolconfig");
    }
    out.push(values);
}

pub(super) fn users(out: &mut Rows) {
    out.push(vec![
        ("usename", text("postgres")),
        ("usesysid", oid(POSTGRES_ROLE)),
        ("usecreatedb", TRUE),
        ("usesuper", TRUE),
        ("userepl", FALSE),
        ("usebypassrls", TRUE),
    ]);
}

pub(super) fn access_methods(out: &mut Rows) {
    for (id, name, kind) in [(super::relations::HEAP, "heap", 't'), (super::relations::BTREE, "btree", 'i')] {
        out.push(vec![
            ("oid", oid(id)),
            ("amname", text(name)),
            ("amhandler", oid(Oid(0))),
            ("amtype", letter(kind)),
        ]);
    }
}

pub(super) fn languages(out: &mut Rows) {
    for (id, name) in [(12, "internal"), (13, "c"), (14, "sql")] {
        out.push(vec![
            ("oid", oid(Oid(id))),
            ("lanname", text(name)),
            ("lanowner", oid(POSTGRES_ROLE)),
            ("lanispl", FALSE),
            ("lanpltrusted", Datum::Bool(id == 14)),
        ]);
    }
}

pub(super) fn collations(out: &mut Rows) {
    for (id, name) in [(100, "default"), (950, "C"), (951, "POSIX")] {
        out.push(vec![
            ("oid", oid(Oid(id))),
            ("collname", text(name)),
            ("collnamespace", oid(PG_CATALOG_SCHEMA)),
            ("collowner", oid(POSTGRES_ROLE)),
            ("collprovider", letter(if id == 100 { 'd' } else { 'c' })),
            ("collisdeterministic", TRUE),
            ("collencoding", Datum::Int4(-1)),
        ]);
    }
}

pub(super) fn tablespaces(out: &mut Rows) {
    for (id, name) in [(1_663, "pg_default"), (1_664, "pg_global")] {
        out.push(vec![("oid", oid(Oid(id))), ("spcname", text(name)), ("spcowner", oid(POSTGRES_ROLE))]);
    }
}

pub(super) fn settings(out: &mut Rows, session: &SessionShared) {
    let all = session.settings.lock().all();
    for (name, value, description) in all {
        out.push(vec![
            ("name", text(name)),
            ("setting", text(&value)),
            ("category", text("Basalt")),
            ("short_desc", text(description)),
            ("context", text("user")),
            ("vartype", text("string")),
            ("source", text("session")),
            ("boot_val", text(&value)),
            ("reset_val", text(&value)),
            ("pending_restart", FALSE),
        ]);
    }
}

/// pg_stat_activity, of all nodes.
pub(super) async fn activity(out: &mut Rows, session: &SessionShared) {
    let sessions = ask::sessions(&session.services).await;
    warn_of(session, &sessions.silent, "sessions");
    for entry in sessions.given {
        out.push(vec![
            ("datid", oid(entry.database)),
            ("datname", text(&entry.database_name)),
            ("pid", Datum::Int4(entry.pid)),
            ("usesysid", oid(POSTGRES_ROLE)),
            ("usename", text(&entry.user)),
            ("application_name", text(&entry.application_name)),
            ("client_addr", entry.client.as_ref().map_or(Datum::Null, text)),
            ("backend_start", Datum::TimestampTz(entry.backend_start_micros)),
            ("query_start", Datum::TimestampTz(entry.query_start_micros)),
            ("state", text(entry.state.name())),
            ("query", text(&entry.query)),
            ("backend_type", text("client backend")),
        ]);
    }
}

/// pg_locks, of all nodes.
pub(super) async fn locks(out: &mut Rows, session: &SessionShared, view: &CatalogView) {
    let locks = ask::locks(&session.services).await;
    warn_of(session, &locks.silent, "locks");
    for lock in locks.given {
        let mode = if lock.exclusive { "AccessExclusiveLock" } else { "RowExclusiveLock" };
        let mut row = vec![
            ("pid", lock.pid.map_or(Datum::Null, Datum::Int4)),
            ("mode", text(mode)),
            ("granted", TRUE),
            ("fastpath", FALSE),
        ];
        if view.snapshot.databases.contains_key(&lock.table) {
            row.extend([
                ("locktype", text("object")),
                ("classid", oid(DATABASE_CATALOG)),
                ("objid", oid(lock.table)),
                ("objsubid", Datum::Int2(0)),
            ]);
        } else {
            row.extend([("locktype", text("relation")), ("relation", oid(lock.table))]);
        }
        out.push(row);
    }
}

fn warn_of(session: &SessionShared, silent: &[NodeId], what: &str) {
    for node in silent {
        session.warn(format!("the {what} of node {node} are not shown, because it does not answer"));
    }
}
