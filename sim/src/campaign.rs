//! Many seeds, on several threads: each run has one to itself. A campaign that writes a record goes on where it stopped.
//!
//! A record has one line a seed: the seed, the hash of its trace, its verdict, and counts, each as `name=value`. Lines may
//! be in any order, and of any build; each says which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Report, RunOptions, run};

/// What a seed counts that was run twice.
pub const RUN_TWICE: &str = "run twice, with the same hash";

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Of every run; the seed is replaced.
    pub options: RunOptions,
    pub first: u64,
    pub last: u64,
    pub threads: usize,
    /// Goes on behind `last` until so much time has passed.
    pub time: Option<Duration>,
    /// So many of the first seeds are run twice, and must give the same hash.
    pub twice: u64,
    /// Ends with the first seed that has a violation.
    pub stop_at_violation: bool,
}

/// What runs of the same kind came to, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub runs: u64,
    pub failed: Vec<u64>,
    pub counts: BTreeMap<String, u64>,
}

impl Sums {
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, line: &Line) {
        self.runs += 1;
        if !line.passed {
            self.failed.push(line.seed);
        }
        for (name, count) in &line.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }
}

/// One seed's outcome, as a record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    seed: u64,
    hash: u64,
    passed: bool,
    counts: Vec<(String, u64)>,
}

impl Line {
    fn of(report: &Report, real: Duration, cpu: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let own = [
            ("nodes", report.parameters.nodes),
            ("virtual ms", millis(report.virtual_time)),
            ("ms with faults", millis(report.parameters.duration)),
            ("real ms", millis(real)),
            ("cpu ms", millis(cpu)),
            ("events", report.events),
            ("commits", report.commits),
            ("crashes", report.crashes),
        ];
        let counts = own.into_iter().chain(report.reached.iter().map(|(name, count)| (*name, *count)));
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).collect();
        Self { seed: report.seed, hash: report.hash, passed: report.violations.is_empty(), counts }
    }

    fn write(&self) -> String {
        let verdict = if self.passed { "passed" } else { "VIOLATION" };
        let counts: Vec<String> = self.counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
        format!("{}\t{:016x}\t{verdict}\t{}\n", self.seed, self.hash, counts.join(";"))
    }

    /// `None` for a line that was not written to its end.
    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split('\t');
        let seed = fields.next()?.parse().ok()?;
        let hash = u64::from_str_radix(fields.next()?, 16).ok()?;
        let passed = match fields.next()? {
            "passed" => true,
            "VIOLATION" => false,
            _ => return None,
        };
        let count = |part: &str| {
            let (name, count) = part.split_once('=')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        let counts = fields.next()?.split(';').map(count).collect::<Option<Vec<_>>>()?;
        Some(Self { seed, hash, passed, counts })
    }
}

/// What a record says, and which seeds it has.
fn read_record(path: &Path) -> io::Result<(BTreeSet<u64>, Sums)> {
    let (mut seeds, mut sums) = (BTreeSet::new(), Sums::default());
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((seeds, sums)),
        text => text?,
    };
    // The last line may be cut off; a line ends with its newline.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines().filter_map(Line::read) {
        if seeds.insert(line.seed) {
            sums.add(&line);
        }
    }
    if whole.len() + 1 < text.len() {
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(text.rfind('\n').map_or(0, |end| end as u64 + 1))?;
    }
    Ok((seeds, sums))
}

struct State {
    sums: Sums,
    record: Option<File>,
    problem: Option<io::Error>,
}

/// Runs what the record does not have yet, and adds it. `show` is told of every run.
pub fn run_all(
    campaign: &Campaign,
    record: Option<&Path>,
    show: impl Fn(&Report) + Send + Sync,
) -> io::Result<Sums> {
    let (done, sums) = record.map_or_else(|| Ok(Default::default()), read_record)?;
    let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
    let state = Mutex::new(State { sums, record: record.map(open).transpose()?, problem: None });
    let (next, stop, started) = (AtomicU64::new(campaign.first), AtomicBool::new(false), Instant::now());
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed > campaign.last && campaign.time.is_none_or(|time| started.elapsed() > time) {
                return;
            }
            if done.contains(&seed) {
                continue;
            }
            let (begun, cpu_before) = (Instant::now(), cpu_time());
            let report = run_one(campaign, seed);
            let line = Line::of(&report, begun.elapsed(), cpu_time().saturating_sub(cpu_before));
            let mut state = state.lock().expect("no run panics");
            show(&report);
            state.sums.add(&line);
            if let Some(record) = &mut state.record
                && let Err(error) = record.write_all(line.write().as_bytes())
            {
                state.problem = Some(error);
                stop.store(true, Ordering::SeqCst);
            }
            if campaign.stop_at_violation && !line.passed {
                stop.store(true, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..campaign.threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no run panics"));
    });
    let State { mut sums, problem, .. } = state.into_inner().expect("no run panics");
    sums.failed.sort_unstable();
    problem.map_or(Ok(sums), Err)
}

/// What this thread has had of a processor; a machine with other work gives it less than the time that passes. Zero where
/// the system does not say.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn run_one(campaign: &Campaign, seed: u64) -> Report {
    let options = RunOptions { seed, ..campaign.options.clone() };
    let mut report = run(&options);
    if seed - campaign.first < campaign.twice {
        let again = run(&RunOptions { print: false, ..options });
        if again.hash != report.hash {
            let (one, two) = (report.hash, again.hash);
            report.violations.push(format!("two runs differ: {one:016x} and {two:016x}"));
        } else {
            report.reached.insert(RUN_TWICE, 1);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(first: u64, last: u64, threads: usize) -> Campaign {
        let options = RunOptions::default();
        Campaign { options, first, last, threads, time: None, twice: 0, stop_at_violation: false }
    }

    #[test]
    fn a_record_goes_on_where_it_stopped_and_threads_change_nothing() {
        let path = std::env::temp_dir().join(format!("basalt-campaign-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        run_all(&campaign(1, 2, 1), Some(&path), |_| {}).unwrap();
        // A line that was being written when the machine stopped.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"3\t00").unwrap();
        let ran = AtomicU64::new(0);
        let count = |_: &Report| {
            ran.fetch_add(1, Ordering::SeqCst);
        };
        let mut resumed = run_all(&campaign(1, 4, 2), Some(&path), count).unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 2);
        let mut whole = run_all(&campaign(1, 4, 1), None, |_| {}).unwrap();
        for sums in [&mut resumed, &mut whole] {
            sums.counts.remove("real ms");
            sums.counts.remove("cpu ms");
        }
        assert_eq!(resumed, whole);
        let lines = std::fs::read_to_string(&path).unwrap();
        let mut hashes: Vec<(u64, u64)> =
            lines.lines().map(|line| Line::read(line).map(|line| (line.seed, line.hash)).unwrap()).collect();
        hashes.sort_unstable();
        let expected: Vec<(u64, u64)> =
            (1..=4).map(|seed| (seed, run(&RunOptions { seed, ..RunOptions::default() }).hash)).collect();
        assert_eq!(hashes, expected);
        std::fs::remove_file(&path).unwrap();
    }
}
