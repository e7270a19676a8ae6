//! A run in stages, with a closing table of where the time went.

use std::time::{Duration, Instant};

use crate::process::Result;

#[derive(Default)]
pub struct Stages {
    /// A name, a time, and a word if it is not one that has passed.
    rows: Vec<(String, Duration, &'static str)>,
}

impl Stages {
    /// Runs a stage. Those after a failed one are the caller's to skip, by `?`.
    pub fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let started = Instant::now();
        let result = stage();
        self.rows.push((name.to_owned(), started.elapsed(), if result.is_ok() { "" } else { "FAILED" }));
        result
    }

    /// Says that a stage is left out, and why.
    pub fn skip(&mut self, name: &str, why: &str) {
        eprintln!("== {name}: skipped: {why}");
        self.rows.push((name.to_owned(), Duration::ZERO, "skipped"));
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let total: Duration = self.rows.iter().map(|row| row.1).sum();
        println!("\nwhere the time went");
        for (name, elapsed, remark) in &self.rows {
            println!("  {name:<28} {:>8.1} s  {remark}", elapsed.as_secs_f64());
        }
        println!("  {:<28} {:>8.1} s", "total", total.as_secs_f64());
    }
}
