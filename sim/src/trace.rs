//! The record of a run: one line per event, hashed. Equal hashes mean equal runs.

use std::sync::Arc;

use parking_lot::Mutex;

/// 64-bit FNV-1a, but of words: stable across builds and machines.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

struct State {
    hash: u64,
    events: u64,
    print: bool,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    state: Arc<Mutex<State>>,
}

impl Trace {
    /// With `print`, lines of clients and faults go to standard error.
    pub fn new(print: bool) -> Self {
        Self { state: Arc::new(Mutex::new(State { hash: OFFSET, events: 0, print })) }
    }

    /// An event worth reading.
    pub fn line(&self, text: impl FnOnce() -> String) {
        let text = text();
        let mut state = self.state.lock();
        state.add(text.as_bytes());
        if state.print {
            eprintln!("{} {text}", state.events);
        }
    }

    /// A scheduling step: hashed, never printed.
    pub fn step(&self, micros: u64, task: u64, name: &str) {
        let mut state = self.state.lock();
        state.mix(micros);
        state.mix(task);
        state.add(name.as_bytes());
    }

    pub fn hash(&self) -> u64 {
        self.state.lock().hash
    }

    pub fn events(&self) -> u64 {
        self.state.lock().events
    }
}

impl State {
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length, so that bytes of zero count.
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
        self.events += 1;
    }

    /// The rotation brings the high bits of a word down, which multiplying alone never does.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(PRIME).rotate_left(23);
    }
}
