//! The system's clocks, and a wall clock that is wrong on purpose.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use crate::Clock;

/// How long what was read of a clock file holds.
const REREAD_INTERVAL: Duration = Duration::from_millis(10);
/// More than two numbers take.
const FILE_BYTES_MAX: u64 = 64;

/// `CLOCK_REALTIME` and `CLOCK_MONOTONIC`.
pub struct OsClock {
    origin: Instant,
    file: Option<ClockFile>,
}

impl Default for OsClock {
    fn default() -> Self {
        Self::with_file(None)
    }
}

impl OsClock {
    /// A clock whose wall time is off by what a file says, for tests of real processes.
    ///
    /// The file holds "offset_micros drift_ppm": wall time is ahead of the system's by the offset, and gains the drift
    /// from the time when the file was last written, so that all processes that read it, restarted ones too, agree. It
    /// is read again every ten milliseconds; while it is absent or malformed, what was read last holds. To be replaced by
    /// a rename, for a file that is being written may be read in between.
    pub fn with_file(path: Option<PathBuf>) -> Self {
        Self { origin: Instant::now(), file: path.map(|path| ClockFile::new(path, REREAD_INTERVAL)) }
    }
}

impl Clock for OsClock {
    fn wall_micros(&self) -> i64 {
        let now = system_micros(SystemTime::now());
        self.file.as_ref().map_or(now, |file| file.wall_micros(now))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

fn system_micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

/// By how much the wall clock is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Error {
    offset_micros: i64,
    drift_ppm: i64,
    /// Since when it drifts, in microseconds since the Unix epoch.
    since_micros: i64,
}

struct ClockFile {
    path: PathBuf,
    interval: Duration,
    last: Mutex<(Option<Instant>, Error)>,
}

impl ClockFile {
    fn new(path: PathBuf, interval: Duration) -> Self {
        Self { path, interval, last: Mutex::default() }
    }

    fn wall_micros(&self, now: i64) -> i64 {
        let error = self.error();
        let drifted = i128::from(now) - i128::from(error.since_micros);
        let wall = i128::from(now)
            + i128::from(error.offset_micros)
            + drifted * i128::from(error.drift_ppm) / 1_000_000;
        i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN } else { i64::MAX })
    }

    fn error(&self) -> Error {
        let (read_at, error) = &mut *self.last.lock();
        if read_at.is_none_or(|at| at.elapsed() >= self.interval) {
            *read_at = Some(Instant::now());
            if let Some(read) = self.read() {
                *error = read;
            }
        }
        *error
    }

    fn read(&self) -> Option<Error> {
        let file = fs::File::open(&self.path).ok()?;
        let since = file.metadata().ok()?.modified().ok()?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let (offset_micros, drift_ppm) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        numbers.next().is_none().then(|| Error {
            offset_micros,
            drift_ppm,
            since_micros: system_micros(since),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in the system's directory for such, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("basalt-clock-{}-{name}", std::process::id())))
        }

        /// Writes the file as if `age` ago.
        fn write(&self, text: &str, age: Duration) {
            fs::write(&self.0, text).unwrap();
            let file = fs::File::options().write(true).open(&self.0).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    const NOW: i64 = 1_800_000_000_000_000;

    #[test]
    fn the_file_sets_the_offset_and_what_is_no_clock_file_changes_nothing() {
        let scratch = Scratch::new("offset");
        let file = ClockFile::new(scratch.0.clone(), Duration::ZERO);
        assert_eq!(file.wall_micros(NOW), NOW, "no file yet");
        for (text, offset) in [
            ("5000000 0\n", 5_000_000),
            ("", 5_000_000),
            ("7", 5_000_000),
            ("7 0 0", 5_000_000),
            ("seven 0", 5_000_000),
            ("-250000 0", -250_000),
            (&"9".repeat(100), -250_000),
            ("+1 0", 1),
        ] {
            scratch.write(text, Duration::ZERO);
            assert_eq!(file.wall_micros(NOW), NOW + offset, "{text:?}");
        }
        fs::remove_file(&scratch.0).unwrap();
        assert_eq!(file.wall_micros(NOW), NOW + 1);
    }

    #[test]
    fn the_clock_drifts_since_the_file_was_written() {
        let scratch = Scratch::new("drift");
        scratch.write("1000 -200", Duration::ZERO);
        let file = ClockFile::new(scratch.0.clone(), Duration::ZERO);
        let written = file.error().since_micros;
        assert_eq!(file.wall_micros(written), written + 1000);
        let later = written + 10_000_000;
        assert_eq!(file.wall_micros(later), later + 1000 - 2000);
        scratch.write(&format!("{} {}", i64::MAX, i64::MAX), Duration::ZERO);
        assert_eq!(file.wall_micros(NOW.max(later)), i64::MAX);
    }

    #[test]
    fn the_file_is_not_read_at_every_reading() {
        let scratch = Scratch::new("interval");
        scratch.write("1000 0", Duration::ZERO);
        let file = ClockFile::new(scratch.0.clone(), Duration::from_secs(3600));
        assert_eq!(file.wall_micros(NOW), NOW + 1000);
        scratch.write("2000 0", Duration::ZERO);
        assert_eq!(file.wall_micros(NOW), NOW + 1000);
    }

    #[test]
    fn wall_time_is_off_and_monotonic_time_is_not() {
        const HOUR: i64 = 3_600_000_000;
        let scratch = Scratch::new("wall");
        scratch.write(&format!("{HOUR} 1000"), Duration::from_secs(100));
        let (right, wrong) = (OsClock::default(), OsClock::with_file(Some(scratch.0.clone())));
        let expected = HOUR + 100_000;
        let ahead = wrong.wall_micros() - right.wall_micros();
        // The machine may be slow, but not by a minute.
        assert!((expected - 60_000_000..expected + 60_000_000).contains(&ahead), "{ahead}");
        let before = wrong.monotonic();
        scratch.write("0 0", Duration::ZERO);
        let after = wrong.monotonic();
        assert!(before <= after && after < Duration::from_secs(60));
    }
}
