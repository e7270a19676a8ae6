//! Plan nodes as PostgreSQL prints them.

use std::collections::BTreeMap;

use super::deparse::Names;
use crate::{
    Expr, Plan, PlanNode,
    optimize::{any_expr, exprs, inputs},
    plan::{Access, JoinKind, KeyPart, Scan, SetOp},
    statement::ExplainOptions,
};

/// A node ready to print.
struct Shown<'p> {
    /// `Index Scan`.
    kind: String,
    /// ` using t_pkey on t a`.
    suffix: String,
    /// `Index Cond`, `Filter`, ….
    details: Vec<(&'static str, String)>,
    children: Vec<&'p Plan>,
    plan: &'p Plan,
}

/// The lines of EXPLAIN.
pub fn explain_text(plan: &Plan, options: &ExplainOptions) -> Vec<String> {
    let names = names_of(plan);
    let mut lines = Vec::new();
    write_text(plan, &names, options, 0, &mut lines);
    lines
}

fn write_text(plan: &Plan, names: &Names, options: &ExplainOptions, depth: usize, lines: &mut Vec<String>) {
    let shown = show(plan, names);
    let indent = if depth == 0 { String::new() } else { format!("{}->  ", " ".repeat(depth * 6 - 4)) };
    let costs = if options.costs {
        format!(
            "  (cost=0.00..{:.2} rows={} width={})",
            shown.plan.cost.max(0.0),
            rows(shown.plan),
            width(shown.plan)
        )
    } else {
        String::new()
    };
    lines.push(format!("{indent}{}{}{costs}", shown.kind, shown.suffix));
    let below = " ".repeat(depth * 6 + 2);
    for (label, text) in &shown.details {
        lines.push(format!("{below}{label}: {text}"));
    }
    for child in &shown.children {
        write_text(child, names, options, depth + 1, lines);
    }
    for (number, subplan) in subplans(shown.plan).into_iter().enumerate() {
        lines.push(format!("{below}SubPlan {}", number + 1));
        write_text(subplan, names, options, depth + 1, lines);
    }
}

/// EXPLAIN (FORMAT JSON).
pub fn explain_json(plan: &Plan, options: &ExplainOptions) -> String {
    let names = names_of(plan);
    let mut out = "[\n  {\n    \"Plan\": ".to_owned();
    write_json(plan, &names, options, 2, &mut out);
    out.push_str("\n  }\n]");
    out
}

fn write_json(plan: &Plan, names: &Names, options: &ExplainOptions, depth: usize, out: &mut String) {
    let shown = show(plan, names);
    let pad = "  ".repeat(depth + 1);
    let mut members = vec![format!("\"Node Type\": {}", quoted(&shown.kind))];
    if let PlanNode::Scan(scan) = &shown.plan.node {
        members.push(format!("\"Relation Name\": {}", quoted(&scan.table.name)));
        members.push(format!("\"Alias\": {}", quoted(&scan.alias)));
        if shown.kind.starts_with("Index") {
            members.push(format!("\"Index Name\": {}", quoted(&scan.table.indexes[scan.index].name)));
        }
    }
    if options.costs {
        members.push("\"Startup Cost\": 0.00".to_owned());
        members.push(format!("\"Total Cost\": {:.2}", shown.plan.cost));
        members.push(format!("\"Plan Rows\": {}", rows(shown.plan)));
        members.push(format!("\"Plan Width\": {}", width(shown.plan)));
    }
    members.extend(shown.details.iter().map(|(label, text)| format!("{}: {}", quoted(label), quoted(text))));
    let below: Vec<&Plan> = shown.children.iter().copied().chain(subplans(shown.plan)).collect();
    if !below.is_empty() {
        let mut children = Vec::with_capacity(below.len());
        for child in below {
            let mut text = String::new();
            write_json(child, names, options, depth + 2, &mut text);
            children.push(format!("{}{text}", "  ".repeat(depth + 2)));
        }
        members.push(format!("\"Plans\": [\n{}\n{pad}]", children.join(",\n")));
    }
    out.push_str(&format!("{{\n{pad}{}\n{}}}", members.join(&format!(",\n{pad}")), "  ".repeat(depth)));
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn rows(plan: &Plan) -> u64 {
    plan.rows.round().clamp(1.0, 1e15) as u64
}

fn width(plan: &Plan) -> i64 {
    plan.columns.iter().map(|(_, ty)| ty.info().map_or(32, |info| i64::from(info.length).max(0)).max(4)).sum()
}

/// Plans of subqueries in a node's own expressions.
fn subplans(plan: &Plan) -> Vec<&Plan> {
    let mut found = Vec::new();
    exprs(&plan.node, &mut |expr| {
        any_expr(expr, &mut |part| {
            if let Expr::Subquery(subquery) = part {
                found.push(subquery.plan.as_ref());
            }
            false
        });
    });
    found
}

fn scans<'p>(plan: &'p Plan, visit: &mut dyn FnMut(&'p Plan)) {
    visit(plan);
    for input in inputs(&plan.node) {
        scans(input, visit);
    }
    for subplan in subplans(plan) {
        scans(subplan, visit);
    }
}

/// Names for all columns: bare when there is one table, else with its alias.
fn names_of(plan: &Plan) -> Names {
    let mut relations = 0;
    scans(plan, &mut |plan| {
        relations += usize::from(matches!(
            plan.node,
            PlanNode::Scan(_)
                | PlanNode::VirtualScan { .. }
                | PlanNode::LookupJoin { .. }
                | PlanNode::FunctionScan { .. }
        ));
    });
    let mut names = BTreeMap::new();
    scans(plan, &mut |plan| {
        let mut scan_names = |scan: &Scan| {
            for (id, position) in &scan.columns {
                let column = &scan.table.columns[*position].name;
                let name = if relations > 1 { format!("{}.{column}", scan.alias) } else { column.clone() };
                names.insert(*id, name);
            }
        };
        match &plan.node {
            PlanNode::Scan(scan) | PlanNode::LookupJoin { scan, .. } => scan_names(scan),
            PlanNode::VirtualScan { table, columns, .. } => {
                for (id, position) in columns {
                    let column = &table.columns[*position].name;
                    let name =
                        if relations > 1 { format!("{}.{column}", table.name) } else { column.clone() };
                    names.insert(*id, name);
                }
            }
            PlanNode::FunctionScan { call, .. } => {
                for (id, _) in &plan.columns {
                    names.insert(*id, call.function.name.to_owned());
                }
            }
            _ => {}
        }
    });
    // Computed columns are shown by what computes them, from the leaves up.
    let mut computed: Vec<&Plan> = Vec::new();
    scans(plan, &mut |plan| computed.push(plan));
    for plan in computed.into_iter().rev() {
        let known = Names(std::mem::take(&mut names));
        let mut new = Vec::new();
        match &plan.node {
            PlanNode::Project { exprs, .. } => {
                new.extend(
                    exprs
                        .iter()
                        .filter(|(id, _)| !known.0.contains_key(id))
                        .map(|(id, expr)| (*id, known.expr(expr))),
                );
            }
            PlanNode::Aggregate(aggregate) => {
                new.extend(
                    aggregate
                        .groups
                        .iter()
                        .filter(|(id, _)| !known.0.contains_key(id))
                        .map(|(id, expr)| (*id, known.expr(expr))),
                );
                new.extend(
                    aggregate
                        .aggregates
                        .iter()
                        .map(|(id, call)| (*id, format!("({})", known.aggregate(call)))),
                );
            }
            PlanNode::Window { calls, .. } => {
                new.extend(
                    calls
                        .iter()
                        .map(|(id, call)| (*id, format!("({} OVER (?))", known.aggregate(&call.aggregate)))),
                );
            }
            _ => {}
        }
        names = known.0;
        names.extend(new);
    }
    Names(names)
}

fn on_table(scan: &Scan) -> String {
    if *scan.alias == *scan.table.name {
        format!(" on {}", scan.table.name)
    } else {
        format!(" on {} {}", scan.table.name, scan.alias)
    }
}

/// The condition that an access stands for.
fn index_condition(scan: &Scan, access: &Access, names: &Names) -> String {
    let mut parts = Vec::new();
    let columns = &scan.table.indexes[scan.index].columns;
    let name = |at: usize| {
        columns
            .get(at)
            .and_then(|key| scan.table.column(key.column))
            .map_or_else(String::new, |column| column.name.clone())
    };
    for (at, part) in access.prefix.iter().enumerate() {
        parts.push(match part {
            KeyPart::Equal(expr) => format!("({} = {})", name(at), names.expr(expr)),
            KeyPart::In(list) => format!("({} = ANY (ARRAY[{}]))", name(at), names.list(list)),
            KeyPart::Any(array) => format!("({} = ANY ({}))", name(at), names.expr(array)),
            KeyPart::IsNull => format!("({} IS NULL)", name(at)),
        });
    }
    let range = name(access.prefix.len());
    if let Some((bound, inclusive)) = &access.lower {
        parts.push(format!("({range} {} {})", if *inclusive { ">=" } else { ">" }, names.expr(bound)));
    }
    if let Some((bound, inclusive)) = &access.upper {
        parts.push(format!("({range} {} {})", if *inclusive { "<=" } else { "<" }, names.expr(bound)));
    }
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(" AND ")) }
}

fn show_scan(scan: &Scan, names: &Names) -> (String, String, Vec<(&'static str, String)>) {
    let mut details = Vec::new();
    let keyed = !scan.access.prefix.is_empty() || scan.access.lower.is_some() || scan.access.upper.is_some();
    let (kind, suffix) = if keyed || scan.index != 0 || scan.reverse {
        let direction = if scan.reverse { " Backward" } else { "" };
        ("Index Scan", format!("{direction} using {}{}", scan.table.indexes[scan.index].name, on_table(scan)))
    } else {
        ("Seq Scan", on_table(scan))
    };
    if keyed {
        details.push(("Index Cond", index_condition(scan, &scan.access, names)));
    }
    if let Some(filter) = &scan.filter {
        details.push(("Filter", names.condition(filter)));
    }
    (kind.to_owned(), suffix, details)
}

fn join_kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "",
        JoinKind::Left => " Left",
        JoinKind::Right => " Right",
        JoinKind::Full => " Full",
        JoinKind::Semi => " Semi",
        JoinKind::Anti => " Anti",
    }
}

fn show<'p>(plan: &'p Plan, names: &Names) -> Shown<'p> {
    let children = inputs(&plan.node);
    let mut suffix = String::new();
    let mut details = Vec::new();
    let kind = match &plan.node {
        // PostgreSQL has no projection node; the one below is shown.
        PlanNode::Project { input, exprs }
            if !exprs
                .iter()
                .any(|(_, expr)| any_expr(expr, &mut |part| matches!(part, Expr::Subquery(_))))
                && !matches!(&input.node, PlanNode::Values { rows } if rows.len() == 1 && rows[0].is_empty()) =>
        {
            return show(input, names);
        }
        PlanNode::Project { .. } => "Result".to_owned(),
        PlanNode::Values { rows } if rows.len() == 1 => "Result".to_owned(),
        PlanNode::Values { .. } => {
            suffix = " on \"*VALUES*\"".to_owned();
            "Values Scan".to_owned()
        }
        PlanNode::Scan(scan) => {
            let (kind, on, scan_details) = show_scan(scan, names);
            suffix = on;
            details = scan_details;
            kind
        }
        PlanNode::VirtualScan { table, filter, .. } => {
            suffix = format!(" on {}", table.name);
            if let Some(filter) = filter {
                details.push(("Filter", names.condition(filter)));
            }
            "Seq Scan".to_owned()
        }
        PlanNode::FunctionScan { call, .. } => {
            suffix = format!(" on {}", call.function.name);
            "Function Scan".to_owned()
        }
        PlanNode::Filter { predicate, .. } => {
            details.push(("Filter", names.condition(predicate)));
            "Filter".to_owned()
        }
        PlanNode::ProjectSet { .. } => "ProjectSet".to_owned(),
        PlanNode::NestedLoop { kind, on, .. } => {
            if let Some(on) = on {
                details.push(("Join Filter", names.condition(on)));
            }
            let kind = join_kind(*kind);
            if kind.is_empty() { "Nested Loop".to_owned() } else { format!("Nested Loop{kind} Join") }
        }
        PlanNode::HashJoin { kind, keys, residual, .. } => {
            let conditions: Vec<String> = keys
                .iter()
                .map(|key| format!("({} = {})", names.expr(&key.left), names.expr(&key.right)))
                .collect();
            let text = if conditions.len() == 1 {
                conditions.concat()
            } else {
                format!("({})", conditions.join(" AND "))
            };
            details.push(("Hash Cond", text));
            if let Some(residual) = residual {
                details.push(("Join Filter", names.condition(residual)));
            }
            format!("Hash{} Join", join_kind(*kind))
        }
        PlanNode::LookupJoin { kind, scan, residual, .. } => {
            suffix = format!(" using {}{}", scan.table.indexes[scan.index].name, on_table(scan));
            details = show_scan(scan, names).2;
            if let Some(residual) = residual {
                details.push(("Join Filter", names.condition(residual)));
            }
            format!("Lookup{} Join", join_kind(*kind))
        }
        PlanNode::Aggregate(aggregate) => {
            if !aggregate.groups.is_empty() {
                let keys: Vec<String> = aggregate.groups.iter().map(|(_, expr)| names.expr(expr)).collect();
                details.push(("Group Key", keys.join(", ")));
            }
            if aggregate.grouping_sets.is_some() {
                "MixedAggregate".to_owned()
            } else if aggregate.groups.is_empty() {
                "Aggregate".to_owned()
            } else {
                "HashAggregate".to_owned()
            }
        }
        PlanNode::Window { .. } => "WindowAgg".to_owned(),
        PlanNode::Sort { keys, .. } => {
            let keys: Vec<String> = keys.iter().map(|key| names.sort_key(key)).collect();
            details.push(("Sort Key", keys.join(", ")));
            "Sort".to_owned()
        }
        PlanNode::Limit { .. } => "Limit".to_owned(),
        PlanNode::Distinct { on, .. } => if on.is_empty() { "HashAggregate" } else { "Unique" }.to_owned(),
        PlanNode::Append { .. } => "Append".to_owned(),
        PlanNode::SetOp { op, all, .. } => {
            suffix = match op {
                SetOp::Intersect => " Intersect".to_owned(),
                SetOp::Except => " Except".to_owned(),
            };
            if *all {
                suffix.push_str(" All");
            }
            "HashSetOp".to_owned()
        }
        PlanNode::With { cte, .. } => {
            suffix = format!(" cte{cte}");
            "With".to_owned()
        }
        PlanNode::CteScan { cte } => {
            suffix = format!(" on cte{cte}");
            "CTE Scan".to_owned()
        }
        PlanNode::RecursiveUnion { .. } => "Recursive Union".to_owned(),
        PlanNode::LockRows { .. } => "LockRows".to_owned(),
        PlanNode::Insert(insert) => {
            suffix = format!(" on {}", insert.table.name);
            if let Some(conflict) = &insert.on_conflict {
                let what = if conflict.update.is_some() { "UPDATE" } else { "NOTHING" };
                details.push(("Conflict Resolution", what.to_owned()));
            }
            "Insert".to_owned()
        }
        PlanNode::Update(update) => {
            suffix = format!(" on {}", update.table.name);
            "Update".to_owned()
        }
        PlanNode::Delete(delete) => {
            suffix = format!(" on {}", delete.table.name);
            "Delete".to_owned()
        }
    };
    Shown { kind, suffix, details, children, plan }
}
