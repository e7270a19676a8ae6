//! Write skew: of each pair of rows at least one must be set. A transaction reads both and clears one only if both are
//! set; two of them at once, each clearing another row, would leave none.

use basalt_txn::{ReadOptions, Result, Txn, TxnConfig};

use super::{Context, Ended, row_key, row_number, row_value, transact};

const PAIRS: u8 = b's';
const PAIR_COUNT: u64 = 3;

/// Cheap to clone.
#[derive(Clone)]
pub struct Skew {
    context: Context,
}

impl Skew {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    pub async fn step(&self, client: usize) {
        let context = self.context.clone();
        let pair = context.below(PAIR_COUNT);
        let cleared = context.below(2);
        let together = context.rng.coin();
        let body = move |txn: Txn| async move {
            let (first, second) = read_pair(&txn, pair, together).await?;
            if first && second {
                txn.put(pair_key(pair, cleared), row_value(0, 0))?;
            } else if !first {
                txn.put(pair_key(pair, 0), row_value(1, 0))?;
            } else {
                txn.put(pair_key(pair, 1), row_value(1, 0))?;
            }
            txn.flush_if_needed().await?;
            Ok((first, second))
        };
        let config = TxnConfig::default();
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        if let Ended::Committed((false, false), timestamp) = &ended {
            context.violations.report(format!("skew: no row of pair {pair} is set at {timestamp}"));
        }
        context.trace.line(|| format!("client {client} pair {pair} clears {cleared}: {ended:?}"));
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        for pair in 0..PAIR_COUNT {
            if read_pair(txn, pair, true).await? == (false, false) {
                self.context.violations.report(format!("skew: no row of pair {pair} is set at the end"));
            }
        }
        Ok(())
    }
}

/// The rows of a pair lie apart, so that splits come between them.
fn pair_key(pair: u64, side: u64) -> basalt_base::Key {
    row_key(PAIRS, side * 1_000 + pair)
}

/// A row that was never written is set.
async fn read_pair(txn: &Txn, pair: u64, together: bool) -> Result<(bool, bool)> {
    let keys = [pair_key(pair, 0), pair_key(pair, 1)];
    let values = if together {
        txn.get_many(&keys, ReadOptions::default()).await?
    } else {
        let first = txn.get(&keys[0], ReadOptions::default()).await?;
        vec![first, txn.get(&keys[1], ReadOptions::default()).await?]
    };
    let set = |value: &Option<bytes::Bytes>| value.as_deref().and_then(row_number) != Some(0);
    Ok((set(&values[0]), set(&values[1])))
}
