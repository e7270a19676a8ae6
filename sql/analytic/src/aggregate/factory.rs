//! Which form an aggregate call takes.

use std::sync::Arc;

use basalt_functions::{AggregateFn, EvalContext, FunctionKind};
use basalt_planner::{Expr, expr::AggregateCall};
use basalt_types::SqlType;
use datafusion::{
    functions_aggregate::min_max::{max_udaf, min_udaf},
    logical_expr::AggregateUDF,
};

use super::{
    any_value::AnyValueFactory,
    count::CountFactory,
    rowwise::{Order, RowwiseFactory, Shared},
    totals::{Finish, TotalsFactory},
    udaf::{CallUdaf, Factory},
};
use crate::{expression::Refusal, kind::Kind};

/// The aggregate function of a call, whose arguments are the call's, then its ORDER BY keys; and whether parts of the
/// input may be aggregated on their own first without another result.
pub fn aggregate_udf(
    call: &AggregateCall,
    eval: &Arc<EvalContext>,
) -> Result<(Arc<AggregateUDF>, bool), Refusal> {
    let FunctionKind::Aggregate(function) = &call.function.kind else {
        return Err(Refusal(format!("{} is not an aggregate", call.function.name)));
    };
    let output = Kind::of(call.ty).ok_or(call.ty)?;
    let plain = !call.distinct && call.order_by.is_empty();
    if plain && let Some(udf) = column_form(call) {
        return Ok((udf, true));
    }
    Ok((rowwise(call, function, output, eval)?, false))
}

/// The first value of each group.
pub fn any_value_udf(kind: Kind, ty: SqlType) -> Arc<AggregateUDF> {
    wrap("any_value", kind, Arc::new(AnyValueFactory { kind, ty }))
}

fn wrap(name: &str, output: Kind, factory: Arc<dyn Factory>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(CallUdaf::new(name, output, factory)))
}

fn column_form(call: &AggregateCall) -> Option<Arc<AggregateUDF>> {
    let input = call.args.first().map(Expr::ty).map(Kind::of);
    let totals = |input, finish, output| {
        Some(wrap(call.function.name, output, Arc::new(TotalsFactory { input, finish })))
    };
    match (call.function.name, input) {
        ("count", _) if call.args.len() <= 1 => {
            Some(wrap("count", Kind::Int8, Arc::new(CountFactory { of_argument: !call.args.is_empty() })))
        }
        ("sum", Some(Some(input @ (Kind::Int2 | Kind::Int4)))) => totals(input, Finish::Bigint, Kind::Int8),
        ("sum", Some(Some(input @ (Kind::Int8 | Kind::Numeric)))) => {
            totals(input, Finish::Numeric, Kind::Numeric)
        }
        ("avg", Some(Some(input @ (Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Numeric)))) => {
            totals(input, Finish::Average, Kind::Numeric)
        }
        (
            name @ ("min" | "max"),
            Some(Some(
                Kind::Int2
                | Kind::Int4
                | Kind::Int8
                | Kind::Text
                | Kind::Date
                | Kind::Time
                | Kind::Timestamp
                | Kind::TimestampTz,
            )),
        ) => Some(if name == "min" { min_udaf() } else { max_udaf() }),
        _ => None,
    }
}

fn rowwise(
    call: &AggregateCall,
    function: &'static AggregateFn,
    output: Kind,
    eval: &Arc<EvalContext>,
) -> Result<Arc<AggregateUDF>, Refusal> {
    let mut types: Vec<SqlType> = call.args.iter().map(Expr::ty).collect();
    types.extend(call.order_by.iter().map(|key| key.expr.ty()));
    if let Some(ty) = types.iter().find(|ty| Kind::of(**ty).is_none()) {
        return Err((*ty).into());
    }
    let order =
        call.order_by.iter().map(|key| Order { descending: key.descending, nulls_first: key.nulls_first });
    let factory = RowwiseFactory {
        function,
        types,
        args: call.args.len(),
        order: order.collect(),
        distinct: call.distinct,
        return_type: call.ty,
        output,
        eval: eval.clone(),
    };
    Ok(wrap(call.function.name, output, Arc::new(Shared(Arc::new(factory)))))
}
