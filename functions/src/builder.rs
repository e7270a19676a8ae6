//! Joins Rust functions with their rows of the catalog while the registry is made.
//!
//! A function is named as in PostgreSQL: `"int4pl"` when the name has one overload or the Rust argument types tell which,
//! `"length(bpchar)"` otherwise. A name without a row, a second registration, or Rust types that cannot hold
//! the declared SQL types stop the program at its first use of the registry; every test of this crate would see it.

use std::collections::BTreeMap;

use basalt_types::{Oid, sql_type::type_by_name};

use crate::catalog::{self, ProcKind, ProcRow};
use crate::value::Signature;
use crate::{AggregateFn, Function, FunctionKind, ScalarFn, SetFn, Volatility, WindowFn};

pub struct Builder {
    rows: BTreeMap<&'static str, Vec<ProcRow>>,
    functions: BTreeMap<Oid, Function>,
}

/// A function that PostgreSQL 15 does not have.
pub struct Extension {
    pub oid: Oid,
    pub name: &'static str,
    pub args: Vec<Oid>,
    pub returns: Oid,
    pub strict: bool,
    pub volatility: Volatility,
    pub kind: FunctionKind,
}

impl Builder {
    pub fn new() -> Self {
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in catalog::procs() {
            rows.entry(row.name).or_default().push(row);
        }
        Self { rows, functions: BTreeMap::new() }
    }

    fn row(&self, declared: &str, signature: Option<&Signature>) -> &ProcRow {
        let (name, args) = match declared.split_once('(') {
            Some((name, args)) => (name, Some(args.trim_end_matches(')'))),
            None => (declared, None),
        };
        let rows = self.rows.get(name).unwrap_or_else(|| panic!("no function is named {name}"));
        let found = if let Some(args) = args {
            let args: Vec<Oid> = args.split(',').filter(|arg| !arg.is_empty()).map(type_oid).collect();
            rows.iter().find(|row| row.args == args)
        } else if let [row] = rows.as_slice() {
            Some(row)
        } else {
            signature.and_then(|signature| rows.iter().find(|row| row.args == signature.args))
        };
        let row = found.unwrap_or_else(|| panic!("no function is declared {declared}"));
        if let Some(signature) = signature {
            let fits = row.args.len() == signature.accepts.len()
                && row.args.iter().zip(&signature.accepts).all(|(oid, accepts)| accepts(*oid))
                && (signature.returns)(row.returns);
            assert!(row.strict || signature.nullable, "{declared} is not strict but does not read NULL");
            assert!(fits, "the Rust types of {declared} do not hold {:?} -> {}", row.args, row.returns);
        }
        row
    }

    fn insert(
        &mut self,
        declared: &str,
        signature: Option<&Signature>,
        wanted: ProcKind,
        kind: FunctionKind,
    ) {
        let row = self.row(declared, signature).clone();
        assert_eq!(row.kind, wanted, "{declared} is of another kind");
        assert_eq!(
            row.returns_set,
            matches!(kind, FunctionKind::Set { .. }),
            "{declared} does or does not return a set"
        );
        self.add(&row, kind);
    }

    fn add(&mut self, row: &ProcRow, kind: FunctionKind) {
        let function = Function {
            oid: row.oid,
            name: row.name,
            args: row.args.clone(),
            variadic: row.variadic,
            defaults: row.defaults,
            returns: row.returns,
            // Window functions and aggregates see NULL arguments; `AggregateFn::strict` says who skips them.
            strict: row.strict && row.kind == ProcKind::Function,
            volatility: row.volatility,
            kind,
        };
        let replaced = self.functions.insert(function.oid, function);
        assert!(replaced.is_none(), "{} is registered twice", row.name);
    }

    pub fn scalar(&mut self, declared: &str, function: ScalarFn, signature: Option<&Signature>) {
        self.insert(declared, signature, ProcKind::Function, FunctionKind::Scalar(function));
    }

    /// Registers one row form for every overload of a name.
    pub fn scalar_overloads(&mut self, name: &str, function: ScalarFn) {
        let rows = self.rows.get(name).unwrap_or_else(|| panic!("no function is named {name}")).clone();
        for row in rows.into_iter().filter(|row| row.kind == ProcKind::Function && !row.returns_set) {
            self.add(&row, FunctionKind::Scalar(function));
        }
    }

    pub fn aggregate(&mut self, declared: &str, aggregate: AggregateFn) {
        self.insert(declared, None, ProcKind::Aggregate, FunctionKind::Aggregate(aggregate));
    }

    pub fn window(&mut self, declared: &str, function: WindowFn) {
        self.insert(declared, None, ProcKind::Window, FunctionKind::Window(function));
    }

    pub fn set(&mut self, declared: &str, rows: SetFn) {
        let row = self.row(declared, None);
        let columns = if row.columns.is_empty() { vec![("", row.returns)] } else { row.columns.clone() };
        // The registry lives as long as the program.
        let columns = columns.leak();
        self.insert(declared, None, ProcKind::Function, FunctionKind::Set { rows, columns });
    }

    /// Registers a function that PostgreSQL 15 does not have, under an object id of its own.
    pub fn extension(&mut self, extension: Extension) {
        let Extension { oid, name, args, returns, strict, volatility, kind } = extension;
        let function =
            Function { oid, name, args, variadic: None, defaults: 0, returns, strict, volatility, kind };
        let replaced = self.functions.insert(oid, function);
        assert!(replaced.is_none(), "{name} is registered twice");
    }

    /// Everything registered, by object id.
    pub fn finish(self) -> Vec<Function> {
        self.functions.into_values().collect()
    }
}

fn type_oid(name: &str) -> Oid {
    type_by_name(name).unwrap_or_else(|| panic!("no type is named {name}")).oid
}

/// Registers plain Rust functions over SQL values: `scalars!(builder, { "int4pl" => int4pl, … })`.
macro_rules! scalars {
    ($builder:expr, { $($declared:expr => $function:expr),* $(,)? }) => {$({
        fn row_form(
            _: &$crate::Call<'_>,
            args: &[basalt_types::Datum],
        ) -> basalt_types::Result<basalt_types::Datum> {
            $crate::value::invoke($function, args)
        }
        $builder.scalar($declared, row_form, Some(&$crate::value::signature($function)));
    })*};
}

/// Like `scalars!` for functions whose first parameter is the [`crate::Call`].
macro_rules! call_scalars {
    ($builder:expr, { $($declared:expr => $function:expr),* $(,)? }) => {$({
        fn row_form(
            call: &$crate::Call<'_>,
            args: &[basalt_types::Datum],
        ) -> basalt_types::Result<basalt_types::Datum> {
            $crate::value::invoke_call($function, call, args)
        }
        $builder.scalar($declared, row_form, Some(&$crate::value::signature_call($function)));
    })*};
}

/// Registers functions that read their argument list themselves (variadic ones).
macro_rules! raw_scalars {
    ($builder:expr, { $($declared:expr => $function:expr),* $(,)? }) => {$(
        $builder.scalar($declared, $function, None);
    )*};
}

pub(crate) use {call_scalars, raw_scalars, scalars};
