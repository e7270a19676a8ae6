//! LOCK TABLE.

use basalt_planner::{Catalog, catalog::QualifiedName};
use basalt_types::{Result, SqlError, SqlState};

use crate::{Session, locks::TableLockMode, session::BlockState};

/// Weak modes, which only keep schema changes away, take the shared lock; strong ones the exclusive lock.
pub(crate) async fn run(session: &mut Session, tables: &[QualifiedName], mode: &str) -> Result<()> {
    if session.block != BlockState::Block {
        return Err(SqlError::new(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            "LOCK TABLE can only be used in transaction blocks",
        ));
    }
    let weak = ["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"];
    let lock = if weak.iter().any(|weak| weak.eq_ignore_ascii_case(mode)) {
        TableLockMode::Shared
    } else {
        TableLockMode::Exclusive
    };
    session.check_cluster().await?;
    session.catch_up_with_cluster().await?;
    let view = session.catalog_view();
    for name in tables {
        let table = view.table(name)?.ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
        })?;
        session.lock_table(table.id, lock).await?;
    }
    Ok(())
}
