//! What executors ask about tables besides the one that a plan names: foreign keys, their other sides, their checks.

use std::sync::Arc;

use basalt_planner::{Table, bind::bind_check};
use basalt_types::{Datum, Result, Row};

use super::SessionTables;
use crate::{
    exec::{
        ExecContext,
        eval::{self, Compiled},
        referential::Reference,
    },
    session::plan_settings,
};

impl SessionTables {
    pub(super) fn outgoing(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>> {
        let mut found = Vec::new();
        for key in &table.foreign_keys {
            let parent = if key.referenced == table.id {
                Some(table)
            } else {
                self.view.snapshot.tables.get(&key.referenced)
            };
            if let Some(parent) = parent {
                found.push(Arc::new(Reference::new(table, parent, key)?));
            }
        }
        Ok(found)
    }

    pub(super) fn incoming(&self, table: &Arc<Table>) -> Result<Vec<Arc<Reference>>> {
        let mut found = Vec::new();
        for child in self.view.snapshot.referring(table.id) {
            for key in child.foreign_keys.iter().filter(|key| key.referenced == table.id) {
                found.push(Arc::new(Reference::new(child, table, key)?));
            }
        }
        Ok(found)
    }

    pub(super) fn bound_checks(
        &self,
        table: &Arc<Table>,
        context: &ExecContext,
    ) -> Result<Vec<(String, Compiled)>> {
        let bind = |check: &basalt_planner::catalog::Check| {
            let settings = plan_settings(&context.eval);
            let bound = bind_check(&check.expression, table, &*self.view, &settings)?;
            Ok((check.name.clone(), eval::compile(&bound.expr, &bound.columns)?))
        };
        table.checks.iter().map(bind).collect()
    }

    pub(super) fn default_values(
        &self,
        table: &Arc<Table>,
        positions: &[usize],
        context: &ExecContext,
    ) -> Result<Row> {
        let value = |&position: &usize| {
            let column = &table.columns[position];
            let Some(text) = &column.default else { return Ok(Datum::Null) };
            let settings = plan_settings(&context.eval);
            let bound = basalt_planner::bind::bind_column_default(
                text,
                &column.name,
                column.ty,
                &*self.view,
                &settings,
            )?;
            eval::evaluate_constant(&bound, &context.eval)
        };
        positions.iter().map(value).collect()
    }
}
