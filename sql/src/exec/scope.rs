//! What the operators of one (sub)plan see besides their input.

use std::{collections::BTreeMap, sync::Arc};

use basalt_functions::EvalContext;
use basalt_planner::{ColumnId, Plan};
use basalt_types::{Datum, Result, Row, SqlType};
use parking_lot::Mutex;

use super::{ExecContext, RowStream, memory::Reservation};

/// Values of enclosing rows by column.
pub type OuterValues = BTreeMap<ColumnId, Datum>;

/// A common table expression of a running statement.
#[derive(Clone)]
pub(crate) enum Cte {
    /// Run by its first reader, kept for the others.
    Shared(Arc<SharedCte>),
    /// The working table of a recursion.
    Rows(Arc<Vec<Row>>),
}

pub(crate) struct SharedCte {
    pub definition: Arc<Plan>,
    pub state: tokio::sync::Mutex<CteState>,
}

/// How far a common table expression has been run.
pub(crate) struct CteState {
    pub batches: Vec<Arc<Vec<Row>>>,
    pub started: bool,
    /// `None` before it is started and after it has ended.
    pub stream: Option<Box<dyn RowStream>>,
    pub memory: Reservation,
}

impl SharedCte {
    pub fn new(definition: Arc<Plan>, memory: Reservation) -> Self {
        let state = CteState { batches: Vec::new(), started: false, stream: None, memory };
        Self { definition, state: tokio::sync::Mutex::new(state) }
    }
}

/// Shared by the operators of a plan; a subplan gets a copy with its outer values.
#[derive(Clone)]
pub(crate) struct Scope {
    pub context: ExecContext,
    pub outer: Arc<OuterValues>,
    pub ctes: Arc<Mutex<BTreeMap<u32, Cte>>>,
}

impl Scope {
    pub fn new(context: ExecContext) -> Self {
        Self { context, outer: Arc::default(), ctes: Arc::default() }
    }

    pub fn eval(&self) -> &EvalContext {
        &self.context.eval
    }

    /// The scope of a subplan under one outer row.
    pub fn with_outer(&self, values: impl IntoIterator<Item = (ColumnId, Datum)>) -> Self {
        let mut outer = OuterValues::clone(&self.outer);
        outer.extend(values);
        Self { outer: Arc::new(outer), ..self.clone() }
    }

    /// See [`ExecContext::checkpoint`].
    pub async fn checkpoint(&self) -> Result<()> {
        self.context.checkpoint().await
    }

    /// Fails when the client wants the statement to stop. Where nothing can be awaited.
    pub fn check_cancel(&self) -> Result<()> {
        self.context.cancel.check()
    }
}

/// Positions of columns in an operator's input row.
pub(crate) type Layout<'a> = &'a [(ColumnId, SqlType)];

/// About how many bytes a row holds on the heap.
pub(crate) fn row_bytes(row: &[Datum]) -> usize {
    let heap = |datum: &Datum| match datum {
        Datum::Text(text) => text.len() + 16,
        Datum::Bytea(bytes) => bytes.len() + 32,
        Datum::Numeric(_) => 24,
        Datum::Array(array) => 64 + array.elements.len() * size_of::<Datum>(),
        Datum::Record(fields) => 16 + fields.len() * size_of::<Datum>(),
        _ => 0,
    };
    size_of::<Row>() + row.iter().map(|datum| size_of::<Datum>() + heap(datum)).sum::<usize>()
}
