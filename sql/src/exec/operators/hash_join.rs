//! Hash joins.
//!
//! One side is read into a table by its keys: the right one, or for an inner join the one expected to be smaller.
//! Then the other side streams by. A NULL in a key matches nothing.

use basalt_env::BoxFuture;
use basalt_planner::{
    Expr, Plan,
    plan::{JoinKey, JoinKind},
};
use basalt_types::{Result, Row};

use super::{
    Stream, build,
    join_key::{KeySide, NO_KEY},
    nested_loop::{JoinCondition, pad_left, pad_right},
};
use crate::exec::{
    BATCH_ROWS, RowStream,
    key::KeyTable,
    memory::Reservation,
    scope::{Scope, row_bytes},
};

/// The rows of the side that was read first.
struct BuildSide {
    rows: Vec<Row>,
    table: KeyTable,
    /// First and last row per key.
    groups: Vec<(u32, u32)>,
    /// The next row with the same key.
    next: Vec<u32>,
    matched: Vec<bool>,
}

/// The streamed row that is being joined.
struct Current {
    row: Row,
    matched: bool,
    /// The next candidate.
    at: u32,
}

struct HashJoin {
    kind: JoinKind,
    /// The table holds left rows and right rows stream by.
    swapped: bool,
    /// Read first; `None` once it was.
    build: Option<Stream>,
    probe: Option<Stream>,
    probe_batch: std::vec::IntoIter<Row>,
    build_keys: KeySide,
    probe_keys: KeySide,
    side: BuildSide,
    current: Option<Current>,
    /// Where the search for unmatched rows stands.
    position: usize,
    left_width: usize,
    right_width: usize,
    combined: Row,
    condition: JoinCondition,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(
    kind: JoinKind,
    left: &Plan,
    right: &Plan,
    keys: &[JoinKey],
    residual: Option<&Expr>,
    scope: &Scope,
) -> Result<Stream> {
    let swapped = kind == JoinKind::Inner && left.rows < right.rows;
    let left_keys = KeySide::left(keys, &left.columns, scope)?;
    let right_keys = KeySide::right(keys, &right.columns, scope)?;
    let (left_stream, right_stream) = (build(left, scope).await?, build(right, scope).await?);
    let (build, probe, build_keys, probe_keys) = if swapped {
        (left_stream, right_stream, left_keys, right_keys)
    } else {
        (right_stream, left_stream, right_keys, left_keys)
    };
    Ok(Box::new(HashJoin {
        kind,
        swapped,
        build: Some(build),
        probe: Some(probe),
        probe_batch: Vec::new().into_iter(),
        side: BuildSide {
            rows: Vec::new(),
            table: KeyTable::new(build_keys.comparisons()),
            groups: Vec::new(),
            next: Vec::new(),
            matched: Vec::new(),
        },
        build_keys,
        probe_keys,
        current: None,
        position: 0,
        left_width: left.columns.len(),
        right_width: right.columns.len(),
        combined: Row::new(),
        condition: JoinCondition::new(residual, &left.columns, &right.columns, scope)?,
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl BuildSide {
    /// Appends a row to those with its key.
    fn link(&mut self, group: usize, new: bool, row: u32) {
        if new {
            self.groups.push((row, row));
        } else {
            let last = std::mem::replace(&mut self.groups[group].1, row);
            self.next[last as usize] = row;
        }
    }
}

impl HashJoin {
    fn keeps_right(&self) -> bool {
        matches!(self.kind, JoinKind::Right | JoinKind::Full)
    }

    async fn read_build_side(&mut self, mut stream: Stream) -> Result<()> {
        let mut key = Row::new();
        while let Some(batch) = stream.next_batch().await? {
            self.scope.checkpoint().await?;
            for row in batch {
                let usable = self.build_keys.key(&self.scope, &row, &mut key).await?;
                if !usable && !self.keeps_right() {
                    continue;
                }
                self.memory.grow(row_bytes(&row) + 5)?;
                let position = self.side.rows.len() as u32;
                self.side.rows.push(row);
                self.side.next.push(NO_KEY);
                if usable {
                    let bytes = row_bytes(&key) + KeyTable::ENTRY_BYTES + 8;
                    let (group, new) = self.side.table.insert(&mut key);
                    if new {
                        self.memory.grow(bytes)?;
                    }
                    self.side.link(group, new, position);
                }
            }
        }
        if self.keeps_right() {
            self.side.matched = vec![false; self.side.rows.len()];
        }
        Ok(())
    }

    /// Makes the next streamed row current; false when there is none.
    async fn next_probe(&mut self) -> Result<bool> {
        let row = loop {
            if let Some(row) = self.probe_batch.next() {
                break row;
            }
            let Some(probe) = &mut self.probe else { return Ok(false) };
            self.scope.checkpoint().await?;
            match probe.next_batch().await? {
                Some(batch) => self.probe_batch = batch.into_iter(),
                None => {
                    self.probe = None;
                    return Ok(false);
                }
            }
        };
        let mut key = std::mem::take(&mut self.combined);
        let found = if self.probe_keys.key(&self.scope, &row, &mut key).await? {
            self.side.table.find(&key)
        } else {
            None
        };
        self.combined = key;
        let at = found.map_or(NO_KEY, |group| self.side.groups[group].0);
        self.current = Some(Current { row, matched: false, at });
        Ok(true)
    }

    async fn join_current(&mut self, out: &mut Vec<Row>) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        while current.at != NO_KEY {
            let at = current.at as usize;
            current.at = self.side.next[at];
            let other = &self.side.rows[at];
            let (left, right) = if self.swapped { (other, &current.row) } else { (&current.row, other) };
            self.combined.clear();
            self.combined.extend_from_slice(left);
            self.combined.extend_from_slice(right);
            if !self.condition.holds(&self.scope, &self.combined).await? {
                continue;
            }
            current.matched = true;
            if let Some(matched) = self.side.matched.get_mut(at) {
                *matched = true;
            }
            match self.kind {
                JoinKind::Semi => {
                    out.push(std::mem::take(&mut current.row));
                    self.current = None;
                    return Ok(());
                }
                JoinKind::Anti => {
                    self.current = None;
                    return Ok(());
                }
                _ => out.push(std::mem::take(&mut self.combined)),
            }
            if out.len() >= BATCH_ROWS {
                return Ok(());
            }
        }
        if let Some(ended) = self.current.take()
            && !ended.matched
        {
            match self.kind {
                JoinKind::Left | JoinKind::Full => out.push(pad_right(ended.row, self.right_width)),
                JoinKind::Anti => out.push(ended.row),
                JoinKind::Inner | JoinKind::Right | JoinKind::Semi => {}
            }
        }
        Ok(())
    }

    /// Build rows that nothing matched.
    fn unmatched_right(&mut self, out: &mut Vec<Row>) {
        while out.len() < BATCH_ROWS && self.position < self.side.matched.len() {
            if !self.side.matched[self.position] {
                out.push(pad_left(&self.side.rows[self.position], self.left_width));
            }
            self.position += 1;
        }
    }
}

impl RowStream for HashJoin {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            if let Some(stream) = self.build.take() {
                self.read_build_side(stream).await?;
                // Nothing can match.
                if self.side.rows.is_empty()
                    && matches!(self.kind, JoinKind::Inner | JoinKind::Semi | JoinKind::Right)
                {
                    self.probe = None;
                }
            }
            let mut out = Vec::new();
            while out.len() < BATCH_ROWS {
                if self.current.is_some() {
                    self.join_current(&mut out).await?;
                } else if !self.next_probe().await? {
                    self.unmatched_right(&mut out);
                    break;
                }
            }
            Ok((!out.is_empty()).then_some(out))
        })
    }
}
