//! The counters of a node, read over SQL: what a statement costs in gets, log bytes and the like.

use std::{collections::BTreeMap, path::Path};

use super::psql::psql;
use crate::process::Result;

pub type Counts = BTreeMap<String, f64>;

/// All counters now.
pub fn read(programs: &Path, port: u16) -> Result<Counts> {
    let text = psql(programs, port, "SHOW METRICS")?;
    let line = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// What was counted between two readings, for each of `transactions`; what did not move is left out.
pub fn per_transaction(before: &Counts, after: &Counts, transactions: f64) -> Counts {
    let moved = |(name, value): (&String, &f64)| {
        let change = value - before.get(name).copied().unwrap_or(0.0);
        (change > 0.0 && transactions > 0.0).then(|| (name.clone(), change / transactions))
    };
    after.iter().filter_map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_divided_and_the_unmoved_left_out() {
        let before = Counts::from([("gets".to_owned(), 10.0), ("seeks".to_owned(), 5.0)]);
        let after =
            Counts::from([("gets".to_owned(), 30.0), ("seeks".to_owned(), 5.0), ("fsyncs".to_owned(), 2.0)]);
        let expected = Counts::from([("gets".to_owned(), 2.0), ("fsyncs".to_owned(), 0.2)]);
        assert_eq!(per_transaction(&before, &after, 10.0), expected);
        assert!(per_transaction(&before, &after, 0.0).is_empty());
    }
}
