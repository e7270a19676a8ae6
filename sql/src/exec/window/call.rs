//! One call over one partition.

use basalt_functions::{
    Accumulator, AggregateFn, Call, EvalContext, FunctionKind, WindowFn, WindowPartition,
};
use basalt_planner::{
    Expr,
    plan::{FrameExclude, WindowCall},
};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};

use super::{FrameSpec, Peers, RangeKeys, moving};
use crate::{
    Cancel,
    exec::{ExecContext, scope::Scope},
};

/// Rows between two looks at the cancel flag.
const CANCEL_ROWS: usize = 1_024;

#[derive(Clone, Copy)]
enum Function {
    Aggregate(&'static AggregateFn),
    Window(WindowFn),
}

/// One call of a window. Its input rows hold the arguments, then the filter if there is one.
pub struct WindowColumn {
    name: &'static str,
    function: Function,
    arg_types: Vec<SqlType>,
    return_type: SqlType,
    has_filter: bool,
    frame: FrameSpec,
}

impl WindowColumn {
    pub(crate) async fn new(call: &WindowCall, scope: &Scope) -> Result<Self> {
        let aggregate = &call.aggregate;
        let name = aggregate.function.name;
        let function = match &aggregate.function.kind {
            FunctionKind::Aggregate(function) => Function::Aggregate(function),
            FunctionKind::Window(function) => Function::Window(*function),
            _ => {
                return Err(SqlError::internal(format!(
                    "{name} is neither an aggregate nor a window function"
                )));
            }
        };
        Ok(Self {
            name,
            function,
            arg_types: aggregate.args.iter().map(Expr::ty).collect(),
            return_type: aggregate.ty,
            has_filter: aggregate.filter.is_some(),
            frame: FrameSpec::new(&call.frame, scope).await?,
        })
    }

    /// For an executor of its own.
    pub async fn open(call: &WindowCall, context: &ExecContext) -> Result<Self> {
        Self::new(call, &Scope::new(context.clone())).await
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn is_window_function(&self) -> bool {
        matches!(self.function, Function::Window(_))
    }

    /// [`Self::compute`] wants the keys of the partition.
    pub fn measures_keys(&self) -> bool {
        self.frame.measures_keys()
    }

    /// The call's values for the rows of a partition.
    pub fn compute(
        &self,
        inputs: &[Row],
        peers: &Peers,
        keys: Option<RangeKeys<'_>>,
        eval: &EvalContext,
        cancel: &dyn Cancel,
    ) -> Result<Vec<Datum>> {
        let mut frames = Vec::with_capacity(inputs.len());
        for row in 0..inputs.len() {
            check(row, cancel)?;
            frames.push(self.frame.interval(row, peers, keys, eval)?);
        }
        let site = Call { context: eval, arg_types: &self.arg_types, return_type: self.return_type };
        match self.function {
            Function::Window(function) => {
                let exclude = self.frame.exclude;
                let view = Partition { inputs, args: self.arg_types.len(), peers, frames: &frames, exclude };
                let mut values = Vec::with_capacity(inputs.len());
                for row in 0..inputs.len() {
                    check(row, cancel)?;
                    values.push(function(&site, &view, row)?);
                }
                Ok(values)
            }
            Function::Aggregate(function) => self.aggregate(function, &site, inputs, &frames, peers, cancel),
        }
    }

    fn aggregate(
        &self,
        function: &'static AggregateFn,
        site: &Call<'_>,
        inputs: &[Row],
        frames: &[(usize, usize)],
        peers: &Peers,
        cancel: &dyn Cancel,
    ) -> Result<Vec<Datum>> {
        let args = self.arg_types.len();
        let mut added = 0_usize;
        let mut add = |accumulator: &mut Box<dyn Accumulator>, row: usize| -> Result<()> {
            added += 1;
            check(added, cancel)?;
            let input = &inputs[row];
            if self.has_filter && input[args] != Datum::Bool(true) {
                return Ok(());
            }
            if function.strict && input[..args].iter().any(Datum::is_null) {
                return Ok(());
            }
            accumulator.update(&input[..args])
        };
        let mut values: Vec<Datum> = Vec::with_capacity(frames.len());
        if self.frame.exclude != FrameExclude::NoOthers {
            for (row, &(start, end)) in frames.iter().enumerate() {
                let mut accumulator = (function.new)(site);
                for other in (start..end).filter(|&other| !excluded(self.frame.exclude, row, other, peers)) {
                    add(&mut accumulator, other)?;
                }
                values.push(accumulator.finish()?);
            }
            return Ok(values);
        }
        if moving::pays(frames) && (function.new)(site).merges_exactly() {
            let new = || (function.new)(site);
            return moving::values(frames, &new, &mut add);
        }
        // A frame that begins where the last one did is the last one with more rows.
        let mut accumulator = (function.new)(site);
        let mut covered = (0, 0);
        for (row, &(start, end)) in frames.iter().enumerate() {
            if start == covered.0 && end == covered.1 && row > 0 {
                let last = values[row - 1].clone();
                values.push(last);
                continue;
            }
            if start != covered.0 || end < covered.1 {
                accumulator = (function.new)(site);
                covered = (start, start);
            }
            for other in covered.1..end {
                add(&mut accumulator, other)?;
            }
            covered.1 = end;
            values.push(accumulator.finish()?);
        }
        Ok(values)
    }
}

/// Lets a long computation be cancelled.
fn check(count: usize, cancel: &dyn Cancel) -> Result<()> {
    if count.is_multiple_of(CANCEL_ROWS) { cancel.check() } else { Ok(()) }
}

fn excluded(exclude: FrameExclude, row: usize, other: usize, peers: &Peers) -> bool {
    let peer = peers.group[row] == peers.group[other];
    match exclude {
        FrameExclude::NoOthers => false,
        FrameExclude::CurrentRow => row == other,
        FrameExclude::Group => peer,
        FrameExclude::Ties => peer && row != other,
    }
}

/// A partition as window functions see it.
struct Partition<'a> {
    inputs: &'a [Row],
    args: usize,
    peers: &'a Peers,
    frames: &'a [(usize, usize)],
    exclude: FrameExclude,
}

impl WindowPartition for Partition<'_> {
    fn rows(&self) -> usize {
        self.inputs.len()
    }

    fn args(&self, row: usize) -> &[Datum] {
        &self.inputs[row][..self.args]
    }

    fn peers_start(&self, row: usize) -> usize {
        self.peers.start(row)
    }

    fn peers_end(&self, row: usize) -> usize {
        self.peers.end(row)
    }

    fn peer_group(&self, row: usize) -> usize {
        self.peers.group[row]
    }

    fn frame(&self, row: usize) -> (usize, usize) {
        self.frames[row]
    }

    fn is_excluded(&self, row: usize, other: usize) -> bool {
        excluded(self.exclude, row, other, self.peers)
    }

    fn excludes(&self) -> bool {
        self.exclude != FrameExclude::NoOthers
    }
}
