//! Identifiers as written to names.

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::catalog::QualifiedName;

/// PostgreSQL's NAMEDATALEN − 1.
const NAME_BYTES: usize = 63;

/// Folds an identifier that was not quoted to lower case and cuts it to PostgreSQL's length.
pub fn fold(ident: &Ident) -> String {
    let mut name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    if name.len() > NAME_BYTES {
        let mut end = NAME_BYTES;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// The parts of a dotted name.
pub fn folded(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
            ObjectNamePart::Function(_) => Err(SqlError::not_supported("a function as part of a name")),
        })
        .collect()
}

/// `[database.][schema.]name`.
pub fn qualified(name: &ObjectName) -> Result<QualifiedName> {
    let mut parts = folded(name)?;
    if parts.len() > 3 {
        return Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("improper qualified name (too many dotted names): {}", parts.join(".")),
        ));
    }
    let last = parts.pop().ok_or_else(|| SqlError::internal("an empty name"))?;
    let schema = parts.pop();
    Ok(QualifiedName { database: parts.pop(), schema, name: last })
}

impl super::Binder<'_> {
    /// The grammar takes a string for an alias.
    pub(super) fn check_alias(&self, alias: &Ident) -> Result<()> {
        if alias.quote_style != Some('\'') {
            return Ok(());
        }
        let written = format!("'{}'", alias.value.replace('\'', "''"));
        let error = SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{written}\""));
        let text = self.source.text();
        Err(match text.find(&written) {
            Some(at) => error.at(text[..at].chars().count() + 1),
            None => error,
        })
    }
}
