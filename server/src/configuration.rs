//! What a node runs with: flags and environment over a file over defaults, checked.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use basalt_base::limits::RANGE_BYTES_MAX;
use basalt_kv::RANGE_BYTES_MIN;
use serde::Deserialize;

use crate::{
    clock_offset::ClockOffsetMax,
    command_line::StartFlags,
    locality::{self, Tier},
    memory,
    size::Size,
};

const DEFAULT_PORT: u16 = 5454;
const DEFAULT_REPLICAS: usize = 3;
/// Less starves the engine of memtables.
const CACHE_BYTES_MIN: u64 = 32 << 20;
const SQL_MEMORY_BYTES_MIN: u64 = 16 << 20;

/// The configuration file. Unknown keys are refused, with their line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    store: Option<PathBuf>,
    sql_addr: Option<SocketAddr>,
    rpc_addr: Option<SocketAddr>,
    advertise_addr: Option<String>,
    #[serde(default)]
    join: Vec<String>,
    #[serde(default)]
    locality: Vec<Tier>,
    replicas: Option<usize>,
    max_clock_offset: Option<ClockOffsetMax>,
    insecure: Option<bool>,
    certs_dir: Option<PathBuf>,
    insecure_sql: Option<bool>,
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
    pub rpc_addr: SocketAddr,
    /// Instead of the host of an address that it listens on.
    pub advertised_host: Option<String>,
    /// RPC addresses of nodes of the cluster.
    pub join: Vec<String>,
    /// The widest tier first.
    pub locality: Vec<Tier>,
    pub replicas: usize,
    /// The same in all nodes.
    pub clock_offset_max: ClockOffsetMax,
    /// Of the certificates between nodes; without, they are on this machine only.
    pub certs_dir: Option<PathBuf>,
    /// Says how far the wall clock is off, in tests.
    pub test_clock_file: Option<PathBuf>,
    pub stop_with_stdin: bool,
    pub cache_bytes: u64,
    pub sql_memory_bytes: u64,
    pub range_bytes_max: u64,
    pub connections_max: usize,
    pub log: String,
}

impl Configuration {
    pub fn new(flags: StartFlags, file: FileSettings) -> Result<Self, String> {
        let certs_dir = flags.certs_dir.or(file.certs_dir);
        let insecure = flags.insecure || file.insecure.unwrap_or(false);
        if certs_dir.is_none() && !insecure {
            return Err("there are no certificates, so clients could not be told apart: \
                        start with --insecure to serve this machine only"
                .to_owned());
        }
        if certs_dir.is_some() && !(flags.insecure_sql || file.insecure_sql.unwrap_or(false)) {
            return Err("passwords and encryption of SQL clients are not built yet: \
                        add --insecure-sql to serve them on this machine only, or leave --certs-dir"
                .to_owned());
        }
        let default_address = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        let sql_addr = flags.sql_addr.or(file.sql_addr).unwrap_or(default_address);
        if !sql_addr.ip().is_loopback() {
            return Err(format!(
                "SQL is served insecurely, so on loopback only, and {sql_addr} is reached from outside"
            ));
        }
        let rpc_addr = match flags.rpc_addr.or(file.rpc_addr) {
            Some(address) => address,
            // Whoever lets the system choose one port lets it choose both.
            None => match sql_addr.port() {
                0 => sql_addr,
                port => {
                    let port = port
                        .checked_add(1)
                        .ok_or("there is no port above that of --sql-addr: give --rpc-addr")?;
                    SocketAddr::new(sql_addr.ip(), port)
                }
            },
        };
        let join: Vec<String> = if flags.join.is_empty() { file.join } else { flags.join };
        let join: Vec<String> = join.iter().map(|address| address.trim().to_owned()).collect();
        for address in &join {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(format!("join: \"{address}\" is not an address: write it as host:port"));
            }
        }
        let locality = if flags.locality.is_empty() { file.locality } else { flags.locality };
        locality::check(&locality)?;
        let replicas = flags.replicas.or(file.replicas).unwrap_or(DEFAULT_REPLICAS);
        if ![1, 3, 5].contains(&replicas) {
            return Err(format!("replicas is {replicas}; it must be 1, 3 or 5"));
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
            rpc_addr,
            advertised_host: flags.advertise_addr.or(file.advertise_addr),
            join,
            locality,
            replicas,
            clock_offset_max: flags.max_clock_offset.or(file.max_clock_offset).unwrap_or_default(),
            certs_dir,
            test_clock_file: flags.test_clock_file,
            stop_with_stdin: flags.stop_with_stdin,
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
        assert!(Configuration::new(certificates.clone(), FileSettings::default()).is_err());
        let open_sql = StartFlags { insecure_sql: true, ..certificates };
        assert!(Configuration::new(open_sql, FileSettings::default()).is_ok());
    }

    #[test]
    fn nodes_are_reached_one_port_above_clients() {
        let at = |sql: &str, rpc: Option<&str>| {
            let flags = StartFlags {
                sql_addr: Some(sql.parse().unwrap()),
                rpc_addr: rpc.map(|address| address.parse().unwrap()),
                ..insecure()
            };
            Configuration::new(flags, FileSettings::default()).map(|configuration| configuration.rpc_addr)
        };
        assert_eq!(at("127.0.0.1:5454", None).unwrap().port(), 5455);
        assert_eq!(at("127.0.0.1:0", None).unwrap().port(), 0);
        assert_eq!(at("127.0.0.1:5454", Some("127.0.0.1:7000")).unwrap().port(), 7000);
        assert!(at("127.0.0.1:65535", None).is_err());
    }

    #[test]
    fn addresses_to_join_have_a_port() {
        let join = |address: &str| {
            let flags = StartFlags { join: vec![address.to_owned()], ..insecure() };
            Configuration::new(flags, FileSettings::default())
        };
        assert!(join("localhost:5455").is_ok());
        for wrong in ["localhost", "5455", ":5455", "localhost:0", "localhost:sql", ""] {
            assert!(join(wrong).unwrap_err().contains("host:port"), "{wrong}");
        }
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
    fn the_clock_offset_is_checked_in_the_file_too() {
        let offset = |text: &str| {
            let file = FileSettings::parse(&format!("max_clock_offset = \"{text}\"\n"))?;
            Configuration::new(insecure(), file).map(|configuration| configuration.clock_offset_max)
        };
        assert_eq!(offset("500ms"), "500ms".parse());
        assert!(offset("1h").unwrap_err().contains("line 1"));
        assert!(offset("1ms").unwrap_err().contains("between 20ms and 1s"));
        let default = Configuration::new(insecure(), FileSettings::default()).unwrap();
        assert_eq!(default.clock_offset_max, "250ms".parse().unwrap());
    }

    #[test]
    fn limits_hold() {
        let small = StartFlags { range_max_bytes: Some(Size::Bytes(1)), ..insecure() };
        assert!(Configuration::new(small, FileSettings::default()).is_err());
        let nobody = StartFlags { max_connections: Some(0), ..insecure() };
        assert!(Configuration::new(nobody, FileSettings::default()).is_err());
    }
}
