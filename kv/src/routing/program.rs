//! Scan programs run beside the data, but are not sent between nodes: what another node answers with rows goes through
//! the program here.

use basalt_base::{Span, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error, Request, Response, Result, RowAction, ScanBatch,
    ScanProgram,
};

use super::divide;

/// Bytes of rows that one answer carries, where the batch itself sets no limit.
const PAGE_BYTES: u64 = 1 << 20;

pub fn has_program(batch: &BatchRequest) -> bool {
    batch.requests.iter().any(|request| matches!(request, Request::Scan { program: Some(_), .. }))
}

/// The batch without its programs. Rows that a program would not count must not use up the limit on rows.
pub fn without_programs(batch: &BatchRequest) -> BatchRequest {
    let mut stripped = batch.clone();
    for request in &mut stripped.requests {
        if let Request::Scan { program, .. } = request {
            *program = None;
        }
    }
    stripped.header.rows_max = 0;
    stripped.header.bytes_max = match batch.header.bytes_max {
        0 => PAGE_BYTES,
        bytes_max => bytes_max.min(PAGE_BYTES),
    };
    stripped
}

/// Puts the rows of `response` through the programs of `batch`.
pub fn run(batch: &BatchRequest, mut response: BatchResponse) -> Result<BatchResponse> {
    let mut left = Left::of(&batch.header);
    for (request, answer) in batch.requests.iter().zip(&mut response.responses) {
        let (Request::Scan { span, reverse, program, .. }, Response::Scan { batch: rows, resume }) =
            (request, &mut *answer)
        else {
            continue;
        };
        let ScanBatch::Rows(rows) = std::mem::replace(rows, ScanBatch::Rows(Vec::new())) else {
            return Err(Error::Internal("another node answered with a program's output".to_owned()));
        };
        *answer = match program {
            _ if left.is_used_up() => divide::unsent(request)?,
            None => {
                left.rows = left.rows.saturating_sub(rows.len() as u64);
                Response::Scan { batch: ScanBatch::Rows(rows), resume: resume.take() }
            }
            Some(program) => {
                let (batch, stopped) = run_one(&**program, rows, &mut left)?;
                let rest = stopped.map(|key| match reverse {
                    true => Span::new(span.start.clone(), key),
                    false => Span::new(keys::prefix_end(&key), span.end.clone()),
                });
                Response::Scan { batch, resume: rest.filter(|rest| !rest.is_empty()).or(resume.take()) }
            }
        };
    }
    Ok(response)
}

/// What the limits of the batch still allow.
struct Left {
    rows: u64,
    bytes: u64,
}

impl Left {
    fn of(header: &BatchHeader) -> Self {
        let limit = |limit| if limit == 0 { u64::MAX } else { limit };
        Self { rows: limit(header.rows_max), bytes: limit(header.bytes_max) }
    }

    fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// The program's output, and the key behind which it is incomplete.
fn run_one(
    program: &dyn ScanProgram,
    rows: Vec<(basalt_base::Key, bytes::Bytes)>,
    left: &mut Left,
) -> Result<(ScanBatch, Option<basalt_base::Key>)> {
    let mut sink = program.start();
    let (mut stopped, mut counted) = (None, 0);
    for (key, value) in rows {
        let stop = match sink.row(&key, &value)? {
            RowAction::Continue { counted: counts } => {
                counted += u64::from(counts);
                false
            }
            RowAction::Stop => {
                counted += 1;
                true
            }
        };
        if stop || counted >= left.rows || sink.bytes() as u64 >= left.bytes {
            stopped = Some(key);
            break;
        }
    }
    left.rows = left.rows.saturating_sub(counted);
    left.bytes = left.bytes.saturating_sub(sink.bytes() as u64);
    Ok((ScanBatch::Program(sink.finish()?), stopped))
}
