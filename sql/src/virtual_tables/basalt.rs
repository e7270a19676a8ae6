//! Basalt's own system tables. `SHOW METRICS`, `SHOW NODES`, `SHOW RANGES` and `SHOW JOBS` are these.

use std::sync::Arc;

use basalt_planner::Table;
use basalt_types::{Array, Datum, Oid, Result, Row};

use super::{
    definitions::Definition,
    row::{Rows, text},
};
use crate::{
    SqlServices, StoreInfo,
    jobs::{self, JobState},
};

pub(super) static DEFINITIONS: &[Definition] = &[
    ("basalt_metrics", 15_001, "name text,value int8"),
    (
        "basalt_ranges",
        15_002,
        "range_id int8,start_key bytea,end_key bytea,bytes int8,replicas _int8,leaseholder int8",
    ),
    (
        "basalt_nodes",
        15_003,
        "node_id int8,status text,sql_address text,rpc_address text,locality text,version text,replicas int8,\
         leases int8,capacity_bytes int8,available_bytes int8,used_bytes int8,silent_ms int8,round_trip_us int8,clock_offset_us int8,problem text,is_local bool",
    ),
    (
        "basalt_jobs",
        15_004,
        "job_id int8,description text,status text,rows_done int8,fraction_done float8,node_id int8,\
         created timestamptz,finished timestamptz,error text",
    ),
];

/// The table that `SHOW name` shows.
pub fn shown_by(name: &str) -> Option<&'static str> {
    match name {
        "jobs" => Some("basalt_jobs"),
        "metrics" => Some("basalt_metrics"),
        "nodes" => Some("basalt_nodes"),
        "ranges" => Some("basalt_ranges"),
        _ => None,
    }
}

/// The rows of one of these tables; `None` for any other table.
pub async fn rows(table: &Table, services: &SqlServices) -> Result<Option<Vec<Row>>> {
    let mut out = Rows::new(table);
    let store = services.store.as_deref();
    match (table.name.as_str(), store) {
        ("basalt_metrics", Some(store)) => metrics(&mut out, store),
        ("basalt_ranges", Some(store)) => ranges(&mut out, store).await?,
        ("basalt_nodes", Some(store)) => nodes(&mut out, store).await?,
        ("basalt_jobs", _) => jobs(&mut out, services).await?,
        // Without a store there is nothing to tell.
        ("basalt_metrics" | "basalt_ranges" | "basalt_nodes", None) => {}
        _ => return Ok(None),
    }
    Ok(Some(out.finish()))
}

fn number(value: u64) -> Datum {
    Datum::Int8(i64::try_from(value).unwrap_or(i64::MAX))
}

fn optional(value: Option<u64>) -> Datum {
    value.map_or(Datum::Null, number)
}

/// Counters of every layer since the node started.
fn metrics(out: &mut Rows, store: &dyn StoreInfo) {
    for (name, value) in store.metrics() {
        out.push(vec![("name", text(name)), ("value", Datum::Int8(value))]);
    }
}

async fn ranges(out: &mut Rows, store: &dyn StoreInfo) -> Result<()> {
    for range in store.ranges().await? {
        let replicas = Array::from_elements(Oid::INT8, range.replicas.into_iter().map(number).collect());
        out.push(vec![
            ("range_id", number(range.range_id)),
            ("start_key", Datum::Bytea(range.start)),
            ("end_key", Datum::Bytea(range.end)),
            ("bytes", optional(range.bytes)),
            ("replicas", Datum::Array(Arc::new(replicas))),
            ("leaseholder", optional(range.leaseholder)),
        ]);
    }
    Ok(())
}

async fn nodes(out: &mut Rows, store: &dyn StoreInfo) -> Result<()> {
    for node in store.nodes().await? {
        out.push(vec![
            ("node_id", number(node.node_id)),
            ("status", text(node.status)),
            ("sql_address", text(node.sql_address)),
            ("rpc_address", text(node.rpc_address)),
            ("locality", text(node.locality)),
            ("version", text(node.version)),
            ("replicas", optional(node.replicas)),
            ("leases", optional(node.leases)),
            ("capacity_bytes", optional(node.capacity_bytes)),
            ("available_bytes", optional(node.available_bytes)),
            ("used_bytes", optional(node.used_bytes)),
            ("silent_ms", optional(node.silent_millis)),
            ("round_trip_us", optional(node.round_trip_micros)),
            ("clock_offset_us", node.clock_offset_micros.map_or(Datum::Null, Datum::Int8)),
            ("problem", node.problem.map_or(Datum::Null, text)),
            ("is_local", Datum::Bool(node.is_local)),
        ]);
    }
    Ok(())
}

async fn jobs(out: &mut Rows, services: &SqlServices) -> Result<()> {
    let snapshot = services.catalog.current();
    for job in jobs::all(services).await? {
        let expected = snapshot.tables.get(&job.table).and_then(|table| table.row_estimate);
        let done = job.progress.rows as f64;
        let fraction = match job.state {
            JobState::Succeeded => Some(1.0),
            // The estimate may be behind: it is not done before it is done.
            _ => expected.filter(|rows| *rows > 0.0).map(|rows| (done / rows).min(0.99)),
        };
        let executor = job.executor.filter(|_| !job.state.has_ended());
        out.push(vec![
            ("job_id", number(u64::from(job.id.0))),
            ("description", text(job.description)),
            ("status", text(job.state.name())),
            ("rows_done", number(job.progress.rows)),
            ("fraction_done", fraction.map_or(Datum::Null, Datum::Float8)),
            ("node_id", optional(executor.map(|executor| executor.node.0))),
            ("created", Datum::TimestampTz(job.created)),
            ("finished", job.finished.map_or(Datum::Null, Datum::TimestampTz)),
            ("error", job.error.map_or(Datum::Null, |error| text(error.message))),
        ]);
    }
    Ok(())
}
