//! Index lookups per left row.
//!
//! Left rows come in batches. The keys of a whole batch are fetched with one request, each distinct key once; ranges
//! are read one after the other, again each distinct one once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use basalt_base::{Key, Span};
use basalt_env::BoxFuture;
use basalt_planner::{
    ColumnId, Expr, Plan,
    plan::{JoinKind, Scan},
};
use basalt_types::{Result, Row, SqlError, SqlType};

use super::{
    Stream, build,
    nested_loop::{JoinCondition, pad_right},
    scan::ScanReader,
    spans::{Place, places},
};
use crate::exec::{
    BATCH_ROWS, RowStream,
    memory::Reservation,
    scope::{Scope, row_bytes},
};

/// Left rows looked up together.
const LEFT_ROWS_MAX: usize = BATCH_ROWS;
/// Rows per page of a range.
const PAGE_ROWS: u64 = 1_024;

/// What was found at the places of a batch.
#[derive(Default)]
struct Found {
    points: BTreeMap<Key, Option<Row>>,
    ranges: BTreeMap<(Key, Key), Arc<Vec<Row>>>,
}

struct LookupJoin {
    kind: JoinKind,
    left: Stream,
    left_layout: Vec<(ColumnId, SqlType)>,
    scan: Arc<Scan>,
    reader: ScanReader,
    right_width: usize,
    condition: JoinCondition,
    /// Left rows not looked up yet.
    waiting: std::vec::IntoIter<Row>,
    /// Joined rows not given out yet.
    ready: std::vec::IntoIter<Row>,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(
    kind: JoinKind,
    left: &Plan,
    scan: &Scan,
    residual: Option<&Expr>,
    scope: &Scope,
) -> Result<Stream> {
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        return Err(SqlError::internal("a lookup join can't preserve its right side"));
    }
    let right: Vec<(ColumnId, SqlType)> =
        scan.columns.iter().map(|(id, position)| (*id, scan.table.columns[*position].ty)).collect();
    let conditions = scan.filter.iter().chain(residual);
    Ok(Box::new(LookupJoin {
        kind,
        left: build(left, scope).await?,
        left_layout: left.columns.clone(),
        reader: ScanReader::new(scan),
        right_width: right.len(),
        condition: JoinCondition::new(conditions, &left.columns, &right, scope)?,
        scan: Arc::new(scan.clone()),
        waiting: Vec::new().into_iter(),
        ready: Vec::new().into_iter(),
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl LookupJoin {
    async fn fetch(&mut self, wanted: &[Vec<Place>]) -> Result<Found> {
        let mut found = Found::default();
        self.memory.clear();
        for place in wanted.iter().flatten() {
            match place {
                Place::Point(key) => {
                    found.points.entry(key.clone()).or_default();
                }
                Place::Range(span) => {
                    let id = (span.start.clone(), span.end.clone());
                    if let Entry::Vacant(entry) = found.ranges.entry(id) {
                        entry.insert(Arc::new(self.range(span.clone()).await?));
                    }
                }
            }
        }
        let keys: Vec<Key> = found.points.keys().cloned().collect();
        if !keys.is_empty() {
            let rows = self.reader.each_point(&self.scope, keys).await?;
            for (slot, row) in found.points.values_mut().zip(rows) {
                if let Some(row) = &row {
                    self.memory.grow(row_bytes(row))?;
                }
                *slot = row;
            }
        }
        Ok(found)
    }

    async fn range(&mut self, span: Span) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut rest = Some(span);
        while let Some(span) = rest {
            self.scope.checkpoint().await?;
            let (page, resume) = self.reader.page(&self.scope, span, self.scan.reverse, PAGE_ROWS).await?;
            for row in &page {
                self.memory.grow(row_bytes(row))?;
            }
            rows.extend(page);
            rest = resume;
        }
        Ok(rows)
    }

    /// Joins one batch of left rows.
    async fn join(&mut self, batch: Vec<Row>) -> Result<Vec<Row>> {
        let mut wanted = Vec::with_capacity(batch.len());
        let (scan, codec) = (&self.scan, &self.reader.codec);
        for row in &batch {
            let (scope, layout) = (&self.scope, &self.left_layout);
            let mut found = places(&scan.table, scan.index, codec, &scan.access, scope, layout, row).await?;
            if scan.reverse {
                found.reverse();
            }
            wanted.push(found);
        }
        let found = self.fetch(&wanted).await?;
        let mut out = Vec::with_capacity(batch.len());
        let mut combined = Row::new();
        for (row, places) in batch.into_iter().zip(&wanted) {
            let mut matched = false;
            'candidates: for place in places {
                let candidates: &[Row] = match place {
                    Place::Point(key) => {
                        found.points.get(key).and_then(Option::as_ref).map_or(&[], std::slice::from_ref)
                    }
                    Place::Range(span) => found
                        .ranges
                        .get(&(span.start.clone(), span.end.clone()))
                        .map_or(&[], |rows| &rows[..]),
                };
                for candidate in candidates {
                    combined.clear();
                    combined.extend_from_slice(&row);
                    combined.extend_from_slice(candidate);
                    if !self.condition.holds(&self.scope, &combined).await? {
                        continue;
                    }
                    matched = true;
                    if matches!(self.kind, JoinKind::Semi | JoinKind::Anti) {
                        break 'candidates;
                    }
                    out.push(std::mem::take(&mut combined));
                }
            }
            match (self.kind, matched) {
                (JoinKind::Semi, true) | (JoinKind::Anti, false) => out.push(row),
                (JoinKind::Left, false) => out.push(pad_right(row, self.right_width)),
                _ => {}
            }
        }
        Ok(out)
    }
}

impl RowStream for LookupJoin {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            loop {
                if self.ready.len() > 0 {
                    return Ok(Some(self.ready.by_ref().take(4 * BATCH_ROWS).collect()));
                }
                self.scope.checkpoint().await?;
                if self.waiting.len() == 0 {
                    match self.left.next_batch().await? {
                        Some(batch) => self.waiting = batch.into_iter(),
                        None => return Ok(None),
                    }
                }
                let batch = self.waiting.by_ref().take(LEFT_ROWS_MAX).collect();
                self.ready = self.join(batch).await?.into_iter();
            }
        })
    }
}
