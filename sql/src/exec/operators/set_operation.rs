//! UNION ALL, INTERSECT and EXCEPT.
//!
//! INTERSECT and EXCEPT count the right rows per distinct row, then let left rows pass one by one: with ALL as often as
//! the counts say, else once.

use std::collections::VecDeque;

use basalt_env::BoxFuture;
use basalt_planner::{Plan, plan::SetOp};
use basalt_types::{Datum, Result, Row};

use super::{Stream, build};
use crate::exec::{
    RowStream,
    key::{KeyTable, comparisons},
    memory::Reservation,
    scope::{Scope, row_bytes},
};

struct Append {
    inputs: VecDeque<Stream>,
}

pub(super) async fn append(inputs: &[Plan], scope: &Scope) -> Result<Stream> {
    let mut streams = VecDeque::with_capacity(inputs.len());
    for input in inputs {
        streams.push_back(build(input, scope).await?);
    }
    Ok(Box::new(Append { inputs: streams }))
}

impl RowStream for Append {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(input) = self.inputs.front_mut() {
                if let Some(batch) = input.next_batch().await? {
                    return Ok(Some(batch));
                }
                self.inputs.pop_front();
            }
            Ok(None)
        })
    }
}

struct SetOperation {
    op: SetOp,
    all: bool,
    left: Stream,
    /// Taken when it is read.
    right: Option<Stream>,
    table: KeyTable,
    /// Per key: right rows not used up yet.
    counts: Vec<u64>,
    /// Per key: a left row has passed or been refused for good.
    settled: Vec<bool>,
    scratch: Vec<Datum>,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(op: SetOp, all: bool, left: &Plan, right: &Plan, scope: &Scope) -> Result<Stream> {
    let columns = comparisons(left.columns.iter().map(|(_, ty)| *ty));
    Ok(Box::new(SetOperation {
        op,
        all,
        left: build(left, scope).await?,
        right: Some(build(right, scope).await?),
        table: KeyTable::new(columns),
        counts: Vec::new(),
        settled: Vec::new(),
        scratch: Vec::new(),
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl SetOperation {
    fn entry(&mut self, row: &[Datum]) -> Result<usize> {
        self.scratch.clear();
        self.scratch.extend_from_slice(row);
        let (position, new) = self.table.insert(&mut self.scratch);
        if new {
            self.memory.grow(row_bytes(row) + KeyTable::ENTRY_BYTES + 9)?;
            self.counts.push(0);
            self.settled.push(false);
        }
        Ok(position)
    }

    fn passes(&mut self, row: &[Datum]) -> Result<bool> {
        if self.op == SetOp::Intersect || self.all {
            let Some(position) = self.table.find(row) else { return Ok(self.op == SetOp::Except) };
            let there = self.counts[position] > 0;
            if self.all {
                self.counts[position] -= u64::from(there);
                return Ok(there == (self.op == SetOp::Intersect));
            }
            return Ok(there && !std::mem::replace(&mut self.settled[position], true));
        }
        let position = self.entry(row)?;
        Ok(self.counts[position] == 0 && !std::mem::replace(&mut self.settled[position], true))
    }
}

impl RowStream for SetOperation {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            if let Some(mut right) = self.right.take() {
                while let Some(batch) = right.next_batch().await? {
                    self.scope.checkpoint().await?;
                    for row in batch {
                        let position = self.entry(&row)?;
                        self.counts[position] += 1;
                    }
                }
            }
            if self.op == SetOp::Intersect && self.table.len() == 0 {
                return Ok(None);
            }
            while let Some(batch) = self.left.next_batch().await? {
                self.scope.checkpoint().await?;
                let mut kept = Vec::with_capacity(batch.len());
                for row in batch {
                    if self.passes(&row)? {
                        kept.push(row);
                    }
                }
                if !kept.is_empty() {
                    return Ok(Some(kept));
                }
            }
            Ok(None)
        })
    }
}
