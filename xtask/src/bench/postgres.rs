//! A private PostgreSQL: initialised, run and removed by this process, as the user `postgres` when we are root.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    node::{Scratch, free_port},
    process::{Result, output, run},
};

/// The newest installed version's programs.
pub fn programs() -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("pgbench").exists() && path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().ok_or_else(|| "no PostgreSQL server is installed".to_owned())
}

pub struct Postgres {
    pub port: u16,
    pub version: String,
    programs: PathBuf,
    data: PathBuf,
    /// Their data; stopped before what they follow.
    standbys: Vec<PathBuf>,
    _folder: Scratch,
}

impl Postgres {
    /// With the settings that published comparisons use: durable, and memory enough not to read from disk.
    ///
    /// A commit waits for any one of the `standbys`, if there are some.
    pub fn start(standbys: usize) -> Result<Self> {
        let programs = programs()?;
        let folder = Scratch::new("postgresql")?;
        let port = free_port()?;
        let data = folder.0.join("data");
        let mut postgres = Self {
            port,
            version: output(Command::new(programs.join("postgres")).arg("--version"))?.trim().to_owned(),
            programs,
            data,
            standbys: Vec::new(),
            _folder: folder,
        };
        if is_root()? {
            run(Command::new("chown").arg("postgres").arg(&postgres._folder.0))?;
        }
        let data = postgres.data.display().to_string();
        postgres.run("initdb", &format!("--auth=trust --username=postgres --pgdata={data} >/dev/null"))?;
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 4GB\n\
             max_wal_size = 8GB\nsynchronous_commit = on\nmax_connections = 200\n"
        );
        let path = postgres.data.join("postgresql.auto.conf");
        fs::write(&path, settings).map_err(|error| format!("{}: {error}", path.display()))?;
        postgres.run("pg_ctl", &format!("--wait --silent --pgdata={data} --log={data}/log start"))?;
        for number in 1..=standbys {
            postgres.add_standby(number)?;
        }
        if standbys > 0 {
            let names: Vec<String> = (1..=standbys).map(standby_name).collect();
            let names = format!("synchronous_standby_names = 'ANY 1 ({})'\n", names.join(", "));
            append(&path, &names)?;
            postgres.run("pg_ctl", &format!("--silent --pgdata={data} reload"))?;
        }
        Ok(postgres)
    }

    fn add_standby(&mut self, number: usize) -> Result<()> {
        let data = self.data.with_file_name(standby_name(number));
        let folder = data.display().to_string();
        let source = format!(
            "host=127.0.0.1 port={} user=postgres application_name={}",
            self.port,
            standby_name(number)
        );
        self.run(
            "pg_basebackup",
            &format!("--dbname='{source}' --pgdata={folder} --write-recovery-conf --checkpoint=fast"),
        )?;
        append(&data.join("postgresql.auto.conf"), &format!("port = {}\n", free_port()?))?;
        self.run("pg_ctl", &format!("--wait --silent --pgdata={folder} --log={folder}/log start"))?;
        self.standbys.push(data);
        Ok(())
    }

    fn run(&self, program: &str, arguments: &str) -> Result<()> {
        let script = format!("{} {arguments}", self.programs.join(program).display());
        run(&mut as_postgres(&script)?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for data in self.standbys.iter().chain([&self.data]) {
            let stop = format!("--wait --silent --pgdata={} --mode=fast stop", data.display());
            if let Err(message) = self.run("pg_ctl", &stop) {
                eprintln!("xtask: {message}");
            }
        }
    }
}

fn standby_name(number: usize) -> String {
    format!("standby{number}")
}

fn append(path: &Path, text: &str) -> Result<()> {
    let write = || fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes());
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// PostgreSQL refuses to run as root.
fn as_postgres(script: &str) -> Result<Command> {
    let mut command = if is_root()? { Command::new("runuser") } else { Command::new("sh") };
    if is_root()? {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.args(["-c", script]);
    command.current_dir("/");
    Ok(command)
}
