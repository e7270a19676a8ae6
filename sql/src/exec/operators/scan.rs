//! Reading a stored table by one of its indexes.
//!
//! Points are fetched by key, ranges page by page; pages begin small, so that a LIMIT or an EXISTS reads little, and
//! grow. When a secondary index does not hold every wanted column, the rows are fetched from the primary index, a page
//! of keys at a time.

use std::collections::VecDeque;

use basalt_base::{Key, Span};
use basalt_env::BoxFuture;
use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_planner::{ColumnId, plan::Scan};
use basalt_txn::{ReadOptions, ScanRequest};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};
use bytes::Bytes;

use super::{
    Stream,
    limit::row_count,
    spans::{Place, places},
};
use crate::{
    error::sql_error,
    exec::{
        RowStream,
        eval::evaluator::RowEvaluator,
        scope::{Layout, Scope},
    },
    layout::EntryCodec,
};

const PAGE_ROWS_MIN: u64 = 64;
const PAGE_ROWS_MAX: u64 = 2_048;
const PAGE_BYTES_MAX: u64 = 1 << 20;
/// Keys per multi-point fetch.
const POINTS_MAX: usize = 512;

/// The codecs and positions of a scan, for reuse over many places (lookup joins).
pub(crate) struct ScanReader {
    pub codec: EntryCodec,
    primary: EntryCodec,
    /// Table positions of the output.
    wanted: Vec<usize>,
    /// The index entry holds every wanted column.
    covering: bool,
    read: ReadOptions,
}

impl ScanReader {
    pub fn new(scan: &Scan) -> Self {
        let codec = EntryCodec::new(&scan.table, scan.index);
        let wanted: Vec<usize> = scan.columns.iter().map(|(_, position)| *position).collect();
        let lock =
            scan.lock.map(|exclusive| if exclusive { LockStrength::Exclusive } else { LockStrength::Shared });
        // A locked row is always read from the primary index: its key is what the lock is on.
        let covering =
            wanted.iter().all(|&position| codec.covers(position)) && (lock.is_none() || scan.index == 0);
        Self {
            primary: if scan.index == 0 { codec.clone() } else { EntryCodec::new(&scan.table, 0) },
            codec,
            wanted,
            covering,
            read: ReadOptions { lock, ..ReadOptions::default() },
        }
    }

    /// The rows at these keys of the index.
    pub async fn points(&self, scope: &Scope, keys: Vec<Key>) -> Result<Vec<Row>> {
        let read = if self.covering { self.read } else { ReadOptions::default() };
        let txn = &scope.context.txn;
        let found = match &keys[..] {
            [key] => vec![txn.get(key, read).await.map_err(sql_error)?],
            keys => txn.get_many(keys, read).await.map_err(sql_error)?,
        };
        let entries = keys.into_iter().zip(found).filter_map(|(key, value)| value.map(|value| (key, value)));
        self.rows(scope, entries.collect()).await
    }

    /// Like [`Self::points`], with `None` for a key that is not there.
    pub async fn each_point(&self, scope: &Scope, keys: Vec<Key>) -> Result<Vec<Option<Row>>> {
        let read = if self.covering { self.read } else { ReadOptions::default() };
        let found = scope.context.txn.get_many(&keys, read).await.map_err(sql_error)?;
        let there: Vec<bool> = found.iter().map(Option::is_some).collect();
        let entries = keys.into_iter().zip(found).filter_map(|(key, value)| value.map(|value| (key, value)));
        let mut rows = self.rows(scope, entries.collect()).await?.into_iter();
        Ok(there.into_iter().map(|there| if there { rows.next() } else { None }).collect())
    }

    /// The rows behind index entries, in order.
    pub async fn rows(&self, scope: &Scope, entries: Vec<(Bytes, Bytes)>) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(entries.len());
        if self.covering {
            for (key, value) in &entries {
                let mut row = Row::new();
                self.codec.decode_into(key, value, &self.wanted, &mut row)?;
                rows.push(row);
            }
            return Ok(rows);
        }
        let keys = entries.iter().map(|(key, value)| self.codec.primary_key_of(key, value, &self.primary));
        let keys = keys.collect::<Result<Vec<Key>>>()?;
        if keys.is_empty() {
            return Ok(rows);
        }
        let found = scope.context.txn.get_many(&keys, self.read).await.map_err(sql_error)?;
        for (key, value) in keys.iter().zip(found) {
            let value = value.ok_or_else(|| {
                SqlError::new(
                    basalt_types::SqlState::INDEX_CORRUPTED,
                    "index entry points to a row that does not exist",
                )
            })?;
            let mut row = Row::new();
            self.primary.decode_into(key, &value, &self.wanted, &mut row)?;
            rows.push(row);
        }
        Ok(rows)
    }

    /// One page of a range, and where to go on.
    pub async fn page(
        &self,
        scope: &Scope,
        span: Span,
        reverse: bool,
        rows_max: u64,
    ) -> Result<(Vec<Row>, Option<Span>)> {
        let mut request = ScanRequest::new(span);
        request.reverse = reverse;
        request.rows_max = rows_max;
        request.bytes_max = PAGE_BYTES_MAX;
        request.read = if self.covering { self.read } else { ReadOptions::default() };
        let page = scope.context.txn.scan(request).await.map_err(sql_error)?;
        let ScanBatch::Rows(entries) = page.batch else {
            return Err(SqlError::internal("scan without a program returned a program's output"));
        };
        Ok((self.rows(scope, entries).await?, page.resume))
    }
}

struct IndexScan {
    reader: ScanReader,
    places: VecDeque<Place>,
    reverse: bool,
    filter: Option<RowEvaluator>,
    /// Rows still wanted.
    left: u64,
    page_rows: u64,
    scope: Scope,
}

pub(super) async fn open(scan: &Scan, scope: &Scope) -> Result<Stream> {
    let layout: Vec<(ColumnId, SqlType)> =
        scan.columns.iter().map(|(id, position)| (*id, scan.table.columns[*position].ty)).collect();
    open_with(scan, scope, &layout, &[], &[]).await
}

/// Opens a scan whose condition refers to `row`.
pub(super) async fn open_with(
    scan: &Scan,
    scope: &Scope,
    output: Layout<'_>,
    layout: Layout<'_>,
    row: &[Datum],
) -> Result<Stream> {
    let reader = ScanReader::new(scan);
    let places = places(&scan.table, scan.index, &reader.codec, &scan.access, scope, layout, row).await?;
    let mut places: VecDeque<Place> = places.into();
    if scan.reverse {
        places.make_contiguous().reverse();
    }
    let filter = scan.filter.as_ref().map(|filter| RowEvaluator::new([filter], output, scope)).transpose()?;
    let left = match &scan.limit {
        Some(limit) => row_count(limit, scope, "LIMIT").await?.unwrap_or(u64::MAX),
        None => u64::MAX,
    };
    // Without a filter exactly the rows wanted are read.
    let page_rows = if filter.is_none() { left.clamp(1, PAGE_ROWS_MAX) } else { PAGE_ROWS_MIN };
    let page_rows = if left == u64::MAX { PAGE_ROWS_MIN } else { page_rows };
    Ok(Box::new(IndexScan {
        reader,
        places,
        reverse: scan.reverse,
        filter,
        left,
        page_rows,
        scope: scope.clone(),
    }))
}

impl IndexScan {
    async fn fetch(&mut self) -> Result<Option<Vec<Row>>> {
        match self.places.pop_front() {
            None => Ok(None),
            Some(Place::Point(key)) => {
                let mut keys = vec![key];
                while keys.len() < POINTS_MAX
                    && let Some(Place::Point(_)) = self.places.front()
                {
                    if let Some(Place::Point(key)) = self.places.pop_front() {
                        keys.push(key);
                    }
                }
                self.reader.points(&self.scope, keys).await.map(Some)
            }
            Some(Place::Range(span)) => {
                let (rows, resume) =
                    self.reader.page(&self.scope, span, self.reverse, self.page_rows).await?;
                self.page_rows = (self.page_rows * 4).min(PAGE_ROWS_MAX);
                if let Some(resume) = resume {
                    self.places.push_front(Place::Range(resume));
                }
                Ok(Some(rows))
            }
        }
    }
}

impl RowStream for IndexScan {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while self.left > 0 {
                self.scope.checkpoint().await?;
                let Some(mut rows) = self.fetch().await? else { break };
                if let Some(filter) = &mut self.filter {
                    let mut kept = Vec::with_capacity(rows.len());
                    for row in rows {
                        filter.next_row();
                        if filter.evaluate(0, &self.scope, &row).await? == Datum::Bool(true) {
                            kept.push(row);
                        }
                    }
                    rows = kept;
                }
                rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                if !rows.is_empty() {
                    self.left -= rows.len() as u64;
                    return Ok(Some(rows));
                }
            }
            Ok(None)
        })
    }
}
