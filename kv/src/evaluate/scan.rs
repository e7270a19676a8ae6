//! Scans, plain, through a program, and with locks.

use std::{ops::ControlFlow, sync::Arc};

use basalt_base::{Key, Span};
use basalt_kv_api::{
    Error, LockStrength, LockWait, ReadConsistency, Response, RowAction, ScanBatch, ScanProgram, ScanSink,
};
use basalt_storage::mvcc::{self, ReadContext, ScanLimits, ScanOutcome};
use bytes::{Bytes, BytesMut};

use super::{
    context::{Evaluated, Evaluation, ReadSpan, Stop, discovered},
    get::{self, Locking},
    unlocked_reader::UnlockedReader,
};
use crate::concurrency::Want;

/// Foreign locks gathered by one scan, so that they are pushed together.
pub const CONFLICTS_MAX: usize = 64;

pub fn evaluate(
    eval: &mut Evaluation<'_>,
    span: &Span,
    reverse: bool,
    lock: Option<LockStrength>,
    program: Option<&Arc<dyn ScanProgram>>,
) -> Evaluated<Response> {
    let mut rows = Rows::new(program);
    if eval.exhausted {
        return Ok(Response::Scan { batch: rows.finish()?, resume: Some(span.clone()) });
    }
    let outcome = match lock {
        None => plain(eval, span, reverse, &mut rows)?,
        Some(strength) => locking(eval, span, reverse, strength, &mut rows)?,
    };
    if let Some(uncertain) = outcome.uncertain {
        return Err(get::uncertain(eval, uncertain.ts));
    }
    if !outcome.conflicts.is_empty() {
        let conflicts =
            outcome.conflicts.into_iter().map(|found| discovered(found.key.clone(), Want::Read, found));
        return Err(Stop::Conflicts(conflicts.collect()));
    }
    let (read, resume) = divide(span, reverse, outcome.resume);
    if eval.header.consistency == ReadConsistency::Consistent && !read.is_empty() {
        eval.reads.push(ReadSpan::Span(read));
    }
    if eval.header.rows_max > 0 {
        eval.rows_left = eval.rows_left.saturating_sub(rows.counted);
        eval.exhausted |= eval.rows_left == 0;
    }
    if eval.header.bytes_max > 0 {
        eval.bytes_left = eval.bytes_left.saturating_sub(rows.bytes() as u64);
        eval.exhausted |= eval.bytes_left == 0;
    }
    Ok(Response::Scan { batch: rows.finish()?, resume })
}

/// What was read and what is left.
fn divide(span: &Span, reverse: bool, resume: Option<Key>) -> (Span, Option<Span>) {
    match resume {
        None => (span.clone(), None),
        Some(at) if reverse => {
            (Span::new(at.clone(), span.end.clone()), Some(Span::new(span.start.clone(), at)))
        }
        Some(at) => (Span::new(span.start.clone(), at.clone()), Some(Span::new(at, span.end.clone()))),
    }
}

fn plain(eval: &mut Evaluation<'_>, span: &Span, reverse: bool, rows: &mut Rows) -> Evaluated<ScanOutcome> {
    let limits = ScanLimits { conflicts: CONFLICTS_MAX, ..ScanLimits::default() };
    let full = Fullness::of(eval);
    let mut failed = None;
    let mut row = |key: &[u8], value: &[u8]| rows.add(key, value, &full, &mut failed);
    let outcome = if eval.header.consistency == ReadConsistency::Inconsistent {
        let context = ReadContext::at(eval.now);
        mvcc::scan(&UnlockedReader(eval.base), span, reverse, &context, &limits, &mut row)?
    } else {
        let context = eval.read_context();
        eval.over_visible(|reader| mvcc::scan(reader, span, reverse, &context, &limits, &mut row))?
    };
    failed.map_or(Ok(outcome), |error| Err(Stop::Error(error)))
}

/// Locks each row before it counts. Reads row by row, so that a row that must be waited for is not returned.
fn locking(
    eval: &mut Evaluation<'_>,
    span: &Span,
    reverse: bool,
    strength: LockStrength,
    rows: &mut Rows,
) -> Evaluated<ScanOutcome> {
    let full = Fullness::of(eval);
    let mut rest = span.clone();
    let mut too_old = None;
    loop {
        // A chunk is read first and locked then: what is found can't change meanwhile, the latches are ours.
        let limits = ScanLimits { rows: 256, conflicts: CONFLICTS_MAX, ..ScanLimits::default() };
        let mut chunk: Vec<(Key, Bytes)> = Vec::new();
        let mut row = |key: &[u8], value: &[u8]| {
            chunk.push((Key::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        };
        let context = eval.read_context();
        let outcome =
            eval.over_base(|reader| mvcc::scan(reader, &rest, reverse, &context, &limits, &mut row))?;
        for (key, value) in chunk {
            match get::lock_key(eval, &key, strength, true) {
                Ok(Locking::Locked) => {}
                Ok(Locking::Skipped) => continue,
                // The row is locked but has changed: lock the others too before saying so.
                Err(Stop::Forward(ts)) => {
                    too_old = Some(Stop::Forward(ts));
                    continue;
                }
                Err(Stop::Error(error @ Error::WriteTooOld { .. })) => {
                    too_old = Some(Stop::Error(error));
                    continue;
                }
                Err(stop) => return Err(stop),
            }
            let mut failed = None;
            let flow = rows.add(&key, &value, &full, &mut failed);
            if let Some(error) = failed {
                return Err(error.into());
            }
            if flow.is_break() {
                let resume = if reverse { key } else { basalt_base::keys::prefix_end(&key) };
                let more = if reverse { span.start < resume } else { resume < span.end };
                return finish_locking(
                    too_old,
                    ScanOutcome { resume: more.then_some(resume), ..ScanOutcome::default() },
                );
            }
        }
        // A foreign intent: skipping it means going on behind it.
        if let Some(found) = outcome.conflicts.first() {
            // The others are told, too: if their holder has finished, they go together.
            let want = Want::Lock(strength);
            let met = outcome.conflicts.iter();
            let mut conflicts: Vec<_> =
                met.map(|found| discovered(found.key.clone(), want, found.clone())).collect();
            if eval.header.lock_wait != LockWait::Skip {
                return Err(Stop::Conflicts(conflicts));
            }
            if get::all_ended(eval, &conflicts[..1]) {
                // Not those who live: they would be pushed.
                conflicts.retain(|conflict| get::all_ended(eval, std::slice::from_ref(conflict)));
                return Err(Stop::Conflicts(conflicts));
            }
            if reverse {
                rest.end = found.key.clone();
            } else {
                rest.start = basalt_base::keys::prefix_end(&found.key);
            }
            continue;
        }
        match (outcome.uncertain, outcome.resume) {
            (Some(uncertain), _) => return Err(get::uncertain(eval, uncertain.ts)),
            (None, None) => return finish_locking(too_old, ScanOutcome::default()),
            (None, Some(at)) if reverse => rest.end = at,
            (None, Some(at)) => rest.start = at,
        }
    }
}

fn finish_locking(too_old: Option<Stop>, outcome: ScanOutcome) -> Evaluated<ScanOutcome> {
    too_old.map_or(Ok(outcome), Err)
}

/// When the batch's limits end a scan.
struct Fullness {
    rows: u64,
    bytes: u64,
}

impl Fullness {
    fn of(eval: &Evaluation<'_>) -> Self {
        Self {
            rows: if eval.header.rows_max == 0 { u64::MAX } else { eval.rows_left },
            bytes: if eval.header.bytes_max == 0 { u64::MAX } else { eval.bytes_left },
        }
    }
}

/// Gathers the result.
struct Rows {
    output: Output,
    counted: u64,
}

enum Output {
    Plain { rows: Vec<(Bytes, Bytes)>, arena: BytesMut, bytes: usize },
    Program(Box<dyn ScanSink>),
}

/// Keys and values of a plain scan share allocations of this size.
const ARENA_BYTES: usize = 16 << 10;

impl Rows {
    fn new(program: Option<&Arc<dyn ScanProgram>>) -> Self {
        let output = match program {
            None => Output::Plain { rows: Vec::new(), arena: BytesMut::new(), bytes: 0 },
            Some(program) => Output::Program(program.start()),
        };
        Self { output, counted: 0 }
    }

    fn add(
        &mut self,
        key: &[u8],
        value: &[u8],
        full: &Fullness,
        failed: &mut Option<Error>,
    ) -> ControlFlow<()> {
        let mut stop = false;
        match &mut self.output {
            Output::Plain { rows, arena, bytes } => {
                if arena.capacity() < key.len() + value.len() {
                    let first = if rows.is_empty() { 0 } else { ARENA_BYTES };
                    arena.reserve(first.max(key.len() + value.len()));
                }
                arena.extend_from_slice(key);
                let key = arena.split().freeze();
                arena.extend_from_slice(value);
                rows.push((key, arena.split().freeze()));
                *bytes += rows.last().map_or(0, |(key, value)| key.len() + value.len());
                self.counted += 1;
            }
            Output::Program(sink) => match sink.row(key, value) {
                Ok(RowAction::Continue { counted }) => self.counted += u64::from(counted),
                Ok(RowAction::Stop) => {
                    self.counted += 1;
                    stop = true;
                }
                Err(error) => {
                    *failed = Some(error);
                    stop = true;
                }
            },
        }
        if stop || self.counted >= full.rows || self.bytes() as u64 >= full.bytes {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn bytes(&self) -> usize {
        match &self.output {
            Output::Plain { bytes, .. } => *bytes,
            Output::Program(sink) => sink.bytes(),
        }
    }

    fn finish(self) -> Evaluated<ScanBatch> {
        match self.output {
            Output::Plain { rows, .. } => Ok(ScanBatch::Rows(rows)),
            Output::Program(sink) => Ok(ScanBatch::Program(sink.finish()?)),
        }
    }
}
