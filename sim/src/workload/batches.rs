//! Transactions of many rows over many ranges: all rows of a batch carry the same number, or some batch was torn.

use basalt_txn::{Result, Txn, TxnConfig};

use super::{Context, Ended, bank::scan_numbers, row_key, row_value, transact};

const BATCHES: u8 = b'f';
const ROWS: u64 = 30;

/// Cheap to clone.
#[derive(Clone)]
pub struct Batches {
    context: Context,
}

impl Batches {
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    pub async fn step(&self, client: usize) {
        let context = self.context.clone();
        let tag = context.event();
        let delete = context.one_in(5);
        let write = context.rng.coin();
        let padding = context.padding();
        let (reverse, rows_max) = (context.rng.coin(), context.below(20));
        let body = move |txn: Txn| async move {
            if write {
                for row in 0..ROWS {
                    match delete {
                        true => txn.delete(row_key(BATCHES, row))?,
                        false => txn.put(row_key(BATCHES, row), row_value(tag, padding))?,
                    }
                    txn.flush_if_needed().await?;
                }
                // The statement's own writes, merged from buffer and store.
                txn.statement();
            }
            let rows = scan_numbers(&txn, BATCHES, reverse, rows_max).await?;
            Ok(rows.into_values().collect::<Vec<u64>>())
        };
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        if let Ended::Committed(rows, _) = &ended {
            self.check_rows(rows, (write && !delete).then_some(tag));
            if write && delete && !rows.is_empty() {
                context.violations.report(format!("batches: {} rows survive their own deletion", rows.len()));
            }
        }
        context
            .trace
            .line(|| format!("client {client} batch {tag} write {write} delete {delete}: {ended:?}"));
    }

    fn check_rows(&self, rows: &[u64], own: Option<u64>) {
        let whole = rows.is_empty() || rows.len() as u64 == ROWS;
        let uniform = rows.windows(2).all(|pair| pair[0] == pair[1]);
        let mine = own.is_none_or(|tag| rows.first() == Some(&tag));
        if !whole || !uniform || !mine {
            self.context.violations.report(format!("batches: torn (own {own:?}): {rows:?}"));
        }
    }

    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let rows: Vec<u64> = scan_numbers(txn, BATCHES, false, 0).await?.into_values().collect();
        self.check_rows(&rows, None);
        Ok(())
    }
}
