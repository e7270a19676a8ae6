//! One file, record by record.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sqllogictest::{
    AsyncDB, DefaultColumnType, MakeConnection, QueryExpect, Record, Runner, default_column_validator,
    default_normalizer, default_validator, parse_with_name,
};

use crate::{
    client::{Client, Letters},
    script,
};

/// The outcome of a file.
#[derive(Debug, Default)]
pub struct FileResult {
    pub passed: usize,
    /// What went wrong, with its place.
    pub failures: Vec<String>,
}

/// The file itself, or the `.slt` and `.test` files of a folder and below, in order.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        fs::metadata(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_script = entry.extension().is_some_and(|extension| extension == "slt" || extension == "test");
        if entry.is_dir() || is_script {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

/// Runs every record of a file in an emptied schema `public`.
pub async fn run_file(url: &str, path: &Path) -> FileResult {
    let mut result = FileResult::default();
    if let Err(message) = try_run_file(url, path, &mut result).await {
        result.failures.push(format!("{}: {message}", path.display()));
    }
    result
}

async fn try_run_file(url: &str, path: &Path, result: &mut FileResult) -> Result<(), String> {
    let text = String::from_utf8_lossy(&fs::read(path).map_err(|error| error.to_string())?).into_owned();
    let classic = path.extension().is_some_and(|extension| extension == "test");
    let name = path.display().to_string();
    let text = if classic { script::rewritten(&text) } else { text };
    let letters = Letters::default();
    let mut runner = Runner::new(|| Client::connect(url, letters.clone()));
    if classic {
        let prologue = parse_with_name(script::PROLOGUE, "prologue").map_err(|error| error.to_string())?;
        run_records(&mut runner, &letters, true, prologue, result).await;
    }
    empty_public(url).await?;
    let records = parse_with_name::<DefaultColumnType>(&text, name).map_err(|error| error.to_string())?;
    run_records(&mut runner, &letters, classic, records, result).await;
    runner.shutdown_async().await;
    Ok(())
}

/// Replaces the expected results of an `.slt` file by what the server answers.
pub async fn rewrite_file(url: &str, path: &Path) -> Result<(), String> {
    empty_public(url).await?;
    let letters = Letters::default();
    let mut runner = Runner::new(|| Client::connect(url, letters.clone()));
    let written = runner
        .update_test_file(path, " ", default_validator, default_normalizer, default_column_validator)
        .await
        .map_err(|error| error.to_string());
    runner.shutdown_async().await;
    written
}

async fn empty_public(url: &str) -> Result<(), String> {
    let mut client = Client::connect(url, Letters::default()).await.map_err(|error| error.to_string())?;
    for sql in ["DROP SCHEMA IF EXISTS public CASCADE", "CREATE SCHEMA public"] {
        client.run(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    client.shutdown().await;
    Ok(())
}

async fn run_records<M: MakeConnection<Conn = Client>>(
    runner: &mut Runner<Client, M>,
    letters: &Letters,
    classic: bool,
    records: Vec<Record<DefaultColumnType>>,
    result: &mut FileResult,
) {
    for record in records {
        let counts = matches!(record, Record::Statement { .. } | Record::Query { .. });
        if let Record::Halt { .. } = record {
            break;
        }
        if classic {
            let of_record = match &record {
                Record::Query { expected: QueryExpect::Results { types, .. }, .. } => types.clone(),
                _ => Vec::new(),
            };
            *letters.lock().expect("nobody panics under this lock") = Some(of_record);
        }
        match runner.run_async(record).await {
            Ok(sqllogictest::RecordOutput::Nothing) => {}
            Ok(_) => result.passed += usize::from(counts),
            Err(error) => result.failures.push(error.display(false).to_string()),
        }
    }
}
