//! The result of planning one statement.

use std::sync::Arc;

use basalt_types::{Oid, SqlType};
use sqlparser::ast;

use crate::Plan;

/// An output column as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub ty: SqlType,
    /// The stored column behind it, if it is one: table oid and attnum, else 0.
    pub table: Oid,
    pub attnum: i16,
}

/// A descriptor that a plan was made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dependency {
    pub table: Oid,
    pub version: u64,
    /// The estimate of its rows at that time.
    pub rows: Option<f64>,
}

/// A statement ready to run (again and again, if nothing it depends on has changed).
#[derive(Clone, Debug)]
pub struct Planned {
    pub body: PlannedBody,
    /// Types of `$1…`.
    pub params: Vec<SqlType>,
    /// Empty for statements that return no rows.
    pub fields: Vec<Field>,
    pub dependencies: Vec<Dependency>,
    /// Holds a stable or volatile function folded at plan time, or anything else that forbids reuse.
    pub cacheable: bool,
}

#[derive(Clone, Debug)]
pub enum PlannedBody {
    /// SELECT, VALUES, TABLE.
    Query(Arc<Plan>),
    /// INSERT, UPDATE, DELETE, with or without RETURNING (the plan's root is the DML node, or WITH around it), and
    /// queries whose WITH clause changes data.
    Dml {
        plan: Arc<Plan>,
        kind: DmlKind,
    },
    Explain {
        inner: Box<Planned>,
        options: ExplainOptions,
    },
    /// Everything else: run by the session from its syntax tree.
    Utility(Box<ast::Statement>),
    /// Statements that have a syntax tree of our own.
    Own(Box<crate::parse::Utility>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmlKind {
    Insert,
    Update,
    Delete,
    Select,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    pub analyze: bool,
    pub verbose: bool,
    pub costs: bool,
    pub json: bool,
}
