//! Counting the entries of an index without reading them.
//!
//! The count runs beside the data, so neither keys nor values are copied or decoded.

use std::{any::Any, sync::Arc};

use basalt_base::Span;
use basalt_kv_api::{Error as StoreError, RowAction, ScanBatch, ScanProgram, ScanSink};
use basalt_txn::{ReadOptions, ScanRequest};
use basalt_types::{Result, SqlError};

use crate::{Session, error::sql_error};

/// Entries counted by one request: what a worker thread does in some ten milliseconds.
const PAGE_ENTRIES: u64 = 20_000;

#[derive(Debug)]
struct Count;

impl ScanProgram for Count {
    fn start(&self) -> Box<dyn ScanSink> {
        Box::new(Counted(0))
    }
}

struct Counted(u64);

impl ScanSink for Counted {
    fn row(&mut self, _key: &[u8], _value: &[u8]) -> Result<RowAction, StoreError> {
        self.0 += 1;
        Ok(RowAction::Continue { counted: true })
    }

    fn bytes(&self) -> usize {
        0
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Any + Send>, StoreError> {
        Ok(Box::new(self.0))
    }
}

/// How many entries the open transaction sees in `span`, its own writes included.
pub(crate) async fn count_entries(session: &Session, span: Span) -> Result<u64> {
    let txn = session.open.as_ref().expect("the caller has opened a transaction").txn.clone();
    let program: Arc<dyn ScanProgram> = Arc::new(Count);
    let mut span = Some(span);
    let mut entries: u64 = 0;
    while let Some(next) = span {
        let mut request = ScanRequest::new(next);
        request.rows_max = PAGE_ENTRIES;
        request.read = ReadOptions::LATEST;
        request.program = Some(program.clone());
        let page = txn.scan(request).await.map_err(sql_error)?;
        let counted = match page.batch {
            ScanBatch::Program(counted) => counted.downcast::<u64>().ok(),
            ScanBatch::Rows(_) => None,
        };
        entries += *counted.ok_or_else(|| SqlError::internal("a count came back as something else"))?;
        session.cancel.check()?;
        span = page.resume;
    }
    Ok(entries)
}
