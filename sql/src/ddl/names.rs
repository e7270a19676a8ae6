//! Identifiers of statements.

use basalt_planner::catalog::QualifiedName;
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName};

/// Longest identifier in bytes; longer ones are cut, as in PostgreSQL.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Folds an unquoted identifier to lower case and cuts it to its maximal length.
pub(crate) fn fold(ident: &Ident) -> String {
    let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    truncate(name)
}

pub(crate) fn truncate(mut name: String) -> String {
    if name.len() > IDENTIFIER_BYTES_MAX {
        let mut end = IDENTIFIER_BYTES_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

pub(crate) fn qualified(name: &ObjectName) -> Result<QualifiedName> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(fold)).collect();
    match parts.as_deref() {
        Some([name]) => Ok(QualifiedName { database: None, schema: None, name: name.clone() }),
        Some([schema, name]) => {
            Ok(QualifiedName { database: None, schema: Some(schema.clone()), name: name.clone() })
        }
        Some([database, schema, name]) => Ok(QualifiedName {
            database: Some(database.clone()),
            schema: Some(schema.clone()),
            name: name.clone(),
        }),
        _ => Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("improper qualified name (too many dotted names): {name}"),
        )),
    }
}

pub(crate) fn last_part(name: &ObjectName) -> Result<String> {
    qualified(name).map(|name| name.name)
}

/// As messages print it.
pub(crate) fn display(name: &ObjectName) -> String {
    qualified(name).map_or_else(|_| name.to_string(), |name| name.to_string())
}

/// PostgreSQL's automatic names: `table_column_key`, with the parts cut to fit.
pub(crate) fn automatic(
    table: &str,
    columns: &[&str],
    suffix: &str,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    let mut base = table.to_owned();
    let columns = columns.join("_");
    if !columns.is_empty() {
        base.push('_');
        base.push_str(&columns);
    }
    let mut number = 0;
    loop {
        let ending = if number == 0 { format!("_{suffix}") } else { format!("_{suffix}{number}") };
        let mut stem = base.clone();
        if stem.len() + ending.len() > IDENTIFIER_BYTES_MAX {
            let mut end = IDENTIFIER_BYTES_MAX - ending.len();
            while !stem.is_char_boundary(end) {
                end -= 1;
            }
            stem.truncate(end);
        }
        let name = stem + &ending;
        if !is_taken(&name) {
            return name;
        }
        number += 1;
    }
}
