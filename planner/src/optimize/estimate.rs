//! Guesses of row counts and costs.

use super::conjuncts::columns;
use crate::{
    Expr, Plan, PlanNode,
    plan::{Access, JoinKind, KeyPart, Scan},
};

/// Rows of a table nobody has counted.
const UNKNOWN_ROWS: f64 = 1000.0;
/// PostgreSQL's default for an equality without statistics: one of two hundred distinct values.
const EQUALITY: f64 = 0.005;
const RANGE: f64 = 1.0 / 3.0;
const OTHER: f64 = 0.25;
/// Cost of fetching one row by key, in rows read in sequence.
pub(super) const LOOKUP_COST: f64 = 4.0;

pub(super) fn table_rows(scan: &Scan) -> f64 {
    scan.table.row_estimate.unwrap_or(UNKNOWN_ROWS).max(1.0)
}

pub(super) fn selectivity(expr: &Expr) -> f64 {
    match expr {
        Expr::And(list) => list.iter().map(selectivity).product(),
        Expr::Or(list) => list.iter().map(selectivity).sum::<f64>().min(1.0),
        Expr::Not(input) => 1.0 - selectivity(input),
        Expr::IsNull { negated: false, .. } => EQUALITY,
        Expr::IsNull { .. } => 1.0 - EQUALITY,
        Expr::InList { list, negated: false, .. } => (list.len() as f64 * EQUALITY).min(0.5),
        Expr::Call(call) => match call.operator {
            Some("=") => EQUALITY,
            Some("<>") => 1.0 - EQUALITY,
            Some("<" | "<=" | ">" | ">=") => RANGE,
            Some("~~") => 0.05,
            _ => OTHER,
        },
        Expr::Literal { value: basalt_types::Datum::Bool(true), .. } => 1.0,
        Expr::Literal { .. } => 0.0,
        _ => OTHER,
    }
}

/// The share of an index that an access reads.
pub(super) fn access_share(scan: &Scan, index: usize, access: &Access) -> f64 {
    let rows = table_rows(scan);
    let index = &scan.table.indexes[index];
    if index.unique && access.prefix.len() == index.columns.len() {
        let keys: f64 = access
            .prefix
            .iter()
            .map(|part| match part {
                KeyPart::In(list) => list.len() as f64,
                KeyPart::Any(_) => 10.0,
                _ => 1.0,
            })
            .product();
        return (keys / rows).min(1.0);
    }
    let mut share: f64 = 1.0;
    for part in &access.prefix {
        share *= match part {
            KeyPart::In(list) => (list.len() as f64 * EQUALITY).min(0.5),
            KeyPart::Any(_) => (10.0 * EQUALITY).min(0.5),
            _ => EQUALITY,
        };
    }
    match (&access.lower, &access.upper) {
        (Some(_), Some(_)) => share * EQUALITY,
        (None, None) => share,
        _ => share * RANGE,
    }
}

/// Sets the rows and cost of a node whose inputs have theirs.
pub(super) fn size(plan: &mut Plan) {
    let (rows, cost) = match &plan.node {
        PlanNode::Values { rows } => (rows.len() as f64, rows.len() as f64 * 0.01),
        PlanNode::Scan(scan) => scan_size(scan),
        PlanNode::VirtualScan { filter, .. } => (1000.0 * filter.as_ref().map_or(1.0, selectivity), 1000.0),
        PlanNode::FunctionScan { .. } => (1000.0, 10.0),
        PlanNode::CteScan { .. } => (1000.0, 20.0),
        PlanNode::Filter { input, predicate } => {
            (input.rows * selectivity(predicate), input.cost + input.rows * 0.01)
        }
        PlanNode::Project { input, .. } => (input.rows, input.cost + input.rows * 0.01),
        PlanNode::ProjectSet { input, .. } => (input.rows * 10.0, input.cost + input.rows * 0.1),
        PlanNode::NestedLoop { kind, left, right, on, .. } => {
            let pairs = left.rows * right.rows.max(1.0);
            let matched = pairs * on.as_ref().map_or(1.0, selectivity);
            (joined(*kind, left, right, matched), left.cost + right.cost + pairs * 0.01)
        }
        PlanNode::HashJoin { kind, left, right, keys, residual } => {
            let mut matched = left.rows * right.rows / left.rows.max(right.rows).max(1.0);
            for _ in 1..keys.len() {
                matched *= 0.1;
            }
            matched *= residual.as_ref().map_or(1.0, selectivity);
            (joined(*kind, left, right, matched), left.cost + right.cost + (left.rows + right.rows) * 0.02)
        }
        PlanNode::LookupJoin { kind, left, scan, .. } => {
            let each = (table_rows(scan) * access_share(scan, scan.index, &scan.access)).max(0.01);
            let rows = left.rows * each;
            let rows = if matches!(kind, JoinKind::Left) { rows.max(left.rows) } else { rows };
            (rows, left.cost + left.rows * LOOKUP_COST)
        }
        PlanNode::Aggregate(aggregate) => {
            let input = &aggregate.input;
            let rows = if aggregate.groups.is_empty() {
                1.0
            } else {
                (input.rows * 0.1).clamp(1.0, input.rows.max(1.0))
            };
            (rows, input.cost + input.rows * 0.02)
        }
        PlanNode::Window { input, .. } => (input.rows, input.cost + input.rows * 0.05),
        PlanNode::Sort { input, .. } => {
            (input.rows, input.cost + input.rows * (input.rows.max(2.0)).log2() * 0.005)
        }
        PlanNode::Limit { input, limit, .. } => {
            let count = match limit {
                Some(Expr::Literal { value: basalt_types::Datum::Int8(count), .. }) => *count as f64,
                Some(_) => input.rows * 0.1,
                None => input.rows,
            };
            let rows = count.min(input.rows).max(0.0);
            (rows, input.cost * if input.rows > 0.0 { (rows / input.rows).max(0.01) } else { 1.0 })
        }
        PlanNode::Distinct { input, .. } => (input.rows * 0.2, input.cost + input.rows * 0.02),
        PlanNode::Append { inputs } => {
            (inputs.iter().map(|input| input.rows).sum(), inputs.iter().map(|input| input.cost).sum())
        }
        PlanNode::SetOp { left, right, .. } => (left.rows * 0.5, left.cost + right.cost),
        PlanNode::With { definition, body, .. } => (body.rows, definition.cost + body.cost),
        PlanNode::RecursiveUnion { base, step, .. } => {
            (base.rows + step.rows * 10.0, base.cost + step.cost * 10.0)
        }
        PlanNode::LockRows { input, .. } => (input.rows, input.cost),
        PlanNode::Insert(insert) => (insert.source.rows, insert.source.cost),
        PlanNode::Update(update) => (update.source.rows, update.source.cost),
        PlanNode::Delete(delete) => (delete.source.rows, delete.source.cost),
    };
    plan.rows = rows;
    plan.cost = cost;
}

fn joined(kind: JoinKind, left: &Plan, right: &Plan, matched: f64) -> f64 {
    match kind {
        JoinKind::Inner => matched,
        JoinKind::Left => matched.max(left.rows),
        JoinKind::Right => matched.max(right.rows),
        JoinKind::Full => matched.max(left.rows).max(right.rows),
        JoinKind::Semi => matched.min(left.rows),
        JoinKind::Anti => (left.rows - matched).max(left.rows * 0.1),
    }
}

fn scan_size(scan: &Scan) -> (f64, f64) {
    let all = table_rows(scan);
    let read = all * access_share(scan, scan.index, &scan.access);
    let rows = read * scan.filter.as_ref().map_or(1.0, selectivity);
    let fetch = if scan.index == 0 || covers(scan) { 1.0 } else { LOOKUP_COST };
    (rows.max(0.001), read * fetch * 0.01 + 0.1)
}

/// Whether a secondary index holds every column that the scan gives.
pub(super) fn covers(scan: &Scan) -> bool {
    let index = &scan.table.indexes[scan.index];
    let key = scan.table.primary();
    scan.columns.iter().all(|(_, position)| {
        let id = scan.table.columns[*position].id;
        index.columns.iter().chain(&key.columns).any(|column| column.column == id)
            || index.stored.contains(&id)
    })
}

/// How many rows of `plan` share one value of `expr`, as a share of all: for join order.
pub(super) fn distinct_share(plan: &Plan, expr: &Expr) -> f64 {
    let rows = plan.rows.max(1.0);
    if let (PlanNode::Scan(scan), [id]) = (&plan.node, columns(expr).as_slice())
        && let Some((_, position)) = scan.columns.iter().find(|(column, _)| column == id)
    {
        let column = scan.table.columns[*position].id;
        let unique = scan.table.indexes.iter().any(|index| {
            index.unique && index.is_public() && index.columns.len() == 1 && index.columns[0].column == column
        });
        if unique {
            return 1.0 / table_rows(scan);
        }
    }
    1.0 / rows.min(200.0)
}
