//! Cursors that are read in any direction, or after their transaction: their rows are kept.

use basalt_planner::{Field, parse::FetchCount};
use basalt_types::Row;

use crate::exec::{memory::Reservation, scope::row_bytes};

/// All rows of a cursor, and where it stands.
pub(crate) struct StoredCursor {
    pub fields: Vec<Field>,
    rows: Vec<Row>,
    /// 0 before the first row, the number of rows and one after the last.
    position: usize,
    pub hold: bool,
    /// Its transaction has committed.
    pub committed: bool,
    memory: Reservation,
}

impl StoredCursor {
    pub fn new(fields: Vec<Field>, rows: Vec<Row>, hold: bool, memory: Reservation) -> Self {
        Self { fields, rows, position: 0, hold, committed: false, memory }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a last row, or gives it back when there is no room.
    pub fn push(&mut self, row: Row) -> Option<Row> {
        if self.memory.grow(row_bytes(&row)).is_err() {
            return Some(row);
        }
        self.rows.push(row);
        None
    }

    /// Rows that must be there before it moves; all when they are fewer.
    pub fn needed(&self, count: FetchCount) -> usize {
        let forwards =
            |from: usize, rows: i64| from.saturating_add(usize::try_from(rows).unwrap_or(usize::MAX));
        match count {
            FetchCount::Rows(rows) if rows > 0 => forwards(self.position.min(self.rows.len()), rows),
            FetchCount::Relative(rows) if rows > 0 => forwards(self.position, rows),
            FetchCount::Absolute(row) if row >= 0 => forwards(0, row),
            FetchCount::All | FetchCount::Absolute(_) => usize::MAX,
            FetchCount::Rows(_) | FetchCount::Relative(_) | FetchCount::BackwardAll => 0,
        }
    }

    /// The rows after the one it stands on.
    pub fn ahead(self) -> impl Iterator<Item = Row> {
        self.rows.into_iter().skip(self.position)
    }

    /// Moves, and gives the rows that were passed in that order.
    pub fn fetch(&mut self, count: FetchCount) -> Vec<&Row> {
        let last = self.rows.len();
        match count {
            FetchCount::All => self.forwards(usize::MAX),
            FetchCount::BackwardAll => self.backwards(usize::MAX),
            FetchCount::Rows(0) | FetchCount::Relative(0) => self.current(),
            FetchCount::Rows(rows) => {
                let distance = usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX);
                if rows > 0 { self.forwards(distance) } else { self.backwards(distance) }
            }
            FetchCount::Absolute(row) => {
                let distance = usize::try_from(row.unsigned_abs()).unwrap_or(usize::MAX);
                self.position =
                    if row >= 0 { distance.min(last + 1) } else { (last + 1).saturating_sub(distance) };
                self.current()
            }
            FetchCount::Relative(rows) => {
                let distance = usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX);
                self.position = if rows > 0 {
                    self.position.saturating_add(distance).min(last + 1)
                } else {
                    self.position.saturating_sub(distance)
                };
                self.current()
            }
        }
    }

    fn current(&self) -> Vec<&Row> {
        self.position.checked_sub(1).and_then(|index| self.rows.get(index)).into_iter().collect()
    }

    fn forwards(&mut self, distance: usize) -> Vec<&Row> {
        let last = self.rows.len();
        let start = self.position.min(last);
        let end = start.saturating_add(distance).min(last);
        // Asking for more than there is leaves the cursor after the last row.
        self.position = if self.position.saturating_add(distance) > last { last + 1 } else { end };
        self.rows[start..end].iter().collect()
    }

    fn backwards(&mut self, distance: usize) -> Vec<&Row> {
        let end = self.position.saturating_sub(1).min(self.rows.len());
        let start = end.saturating_sub(distance);
        self.position = if distance > end { 0 } else { start + 1 };
        self.rows[start..end].iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use basalt_types::Datum;

    use super::*;
    use crate::exec::memory::MemoryBudget;

    #[test]
    fn it_moves_as_postgresql_does() {
        let rows = (1..=4).map(|number| vec![Datum::Int4(number)]).collect();
        let memory = Reservation::new(&MemoryBudget::node(1 << 20));
        let mut cursor = StoredCursor::new(Vec::new(), rows, false, memory);
        let steps: [(FetchCount, &[i32]); 14] = [
            (FetchCount::Rows(0), &[]),
            (FetchCount::Rows(2), &[1, 2]),
            (FetchCount::Rows(0), &[2]),
            (FetchCount::Rows(-1), &[1]),
            (FetchCount::Rows(-1), &[]),
            (FetchCount::Rows(1), &[1]),
            (FetchCount::All, &[2, 3, 4]),
            (FetchCount::Rows(-2), &[4, 3]),
            (FetchCount::Absolute(-1), &[4]),
            (FetchCount::Relative(-3), &[1]),
            (FetchCount::Relative(9), &[]),
            (FetchCount::BackwardAll, &[4, 3, 2, 1]),
            (FetchCount::Absolute(3), &[3]),
            (FetchCount::Absolute(0), &[]),
        ];
        for (step, (count, expected)) in steps.into_iter().enumerate() {
            let found: Vec<i32> = cursor
                .fetch(count)
                .into_iter()
                .map(|row| match row[0] {
                    Datum::Int4(number) => number,
                    ref other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(found, expected, "step {step}: {count:?}");
        }
    }
}
