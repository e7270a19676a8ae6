//! A run in stages, with a closing table of where the time went.

use std::time::{Duration, Instant};

use crate::process::Result;

#[derive(Default)]
pub struct Stages {
    rows: Vec<(String, Duration, bool)>,
}

impl Stages {
    /// Runs a stage. Those after a failed one are the caller's to skip, by `?`.
    pub fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let started = Instant::now();
        let result = stage();
        self.rows.push((name.to_owned(), started.elapsed(), result.is_ok()));
        result
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let total: Duration = self.rows.iter().map(|row| row.1).sum();
        println!("\nwhere the time went");
        for (name, elapsed, passed) in &self.rows {
            println!(
                "  {name:<28} {:>8.1} s  {}",
                elapsed.as_secs_f64(),
                if *passed { "" } else { "FAILED" }
            );
        }
        println!("  {:<28} {:>8.1} s", "total", total.as_secs_f64());
    }
}
