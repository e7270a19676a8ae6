//! From a parsed statement to an executable one.

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, AnalyzeFormat, AnalyzeFormatKind, SetExpr, Statement};

use crate::{
    Catalog, Plan, Planned, PlannedBody,
    bind::{Binder, PlanSettings},
    optimize::optimize,
    parse::{ParsedBody, ParsedStatement},
    statement::{DmlKind, ExplainOptions, Field},
};

/// Binds a statement and plans it. Statements that need no plan come back as [`PlannedBody::Utility`].
pub fn analyze_and_plan(
    statement: &ParsedStatement,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Planned> {
    match &statement.body {
        ParsedBody::Sql(sql) => plan_statement(sql, statement, catalog, settings),
        ParsedBody::Utility(utility) => Ok(utility_body(PlannedBody::Own(Box::new(utility.clone())))),
    }
}

fn utility_body(body: PlannedBody) -> Planned {
    Planned { body, params: vec![], fields: vec![], dependencies: vec![], cacheable: false }
}

fn plan_statement(
    sql: &Statement,
    statement: &ParsedStatement,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Planned> {
    let mut binder = Binder::new(catalog, settings, statement.source.clone());
    let (plan, fields, kind) = match sql {
        Statement::Query(query) => match query.body.as_ref() {
            // WITH … INSERT and the like.
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) => {
                let kind = match query.body.as_ref() {
                    SetExpr::Insert(_) => DmlKind::Insert,
                    SetExpr::Update(_) => DmlKind::Update,
                    _ => DmlKind::Delete,
                };
                let (plan, fields) = binder.data_change(query)?;
                (plan, fields, Some(kind))
            }
            _ => {
                let bound = binder.query(query, None)?;
                // A query whose WITH clause changes data.
                (bound.plan, bound.fields, binder.changes_data.then_some(DmlKind::Select))
            }
        },
        Statement::Insert(insert) => {
            let (plan, fields) = binder.insert(insert, None)?;
            (plan, fields, Some(DmlKind::Insert))
        }
        Statement::Update(update) => {
            let (plan, fields) = binder.update(update, None)?;
            (plan, fields, Some(DmlKind::Update))
        }
        Statement::Delete(delete) => {
            let (plan, fields) = binder.delete(delete, None)?;
            (plan, fields, Some(DmlKind::Delete))
        }
        Statement::Explain { .. } => return plan_explain(sql, statement, catalog, settings),
        other => return Ok(utility_body(PlannedBody::Utility(Box::new(other.clone())))),
    };
    finish(binder, plan, fields, kind, settings)
}

fn finish(
    binder: Binder<'_>,
    plan: Plan,
    fields: Vec<Field>,
    kind: Option<DmlKind>,
    settings: &PlanSettings<'_>,
) -> Result<Planned> {
    let params = binder.finished_params()?;
    let plan = Arc::new(optimize(plan, settings)?);
    let body = match kind {
        None => PlannedBody::Query(plan),
        Some(kind) => PlannedBody::Dml { plan, kind },
    };
    Ok(Planned {
        body,
        params,
        fields,
        dependencies: binder.dependencies.into_values().collect(),
        cacheable: binder.cacheable,
    })
}

fn plan_explain(
    sql: &Statement,
    statement: &ParsedStatement,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Planned> {
    let Statement::Explain { analyze, verbose, statement: inner, format, options, .. } = sql else {
        return Err(SqlError::internal("not an EXPLAIN"));
    };
    let mut chosen = ExplainOptions { analyze: *analyze, verbose: *verbose, costs: true, json: false };
    if let Some(AnalyzeFormatKind::Keyword(format) | AnalyzeFormatKind::Assignment(format)) = format {
        chosen.json = *format == AnalyzeFormat::JSON;
    }
    for option in options.iter().flatten() {
        let name = option.name.value.to_lowercase();
        let value = option.arg.as_ref().map(|arg| arg.to_string().trim_matches('\'').to_lowercase());
        let on = match value.as_deref() {
            None | Some("true" | "on" | "1") => true,
            Some("false" | "off" | "0") => false,
            Some(_) if name == "format" => true,
            Some(_) => {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    format!("{name} requires a Boolean value"),
                ));
            }
        };
        match name.as_str() {
            "analyze" => chosen.analyze = on,
            "verbose" => chosen.verbose = on,
            "costs" => chosen.costs = on,
            "buffers" | "timing" | "summary" | "settings" | "wal" => {}
            "format" => match value.as_deref() {
                Some("json") => chosen.json = true,
                Some("text") => chosen.json = false,
                Some(other @ ("xml" | "yaml")) => {
                    return Err(SqlError::not_supported(format!("EXPLAIN (FORMAT {other})")));
                }
                other => {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!(
                            "unrecognized value for EXPLAIN option \"format\": \"{}\"",
                            other.unwrap_or("")
                        ),
                    ));
                }
            },
            _ => {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    format!("unrecognized EXPLAIN option \"{name}\""),
                ));
            }
        }
    }
    let planned = plan_statement(inner, statement, catalog, settings)?;
    if matches!(planned.body, PlannedBody::Utility(_) | PlannedBody::Own(_)) {
        return Err(SqlError::not_supported(format!("EXPLAIN of {}", first_word(inner))));
    }
    let ty = if chosen.json { SqlType::JSON } else { SqlType::TEXT };
    let field = Field { name: "QUERY PLAN".to_owned(), ty, table: basalt_types::Oid(0), attnum: 0 };
    Ok(Planned {
        params: planned.params.clone(),
        fields: vec![field],
        dependencies: planned.dependencies.clone(),
        cacheable: false,
        body: PlannedBody::Explain { inner: Box::new(planned), options: chosen },
    })
}

fn first_word(statement: &ast::Statement) -> String {
    statement.to_string().split_whitespace().next().unwrap_or("a statement").to_owned()
}
