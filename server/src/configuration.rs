//! What a node runs with: flags and environment over a file over defaults, checked.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use basalt_base::limits::RANGE_BYTES_MAX;
use basalt_kv::RANGE_BYTES_MIN;
use serde::Deserialize;

use crate::{command_line::StartFlags, memory, size::Size};

const DEFAULT_PORT: u16 = 5454;
/// Less starves the engine of memtables.
const CACHE_BYTES_MIN: u64 = 32 << 20;
const SQL_MEMORY_BYTES_MIN: u64 = 16 << 20;

/// The configuration file. Unknown keys are refused, with their line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    store: Option<PathBuf>,
    sql_addr: Option<SocketAddr>,
    insecure: Option<bool>,
    certs_dir: Option<PathBuf>,
    cache: Option<Size>,
    sql_memory: Option<Size>,
    range_max_bytes: Option<Size>,
    max_connections: Option<usize>,
    log: Option<String>,
}

impl FileSettings {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }
}

/// Checked and complete.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub store: PathBuf,
    pub sql_addr: SocketAddr,
    pub cache_bytes: u64,
    pub sql_memory_bytes: u64,
    pub range_bytes_max: u64,
    pub connections_max: usize,
    pub log: String,
}

impl Configuration {
    pub fn new(flags: StartFlags, file: FileSettings) -> Result<Self, String> {
        let insecure = flags.insecure || file.insecure.unwrap_or(false);
        if flags.certs_dir.or(file.certs_dir).is_some() {
            return Err("encrypted connections are not built yet: certs-dir can not be used".to_owned());
        }
        if !insecure {
            return Err("there are no certificates, so clients could not be told apart: \
                        start with --insecure to serve this machine only"
                .to_owned());
        }
        let default_address = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        let sql_addr = flags.sql_addr.or(file.sql_addr).unwrap_or(default_address);
        if !sql_addr.ip().is_loopback() {
            return Err(format!("--insecure serves loopback only, and {sql_addr} is reached from outside"));
        }
        let memory = memory::total_bytes();
        let bytes = |name: &str, flag: Option<Size>, file: Option<Size>, default: Size, min: u64| {
            let bytes = flag.or(file).unwrap_or(default).of(memory);
            if bytes < min { Err(format!("{name} is {bytes} bytes; the least is {min}")) } else { Ok(bytes) }
        };
        let share = Size::Percent(25);
        let connections_max = flags.max_connections.or(file.max_connections).unwrap_or(200);
        if !(1..=100_000).contains(&connections_max) {
            return Err(format!("max-connections is {connections_max}; it must be between 1 and 100000"));
        }
        Ok(Self {
            store: flags.store.or(file.store).unwrap_or_else(|| "basalt-data".into()),
            sql_addr,
            cache_bytes: bytes("cache", flags.cache, file.cache, share, CACHE_BYTES_MIN)?,
            sql_memory_bytes: bytes(
                "sql-memory",
                flags.sql_memory,
                file.sql_memory,
                share,
                SQL_MEMORY_BYTES_MIN,
            )?,
            range_bytes_max: bytes(
                "range-max-bytes",
                flags.range_max_bytes,
                file.range_max_bytes,
                Size::Bytes(RANGE_BYTES_MAX),
                RANGE_BYTES_MIN,
            )?,
            connections_max,
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insecure() -> StartFlags {
        StartFlags { insecure: true, ..StartFlags::default() }
    }

    #[test]
    fn without_certificates_only_insecure_loopback_starts() {
        assert!(Configuration::new(StartFlags::default(), FileSettings::default()).is_err());
        assert!(Configuration::new(insecure(), FileSettings::default()).is_ok());
        let outside = StartFlags { sql_addr: Some("0.0.0.0:5454".parse().unwrap()), ..insecure() };
        assert!(Configuration::new(outside, FileSettings::default()).unwrap_err().contains("loopback"));
        let certificates = StartFlags { certs_dir: Some("certs".into()), ..StartFlags::default() };
        assert!(Configuration::new(certificates, FileSettings::default()).is_err());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file =
            FileSettings::parse("cache = \"64MiB\"\nrange_max_bytes = 2097152\nlog = \"warn\"\n").unwrap();
        let flags = StartFlags { cache: Some(Size::Bytes(128 << 20)), ..insecure() };
        let configuration = Configuration::new(flags, file).unwrap();
        assert_eq!(configuration.cache_bytes, 128 << 20);
        assert_eq!(configuration.range_bytes_max, 2 << 20);
        assert_eq!(configuration.log, "warn");
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = FileSettings::parse("log = \"info\"\nsql_port = 5454\n").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("sql_port") && error.contains("sql_addr"),
            "{error}"
        );
        assert!(FileSettings::parse("cache = \"lots\"\n").unwrap_err().contains("line 1"));
    }

    #[test]
    fn limits_hold() {
        let small = StartFlags { range_max_bytes: Some(Size::Bytes(1)), ..insecure() };
        assert!(Configuration::new(small, FileSettings::default()).is_err());
        let nobody = StartFlags { max_connections: Some(0), ..insecure() };
        assert!(Configuration::new(nobody, FileSettings::default()).is_err());
    }
}
