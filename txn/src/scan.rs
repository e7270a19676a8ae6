//! Range reads, merged with buffered writes.
//!
//! Where no buffered write that the reader may see lies in the span, the scan's program and limits run beside the data.
//! Otherwise the store returns raw rows and the same program runs here over the merged rows: a filter or a limit that
//! ran below the merge would count rows that the transaction has deleted and miss those it has written.

use basalt_base::{Key, Span, keys::prefix_end};
use basalt_kv_api::{Request, Response, RowAction, ScanBatch, ScanSink};
use bytes::Bytes;

use crate::{
    Error, Result, ScanPage, ScanRequest, Txn,
    read::{Covered, ReadBatch, read_seq, unexpected},
    transaction::Inner,
};

/// Raw rows fetched beyond the limit of a merged page, in place of rows that the buffer deletes.
const MERGE_ROWS_EXTRA: u64 = 64;
/// Raw bytes of a merged page whose caller sets no limit.
const MERGE_BYTES_MAX: u64 = 1 << 20;
/// A page is fetched again when a flush moved writes from the buffer to the store in the middle of it.
const MERGE_ATTEMPTS_MAX: u32 = 10;

impl Txn {
    /// One page. Call again with `span: resume` for the next.
    pub async fn scan(&self, request: ScanRequest) -> Result<ScanPage> {
        let inner = &*self.inner;
        if request.span.is_empty() {
            return empty_page(&request);
        }
        for _ in 0..MERGE_ATTEMPTS_MAX {
            let (seq, generation, merged) = {
                let mut state = inner.state();
                state.check_readable()?;
                let seq = read_seq(&state, request.read);
                (seq, state.flush_generation, state.buffer.overlaps(&request.span, seq))
            };
            let page = if merged {
                inner.scan_merged(&request, seq, generation).await?
            } else {
                Some(inner.scan_stored(&request, seq).await?)
            };
            if let Some(page) = page {
                return Ok(page);
            }
        }
        Err(Error::LimitExceeded("scans that a flush interrupts"))
    }
}

fn empty_page(request: &ScanRequest) -> Result<ScanPage> {
    let batch = match &request.program {
        Some(program) => ScanBatch::Program(program.start().finish()?),
        None => ScanBatch::Rows(Vec::new()),
    };
    Ok(ScanPage { batch, resume: None })
}

/// The part of `span` that a page with this resume span covers.
fn covered(span: &Span, resume: Option<&Span>, reverse: bool) -> Span {
    match resume {
        None => span.clone(),
        Some(resume) if reverse => Span::new(resume.end.clone(), span.end.clone()),
        Some(resume) => Span::new(span.start.clone(), resume.start.clone()),
    }
}

impl Inner {
    async fn fetch(
        &self,
        request: &ScanRequest,
        batch: &ReadBatch,
        with_program: bool,
    ) -> Result<(ScanBatch, Option<Span>, crate::read::ReadAt)> {
        let build = || {
            vec![Request::Scan {
                span: request.span.clone(),
                reverse: request.reverse,
                lock: request.read.lock,
                program: request.program.clone().filter(|_| with_program),
            }]
        };
        let locked = Covered::Span(request.span.clone());
        let (response, at) = self.read(batch, &locked, build).await?;
        match response.responses.into_iter().next() {
            Some(Response::Scan { batch, resume }) => Ok((batch, resume.filter(|span| !span.is_empty()), at)),
            _ => Err(unexpected("scan")),
        }
    }

    async fn scan_stored(&self, request: &ScanRequest, seq: u32) -> Result<ScanPage> {
        let batch = ReadBatch {
            seq,
            options: request.read,
            rows_max: request.rows_max,
            bytes_max: request.bytes_max,
        };
        let (batch, resume, at) = self.fetch(request, &batch, true).await?;
        let read = covered(&request.span, resume.as_ref(), request.reverse);
        self.settle(at, &Covered::Span(read)).await?;
        Ok(ScanPage { batch, resume })
    }

    /// `None`: a flush came between the store's answer and the merge.
    async fn scan_merged(
        &self,
        request: &ScanRequest,
        seq: u32,
        generation: u64,
    ) -> Result<Option<ScanPage>> {
        let rows_max = match request.rows_max {
            0 => 0,
            rows => rows.saturating_add(MERGE_ROWS_EXTRA),
        };
        let bytes_max = if request.bytes_max == 0 { MERGE_BYTES_MAX } else { request.bytes_max };
        let batch = ReadBatch { seq, options: request.read, rows_max, bytes_max };
        let (stored, stored_resume, at) = self.fetch(request, &batch, false).await?;
        let ScanBatch::Rows(stored) = stored else { return Err(unexpected("scan")) };
        let fetched = covered(&request.span, stored_resume.as_ref(), request.reverse);
        // Writes of a page are copied (by reference count) so that the program runs without the lock.
        let buffered: Vec<(Key, Option<Bytes>)> = {
            let state = self.state();
            if state.flush_generation != generation {
                return Ok(None);
            }
            let overlay = state.buffer.overlay(&fetched, seq);
            let overlay = overlay.map(|(key, value)| (key.clone(), value.cloned()));
            if request.reverse { overlay.rev().collect() } else { overlay.collect() }
        };
        let mut page = PageBuilder::new(request);
        let mut stopped_after = None;
        for (key, value) in Merge::new(stored, buffered, request.reverse) {
            if page.row(&key, &value)? {
                stopped_after = Some(key);
                break;
            }
        }
        let resume = match stopped_after {
            Some(key) if request.reverse => Some(Span::new(request.span.start.clone(), key)),
            Some(key) => Some(Span::new(prefix_end(&key), request.span.end.clone())),
            None => stored_resume,
        };
        let resume = resume.filter(|span| !span.is_empty());
        let read = covered(&request.span, resume.as_ref(), request.reverse);
        self.settle(at, &Covered::Span(read)).await?;
        Ok(Some(ScanPage { batch: page.finish()?, resume }))
    }
}

/// Applies limits and the program.
struct PageBuilder {
    sink: Option<Box<dyn ScanSink>>,
    rows: Vec<(Bytes, Bytes)>,
    bytes: u64,
    counted: u64,
    rows_max: u64,
    bytes_max: u64,
}

impl PageBuilder {
    fn new(request: &ScanRequest) -> Self {
        Self {
            sink: request.program.as_ref().map(|program| program.start()),
            rows: Vec::new(),
            bytes: 0,
            counted: 0,
            rows_max: request.rows_max,
            bytes_max: request.bytes_max,
        }
    }

    /// Whether the page ends with this row.
    fn row(&mut self, key: &Key, value: &Bytes) -> Result<bool> {
        match &mut self.sink {
            Some(sink) => {
                match sink.row(key, value)? {
                    RowAction::Stop => return Ok(true),
                    RowAction::Continue { counted } => self.counted += u64::from(counted),
                }
                self.bytes = sink.bytes() as u64;
            }
            None => {
                self.counted += 1;
                self.bytes += (key.len() + value.len()) as u64;
                self.rows.push((key.clone(), value.clone()));
            }
        }
        let rows_full = self.rows_max != 0 && self.counted >= self.rows_max;
        Ok(rows_full || (self.bytes_max != 0 && self.bytes >= self.bytes_max))
    }

    fn finish(self) -> Result<ScanBatch> {
        Ok(match self.sink {
            Some(sink) => ScanBatch::Program(sink.finish()?),
            None => ScanBatch::Rows(self.rows),
        })
    }
}

/// Stored rows and buffered writes, both in scan order; a buffered write hides the stored row of its key.
struct Merge {
    stored: std::iter::Peekable<std::vec::IntoIter<(Bytes, Bytes)>>,
    buffered: std::iter::Peekable<std::vec::IntoIter<(Key, Option<Bytes>)>>,
    reverse: bool,
}

impl Merge {
    fn new(stored: Vec<(Bytes, Bytes)>, buffered: Vec<(Key, Option<Bytes>)>, reverse: bool) -> Self {
        Self { stored: stored.into_iter().peekable(), buffered: buffered.into_iter().peekable(), reverse }
    }
}

impl Iterator for Merge {
    type Item = (Key, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        use std::cmp::Ordering;
        loop {
            let order = match (self.stored.peek(), self.buffered.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((stored, _)), Some((buffered, _))) if self.reverse => buffered.cmp(stored),
                (Some((stored, _)), Some((buffered, _))) => stored.cmp(buffered),
            };
            if order == Ordering::Less {
                return self.stored.next();
            }
            if order == Ordering::Equal {
                self.stored.next();
            }
            if let Some((key, Some(value))) = self.buffered.next() {
                return Some((key, value));
            }
        }
    }
}
