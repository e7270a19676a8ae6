//! From an index condition to spans of keys.

use std::sync::Arc;

use basalt_base::{Key, Span, keys::prefix_end};
use basalt_planner::{
    Expr, Table,
    plan::{Access, KeyPart},
};
use basalt_types::{Datum, Result, SqlError, SqlType, codec::key::encode_key_column};
use bytes::{Bytes, BytesMut};

use crate::{
    exec::{
        eval::evaluator::RowEvaluator,
        scope::{Layout, Scope},
    },
    layout::EntryCodec,
};

/// Where to look in an index.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Exactly this key.
    Point(Key),
    Range(Span),
}

/// Evaluates an index condition. `row` (of columns `layout`) gives the left side of a lookup join.
pub(crate) async fn places(
    table: &Arc<Table>,
    index: usize,
    codec: &EntryCodec,
    access: &Access,
    scope: &Scope,
    layout: Layout<'_>,
    row: &[Datum],
) -> Result<Vec<Place>> {
    let types: Vec<(SqlType, bool)> = codec.key_types().collect();
    let mut prefixes: Vec<BytesMut> = vec![BytesMut::from(&codec.prefix()[..])];
    let mut may_be_point = table.indexes[index].unique && access.prefix.len() == types.len();
    for (part, &(ty, descending)) in access.prefix.iter().zip(&types) {
        let values = match part {
            KeyPart::Equal(expr) => vec![value(expr, scope, layout, row).await?],
            KeyPart::In(list) => {
                let mut values = Vec::with_capacity(list.len());
                for expr in list {
                    values.push(value(expr, scope, layout, row).await?);
                }
                values
            }
            KeyPart::Any(expr) => match value(expr, scope, layout, row).await? {
                Datum::Array(array) => array.elements.clone(),
                _ => Vec::new(),
            },
            KeyPart::IsNull => {
                may_be_point = false;
                for prefix in &mut prefixes {
                    encode_key_column(prefix, &Datum::Null, ty, descending);
                }
                continue;
            }
        };
        let mut next = Vec::with_capacity(prefixes.len() * values.len());
        for prefix in &prefixes {
            // A comparison with NULL is never true.
            for value in values.iter().filter(|value| !value.is_null()) {
                let mut key = prefix.clone();
                encode_key_column(&mut key, value, ty, descending);
                next.push(key);
            }
        }
        prefixes = next;
    }
    let bounds = bounds(access, &types, scope, layout, row).await?;
    let Some(bounds) = bounds else { return Ok(Vec::new()) };
    let mut keys: Vec<Bytes> = prefixes.into_iter().map(BytesMut::freeze).collect();
    keys.sort();
    keys.dedup();
    Ok(keys
        .into_iter()
        .filter_map(|key| {
            if may_be_point {
                return Some(Place::Point(key));
            }
            let span = bounds.apply(key);
            (!span.is_empty()).then_some(Place::Range(span))
        })
        .collect())
}

/// Encoded bounds behind a prefix.
#[derive(Default)]
struct Bounds {
    start: Option<(Vec<u8>, bool)>,
    end: Option<(Vec<u8>, bool)>,
}

impl Bounds {
    /// `true` in a bound: keys that begin with it are inside.
    fn apply(&self, prefix: Bytes) -> Span {
        let with = |suffix: &[u8]| {
            let mut key = BytesMut::from(&prefix[..]);
            key.extend_from_slice(suffix);
            key.freeze()
        };
        let start = match &self.start {
            Some((suffix, true)) => with(suffix),
            Some((suffix, false)) => prefix_end(&with(suffix)),
            None => prefix.clone(),
        };
        let end = match &self.end {
            Some((suffix, true)) => prefix_end(&with(suffix)),
            Some((suffix, false)) => with(suffix),
            None => prefix_end(&prefix),
        };
        Span::new(start, end)
    }
}

/// `None` when a bound is NULL: nothing matches.
async fn bounds(
    access: &Access,
    types: &[(SqlType, bool)],
    scope: &Scope,
    layout: Layout<'_>,
    row: &[Datum],
) -> Result<Option<Bounds>> {
    if access.lower.is_none() && access.upper.is_none() {
        return Ok(Some(Bounds::default()));
    }
    let Some(&(ty, descending)) = types.get(access.prefix.len()) else { return Ok(Some(Bounds::default())) };
    let mut encoded = [None, None];
    for (slot, bound) in encoded.iter_mut().zip([&access.lower, &access.upper]) {
        if let Some((expr, inclusive)) = bound {
            let value = value(expr, scope, layout, row).await?;
            if value.is_null() {
                return Ok(None);
            }
            let mut out = BytesMut::new();
            encode_key_column(&mut out, &value, ty, descending);
            *slot = Some((out.to_vec(), *inclusive));
        }
    }
    let [lower, upper] = encoded;
    // NULLs match no bound; they sort last in an ascending column and first in a descending one.
    let mut null = BytesMut::new();
    encode_key_column(&mut null, &Datum::Null, ty, descending);
    let beyond_nulls = Some((null.to_vec(), false));
    Ok(Some(if descending {
        Bounds { start: upper.or(beyond_nulls), end: lower }
    } else {
        Bounds { start: lower, end: upper.or(beyond_nulls) }
    }))
}

async fn value(expr: &Expr, scope: &Scope, layout: Layout<'_>, row: &[Datum]) -> Result<Datum> {
    match expr {
        Expr::Literal { value, .. } => Ok(value.clone()),
        Expr::Column { id, .. } => {
            let here = layout.iter().position(|(column, _)| column == id).map(|position| &row[position]);
            let value = here.or_else(|| scope.outer.get(id)).cloned();
            value.ok_or_else(|| SqlError::internal(format!("column {} is not in scope", id.0)))
        }
        Expr::Param { index, .. } if *index < scope.context.eval.params.len() => {
            Ok(scope.context.eval.params[*index].clone())
        }
        expr => RowEvaluator::new([expr], layout, scope)?.evaluate(0, scope, row).await,
    }
}
