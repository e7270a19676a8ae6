//! Window frames over one sorted partition.

use basalt_functions::EvalContext;
use basalt_planner::{
    Expr,
    plan::{Frame, FrameBound, FrameExclude, FrameMode},
};
use basalt_types::{Datum, Result, SqlError, SqlState};

use super::range_offset::{is_negative, reaches};
use crate::exec::{eval::evaluator::RowEvaluator, scope::Scope};

/// Where each peer group (rows with equal ORDER BY keys) begins and ends.
pub struct Peers {
    /// The group of each row.
    pub group: Vec<usize>,
    /// First row of each group, then the number of rows.
    pub starts: Vec<usize>,
}

impl Peers {
    /// `same` says whether a row and the one before are peers.
    pub fn new(rows: usize, same: impl Fn(usize) -> bool) -> Self {
        let mut group = Vec::with_capacity(rows);
        let mut starts = Vec::new();
        for row in 0..rows {
            if row == 0 || !same(row) {
                starts.push(row);
            }
            group.push(starts.len() - 1);
        }
        starts.push(rows);
        Self { group, starts }
    }

    pub fn start(&self, row: usize) -> usize {
        self.starts[self.group[row]]
    }

    pub fn end(&self, row: usize) -> usize {
        self.starts[self.group[row] + 1]
    }

    pub fn rows(&self) -> usize {
        self.group.len()
    }

    fn groups(&self) -> usize {
        self.starts.len() - 1
    }
}

/// The values of the only ORDER BY column over a partition: what RANGE with an offset measures distances between.
#[derive(Clone, Copy)]
pub struct RangeKeys<'a> {
    pub keys: &'a [Datum],
    pub descending: bool,
    pub nulls_first: bool,
}

/// A frame whose offsets have been computed.
pub struct FrameSpec {
    mode: FrameMode,
    start: Bound,
    end: Bound,
    pub exclude: FrameExclude,
}

enum Bound {
    UnboundedPreceding,
    Preceding(Offset),
    CurrentRow,
    Following(Offset),
    UnboundedFollowing,
}

enum Offset {
    Count(usize),
    /// A distance from the current row's key.
    Range(Datum),
}

impl FrameSpec {
    /// Offsets hold no columns: they are the same for the whole statement.
    pub(crate) async fn new(frame: &Frame, scope: &Scope) -> Result<Self> {
        Ok(Self {
            mode: frame.mode,
            start: bound(&frame.start, frame.mode, "starting", scope).await?,
            end: bound(&frame.end, frame.mode, "ending", scope).await?,
            exclude: frame.exclude,
        })
    }

    /// A bound is a distance between keys, so that [`Self::interval`] wants them.
    pub fn measures_keys(&self) -> bool {
        let by_range = |bound: &Bound| {
            matches!(bound, Bound::Preceding(Offset::Range(_)) | Bound::Following(Offset::Range(_)))
        };
        by_range(&self.start) || by_range(&self.end)
    }

    /// The half-open row interval of the frame of `row`; `keys` are those of the partition for a RANGE with offset.
    pub fn interval(
        &self,
        row: usize,
        peers: &Peers,
        keys: Option<RangeKeys<'_>>,
        eval: &EvalContext,
    ) -> Result<(usize, usize)> {
        let start = self.edge(&self.start, true, row, peers, keys, eval)?;
        let end = self.edge(&self.end, false, row, peers, keys, eval)?;
        Ok((start, end.max(start)))
    }

    fn edge(
        &self,
        bound: &Bound,
        is_start: bool,
        row: usize,
        peers: &Peers,
        keys: Option<RangeKeys<'_>>,
        eval: &EvalContext,
    ) -> Result<usize> {
        let count = peers.rows();
        let (offset, preceding) = match bound {
            Bound::UnboundedPreceding => return Ok(0),
            Bound::UnboundedFollowing => return Ok(count),
            Bound::CurrentRow if self.mode == FrameMode::Rows => {
                return Ok(if is_start { row } else { row + 1 });
            }
            Bound::CurrentRow => return Ok(if is_start { peers.start(row) } else { peers.end(row) }),
            Bound::Preceding(offset) => (offset, true),
            Bound::Following(offset) => (offset, false),
        };
        let move_by =
            |from: usize, by: usize| if preceding { from.checked_sub(by) } else { from.checked_add(by) };
        match (offset, self.mode) {
            (Offset::Count(by), FrameMode::Groups) => Ok(match move_by(peers.group[row], *by) {
                None => 0,
                Some(group) if group >= peers.groups() => count,
                Some(group) => peers.starts[if is_start { group } else { group + 1 }],
            }),
            (Offset::Count(by), _) => Ok(match move_by(row, *by) {
                None => 0,
                Some(target) => (if is_start { target } else { target.saturating_add(1) }).min(count),
            }),
            (Offset::Range(offset), _) => {
                let keys =
                    keys.ok_or_else(|| SqlError::internal("RANGE with an offset and no single key"))?;
                range_edge(offset, preceding, is_start, row, peers, keys, eval)
            }
        }
    }
}

/// The edge of a frame given by a distance of keys. Rows are sorted, so it is found by bisection. NULLs are near each
/// other only.
fn range_edge(
    offset: &Datum,
    preceding: bool,
    is_start: bool,
    row: usize,
    peers: &Peers,
    keys: RangeKeys<'_>,
    eval: &EvalContext,
) -> Result<usize> {
    let base = &keys.keys[row];
    if base.is_null() {
        return Ok(if is_start { peers.start(row) } else { peers.end(row) });
    }
    // NULLs are one peer group, at one end.
    let count = keys.keys.len();
    let (mut low, mut high) = if keys.nulls_first {
        (if keys.keys[0].is_null() { peers.end(0) } else { 0 }, count)
    } else {
        (0, if keys.keys[count - 1].is_null() { peers.start(count - 1) } else { count })
    };
    // The first row that is inside (a start) or beyond (an end).
    let subtract = preceding != keys.descending;
    while low < high {
        let middle = low + (high - low) / 2;
        let side = reaches(&keys.keys[middle], base, offset, subtract, eval)?;
        let side = if keys.descending { side.reverse() } else { side };
        let before = if is_start { side.is_lt() } else { side.is_le() };
        if before {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

async fn bound(bound: &FrameBound, mode: FrameMode, which: &str, scope: &Scope) -> Result<Bound> {
    Ok(match bound {
        FrameBound::UnboundedPreceding => Bound::UnboundedPreceding,
        FrameBound::CurrentRow => Bound::CurrentRow,
        FrameBound::UnboundedFollowing => Bound::UnboundedFollowing,
        FrameBound::Preceding(expr) => Bound::Preceding(offset(expr, mode, which, scope).await?),
        FrameBound::Following(expr) => Bound::Following(offset(expr, mode, which, scope).await?),
    })
}

async fn offset(expr: &Expr, mode: FrameMode, which: &str, scope: &Scope) -> Result<Offset> {
    let value = RowEvaluator::new([expr], &[], scope)?.evaluate(0, scope, &[]).await?;
    if value.is_null() {
        return Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            format!("frame {which} offset must not be null"),
        ));
    }
    if mode == FrameMode::Range {
        if is_negative(&value) {
            return Err(SqlError::new(
                SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE,
                "invalid preceding or following size in window function",
            ));
        }
        return Ok(Offset::Range(value));
    }
    let count = match value {
        Datum::Int8(count) => count,
        Datum::Int4(count) => count.into(),
        Datum::Int2(count) => count.into(),
        other => return Err(SqlError::internal(format!("frame offset is {other:?}"))),
    };
    let count = usize::try_from(count).map_err(|_| {
        SqlError::new(
            SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE,
            format!("frame {which} offset must not be negative"),
        )
    })?;
    Ok(Offset::Count(count))
}
