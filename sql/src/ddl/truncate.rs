//! TRUNCATE: every index gets a new, empty place in the key space; the old ones are removed after the commit.

use std::sync::Arc;

use basalt_planner::{Table, TableKind};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{CascadeOption, Truncate, TruncateIdentityOption};

use super::{foreign_key, sequence};
use crate::{Session, output::NoticeLevel};

pub(super) async fn run(session: &mut Session, truncate: &Truncate) -> Result<String> {
    let cascade = matches!(truncate.cascade, Some(CascadeOption::Cascade));
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for target in &truncate.table_names {
        let table = session.table_named(&target.name)?;
        if table.kind != TableKind::Table {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", table.name),
            ));
        }
        if !tables.iter().any(|known| known.id == table.id) {
            tables.push(table);
        }
    }
    let mut next = 0;
    while let Some(table) = tables.get(next).cloned() {
        next += 1;
        for (child, key) in foreign_key::referring(session, &table) {
            let listed = |tables: &[Arc<Table>]| tables.iter().any(|known| known.id == child.id);
            if cascade && !listed(&tables) {
                session.notice(
                    NoticeLevel::Notice,
                    SqlState::SUCCESSFUL_COMPLETION,
                    format!("truncate cascades to table \"{}\"", child.name),
                );
                tables.push(child.clone());
            }
            // Within the list all goes together; the end of the loop sees tables named later.
            let named_later = tables.iter().any(|known| known.id == child.id);
            if !named_later {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .with_detail(format!("Table \"{}\" references \"{}\".", child.name, table.name))
                .with_hint(format!(
                    "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                    child.name
                ))
                .with_constraint(&key.name));
            }
        }
    }
    for table in &tables {
        session.check_nothing_waits("TRUNCATE", table)?;
        empty(session, table).await?;
        if matches!(truncate.identity, Some(TruncateIdentityOption::Restart)) {
            for owned in sequence::owned_by(session, table.id, None) {
                sequence::restart(session, &owned).await?;
            }
        }
    }
    Ok("TRUNCATE TABLE".to_owned())
}

/// Takes all rows out of a table.
pub(super) async fn empty(session: &mut Session, table: &Arc<Table>) -> Result<()> {
    let table = session.lock_for_change(table).await?;
    let mut changed = Table::clone(&table);
    for index in &mut changed.indexes {
        index.id = changed.next_index_id;
        changed.next_index_id += 1;
    }
    changed.row_estimate = Some(0.0);
    session.write_table(changed)?;
    for index in &table.indexes {
        session.discard_index(table.id, index.id)?;
    }
    Ok(())
}
