//! A disk that fills up: writes are refused with 53100, reads go on, room brings writes back, nothing promised is lost.

use std::{
    fs::File,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, error::SqlState};

use super::{
    Outcome,
    load::{Fate, Journal, Load, create_tables},
    loop_fs::LoopFs,
    options::Options,
    process::{Launch, mebibytes},
    verify::violations,
    wait::until,
};

pub async fn run(options: &Options) -> Outcome {
    let disk = LoopFs::create(&options.folder, options.get("disk-mib", 700)?)?;
    let flags = ["--range-max-bytes", "8MiB", "--cache", "64MiB"];
    let launch = Launch::new(&options.binary, &disk.path().join("store"), &flags);
    let mut node = launch.start()?;
    let client = node.connect().await?;
    create_tables(&client).await?;
    client.batch_execute("create table filler (id int8 primary key, data text not null)").await?;
    let journal = Arc::new(Journal::default());
    let load = Load::start(node.port, 4, &journal);
    write_more(&journal).await?;
    println!(
        "with room: {} acknowledged, {} free",
        journal.count(Fate::Acknowledged),
        mebibytes(disk.free_bytes()?)
    );

    // Somebody else takes the room away.
    let ballast = disk.path().join("ballast");
    take(&ballast, &disk)?;
    println!("{} free", mebibytes(disk.free_bytes()?));
    let refusal = write_until_refused(&client).await?;
    println!("first refusal: {refusal:?}");
    let mut failures = Vec::new();
    if refusal.0 != SqlState::DISK_FULL {
        failures.push(format!("refused with {}: {}", refusal.0.code(), refusal.1));
    }
    load.finish(Duration::from_secs(60)).await?;
    let count = client.query_one("select count(*) from events", &[]).await;
    match &count {
        Ok(row) => println!("reads go on: {} events", row.get::<_, i64>(0)),
        Err(error) => failures.push(format!("a read failed: {error:?}")),
    }
    if !node.is_running()? {
        failures.push("the node ended".to_owned());
    }

    std::fs::remove_file(&ballast)?;
    let begun = Instant::now();
    let write =
        async || Ok(client.execute("insert into filler values (-1, 'room again')", &[]).await.is_ok());
    match until("a write after there was room", Duration::from_secs(30), write).await {
        Ok(()) => println!("writes again after {:?}", begun.elapsed()),
        Err(error) => failures.push(error.to_string()),
    }
    let load = Load::start(node.port, 4, &journal);
    write_more(&journal).await?;
    load.finish(Duration::from_secs(60)).await?;
    failures.extend(violations(&node.connect().await?, &journal).await?);
    let errors = std::mem::take(&mut *journal.errors.lock().expect("nobody panics with it"));
    let other = errors.iter().filter(|error| !error.contains("no space left")).take(3).collect::<Vec<_>>();
    println!("{} refusals seen by the load; not about space: {other:?}", errors.len());

    node.kill()?;
    node = launch.start()?;
    failures.extend(violations(&node.connect().await?, &journal).await?);
    println!("after kill and restart: {} acknowledged", journal.count(Fate::Acknowledged));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Waits until the load has had a thousand more writes acknowledged.
async fn write_more(journal: &Journal) -> Outcome {
    let enough = journal.count(Fate::Acknowledged) + 1_000;
    let acknowledged = async || Ok(journal.count(Fate::Acknowledged) >= enough);
    until("a thousand writes are acknowledged", Duration::from_secs(60), acknowledged).await
}

/// Fills the file system to the last block.
fn take(ballast: &std::path::Path, disk: &LoopFs) -> Outcome {
    let mut file = File::create(ballast)?;
    let block = vec![0x5a; 1 << 16];
    while disk.free_bytes()? > 0 {
        if file.write_all(&block).is_err() {
            break;
        }
    }
    file.sync_all()
        .or_else(|error| if error.raw_os_error() == Some(libc::ENOSPC) { Ok(()) } else { Err(error) })?;
    Ok(())
}

async fn write_until_refused(client: &Client) -> Outcome<(SqlState, String)> {
    let data = "f".repeat(100_000);
    let begun = Instant::now();
    for id in 0.. {
        if let Err(error) = client.execute("insert into filler values ($1, $2)", &[&(id as i64), &data]).await
        {
            let code = error.code().cloned().ok_or_else(|| format!("the connection broke: {error}"))?;
            return Ok((code, error.as_db_error().map_or_else(String::new, |error| format!("{error:?}"))));
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the disk is full, and writes go on".into());
        }
    }
    Err("never refused".into())
}
