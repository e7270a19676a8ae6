//! A session without a catalog.

use std::sync::Arc;

use basalt_types::{Datum, IoSettings, Oid, Result, SqlError, SqlState, TimeZone};

use crate::{EvalContext, SessionInfo};

pub struct TestSession;

impl SessionInfo for TestSession {
    fn setting(&self, name: &str) -> Option<String> {
        (name == "server_version").then(|| "15.0".into())
    }
    fn set_setting(&self, _: &str, value: &str, _: bool) -> Result<String> {
        Ok(value.into())
    }
    fn current_user(&self) -> String {
        "postgres".into()
    }
    fn session_user(&self) -> String {
        "postgres".into()
    }
    fn current_database(&self) -> String {
        "test".into()
    }
    fn current_schemas(&self, implicit: bool) -> Vec<String> {
        let all = ["pg_catalog", "public"].map(String::from);
        all[usize::from(!implicit)..].to_vec()
    }
    fn backend_pid(&self) -> i32 {
        1
    }
    fn random_u64(&self) -> u64 {
        u64::MAX
    }
    fn clock_micros(&self) -> i64 {
        0
    }
    fn check_interrupts(&self) -> Result<()> {
        Ok(())
    }
    fn catalog_function(&self, name: &str, _: &[Datum]) -> Option<Result<Datum>> {
        (name == "pg_table_is_visible").then_some(Ok(Datum::Bool(true)))
    }
    fn resolve_reg(&self, _: Oid, text: &str) -> Result<Oid> {
        Err(SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist")))
    }
    fn reg_name(&self, _: Oid, _: Oid) -> Option<String> {
        None
    }
    fn last_value(&self) -> Option<i64> {
        None
    }
}

pub fn context() -> EvalContext {
    let io = IoSettings {
        time_zone: TimeZone::parse("America/New_York").expect("a zone of the database"),
        ..IoSettings::default()
    };
    EvalContext {
        transaction_micros: 0,
        statement_micros: 0,
        io,
        session: Arc::new(TestSession),
        params: Arc::new([]),
    }
}
