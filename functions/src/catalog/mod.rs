//! PostgreSQL's own rows of `pg_proc`, `pg_operator` and `pg_cast` over the types we have.
//!
//! Names, argument types, strictness, volatility and object ids come from PostgreSQL 15 itself, so that resolution and
//! catalog queries agree with it. A row is a claim only: it enters the [`crate::Registry`] when a Rust function
//! is registered for it.

use basalt_types::Oid;

use crate::{CastContext, Volatility};

static PROC: &str = include_str!("pg_proc.psv");
static OPERATOR: &str = include_str!("pg_operator.psv");
static CAST: &str = include_str!("pg_cast.psv");

/// `pg_proc.prokind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcKind {
    Function,
    Aggregate,
    Window,
}

/// A row of `pg_proc`.
#[derive(Clone, Debug)]
pub struct ProcRow {
    pub oid: Oid,
    pub name: &'static str,
    pub kind: ProcKind,
    pub args: Vec<Oid>,
    pub returns: Oid,
    pub strict: bool,
    pub volatility: Volatility,
    pub returns_set: bool,
    pub variadic: Option<Oid>,
    pub defaults: usize,
    /// Names and types of the output columns of a function that returns rows.
    pub columns: Vec<(&'static str, Oid)>,
}

/// A row of `pg_operator`.
#[derive(Clone, Debug)]
pub struct OperatorRow {
    pub oid: Oid,
    pub name: &'static str,
    pub left: Option<Oid>,
    pub right: Oid,
    pub result: Oid,
    pub function: Oid,
    pub commutator: Option<&'static str>,
    pub negator: Option<&'static str>,
}

/// A row of `pg_cast`.
#[derive(Clone, Debug)]
pub struct CastRow {
    pub source: Oid,
    pub target: Oid,
    /// `None` when both types have the same representation or the text forms are used.
    pub function: Option<Oid>,
    pub context: CastContext,
    pub in_out: bool,
}

fn oid(field: &str) -> Oid {
    Oid(field.parse().expect("catalog rows hold numbers"))
}

fn known(oid: Oid) -> Option<Oid> {
    (oid != Oid(0)).then_some(oid)
}

fn named(field: &'static str) -> Option<&'static str> {
    (!field.is_empty()).then_some(field)
}

fn fields<const N: usize>(line: &'static str, separator: char) -> [&'static str; N] {
    let fields: Vec<&str> = line.split(separator).collect();
    fields.try_into().expect("catalog rows have a fixed number of fields")
}

pub fn procs() -> impl Iterator<Item = ProcRow> {
    PROC.lines().map(|line| {
        let [id, name, kind, args, returns, strict, volatility, set, variadic, defaults, columns] =
            fields(line, '|');
        ProcRow {
            oid: oid(id),
            name,
            kind: match kind {
                "a" => ProcKind::Aggregate,
                "w" => ProcKind::Window,
                _ => ProcKind::Function,
            },
            args: args.split(',').filter(|arg| !arg.is_empty()).map(oid).collect(),
            returns: oid(returns),
            strict: strict == "t",
            volatility: match volatility {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            returns_set: set == "t",
            variadic: known(oid(variadic)),
            defaults: defaults.parse().expect("catalog rows hold numbers"),
            columns: columns
                .split(',')
                .filter_map(|column| column.split_once(':'))
                .map(|(name, column_type)| (name, oid(column_type)))
                .collect(),
        }
    })
}

pub fn operators() -> impl Iterator<Item = OperatorRow> {
    // Several operator names hold a vertical bar; none that we have holds a space.
    OPERATOR.lines().map(|line| {
        let [id, name, left, right, result, function, commutator, negator] = fields(line, ' ');
        OperatorRow {
            oid: oid(id),
            name,
            left: known(oid(left)),
            right: oid(right),
            result: oid(result),
            function: oid(function),
            commutator: named(commutator),
            negator: named(negator),
        }
    })
}

pub fn casts() -> impl Iterator<Item = CastRow> {
    CAST.lines().map(|line| {
        let [source, target, function, context, method] = fields(line, '|');
        CastRow {
            source: oid(source),
            target: oid(target),
            function: known(oid(function)),
            context: match context {
                "i" => CastContext::Implicit,
                "a" => CastContext::Assignment,
                _ => CastContext::Explicit,
            },
            in_out: method == "i",
        }
    })
}
