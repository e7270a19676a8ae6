//! Finding functions, operators and casts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use basalt_types::{Datum, Oid, Result, SqlError};

use crate::builder::Builder;
use crate::value::{is_array, is_oid_like};
use crate::{
    AggregateFn, Call, Cast, CastContext, CastMethod, Function, FunctionKind, Operator, ScalarFn, catalog,
};

/// All rows, immutable and built once, each list in a fixed order.
pub struct Registry {
    /// By name, then object id.
    pub functions: Vec<&'static Function>,
    /// By name, then object id.
    pub operators: Vec<Operator>,
    /// By source, then target.
    pub casts: Vec<Cast>,
    by_oid: BTreeMap<Oid, &'static Function>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(build);

/// The one registry.
pub fn registry() -> &'static Registry {
    &REGISTRY
}

fn build() -> Registry {
    let mut builder = Builder::new();
    crate::scalar::register(&mut builder);
    crate::aggregate::register(&mut builder);
    crate::window::register(&mut builder);
    crate::set::register(&mut builder);
    let functions: &'static [Function] = builder.finish().leak();
    let by_oid: BTreeMap<Oid, &'static Function> =
        functions.iter().map(|function| (function.oid, function)).collect();
    let mut sorted: Vec<&'static Function> = functions.iter().collect();
    sorted.sort_by_key(|function| (function.name, function.oid));

    let mut operators: Vec<Operator> = catalog::operators()
        .filter_map(|row| {
            Some(Operator {
                oid: row.oid,
                name: row.name,
                left: row.left,
                right: row.right,
                result: row.result,
                function: by_oid.get(&row.function)?,
                commutator: row.commutator,
                negator: row.negator,
            })
        })
        .collect();
    operators.sort_by_key(|operator| (operator.name, operator.oid));

    let mut casts: Vec<Cast> = catalog::casts()
        .filter_map(|row| {
            let method = match row.function {
                Some(oid) => CastMethod::Function(by_oid.get(&oid)?),
                None if row.in_out => CastMethod::InOut,
                None => CastMethod::Binary,
            };
            Some(Cast { source: row.source, target: row.target, context: row.context, method })
        })
        .collect();
    casts.sort_by_key(|cast| (cast.source, cast.target));
    Registry { functions: sorted, operators, casts, by_oid }
}

/// The sub-slice of a list sorted by `key` whose key is `wanted`.
fn equal_range<'a, T, K: Ord + ?Sized>(list: &'a [T], key: impl Fn(&T) -> &K, wanted: &K) -> &'a [T] {
    let start = list.partition_point(|item| key(item) < wanted);
    let length = list[start..].partition_point(|item| key(item) == wanted);
    &list[start..start + length]
}

impl Registry {
    /// Every function, aggregate, window and set-returning function of a name, by object id.
    pub fn functions_named(&self, name: &str) -> &[&'static Function] {
        equal_range(&self.functions, |function| function.name, name)
    }

    pub fn function_by_oid(&self, oid: Oid) -> Option<&'static Function> {
        self.by_oid.get(&oid).copied()
    }

    /// The function of a name with exactly these argument types.
    pub fn function(&self, name: &str, args: &[Oid]) -> Option<&'static Function> {
        self.functions_named(name).iter().copied().find(|function| function.args == args)
    }

    /// Every operator of a name, prefix ones included, by object id.
    pub fn operators_named(&self, name: &str) -> &[Operator] {
        equal_range(&self.operators, |operator| operator.name, name)
    }

    pub fn operator_by_oid(&self, oid: Oid) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.oid == oid)
    }

    /// The operator with exactly these argument types (`left` is `None` for a prefix operator).
    pub fn operator(&self, name: &str, left: Option<Oid>, right: Oid) -> Option<&Operator> {
        self.operators_named(name).iter().find(|operator| operator.left == left && operator.right == right)
    }

    /// The function of [`Registry::operator`].
    pub fn operator_function(&self, name: &str, left: Option<Oid>, right: Oid) -> Option<&'static Function> {
        self.operator(name, left, right).map(|operator| operator.function)
    }

    /// The declared cast between two different types, as in `pg_cast`. See [`Registry::find_cast`] for the rules that
    /// need no row.
    pub fn cast(&self, source: Oid, target: Oid) -> Option<&Cast> {
        self.casts
            .binary_search_by_key(&(source, target), |cast| (cast.source, cast.target))
            .ok()
            .map(|index| &self.casts[index])
    }

    /// How a value of `source` becomes one of `target` in a context, by PostgreSQL's rules: the declared casts; then,
    /// element by element, those of arrays (the element's function applies to each element); then through text:
    /// to string types by assignment, from string types explicitly. `None` when there is no such cast.
    pub fn find_cast(&self, source: Oid, target: Oid, context: CastContext) -> Option<CastMethod> {
        if source == target {
            return Some(CastMethod::Binary);
        }
        if let Some(cast) = self.cast(source, target) {
            return (cast.context <= context).then_some(cast.method);
        }
        if let (Some(from), Some(to)) = (element(source), element(target))
            && is_true_array(source)
            && is_true_array(target)
        {
            return self.find_cast(from, to, context);
        }
        let is_string =
            |oid| matches!(basalt_types::SqlType::new(oid, -1).category(), basalt_types::Category::String);
        let is_pseudo = |oid| {
            matches!(basalt_types::SqlType::new(oid, -1).category(), basalt_types::Category::Pseudo)
                && oid != Oid::RECORD
        };
        if is_pseudo(source) || is_pseudo(target) || target == Oid::RECORD {
            return None;
        }
        let through_text = (context >= CastContext::Assignment && is_string(target))
            || (context >= CastContext::Explicit && is_string(source));
        through_text.then_some(CastMethod::InOut)
    }

    /// `a = b` of a type, for grouping, joining and DISTINCT.
    pub fn equality(&self, oid: Oid) -> Option<&'static Function> {
        let key = comparison_type(oid)?;
        self.operator_function("=", Some(key), key)
    }

    /// `a < b` of a type, for sorting.
    pub fn less_than(&self, oid: Oid) -> Option<&'static Function> {
        let key = comparison_type(oid)?;
        self.operator_function("<", Some(key), key)
    }

    /// `a > b` of a type, for sorting.
    pub fn greater_than(&self, oid: Oid) -> Option<&'static Function> {
        let key = comparison_type(oid)?;
        self.operator_function(">", Some(key), key)
    }

    /// Values that are equal have equal hashes under `Datum::hash_key` (char(n) after its trailing blanks are cut).
    pub fn is_hashable(&self, oid: Oid) -> bool {
        self.equality(oid).is_some()
    }
}

fn element(oid: Oid) -> Option<Oid> {
    basalt_types::SqlType::new(oid, -1).element().map(|element| element.oid)
}

fn is_true_array(oid: Oid) -> bool {
    is_array(oid) && !matches!(oid, Oid::INT2VECTOR | Oid::OIDVECTOR)
}

/// The type whose operators compare values of `oid`; `None` for types without an order.
pub fn comparison_type(oid: Oid) -> Option<Oid> {
    match oid {
        Oid::VARCHAR => Some(Oid::TEXT),
        Oid::UNKNOWN => Some(Oid::TEXT),
        Oid::JSON | Oid::PG_NODE_TREE | Oid::ACLITEM | Oid::XID => None,
        Oid::RECORD => Some(oid),
        _ if is_oid_like(oid) => Some(Oid::OID),
        _ if is_array(oid) => Some(Oid::ANYARRAY),
        _ => Some(oid),
    }
}

pub fn functions_named(name: &str) -> &'static [&'static Function] {
    registry().functions_named(name)
}

pub fn function_by_oid(oid: Oid) -> Option<&'static Function> {
    registry().function_by_oid(oid)
}

pub fn operators_named(name: &str) -> &'static [Operator] {
    registry().operators_named(name)
}

pub fn operator_function(name: &str, left: Option<Oid>, right: Oid) -> Option<&'static Function> {
    registry().operator_function(name, left, right)
}

pub fn cast(source: Oid, target: Oid) -> Option<&'static Cast> {
    registry().cast(source, target)
}

pub fn find_cast(source: Oid, target: Oid, context: CastContext) -> Option<CastMethod> {
    registry().find_cast(source, target, context)
}

pub fn equality(oid: Oid) -> Option<&'static Function> {
    registry().equality(oid)
}

pub fn less_than(oid: Oid) -> Option<&'static Function> {
    registry().less_than(oid)
}

pub fn is_hashable(oid: Oid) -> bool {
    registry().is_hashable(oid)
}

impl Function {
    /// The row form, unless this is an aggregate, window or set-returning function.
    pub fn scalar(&self) -> Option<ScalarFn> {
        match self.kind {
            FunctionKind::Scalar(function) => Some(function),
            _ => None,
        }
    }

    pub fn aggregate(&self) -> Option<&AggregateFn> {
        match &self.kind {
            FunctionKind::Aggregate(aggregate) => Some(aggregate),
            _ => None,
        }
    }

    /// Calls a scalar function, with NULL at once for a strict one when an argument is NULL.
    #[inline]
    pub fn call(&self, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
        if self.strict && args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        match self.kind {
            FunctionKind::Scalar(function) => function(call, args),
            _ => Err(SqlError::internal(format!("{} is not a scalar function", self.name))),
        }
    }
}

impl CastMethod {
    /// Casts one value. `call` carries the source type as the only argument type and the target as the return type.
    /// Type modifiers are applied afterwards, by `basalt_types::apply_typmod`.
    pub fn apply(&self, call: &Call<'_>, value: &Datum) -> Result<Datum> {
        let (source, target) = (call.arg_types[0], call.return_type);
        if value.is_null() {
            return Ok(Datum::Null);
        }
        if let (Datum::Array(array), true) = (value, is_true_array(source.oid) && is_true_array(target.oid))
            && let (Some(from), Some(to)) = (source.element(), target.element())
        {
            let inner = Call { arg_types: &[from], return_type: to, ..*call };
            let elements =
                array.elements.iter().map(|item| self.apply(&inner, item)).collect::<Result<Vec<_>>>()?;
            return Ok(Datum::Array(std::sync::Arc::new(basalt_types::Array {
                element_type: to.oid,
                dimensions: array.dimensions.clone(),
                elements,
            })));
        }
        match self {
            // A cast function may give another type of the same form (integer for oid).
            Self::Function(function) => {
                cast_function(function, call, value).map(|value| relabel(value, target.oid))
            }
            Self::Binary => Ok(relabel(value.clone(), target.oid)),
            Self::InOut => {
                let text = crate::io::output(call, value, source);
                crate::io::input(call, target, &text)
            }
        }
    }
}

/// A type's SQL name where no length is meant: `character`, which would be `character(1)` elsewhere.
pub fn type_words(oid: Oid) -> String {
    match oid {
        Oid::BPCHAR => "character".to_owned(),
        Oid(1014) => "character[]".to_owned(),
        _ => basalt_types::format_type(basalt_types::SqlType::new(oid, -1)),
    }
}

/// What a cast without a function does: oid and its kin are the unsigned forms of integer; other pairs of types that
/// cast so have one variant.
pub fn relabel(value: Datum, target: Oid) -> Datum {
    match (value, target) {
        (Datum::Int4(value), Oid::INT4) => Datum::Int4(value),
        (Datum::Int4(value), _) => Datum::Oid(Oid(value as u32)),
        (Datum::Oid(value), Oid::INT4) => Datum::Int4(value.0 as i32),
        (value, _) => value,
    }
}

/// Cast functions may take a type modifier and whether the cast is explicit besides the value.
fn cast_function(function: &'static Function, call: &Call<'_>, value: &Datum) -> Result<Datum> {
    match function.args.len() {
        1 => function.call(call, std::slice::from_ref(value)),
        2 => function.call(call, &[value.clone(), Datum::Int4(-1)]),
        _ => function.call(call, &[value.clone(), Datum::Int4(-1), Datum::Bool(true)]),
    }
}

impl Function {
    /// The values of the trailing arguments that may be left out ([`Function::defaults`] of them), in their order.
    pub fn default_values(&self) -> Vec<Datum> {
        match self.name {
            "parse_ident" => vec![Datum::Bool(true)],
            "jsonb_set" => vec![Datum::Bool(true)],
            "jsonb_insert" => vec![Datum::Bool(false)],
            "jsonb_set_lax" => vec![Datum::Bool(true), Datum::text("use_json_null")],
            "pg_terminate_backend" => vec![Datum::Int8(0)],
            "make_interval" => {
                let mut values = vec![Datum::Int4(0); self.defaults.saturating_sub(1)];
                values.push(Datum::Float8(0.0));
                values
            }
            _ => vec![],
        }
    }
}
