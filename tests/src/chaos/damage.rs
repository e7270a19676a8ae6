//! Files that rot, and two processes on one store.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Outcome, options::Options, process::Launch};

const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(options: &Options) -> Outcome {
    let flags = ["--range-max-bytes", "4MiB", "--cache", "32MiB"];
    let launch = Launch::new(&options.binary, &options.folder.join("store"), &flags);
    let mut node = launch.start()?;
    let mut failures = Vec::new();

    let (status, said) = launch.start_to_end(PATIENCE)?;
    println!("second process: exit {status:?}: {}", last_line(&said));
    if status.is_none_or(|status| status == 0) {
        failures.push("a second process was let in".to_owned());
    }

    let client = node.connect().await?;
    client.batch_execute("create table rows (id int8 primary key, data text not null)").await?;
    for batch in 0..40 {
        let from = batch * 2_000;
        let insert = format!(
            "insert into rows select i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) from generate_series({from}, {}) as t(i)",
            from + 1_999
        );
        client.batch_execute(&insert).await?;
    }
    drop(client);
    node.kill()?;

    for (folder, ending) in [("log", ".seg"), ("state", ".sst")] {
        let Some(file) = largest(&options.folder.join("store").join(folder), ending)? else {
            failures.push(format!("no {ending} to damage"));
            continue;
        };
        let kept = fs::read(&file)?;
        flip(&file, used_middle(&kept))?;
        let verdict = detected(&launch, &file).await?;
        println!("{}: {}", file.display(), verdict.as_deref().unwrap_or("NOT detected"));
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match verdict {
            None => failures.push(format!("the damage of {} was not detected", file.display())),
            Some(said) if !said.contains(&name) => {
                failures.push(format!("detected, but {name} is not named: {said}"))
            }
            Some(_) => {}
        }
        fs::write(&file, kept)?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// What is said of the damage: at the start, or to a read of everything.
async fn detected(launch: &Launch, file: &Path) -> Outcome<Option<String>> {
    let mut node = match launch.start() {
        Ok(node) => node,
        Err(_) => {
            let (_, said) = launch.start_to_end(PATIENCE)?;
            return Ok(Some(format!("at the start: {}", last_line(&said))));
        }
    };
    let client = node.connect().await?;
    let verdict = match client.query("select id, data from rows", &[]).await {
        Err(error) => {
            let text = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            Some(format!("by a read: {text}"))
        }
        Ok(rows) => {
            println!("  {} rows were read in spite of the damage of {}", rows.len(), file.display());
            None
        }
    };
    node.kill()?;
    Ok(verdict)
}

fn last_line(said: &str) -> &str {
    said.trim().lines().last().unwrap_or_default()
}

fn largest(folder: &Path, ending: &str) -> Outcome<Option<PathBuf>> {
    let mut found: Option<(usize, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            let used = used_middle(&fs::read(&path)?);
            if found.as_ref().is_none_or(|(largest, _)| used > *largest) {
                found = Some((used, path));
            }
        }
    }
    Ok(found.map(|(_, path)| path))
}

/// The middle of what was written; segments are allocated ahead and end in zeroes.
fn used_middle(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 2
}

fn flip(file: &Path, at: usize) -> Outcome {
    let mut bytes = [0; 16];
    let mut source = File::open(file)?;
    source.seek(SeekFrom::Start(at as u64))?;
    source.read_exact(&mut bytes)?;
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    let mut target = OpenOptions::new().write(true).open(file)?;
    target.seek(SeekFrom::Start(at as u64))?;
    target.write_all(&bytes)?;
    target.sync_all()?;
    Ok(())
}
