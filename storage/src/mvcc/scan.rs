//! Range scans: the lock and the data family merged over one consistent reader.
//!
//! This is the hottest loop of the system. Per scan it costs one seek in each family; per row one comparison with the
//! next intent (usually none), a copy of the user key, and steps. A seek happens only at keys with many versions.
//! Keys and values are lent to the callback, so that a pushed-down program can filter without an allocation.

use std::ops::ControlFlow;

use basalt_base::keys::prefix_end;
use basalt_base::{Key, Span, Timestamp};
use bytes::Bytes;

use super::context::{FoundLock, ReadContext};
use super::cursor::{VersionCursor, Visible};
use super::intent_cursor::{IntentCursor, IntentView};
use super::value::decode_value;
use crate::{Reader, Result};

/// When a scan stops early. Every limit is checked after a key, so that a scan always makes progress.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    pub rows: usize,
    /// Keys and values handed to the callback.
    pub bytes: usize,
    /// Engine steps: bounds the time spent on deleted or filtered rows.
    pub steps: u64,
    /// Foreign locks to collect once one is met, so that they can be pushed together; at least one is.
    pub conflicts: usize,
    /// Deleted locks passed at once before locks are looked for piece by piece along the rows.
    pub lock_skips: u64,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { rows: usize::MAX, bytes: usize::MAX, steps: u64::MAX, conflicts: 1, lock_skips: 256 }
    }
}

/// What a scan found besides the rows it handed over. Those are valid whatever else is here: rows before `resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanOutcome {
    /// Where to go on: the new start of the span, or for a reverse scan its new (exclusive) end.
    /// `None`: the span is exhausted.
    pub resume: Option<Key>,
    /// Foreign intents; the scan stopped at the first.
    pub conflicts: Vec<FoundLock>,
    /// The scan stopped at this key because of an uncertain version.
    pub uncertain: Option<UncertainVersion>,
    pub rows: usize,
    pub bytes: usize,
    pub steps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncertainVersion {
    pub key: Key,
    pub ts: Timestamp,
    pub local_ts: Timestamp,
}

/// Hands every row of `span` that `context` sees to `row(user key, value)`, in key order or reverse.
/// `Break` ends the scan after that row.
pub fn scan(
    reader: &dyn Reader,
    span: &Span,
    reverse: bool,
    context: &ReadContext<'_>,
    limits: &ScanLimits,
    row: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> Result<ScanOutcome> {
    if span.is_empty() {
        return Ok(ScanOutcome::default());
    }
    let mut versions = VersionCursor::new(reader, span, false)?;
    let intents = IntentCursor::new(reader, span, reverse, limits.lock_skips)?;
    if reverse {
        versions.seek_to_last()?;
    } else {
        versions.seek_to_first()?;
    }
    let mut scan =
        Scan { span, reverse, context, limits, row, versions, intents, outcome: ScanOutcome::default() };
    scan.run()?;
    scan.outcome.steps = scan.versions.steps + scan.intents.steps;
    Ok(scan.outcome)
}

struct Scan<'a, 'r> {
    span: &'a Span,
    reverse: bool,
    context: &'a ReadContext<'a>,
    limits: &'a ScanLimits,
    row: &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    versions: VersionCursor<'r>,
    intents: IntentCursor<'r>,
    outcome: ScanOutcome,
}

impl Scan<'_, '_> {
    fn run(&mut self) -> Result<()> {
        // Both buffers are reused from row to row.
        let mut key = Vec::new();
        let mut value = Vec::new();
        loop {
            let has_version = self.versions.valid();
            if has_version {
                key.clear();
                key.extend_from_slice(self.versions.key()?.0);
            }
            self.intents.know(has_version.then_some(&key[..]))?;
            if self.intents.valid() && (!has_version || self.intent_is_due(&key)) {
                match self.intents.view(self.context)? {
                    IntentView::Invisible => {
                        self.intents.advance()?;
                        continue;
                    }
                    IntentView::Conflict(lock) => return self.stop_at_conflict(lock),
                    IntentView::Uncertain { ts, local_ts } => {
                        self.stop_at_uncertain(self.intents.key().to_vec().into(), ts, local_ts);
                        return Ok(());
                    }
                    IntentView::Value { value, .. } => {
                        let same_key = has_version && self.intents.key() == &key[..];
                        key.clear();
                        key.extend_from_slice(self.intents.key());
                        if self.emit_provisional(&key, value).is_break() {
                            return Ok(());
                        }
                        self.intents.advance()?;
                        if same_key && self.reverse {
                            self.versions.skip_key_reverse(&key)?;
                        } else if same_key {
                            self.versions.skip_key(&key)?;
                        }
                    }
                }
            } else if !has_version || self.version(&key, &mut value)?.is_break() {
                return Ok(());
            }
            if self.versions.steps >= self.limits.steps {
                self.stop_after(&key);
                return Ok(());
            }
        }
    }

    /// True if the next intent's key comes no later than `key`.
    fn intent_is_due(&self, key: &[u8]) -> bool {
        if self.reverse { self.intents.key() >= key } else { self.intents.key() <= key }
    }

    /// Handles the committed versions of `key`, under the cursor.
    fn version(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<ControlFlow<()>> {
        let visible = if self.reverse {
            self.versions.find_visible_reverse(key, self.context, buffer)?
        } else {
            self.versions.find_visible(key, self.context)?
        };
        match visible {
            Visible::Nothing => {}
            Visible::Uncertain { ts, local_ts } => {
                self.stop_at_uncertain(Key::copy_from_slice(key), ts, local_ts);
                return Ok(ControlFlow::Break(()));
            }
            Visible::At(_) => {
                let stored = if self.reverse { &buffer[..] } else { self.versions.value() };
                if let Some(payload) = decode_value(stored)?.payload {
                    self.outcome.rows += 1;
                    self.outcome.bytes += key.len() + payload.len();
                    let flow = (self.row)(key, payload);
                    if self.is_last(key, flow).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        if !self.reverse {
            self.versions.skip_key(key)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn emit_provisional(&mut self, key: &[u8], value: Option<Bytes>) -> ControlFlow<()> {
        let Some(value) = value else { return ControlFlow::Continue(()) };
        self.outcome.rows += 1;
        self.outcome.bytes += key.len() + value.len();
        let flow = (self.row)(key, &value);
        self.is_last(key, flow)
    }

    fn is_last(&mut self, key: &[u8], flow: ControlFlow<()>) -> ControlFlow<()> {
        if flow.is_break() || self.outcome.rows >= self.limits.rows || self.outcome.bytes >= self.limits.bytes
        {
            self.stop_after(key);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn stop_after(&mut self, key: &[u8]) {
        let resume = if self.reverse { Key::copy_from_slice(key) } else { prefix_end(key) };
        let more = if self.reverse { self.span.start < resume } else { resume < self.span.end };
        self.outcome.resume = more.then_some(resume);
    }

    fn stop_before(&mut self, key: &Key) {
        let resume = if self.reverse { prefix_end(key).min(self.span.end.clone()) } else { key.clone() };
        self.outcome.resume = Some(resume);
    }

    fn stop_at_uncertain(&mut self, key: Key, ts: Timestamp, local_ts: Timestamp) {
        self.stop_before(&key);
        self.outcome.uncertain = Some(UncertainVersion { key, ts, local_ts });
    }

    fn stop_at_conflict(&mut self, first: FoundLock) -> Result<()> {
        self.stop_before(&first.key);
        self.outcome.conflicts.push(first);
        while self.outcome.conflicts.len() < self.limits.conflicts {
            self.intents.advance()?;
            if !self.intents.valid() {
                break;
            }
            if let IntentView::Conflict(lock) = self.intents.view(self.context)? {
                self.outcome.conflicts.push(lock);
            }
        }
        Ok(())
    }
}
