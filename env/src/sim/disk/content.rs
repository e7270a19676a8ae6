//! What a file holds: as programs see it, and on the medium.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::device::Tear;

pub(super) const SECTOR: usize = 512;

/// A file's content, whatever its name.
pub(super) type Shared = Arc<Mutex<Content>>;

/// Where a write ends up on the medium.
pub(super) enum Lands {
    Here,
    Nowhere,
    Elsewhere(Target),
}

/// The place that a misdirected write hits.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) file: Weak<Mutex<Content>>,
    pub(super) offset: usize,
}

/// A misdirected write on its way. Carried out when no content is locked, for it may hit the file it comes from.
pub(super) struct Stray {
    target: Target,
    data: Vec<u8>,
}

impl Stray {
    /// Overwrites what the medium holds there. What is cached of that place stays as it was.
    pub(super) fn land(self) {
        let Some(file) = self.target.file.upgrade() else { return };
        let durable = &mut file.lock().durable;
        let start = self.target.offset.min(durable.len());
        let count = self.data.len().min(durable.len() - start);
        durable[start..start + count].copy_from_slice(&self.data[..count]);
    }
}

pub(super) enum Change {
    Write { offset: usize, data: Vec<u8>, lands: Lands },
    SetLen(usize),
}

impl Change {
    /// As programs see it, wherever it lands.
    fn show(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, data, .. } => write(bytes, *offset, data),
        }
    }

    /// As the medium has it. A write that goes astray leaves the file as long as it would be, for the length is kept
    /// elsewhere.
    fn settle(self, bytes: &mut Vec<u8>) -> Option<Stray> {
        match self {
            Self::Write { offset, data, lands: Lands::Nowhere } => grow(bytes, offset + data.len()),
            Self::Write { offset, data, lands: Lands::Elsewhere(target) } => {
                grow(bytes, offset + data.len());
                return Some(Stray { target, data });
            }
            whole => whole.show(bytes),
        }
        None
    }
}

fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    grow(bytes, offset + data.len());
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

#[derive(Default)]
pub(super) struct Content {
    /// Its name, for the faults that choose files by name.
    pub(super) path: String,
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
    /// Changes synced so far; the first pending one comes right behind them.
    synced: u64,
    /// Writes of which a crash kept a part.
    pub(super) torn: u64,
}

impl Content {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(super) fn change(&mut self, change: Change) {
        change.show(&mut self.current);
        self.pending.push(change);
    }

    /// The number of changes made so far.
    pub(super) fn changes(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }

    fn pending_of(&self, count: u64) -> usize {
        let count = usize::try_from(count.saturating_sub(self.synced)).unwrap_or(usize::MAX);
        count.min(self.pending.len())
    }

    /// Makes the first `count` changes durable. What is written while a sync runs is not part of it.
    #[must_use]
    pub(super) fn sync(&mut self, count: u64) -> Vec<Stray> {
        let count = self.pending_of(count);
        self.synced += count as u64;
        self.pending.drain(..count).filter_map(|change| change.settle(&mut self.durable)).collect()
    }

    /// A sync has failed: the system has marked the writes as clean, and will say so of a sync that is tried again,
    /// but they never reach the medium.
    pub(super) fn fail_sync(&mut self) {
        for change in &mut self.pending {
            if let Change::Write { lands, .. } = change {
                *lands = Lands::Nowhere;
            }
        }
    }

    #[must_use]
    pub(super) fn crash(&mut self, tear: &Tear<'_>) -> Vec<Stray> {
        let pending = std::mem::take(&mut self.pending);
        self.synced += pending.len() as u64;
        let Tear::Random(rng) = tear else { return Vec::new() };
        let mut strays = Vec::new();
        for change in pending {
            match change {
                Change::Write { offset, data, lands: Lands::Here } => {
                    let (mut done, mut kept) = (0, 0);
                    while done < data.len() {
                        let at = offset + done;
                        let part = (SECTOR - at % SECTOR).min(data.len() - done);
                        if rng.coin() {
                            write(&mut self.durable, at, &data[done..done + part]);
                            kept += part;
                        }
                        done += part;
                    }
                    self.torn += u64::from(0 < kept && kept < data.len());
                }
                whole if rng.coin() => strays.extend(whole.settle(&mut self.durable)),
                _ => {}
            }
        }
        strays
    }

    /// Forgets what is cached: what is seen now is what the medium has, and what is still on its way there.
    pub(super) fn drop_cache(&mut self) {
        self.current.clone_from(&self.durable);
        for change in &self.pending {
            match change {
                Change::Write { offset, data, lands: Lands::Nowhere | Lands::Elsewhere(_) } => {
                    grow(&mut self.current, offset + data.len());
                }
                whole => whole.show(&mut self.current),
            }
        }
    }

    /// Flips bits of one byte, durably.
    pub(super) fn flip(&mut self, offset: usize, mask: u8) {
        self.current[offset] ^= mask;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    /// Cuts the file off, durably. What is on its way to the medium still arrives.
    pub(super) fn truncate(&mut self, len: usize) {
        self.current.truncate(len);
        self.durable.truncate(len);
    }
}
