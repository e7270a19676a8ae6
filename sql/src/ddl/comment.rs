//! COMMENT ON relations and columns.

use basalt_planner::{Table, TableKind};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{CommentObject, ObjectName, ObjectNamePart};

use super::{alter_table::column_position, names};
use crate::Session;

pub(super) async fn run(
    session: &mut Session,
    kind: &CommentObject,
    name: &ObjectName,
    comment: Option<&str>,
) -> Result<String> {
    let (relation, column) = match kind {
        CommentObject::Column => {
            let mut parts = name.0.clone();
            let column = match parts.pop() {
                Some(ObjectNamePart::Identifier(ident)) if !parts.is_empty() => names::fold(&ident),
                _ => return Err(SqlError::new(SqlState::SYNTAX_ERROR, "column name must be qualified")),
            };
            (ObjectName(parts), Some(column))
        }
        CommentObject::Table
        | CommentObject::View
        | CommentObject::MaterializedView
        | CommentObject::Sequence => (name.clone(), None),
        other => return Err(SqlError::not_supported(format!("COMMENT ON {other}"))),
    };
    let table = session.table_named(&relation)?;
    let (fits, word) = match (kind, &table.kind) {
        (_, TableKind::Virtual) => {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", table.name),
            ));
        }
        (CommentObject::Table, kind) => (*kind == TableKind::Table, "table"),
        (CommentObject::View, kind) => (matches!(kind, TableKind::View { .. }), "view"),
        (CommentObject::MaterializedView, kind) => {
            (matches!(kind, TableKind::Materialized { .. }), "materialized view")
        }
        (CommentObject::Sequence, kind) => (matches!(kind, TableKind::Sequence(_)), "sequence"),
        (_, kind) => (!matches!(kind, TableKind::Sequence(_)), "table"),
    };
    if !fits {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a {word}", table.name),
        ));
    }
    let table = session.lock_for_change(&table).await?;
    let id = match column {
        None => 0,
        Some(column) => table.columns[column_position(&table, &column)?].id,
    };
    let mut changed = Table::clone(&table);
    match comment.filter(|comment| !comment.is_empty()) {
        Some(comment) => changed.comments.insert(id, comment.to_owned()),
        None => changed.comments.remove(&id),
    };
    session.write_table(changed)?;
    Ok("COMMENT".to_owned())
}
