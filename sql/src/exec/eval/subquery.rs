//! Running the subqueries of expressions.
//!
//! The value depends on the outer columns only, so it is remembered per combination of them:
//! an uncorrelated subquery runs once per statement.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use basalt_planner::{
    ColumnId,
    expr::{Subquery, SubqueryKind},
    has_volatile,
};
use basalt_types::{Array, Datum, Oid, Result, Row, SqlError, SqlState};

use super::compile::{Compiled, compile_with};
use crate::exec::{
    key::KeyHasher,
    operators,
    scope::{Layout, Scope},
};

/// Remembered values per subquery.
const CACHE_ENTRIES_MAX: usize = 4_096;

/// Values of outer columns. Equal ones of another look (1.0 and 1.00, 0 and -0) are others: a subquery may show it.
struct OuterRow(Row);

impl PartialEq for OuterRow {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Datum, &Datum)| match (a, b) {
            (Datum::Float4(a), Datum::Float4(b)) => a.to_bits() == b.to_bits(),
            (Datum::Float8(a), Datum::Float8(b)) => a.to_bits() == b.to_bits(),
            // Floats inside are not looked at one by one.
            (Datum::Array(a), Datum::Array(b)) => Arc::ptr_eq(a, b),
            (Datum::Record(a), Datum::Record(b)) => Arc::ptr_eq(a, b),
            (a, b) => a == b,
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl Eq for OuterRow {}

impl Hash for OuterRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for value in &self.0 {
            value.hash_key(state);
        }
    }
}

pub(crate) struct SubqueryRunner {
    subquery: Subquery,
    /// Outer columns that come from this operator's row, with their positions.
    from_row: Vec<(ColumnId, usize)>,
    /// Without volatile functions in the plan: values by outer row.
    cache: HashMap<OuterRow, Datum, BuildHasherDefault<KeyHasher>>,
    /// The same outer row may give another value.
    volatile: bool,
    /// The comparison of ANY and ALL, over the subquery's row followed by the operator's.
    comparison: Option<Compiled>,
    /// The rows of an uncorrelated ANY/ALL subquery.
    rows: Option<Vec<Row>>,
}

impl SubqueryRunner {
    pub fn new(subquery: Subquery, layout: Layout<'_>, scope: &Scope) -> Result<Self> {
        let position = |id: ColumnId| layout.iter().position(|(column, _)| *column == id);
        let from_row =
            subquery.outer.iter().filter_map(|(id, _)| position(*id).map(|slot| (*id, slot))).collect();
        let comparison = match &subquery.kind {
            SubqueryKind::Quantified { comparison, columns, .. } => {
                let find = |id: ColumnId| {
                    let inner = columns.iter().position(|column| *column == id);
                    inner.or_else(|| position(id).map(|slot| columns.len() + slot))
                };
                let mut nested = Vec::new();
                let compiled = compile_with(comparison, &find, &scope.outer, &mut nested)?;
                if !nested.is_empty() {
                    return Err(SqlError::not_supported("subquery on the left side of ANY or ALL"));
                }
                Some(compiled)
            }
            SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => None,
        };
        let volatile = has_volatile(&subquery.plan);
        Ok(Self { subquery, from_row, cache: HashMap::default(), volatile, comparison, rows: None })
    }

    pub async fn value(&mut self, scope: &Scope, row: &[Datum]) -> Result<Datum> {
        if let SubqueryKind::Quantified { all, .. } = self.subquery.kind {
            return self.quantified(scope, row, all).await;
        }
        let correlated = !self.from_row.is_empty();
        if self.volatile && correlated {
            return self.run(scope, row).await;
        }
        let key = OuterRow(self.from_row.iter().map(|(_, slot)| row[*slot].clone()).collect());
        if let Some(value) = self.cache.get(&key) {
            return Ok(value.clone());
        }
        let value = self.run(scope, row).await?;
        if self.cache.len() >= CACHE_ENTRIES_MAX {
            self.cache.clear();
        }
        self.cache.insert(key, value.clone());
        Ok(value)
    }

    fn inner_scope(&self, scope: &Scope, row: &[Datum]) -> Scope {
        if self.from_row.is_empty() {
            return scope.clone();
        }
        scope.with_outer(self.from_row.iter().map(|(id, slot)| (*id, row[*slot].clone())))
    }

    async fn run(&self, scope: &Scope, row: &[Datum]) -> Result<Datum> {
        let inner = self.inner_scope(scope, row);
        let mut stream = operators::build(&self.subquery.plan, &inner).await?;
        match &self.subquery.kind {
            SubqueryKind::Exists => Ok(Datum::Bool(stream.next_batch().await?.is_some())),
            SubqueryKind::Scalar => {
                let mut value = None;
                while let Some(batch) = stream.next_batch().await? {
                    for mut row in batch {
                        if value.is_some() {
                            return Err(SqlError::new(
                                SqlState::CARDINALITY_VIOLATION,
                                "more than one row returned by a subquery used as an expression",
                            ));
                        }
                        value =
                            Some(if row.len() == 1 { row.swap_remove(0) } else { Datum::Record(row.into()) });
                    }
                }
                Ok(value.unwrap_or(Datum::Null))
            }
            SubqueryKind::Array => {
                let mut elements = Vec::new();
                while let Some(batch) = stream.next_batch().await? {
                    elements.extend(batch.into_iter().filter_map(|row| row.into_iter().next()));
                }
                let element = self.subquery.ty.info().map_or(Oid::UNKNOWN, |info| info.element);
                Ok(Datum::Array(Arc::new(Array::from_elements(element, elements))))
            }
            SubqueryKind::Quantified { .. } => {
                Err(SqlError::internal("quantified subquery is run elsewhere"))
            }
        }
    }

    /// `left op ANY|ALL (subquery)`: the comparison is evaluated over each inner row and the outer one.
    async fn quantified(&mut self, scope: &Scope, row: &[Datum], all: bool) -> Result<Datum> {
        let correlated = !self.from_row.is_empty();
        if self.rows.is_none() || correlated {
            let inner = self.inner_scope(scope, row);
            let mut stream = operators::build(&self.subquery.plan, &inner).await?;
            let mut rows = Vec::new();
            while let Some(batch) = stream.next_batch().await? {
                rows.extend(batch);
            }
            self.rows = Some(rows);
        }
        let comparison = self.comparison.as_ref().expect("compiled for ANY and ALL");
        let mut combined = Row::new();
        let mut unknown = false;
        for inner in self.rows.as_deref().unwrap_or_default() {
            combined.clear();
            combined.extend_from_slice(inner);
            combined.extend_from_slice(row);
            match comparison.evaluate(scope.eval(), &combined)? {
                Datum::Bool(found) if found != all => return Ok(Datum::Bool(found)),
                Datum::Null => unknown = true,
                _ => {}
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
    }
}
