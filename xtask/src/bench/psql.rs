//! Questions to a server of either kind.

use std::{path::Path, process::Command};

use crate::process::{Result, output};

/// The rows of an answer, one a line, columns apart by tabs.
pub fn psql(programs: &Path, port: u16, query: &str) -> Result<String> {
    let mut command = Command::new(programs.join("psql"));
    command.args(["-X", "-A", "-t", "-F", "\t", "-h", "127.0.0.1", "-U", "postgres"]);
    command.args(["-p", &port.to_string(), "-c", query, "postgres"]);
    Ok(output(&mut command)?.trim().to_owned())
}
