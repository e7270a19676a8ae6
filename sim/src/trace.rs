//! The record of a run: one line per event, hashed. Equal hashes mean equal runs.

use std::sync::Arc;

use parking_lot::Mutex;

/// 64-bit FNV-1a: stable across builds and machines.
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
        state.add(&micros.to_le_bytes());
        state.add(&task.to_le_bytes());
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
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        self.events += 1;
    }
}
