//! No reply before its sync, shown by what the kernel saw.
//!
//! One client commits rows that carry a marker of their own. Between the write that carries the marker into the log and
//! the reply there must be a sync of that file which began after the write had ended and ended before the reply began.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use super::{Outcome, options::Options, process::Launch, wait::until};

const CALLS: &str =
    "trace=write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,sendto,sendmsg";

pub async fn run(options: &Options) -> Outcome {
    let commits: u32 = options.get("commits", 60)?;
    let trace = options.folder.join("calls.trace");
    let mut launch = Launch::new(&options.binary, &options.folder.join("store"), &["--cache", "64MiB"]);
    launch.wrapper = ["strace", "-f", "-y", "-s", "16384", "-e", CALLS, "-o"].map(str::to_owned).to_vec();
    launch.wrapper.push(trace.display().to_string());
    let mut node = launch.start()?;
    let client = node.connect().await?;
    client.batch_execute("create table marked (id int8 primary key, mark text not null)").await?;
    let mut marks = Vec::new();
    for commit in 0..commits {
        let mark = format!("mark-{commit:06}-");
        let insert = format!("insert into marked values ({commit}, '{mark}')");
        if commit % 2 == 0 {
            client.batch_execute(&insert).await?;
        } else {
            client.batch_execute("begin").await?;
            client.batch_execute(&insert).await?;
            client.batch_execute("commit").await?;
        }
        marks.push((mark, if commit % 2 == 0 { "INSERT 0 1" } else { "COMMIT" }));
    }
    drop(client);
    // The tracer passes the signal on and ends with the node.
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", node.id()))?;
    let id: libc::pid_t = child.split_whitespace().next().ok_or("the tracer has no child")?.parse()?;
    // SAFETY: the tracer, which has not been waited for, keeps its child's id.
    unsafe { libc::kill(id, libc::SIGTERM) };
    until("the tracer ends", Duration::from_secs(30), async || Ok(!node.is_running()?)).await?;
    judge(&read_calls(&trace)?, &marks)
}

/// One system call; begin and end are line numbers of the trace, which strace writes in the order of events.
#[derive(Debug)]
struct Call {
    name: String,
    file: String,
    text: String,
    begin: usize,
    end: usize,
}

fn read_calls(trace: &Path) -> Outcome<Vec<Call>> {
    let text = String::from_utf8_lossy(&fs::read(trace)?).into_owned();
    let mut open: BTreeMap<String, Call> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(mut call) = open.remove(thread) {
                call.end = number;
                calls.push(call);
            }
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        let file =
            arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(file, _)| file);
        let call = Call {
            name: name.to_owned(),
            file: file.to_owned(),
            text: arguments.to_owned(),
            begin: number,
            end: number,
        };
        if rest.ends_with("<unfinished ...>") {
            open.insert(thread.to_owned(), call);
        } else {
            calls.push(call);
        }
    }
    calls.sort_by_key(|call| call.begin);
    Ok(calls)
}

fn judge(calls: &[Call], marks: &[(String, &str)]) -> Outcome {
    let is_send = |call: &Call| {
        call.file.starts_with("socket:") || call.name.starts_with("send") || call.file.starts_with("TCP")
    };
    let mut from = 0;
    for (mark, tag) in marks {
        let write = calls
            .iter()
            .find(|call| {
                call.begin >= from
                    && !is_send(call)
                    && call.file.contains("/log/")
                    && call.text.contains(mark.as_str())
            })
            .ok_or_else(|| format!("no write to the log carries {mark}"))?;
        let reply = calls
            .iter()
            .find(|call| {
                call.begin >= from && is_send(call) && call.begin > write.begin && call.text.contains(tag)
            })
            .ok_or_else(|| format!("no reply follows the write of {mark}"))?;
        let premature = calls.iter().find(|call| {
            call.begin >= from
                && call.begin < write.begin
                && is_send(call)
                && *tag == "COMMIT"
                && call.text.contains(tag)
        });
        if let Some(call) = premature {
            return Err(format!("replied before anything was written for {mark}: {call:?}").into());
        }
        let sync = calls.iter().find(|call| {
            (call.name == "fdatasync" || call.name == "fsync")
                && call.file == write.file
                && call.begin > write.end
                && call.end < reply.begin
        });
        if sync.is_none() {
            return Err(format!("the reply to {mark} precedes its sync: {write:?} {reply:?}").into());
        }
        from = reply.end;
    }
    let syncs = calls.iter().filter(|call| call.name.starts_with('f') && call.file.contains("/log/")).count();
    println!(
        "{} commits, {syncs} syncs of the log in all; every reply follows the sync of its own write",
        marks.len()
    );
    Ok(())
}
