//! Which relations a statement names, so that their descriptors can be loaded before it is bound.

use std::ops::ControlFlow;

use sqlparser::ast;

use super::names::qualified;
use crate::{
    catalog::QualifiedName,
    parse::{ParsedBody, ParsedStatement, Utility},
};

/// Every relation name in the statement, once each. Names of common table expressions are among them: one that the
/// catalog does not know is no error here.
pub fn required_tables(statement: &ParsedStatement) -> Vec<QualifiedName> {
    match &statement.body {
        ParsedBody::Sql(statement) => names_in(statement.as_ref()),
        ParsedBody::Utility(Utility::Declare { query, .. }) => required_tables(query),
        ParsedBody::Utility(Utility::Vacuum { tables, .. } | Utility::Lock { tables, .. }) => tables.clone(),
        ParsedBody::Utility(_) => vec![],
    }
}

pub(super) fn names_in<V: ast::Visit>(node: &V) -> Vec<QualifiedName> {
    let mut names = Vec::new();
    let _: ControlFlow<()> = ast::visit_relations(node, |relation| {
        if let Ok(name) = qualified(relation)
            && !names.contains(&name)
        {
            names.push(name);
        }
        ControlFlow::Continue(())
    });
    names
}
