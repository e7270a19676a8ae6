//! The record of a run: one line per event, hashed. Equal hashes mean equal runs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tracing_subscriber::{EnvFilter, fmt::format::Writer, fmt::time::FormatTime};

/// 64-bit FNV-1a, but of words: stable across builds and machines.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The virtual time of the run that is printed, in microseconds: the log of the nodes belongs to no run.
static LOGGED_AT: AtomicU64 = AtomicU64::new(0);

/// Microseconds as seconds, aligned for runs of some hours.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>5}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Seconds(LOGGED_AT.load(Ordering::Relaxed)))
    }
}

/// From now on prints what the nodes log (elections, snapshots, splits, members), at the virtual time of the run that is printed. The
/// filter is that of `RUST_LOG`, else everything from information on.
pub fn print_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_timer(VirtualTime);
    // A second call changes nothing.
    let _already = logs.with_writer(std::io::stderr).with_ansi(false).try_init();
}

struct State {
    hash: u64,
    events: u64,
    /// Of the last step, in microseconds of virtual time.
    now: u64,
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
        Self { state: Arc::new(Mutex::new(State { hash: OFFSET, events: 0, now: 0, print })) }
    }

    /// An event worth reading.
    pub fn line(&self, text: impl FnOnce() -> String) {
        let text = text();
        let mut state = self.state.lock();
        state.add(text.as_bytes());
        if state.print {
            eprintln!("{} {text}", Seconds(state.now));
        }
    }

    /// A scheduling step: hashed, never printed.
    pub fn step(&self, micros: u64, task: u64, name: &str) {
        let mut state = self.state.lock();
        if state.print {
            state.now = micros;
            LOGGED_AT.store(micros, Ordering::Relaxed);
        }
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
