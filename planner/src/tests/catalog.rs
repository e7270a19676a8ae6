//! A catalog in memory and a session that knows nothing.

use std::{collections::BTreeMap, sync::Arc};

use basalt_functions::{EvalContext, SessionInfo};
use basalt_types::{Datum, IoSettings, Oid, Result, SqlError, SqlState, SqlType};

use crate::{
    Catalog, Column, Index, IndexColumn, IndexState, PlanSettings, Planned, Table, TableKind,
    analyze_and_plan, catalog::QualifiedName, parse,
};

pub struct Memory(pub BTreeMap<String, Arc<Table>>);

impl Catalog for Memory {
    fn table(&self, name: &QualifiedName) -> Result<Option<Arc<Table>>> {
        Ok(self.0.get(&name.name).cloned())
    }

    fn table_by_id(&self, _: Oid) -> Option<Arc<Table>> {
        None
    }

    fn related(&self, _: &Table, _: bool) -> Vec<Arc<Table>> {
        Vec::new()
    }

    fn type_exists(&self, _schema: Option<&str>, _name: &str) -> bool {
        false
    }
}

struct NoSession;

impl SessionInfo for NoSession {
    fn setting(&self, _name: &str) -> Option<String> {
        None
    }
    fn set_setting(&self, _name: &str, value: &str, _local: bool) -> Result<String> {
        Ok(value.to_owned())
    }
    fn current_user(&self) -> String {
        "postgres".into()
    }
    fn session_user(&self) -> String {
        "postgres".into()
    }
    fn current_database(&self) -> String {
        "postgres".into()
    }
    fn current_schemas(&self, _implicit: bool) -> Vec<String> {
        vec!["public".into()]
    }
    fn backend_pid(&self) -> i32 {
        1
    }
    fn random_u64(&self) -> u64 {
        4
    }
    fn clock_micros(&self) -> i64 {
        0
    }
    fn check_interrupts(&self) -> Result<()> {
        Ok(())
    }
    fn catalog_function(&self, _name: &str, _args: &[Datum]) -> Option<Result<Datum>> {
        None
    }
    fn resolve_reg(&self, _reg_type: Oid, text: &str) -> Result<Oid> {
        Err(SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist")))
    }
    fn reg_name(&self, _reg_type: Oid, _oid: Oid) -> Option<String> {
        None
    }
    fn last_value(&self) -> Option<i64> {
        None
    }
}

pub fn table(
    id: u32,
    name: &str,
    columns: &[(&str, SqlType)],
    keys: &[(&str, &[usize], bool)],
    rows: f64,
) -> Arc<Table> {
    let primary_columns: &[usize] = keys.first().map_or(&[], |key| key.1);
    let columns: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(position, (name, ty))| Column {
            id: position as u32 + 1,
            name: (*name).to_owned(),
            ty: *ty,
            not_null: primary_columns.contains(&position),
            default: None,
            missing_value: None,
            hidden: false,
            identity_always: None,
        })
        .collect();
    let indexes = keys
        .iter()
        .enumerate()
        .map(|(number, (name, key, unique))| Index {
            id: number as u32 + 1,
            oid: Oid(id * 100 + number as u32),
            name: (*name).to_owned(),
            unique: *unique,
            primary: number == 0,
            constraint: *unique,
            columns: key
                .iter()
                .map(|position| IndexColumn { column: *position as u32 + 1, descending: false })
                .collect(),
            stored: vec![],
            state: IndexState::Public,
        })
        .collect();
    Arc::new(Table {
        id: Oid(id),
        version: 1,
        database: Oid(1),
        schema_id: Oid(2200),
        schema: "public".into(),
        name: name.into(),
        kind: TableKind::Table,
        next_column_id: columns.len() as u32 + 1,
        next_index_id: keys.len() as u32 + 1,
        columns,
        indexes,
        checks: vec![],
        foreign_keys: Vec::new(),
        comments: Default::default(),
        on_commit: Default::default(),
        row_estimate: Some(rows),
    })
}

/// `t` and `u` have a primary key `id`; `t` has an index over (`b`, `a`) besides.
pub fn memory() -> Memory {
    let varchar = SqlType::new(Oid::VARCHAR, 14);
    let numeric = SqlType::new(Oid::NUMERIC, (10 << 16 | 2) + 4);
    let mut tables = BTreeMap::new();
    let t = table(
        1,
        "t",
        &[
            ("id", SqlType::INT4),
            ("a", SqlType::INT4),
            ("b", SqlType::TEXT),
            ("c", varchar),
            ("n", numeric),
            ("big", SqlType::INT8),
            ("ok", SqlType::BOOL),
            ("at", SqlType::TIMESTAMPTZ),
        ],
        &[("t_pkey", &[0], true), ("t_b_a", &[2, 1], false)],
        10_000.0,
    );
    let u = table(
        2,
        "u",
        &[("id", SqlType::INT4), ("t_id", SqlType::INT4), ("v", SqlType::FLOAT8)],
        &[("u_pkey", &[0], true), ("u_t_id", &[1], false)],
        100_000.0,
    );
    tables.insert("t".to_owned(), t);
    tables.insert("u".to_owned(), u);
    for number in 1..=20 {
        let name = format!("t{number}");
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let chain = table(
            10 + number,
            &name,
            &[(a.as_str(), SqlType::INT4), (b.as_str(), SqlType::INT4)],
            &[(&format!("{name}_pkey"), &[0], true)],
            10.0,
        );
        tables.insert(name, chain);
    }
    Memory(tables)
}

pub fn context() -> EvalContext {
    EvalContext {
        transaction_micros: 0,
        statement_micros: 0,
        io: IoSettings::default(),
        session: Arc::new(NoSession),
        params: Arc::new([]),
    }
}

/// Plans the first statement of `sql`.
pub fn plan(sql: &str) -> Result<Planned> {
    let statements = parse(sql)?;
    let eval = context();
    let settings = PlanSettings { declared_params: &[], eval: &eval };
    analyze_and_plan(&statements[0], &memory(), &settings)
}
