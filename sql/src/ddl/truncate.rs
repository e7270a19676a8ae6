//! TRUNCATE: every index gets a new, empty place in the key space; the old ones are removed after the commit.

use basalt_planner::{Table, TableKind};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::Truncate;

use crate::Session;

pub(super) async fn run(session: &mut Session, truncate: &Truncate) -> Result<String> {
    for target in &truncate.table_names {
        let table = session.table_named(&target.name)?;
        if table.kind != TableKind::Table {
            return Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", table.name),
            ));
        }
        let table = session.lock_for_change(&table).await?;
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
    }
    Ok("TRUNCATE TABLE".to_owned())
}
