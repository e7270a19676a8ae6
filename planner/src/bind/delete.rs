//! DELETE.

use basalt_types::{Result, SqlError};
use sqlparser::ast::{self, FromTable};

use super::{Binder, Bound, Clause, Collected, filter, plan, scope::Env, update::Target};
use crate::{Plan, PlanNode, plan::Delete, statement::Field};

impl Binder<'_> {
    pub(crate) fn delete(
        &mut self,
        delete: &ast::Delete,
        with: Option<&ast::With>,
    ) -> Result<(Plan, Vec<Field>)> {
        let outer_ctes = self.ctes.len();
        if let Some(with) = with {
            self.with_clause(with, None)?;
        }
        let (plan, fields) = self.delete_into(delete)?;
        let mut bound = Bound { plan, fields };
        self.close_ctes(outer_ctes, &mut bound);
        Ok((bound.plan, bound.fields))
    }

    fn delete_into(&mut self, delete: &ast::Delete) -> Result<(Plan, Vec<Field>)> {
        if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() {
            return Err(SqlError::not_supported("this form of DELETE"));
        }
        let (FromTable::WithFromKeyword(items) | FromTable::WithoutKeyword(items)) = &delete.from;
        let [relation] = items.as_slice() else {
            return Err(SqlError::not_supported("DELETE from several tables"));
        };
        let mut target = self.dml_target(relation, "DELETE")?;
        self.dml_join(&mut target, delete.using.as_deref().unwrap_or_default())?;
        let Target { table, plan: mut source, scope, old, .. } = target;
        let env = Env { scope: &scope, parent: None };
        self.collected = Collected::default();
        if let Some(condition) = &delete.selection {
            let predicate =
                self.in_clause(Clause::Where, |binder| binder.condition(condition, "WHERE", &env))?;
            source = filter(source, predicate);
        }
        let (returning, fields) = self.returning(delete.returning.as_deref(), &scope)?;
        let columns = returning.iter().map(|(id, expr)| (*id, expr.ty())).collect();
        let node = Delete { table, source, old, returning };
        Ok((plan(PlanNode::Delete(Box::new(node)), columns), fields))
    }
}
