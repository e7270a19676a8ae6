//! Running other programs.

use std::{
    env,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

pub type Result<T> = std::result::Result<T, String>;

/// The root of the workspace: of the one that cargo runs this for. Clones share compiled programs, so this one may have been
/// compiled in another.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// Without what the cargo that runs us says of our own package: some build scripts look at those variables, and would
/// run again each time that a person and this program call cargo in turn.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_a_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

fn is_of_a_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// What a person would have typed.
pub fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let mut text = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs to the end; an error when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("failed: {} ({status})", shown(command))) }
}

/// Runs to the end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", shown(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("failed: {} ({})\n{text}", shown(command), output.status))
    }
}

/// Becomes the program; returns only if that fails.
pub fn exec(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let error = command.exec();
    Err(format!("{}: {error}", shown(command)))
}
