//! Transfers between accounts. The sum of all accounts is the same at every timestamp, past ones too.
//!
//! Every transfer also writes a receipt. At the end each acknowledged transfer has its receipt, each failed one has
//! none, and the receipts add up to the balances: neither a lost write nor one applied twice can hide.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Span, Timestamp};
use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_txn::{Error, ReadOptions, Result, ScanRequest, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, row_key, row_number, row_value, transact};

const ACCOUNTS: u8 = b'a';
const RECEIPTS: u8 = b'r';
const START_BALANCE: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    Failed,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    from: u64,
    to: u64,
    amount: u64,
    fate: Fate,
}

#[derive(Default)]
struct Ledger {
    transfers: BTreeMap<u64, Transfer>,
    /// What was read at a timestamp.
    past: Vec<(Timestamp, Vec<u64>)>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Bank {
    context: Context,
    ledger: Arc<Mutex<Ledger>>,
}

impl Bank {
    pub fn new(context: Context) -> Self {
        Self { context, ledger: Arc::default() }
    }

    fn accounts(&self) -> u64 {
        self.context.parameters.accounts
    }

    /// Makes the accounts. Retried until it is acknowledged.
    pub async fn set_up(&self) {
        loop {
            let accounts = self.accounts();
            let body = move |txn: Txn| async move {
                for account in 0..accounts {
                    txn.put(row_key(ACCOUNTS, account), row_value(START_BALANCE, 0))?;
                }
                txn.flush_if_needed().await
            };
            let config = TxnConfig::default();
            let ended = transact(&self.context.cluster, &self.context.violations, config, body).await;
            if matches!(ended, Ended::Committed(..)) {
                return;
            }
            self.context.cluster.pause().await;
        }
    }

    pub async fn step(&self, client: usize) {
        match self.context.below(10) {
            0..6 => self.transfer(client).await,
            6..8 => self.read_all(client).await,
            8 => self.read_past(client).await,
            _ => self.abandon().await,
        }
    }

    async fn transfer(&self, client: usize) {
        let context = self.context.clone();
        let id = context.event();
        let from = context.below(self.accounts());
        let to = (from + 1 + context.below(self.accounts() - 1)) % self.accounts();
        let amount = context.below(5) + 1;
        let record = |fate| {
            self.ledger.lock().transfers.insert(id, Transfer { from, to, amount, fate });
        };
        record(Fate::Unknown);
        let lock = context.rng.coin().then_some(LockStrength::Exclusive);
        let detour = context.one_in(4);
        let padding = context.padding();
        let body = move |txn: Txn| async move {
            let read = ReadOptions { lock, ..ReadOptions::default() };
            let source = balance(&txn, from, read).await?;
            let target = balance(&txn, to, read).await?;
            if source < amount {
                return Ok(false);
            }
            if detour {
                // Everything from here to the savepoint must leave no trace.
                let savepoint = txn.savepoint();
                txn.put(row_key(ACCOUNTS, to), row_value(u64::MAX / 2, 0))?;
                txn.delete(row_key(ACCOUNTS, from))?;
                txn.put(row_key(RECEIPTS, u64::MAX - id), row_value(0, 0))?;
                txn.flush_if_needed().await?;
                txn.rollback_to(&savepoint)?;
            }
            txn.statement();
            txn.put(row_key(ACCOUNTS, from), row_value(source - amount, padding))?;
            txn.flush_if_needed().await?;
            txn.put(row_key(ACCOUNTS, to), row_value(target + amount, 0))?;
            txn.put(row_key(RECEIPTS, id), row_value(id, padding))?;
            txn.flush_if_needed().await?;
            Ok(true)
        };
        let config = TxnConfig::default();
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        record(match &ended {
            Ended::Committed(true, _) => Fate::Acknowledged,
            Ended::Committed(false, _)
            | Ended::Failed(_)
            | Ended::NotStarted
            | Ended::Unknown(Some(false)) => Fate::Failed,
            // Without an end of the body there was no commit either.
            Ended::Unknown(None) => Fate::Failed,
            Ended::Unknown(Some(true)) => Fate::Unknown,
        });
        context.trace.line(|| format!("client {client} transfer {id} {from}->{to} {amount}: {ended:?}"));
    }

    async fn read_all(&self, client: usize) {
        let context = self.context.clone();
        let accounts = self.accounts();
        let by_scan = context.rng.coin();
        let reverse = context.rng.coin();
        let rows_max = context.below(4);
        let body = move |txn: Txn| async move {
            if by_scan {
                scan_accounts(&txn, accounts, reverse, rows_max).await
            } else {
                get_accounts(&txn, accounts).await
            }
        };
        let config = TxnConfig { read_only: context.rng.coin(), ..TxnConfig::default() };
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        if let Ended::Committed(balances, timestamp) = &ended {
            self.check_sum(balances, &format!("at {timestamp}"));
            let mut ledger = self.ledger.lock();
            if ledger.past.len() < 64 {
                ledger.past.push((*timestamp, balances.clone()));
            }
        }
        context.trace.line(|| format!("client {client} read all: {ended:?}"));
    }

    async fn read_past(&self, client: usize) {
        let context = self.context.clone();
        let past = {
            let ledger = self.ledger.lock();
            if ledger.past.is_empty() {
                return;
            }
            ledger.past[usize::try_from(context.below(ledger.past.len() as u64)).expect("small")].clone()
        };
        let accounts = self.accounts();
        let config = TxnConfig { as_of: Some(past.0), ..TxnConfig::default() };
        let (by_scan, reverse, rows_max) = (context.rng.coin(), context.rng.coin(), context.below(4));
        let body = move |txn: Txn| async move {
            if by_scan {
                scan_accounts(&txn, accounts, reverse, rows_max).await
            } else {
                get_accounts(&txn, accounts).await
            }
        };
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        if let Ended::Committed(balances, _) = &ended
            && *balances != past.1
        {
            context
                .violations
                .report(format!("bank: the past changed at {}: read {:?}, now {balances:?}", past.0, past.1));
        }
        context.trace.line(|| format!("client {client} read past {}: {ended:?}", past.0));
    }

    /// Locks and flushes, then vanishes without a commit.
    async fn abandon(&self) {
        let account = self.context.below(self.accounts());
        let buffered = self.context.rng.coin();
        let session = self.context.cluster.session(move |client| {
            Box::pin(async move {
                let Ok(txn) = client.begin(TxnConfig::default()) else { return };
                let lock = ReadOptions::locking(LockStrength::Exclusive);
                if balance(&txn, account, lock).await.is_ok() && buffered {
                    let _ = txn.put(row_key(ACCOUNTS, account), row_value(u64::MAX / 4, 0));
                    let _ = txn.flush_if_needed().await;
                }
            })
        });
        if let Some(session) = session {
            // The node may crash meanwhile.
            let _ = session.await;
        }
    }

    fn check_sum(&self, balances: &[u64], when: &str) {
        let sum: u64 = balances.iter().fold(0, |sum, balance| sum.wrapping_add(*balance));
        if sum != START_BALANCE * self.accounts() || balances.len() as u64 != self.accounts() {
            self.context.violations.report(format!("bank: the sum is {sum} {when}: {balances:?}"));
        }
    }

    /// After the run: acknowledged transfers are there, failed ones are not, and receipts explain the balances.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        let violations = &self.context.violations;
        let balances = get_accounts(txn, self.accounts()).await?;
        self.check_sum(&balances, "at the end");
        let receipts = scan_numbers(txn, RECEIPTS, false, 100).await?;
        let transfers = self.ledger.lock().transfers.clone();
        let mut expected = vec![START_BALANCE; balances.len()];
        for (id, transfer) in &transfers {
            let present = receipts.contains_key(id);
            match transfer.fate {
                Fate::Acknowledged if !present => {
                    violations.report(format!("bank: acknowledged transfer {id} is lost: {transfer:?}"));
                }
                Fate::Failed if present => {
                    violations.report(format!("bank: failed transfer {id} took effect: {transfer:?}"));
                }
                _ => {}
            }
            if present {
                expected[usize::try_from(transfer.from).expect("small")] -= transfer.amount;
                expected[usize::try_from(transfer.to).expect("small")] += transfer.amount;
            }
        }
        if let Some(unknown) = receipts.keys().find(|id| !transfers.contains_key(id)) {
            violations.report(format!("bank: receipt {unknown} was rolled back but is there"));
        }
        if expected != balances {
            violations.report(format!("bank: receipts give {expected:?}, accounts hold {balances:?}"));
        }
        Ok(())
    }
}

fn damaged(what: &str) -> Error {
    Error::Store(basalt_kv_api::Error::Internal(format!("workload: {what}")))
}

async fn balance(txn: &Txn, account: u64, read: ReadOptions) -> Result<u64> {
    let value = txn.get(&row_key(ACCOUNTS, account), read).await?;
    value
        .and_then(|value| row_number(&value))
        .ok_or_else(|| damaged(&format!("account {account} is missing")))
}

async fn get_accounts(txn: &Txn, accounts: u64) -> Result<Vec<u64>> {
    let keys: Vec<_> = (0..accounts).map(|account| row_key(ACCOUNTS, account)).collect();
    let values = txn.get_many(&keys, ReadOptions::default()).await?;
    let numbers = values.into_iter().map(|value| value.and_then(|value| row_number(&value)));
    numbers.collect::<Option<_>>().ok_or_else(|| damaged("an account is missing"))
}

async fn scan_accounts(txn: &Txn, accounts: u64, reverse: bool, rows_max: u64) -> Result<Vec<u64>> {
    let rows = scan_numbers(txn, ACCOUNTS, reverse, rows_max).await?;
    if rows.len() as u64 != accounts {
        return Err(damaged(&format!("a scan found {} of {accounts} accounts", rows.len())));
    }
    Ok(rows.into_values().collect())
}

/// All rows of a table, page by page.
pub(super) async fn scan_numbers(
    txn: &Txn,
    table: u8,
    reverse: bool,
    rows_max: u64,
) -> Result<BTreeMap<u64, u64>> {
    let span = Span::new(row_key(table, 0).slice(..2), row_key(table + 1, 0).slice(..2));
    scan_span(txn, span, reverse, rows_max).await
}

/// All rows of a span within a table, page by page.
pub(super) async fn scan_span(
    txn: &Txn,
    span: Span,
    reverse: bool,
    rows_max: u64,
) -> Result<BTreeMap<u64, u64>> {
    let mut request = ScanRequest { reverse, rows_max, ..ScanRequest::new(span) };
    let mut rows = BTreeMap::new();
    loop {
        let page = txn.scan(request.clone()).await?;
        let ScanBatch::Rows(batch) = page.batch else { return Err(damaged("a scan without rows")) };
        for (key, value) in batch {
            let number = key.get(2..).and_then(row_number).ok_or_else(|| damaged("a key is damaged"))?;
            let value = row_number(&value).ok_or_else(|| damaged("a value is damaged"))?;
            if rows.insert(number, value).is_some() {
                return Err(damaged(&format!("a scan returned row {number} twice")));
            }
        }
        match page.resume {
            Some(resume) => request.span = resume,
            None => return Ok(rows),
        }
    }
}
