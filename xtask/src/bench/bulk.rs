//! `./x bench bulk`: tables of ten thousand rows and more by COPY into a node whose memory is capped, then point reads,
//! a range scan and aggregates on each. Nothing may depend on the size of the table but what reads all of it.

use std::{
    ffi::OsString,
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    memory_cap::MemoryCap,
    node_counts::{self, Counts},
    postgres::programs,
};
use crate::{
    node::{Node, Scratch},
    process::{Result, output},
};

/// After a load, until the locks of its transaction are gone.
const SETTLE_MAX: Duration = Duration::from_secs(600);
/// Of point reads over all tables in turn, at the end.
const ROUNDS: u32 = 3;

pub struct Options {
    rows: u64,
    memory_bytes: u64,
    range_max_bytes: u64,
    /// Of each measurement of point reads.
    seconds: u32,
    /// No further table is begun after so long.
    budget: Duration,
}

impl Options {
    pub fn parse(flags: &[OsString]) -> Result<Self> {
        let mut options = Self {
            rows: 10_000_000,
            memory_bytes: 1 << 30,
            range_max_bytes: 64 << 20,
            seconds: 5,
            budget: Duration::from_secs(1_800),
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let flag = flag.to_string_lossy();
            let value = flags.next().ok_or_else(|| format!("{flag} needs a value"))?.to_string_lossy();
            let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is not a number"));
            match flag.as_ref() {
                "--rows" => options.rows = number()?,
                "--memory-bytes" => options.memory_bytes = number()?,
                "--range-max-bytes" => options.range_max_bytes = number()?,
                "--seconds" => options.seconds = number()?.try_into().unwrap_or(u32::MAX),
                "--budget-seconds" => options.budget = Duration::from_secs(number()?),
                other => return Err(format!("unknown flag {other:?}")),
            }
        }
        Ok(options)
    }

    /// Ten thousand, a tenth of all, all.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![self.rows.min(10_000), self.rows / 10, self.rows];
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

pub fn load(options: &Options) -> Result<()> {
    let began = Instant::now();
    let programs = programs()?;
    let scratch = Scratch::new("bulk")?;
    let ranges = options.range_max_bytes.to_string();
    let cap = MemoryCap::new(options.memory_bytes)?;
    let node = Node::start_in(cap.procs(), &["--log", "warn", "--range-max-bytes", &ranges])?;
    let bench = Bench { programs, port: node.port, scratch, seconds: options.seconds };
    let mut loaded = Vec::new();
    for rows in options.sizes() {
        if began.elapsed() > options.budget {
            println!("{rows} rows: no time left");
            break;
        }
        bench.table(rows)?;
        println!(
            "  ranges {}, peak resident {} MiB, peak of the group (with page cache) {} MiB",
            bench.count_ranges(),
            peak_resident_mib(node.process_id())?,
            cap.peak_mib(),
        );
        loaded.push(rows);
    }
    // In turn: the wake-up of an idle processor alone differs by more between two quiet minutes of a virtual machine
    // than a read of a large table costs over one of a small one.
    for round in 1..=ROUNDS {
        for rows in &loaded {
            bench.points(&table_of(*rows), *rows, &format!("of {rows} rows, round {round}"))?;
        }
    }
    Ok(())
}

fn table_of(rows: u64) -> String {
    format!("bulk_{rows}")
}

struct Bench {
    programs: PathBuf,
    port: u16,
    scratch: Scratch,
    seconds: u32,
}

impl Bench {
    fn table(&self, rows: u64) -> Result<()> {
        let table = table_of(rows);
        self.ask(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, grp int NOT NULL, amount int NOT NULL, payload text NOT NULL)"
        ))?;
        let elapsed = self.copy(&table, rows)?.as_secs_f64();
        println!("{rows} rows: COPY {elapsed:.1} s, {:.0} rows a second", rows as f64 / elapsed);
        self.points(&table, rows, "right after")?;
        let settled = self.settle()?;
        println!("  locks gone after {:.1} s", settled.as_secs_f64());
        self.points(&table, rows, "settled")?;
        let middle = rows / 2;
        let width = (rows / 10).min(100_000);
        let queries = [
            (
                "range scan",
                format!(
                    "SELECT count(*), max(payload) FROM {table} WHERE id BETWEEN {middle} AND {}",
                    middle + width - 1
                ),
            ),
            ("count(*)", format!("SELECT count(*) FROM {table}")),
            (
                "sums by group",
                format!(
                    "SELECT count(*), sum(s) FROM (SELECT grp, sum(amount) AS s FROM {table} GROUP BY grp) AS g"
                ),
            ),
        ];
        for (name, query) in queries {
            let began = Instant::now();
            let answer = self.ask(&query)?;
            println!("  {name}: {answer} in {:.3} s", began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string(), "-d", "postgres"]);
        command
    }

    fn ask(&self, query: &str) -> Result<String> {
        Ok(output(self.psql().args(["-c", query]))?.trim().to_owned())
    }

    fn count_ranges(&self) -> String {
        self.ask("SHOW RANGES").map_or_else(|error| error, |rows| rows.lines().count().to_string())
    }

    /// Rows of about 100 bytes, ascending, in one COPY.
    fn copy(&self, table: &str, rows: u64) -> Result<Duration> {
        let began = Instant::now();
        let mut child = self
            .psql()
            .args(["-c", &format!("COPY {table} FROM STDIN")])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("psql: {error}"))?;
        let mut input = BufWriter::with_capacity(1 << 20, child.stdin.take().ok_or("psql has no input")?);
        for id in 0..rows {
            // Digits that do not compress to nothing.
            let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let line = writeln!(
                input,
                "{id}\t{}\t{}\t{noise:016x}{:016x}{noise:016x}abcdefghijklmnopqrstuvwxyz",
                id % 1_000,
                noise % 10_000,
                noise.rotate_left(17) ^ id
            );
            line.map_err(|error| format!("COPY ended early: {error}"))?;
        }
        input.flush().map_err(|error| error.to_string())?;
        drop(input);
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(began.elapsed()) } else { Err(format!("COPY failed ({status})")) }
    }

    /// Point reads by primary key at random, one client.
    fn points(&self, table: &str, rows: u64, when: &str) -> Result<()> {
        let script = self.scratch.0.join("points.sql");
        let text = format!(
            "\\set id random(0, {})\nSELECT amount, payload FROM {table} WHERE id = :id;\n",
            rows - 1
        );
        fs::write(&script, text).map_err(|error| format!("{}: {error}", script.display()))?;
        let before = node_counts::read(&self.programs, self.port)?;
        let text = output(
            Command::new(self.programs.join("pgbench"))
                .args(["-n", "-M", "prepared", "-c", "1", "-h", "127.0.0.1", "-U", "postgres"])
                .args(["-p", &self.port.to_string(), "-T", &self.seconds.to_string(), "-f"])
                .arg(&script)
                .arg("postgres"),
        )?;
        let after = node_counts::read(&self.programs, self.port)?;
        let number = |label: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        let done = number("number of transactions actually processed: ");
        let counts = node_counts::per_transaction(&before, &after, done);
        println!(
            "  point read {when}: {:.3} ms; a read: {}",
            number("latency average = "),
            shown(&counts, &["kv_gets", "storage_seeks", "storage_steps", "kv_lock_waits", "kv_latch_waits"])
        );
        Ok(())
    }

    /// Waits until the locks of ended transactions are gone.
    fn settle(&self) -> Result<Duration> {
        let began = Instant::now();
        while began.elapsed() < SETTLE_MAX {
            let counts = node_counts::read(&self.programs, self.port)?;
            if counts.get("kv_transactions_resolving").is_none_or(|count| *count == 0.0) {
                return Ok(began.elapsed());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err("the locks of a finished COPY do not go".to_owned())
    }
}

fn shown(counts: &Counts, names: &[&str]) -> String {
    let of = |name: &&str| format!("{name} {:.2}", counts.get(*name).copied().unwrap_or(0.0));
    names.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn peak_resident_mib(process_id: u32) -> Result<u64> {
    let path = Path::new("/proc").join(process_id.to_string()).join("status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "no peak in /proc".to_owned())?;
    Ok(kib / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rise_to_the_rows_asked_for() {
        let sizes = |rows: &str| Options::parse(&["--rows".into(), rows.into()]).unwrap().sizes();
        assert_eq!(sizes("10000000"), [10_000, 1_000_000, 10_000_000]);
        assert_eq!(sizes("100000"), [10_000, 100_000]);
        assert_eq!(sizes("50"), [5, 50]);
        assert!(
            Options::parse(&["--rows".into()]).is_err()
                && Options::parse(&["--x".into(), "1".into()]).is_err()
        );
    }
}
