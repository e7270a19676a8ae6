//! Window frames over one sorted partition.

use basalt_planner::{
    Expr,
    plan::{Frame, FrameBound, FrameExclude, FrameMode},
};
use basalt_types::{Datum, Result, Row, SqlError, SqlState};

use super::{range_offset::reaches, sort::ColumnOrder};
use crate::exec::{eval::evaluator::RowEvaluator, scope::Scope};

/// Where each peer group (rows with equal ORDER BY keys) begins and ends.
pub(super) struct Peers {
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

    fn groups(&self) -> usize {
        self.starts.len() - 1
    }
}

/// A frame whose offsets have been computed.
pub(super) struct FrameSpec {
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
    pub async fn new(frame: &Frame, scope: &Scope) -> Result<Self> {
        Ok(Self {
            mode: frame.mode,
            start: bound(&frame.start, frame.mode, "starting", scope).await?,
            end: bound(&frame.end, frame.mode, "ending", scope).await?,
            exclude: frame.exclude,
        })
    }

    /// The half-open row interval of the frame of `row`; `order` is the only ORDER BY column of a RANGE with offset.
    pub fn interval(
        &self,
        row: usize,
        rows: &[Row],
        peers: &Peers,
        order: Option<&ColumnOrder>,
        scope: &Scope,
    ) -> Result<(usize, usize)> {
        let start = self.edge(&self.start, true, row, rows, peers, order, scope)?;
        let end = self.edge(&self.end, false, row, rows, peers, order, scope)?;
        Ok((start, end.max(start)))
    }

    #[expect(clippy::too_many_arguments, reason = "one place on the partition")]
    fn edge(
        &self,
        bound: &Bound,
        is_start: bool,
        row: usize,
        rows: &[Row],
        peers: &Peers,
        order: Option<&ColumnOrder>,
        scope: &Scope,
    ) -> Result<usize> {
        let count = rows.len();
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
                let order =
                    order.ok_or_else(|| SqlError::internal("RANGE with an offset and no single key"))?;
                range_edge(offset, preceding, is_start, row, rows, peers, order, scope)
            }
        }
    }
}

/// The edge of a frame given by a distance of keys. Rows are sorted, so it is found by bisection. NULLs are near each
/// other only.
#[expect(clippy::too_many_arguments, reason = "one place on the partition")]
fn range_edge(
    offset: &Datum,
    preceding: bool,
    is_start: bool,
    row: usize,
    rows: &[Row],
    peers: &Peers,
    order: &ColumnOrder,
    scope: &Scope,
) -> Result<usize> {
    let key = |row: usize| &rows[row][order.position];
    if key(row).is_null() {
        return Ok(if is_start { peers.start(row) } else { peers.end(row) });
    }
    let nulls = rows.iter().filter(|row| row[order.position].is_null()).count();
    let (mut low, mut high) = if order.nulls_first { (nulls, rows.len()) } else { (0, rows.len() - nulls) };
    // The first row that is inside (a start) or beyond (an end).
    let subtract = preceding != order.descending;
    while low < high {
        let middle = low + (high - low) / 2;
        let side = reaches(key(middle), key(row), offset, subtract, scope)?;
        let side = if order.descending { side.reverse() } else { side };
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
        if super::range_offset::is_negative(&value) {
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
