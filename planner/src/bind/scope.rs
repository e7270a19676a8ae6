//! Which names mean which columns.

use std::sync::Arc;

use basalt_types::record_shape::record_type;
use basalt_types::{Oid, Result, SqlError, SqlState};
use sqlparser::{ast::Ident, tokenizer::Span};

use super::{Binder, names::fold};
use crate::{Expr, Table};

/// PostgreSQL's reserved words that begin no expression.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "asc",
    "both",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "desc",
    "do",
    "else",
    "end",
    "except",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "union",
    "unique",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// A column that can be named. Its expression is a column, or COALESCE for a merged column of a full join.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub name: String,
    pub expr: Expr,
    /// Table oid and attnum of the stored column, else zeros.
    pub origin: (Oid, i16),
    /// Not part of `*`.
    pub hidden: bool,
}

/// An entry of FROM under its alias.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub alias: String,
    /// Set when the name may be qualified (no alias was given).
    pub schema: Option<String>,
    pub table: Option<Arc<Table>>,
    pub columns: Vec<ScopeColumn>,
    /// A scalar function in FROM: its name alone is its value.
    pub scalar: bool,
}

/// The names of one query level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub relations: Vec<Relation>,
    /// Columns by bare name, and `*`, in order (merged columns of USING first).
    pub columns: Vec<ScopeColumn>,
}

/// A scope and those around it.
#[derive(Clone, Copy)]
pub(crate) struct Env<'s> {
    pub scope: &'s Scope,
    pub parent: Option<&'s Env<'s>>,
}

impl Scope {
    pub fn of(relation: Relation) -> Self {
        Self { columns: relation.columns.clone(), relations: vec![relation] }
    }

    /// Adds the names of another FROM item; two of one alias are an error.
    pub fn join(&mut self, other: Self) -> Result<()> {
        for relation in &other.relations {
            if !relation.alias.is_empty()
                && self.relations.iter().any(|mine| {
                    mine.alias == relation.alias
                        && (mine.schema.is_none()
                            || mine.schema == relation.schema
                            || relation.schema.is_none())
                })
            {
                return Err(SqlError::new(
                    SqlState::DUPLICATE_ALIAS,
                    format!("table name \"{}\" specified more than once", relation.alias),
                ));
            }
        }
        self.relations.extend(other.relations);
        self.columns.extend(other.columns);
        Ok(())
    }

    pub fn relation(&self, schema: Option<&str>, alias: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| {
            relation.alias == alias && (schema.is_none() || schema == relation.schema.as_deref())
        })
    }
}

impl Relation {
    /// All columns as one value.
    pub fn whole_row(&self) -> Expr {
        if self.scalar && self.columns.len() == 1 {
            return self.columns[0].expr.clone();
        }
        let shown = || self.columns.iter().filter(|column| !column.hidden);
        let shape = shown().map(|column| (column.name.clone(), column.expr.ty())).collect();
        Expr::Row { fields: shown().map(|column| column.expr.clone()).collect(), ty: record_type(shape) }
    }
}

impl Binder<'_> {
    fn note(&mut self, expr: &Expr, span: Span) {
        if let Expr::Column { id, .. } = expr {
            self.collected.references.push((*id, span));
        }
    }

    /// `x`: a column of the innermost level that has one, else a whole row.
    pub(crate) fn column(&mut self, ident: &Ident, env: &Env<'_>) -> Result<Expr> {
        self.column_of(ident, env).map(|column| column.expr)
    }

    pub(crate) fn column_of(&mut self, ident: &Ident, env: &Env<'_>) -> Result<ScopeColumn> {
        let name = fold(ident);
        let mut level = Some(env);
        while let Some(env) = level {
            let mut found = env.scope.columns.iter().filter(|column| column.name == name);
            if let Some(column) = found.next() {
                if found.next().is_some() {
                    return Err(self.error_at(
                        SqlState::AMBIGUOUS_COLUMN,
                        format!("column reference \"{name}\" is ambiguous"),
                        ident.span,
                    ));
                }
                let column = column.clone();
                self.note(&column.expr, ident.span);
                return Ok(column);
            }
            level = env.parent;
        }
        let mut level = Some(env);
        while let Some(env) = level {
            if let Some(relation) = env.scope.relation(None, &name) {
                let expr = relation.whole_row();
                return Ok(ScopeColumn { name, expr, origin: (Oid(0), 0), hidden: false });
            }
            level = env.parent;
        }
        // The grammar lets reserved words stand where an expression must.
        if ident.quote_style.is_none() && RESERVED.contains(&name.as_str()) {
            let message = format!("syntax error at or near \"{}\"", ident.value);
            return Err(self.error_at(SqlState::SYNTAX_ERROR, message, ident.span));
        }
        Err(self.error_at(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" does not exist"),
            ident.span,
        ))
    }

    /// `t.x` or `s.t.x`.
    pub(crate) fn qualified_column(&mut self, parts: &[Ident], env: &Env<'_>) -> Result<ScopeColumn> {
        let span = parts[0].span;
        let (schema, table, ident) = match parts {
            [table, ident] => (None, fold(table), ident),
            [schema, table, ident] => (Some(fold(schema)), fold(table), ident),
            [_, schema, table, ident] => (Some(fold(schema)), fold(table), ident),
            _ => {
                let name: Vec<String> = parts.iter().map(fold).collect();
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    format!("improper qualified name (too many dotted names): {}", name.join(".")),
                    span,
                ));
            }
        };
        let name = fold(ident);
        let mut level = Some(env);
        while let Some(env) = level {
            if let Some(relation) = env.scope.relation(schema.as_deref(), &table) {
                let mut found = relation.columns.iter().filter(|column| column.name == name);
                let Some(column) = found.next() else {
                    return Err(self.missing_column(relation, &table, &name, span));
                };
                if found.next().is_some() {
                    return Err(self.error_at(
                        SqlState::AMBIGUOUS_COLUMN,
                        format!("column reference \"{name}\" is ambiguous"),
                        span,
                    ));
                }
                let column = column.clone();
                self.note(&column.expr, span);
                return Ok(column);
            }
            level = env.parent;
        }
        let mut level = Some(env);
        while let Some(env) = level {
            let renamed = env.scope.relations.iter().find(|relation| {
                relation.alias != table && relation.table.as_ref().is_some_and(|stored| stored.name == table)
            });
            if let Some(relation) = renamed {
                let error = SqlError::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("invalid reference to FROM-clause entry for table \"{table}\""),
                )
                .with_hint(format!("Perhaps you meant to reference the table alias \"{}\".", relation.alias));
                return Err(self.at(error, span));
            }
            level = env.parent;
        }
        Err(self.missing_relation(&table, span))
    }

    fn missing_column(&self, relation: &Relation, table: &str, name: &str, span: Span) -> SqlError {
        if matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax") && relation.table.is_some() {
            return self.at(SqlError::not_supported(format!("system column {name}")), span);
        }
        self.error_at(SqlState::UNDEFINED_COLUMN, format!("column {table}.{name} does not exist"), span)
    }

    pub(crate) fn missing_relation(&self, table: &str, span: Span) -> SqlError {
        if self.hidden_relations.iter().any(|hidden| hidden == table) {
            let error = SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("invalid reference to FROM-clause entry for table \"{table}\""),
            );
            return self.at(
                error.with_hint(format!(
                    "There is an entry for table \"{table}\", but it cannot be referenced from this part of the query."
                )),
                span,
            );
        }
        self.error_at(
            SqlState::UNDEFINED_TABLE,
            format!("missing FROM-clause entry for table \"{table}\""),
            span,
        )
    }

    /// The relation behind `t.*`.
    pub(crate) fn relation_named<'s>(
        &self,
        schema: Option<&str>,
        alias: &str,
        env: &Env<'s>,
        span: Span,
    ) -> Result<&'s Relation> {
        let mut level = Some(*env);
        while let Some(env) = level {
            if let Some(relation) = env.scope.relation(schema, alias) {
                return Ok(relation);
            }
            level = env.parent.copied();
        }
        Err(self.missing_relation(alias, span))
    }
}
