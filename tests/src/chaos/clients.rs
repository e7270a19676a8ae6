//! Clients that misbehave: garbage, half packets, lengths that lie, and those that vanish while they hold something.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::Client;

use super::{
    Outcome,
    options::Options,
    process::{Launch, Node, connect, mebibytes},
    wait::{processor_percent, until},
};

const IDLE_WINDOW: Duration = Duration::from_secs(8);

pub async fn run(options: &Options) -> Outcome {
    let connections: usize = options.get("connections", 250)?;
    let flags = ["--cache", "64MiB", "--max-connections", "300", "--range-max-bytes", "1MiB"];
    let launch = Launch::new(&options.binary, &options.folder.join("store"), &flags);
    let mut node = launch.start()?;
    println!("after the start: {}", mebibytes(node.resident()?.0));
    println!("idle: {:.2} % of a processor", processor_percent(&node, IDLE_WINDOW).await?);
    let client = node.connect().await?;
    client.batch_execute("create table t (id int8 primary key, data text)").await?;
    client.batch_execute("insert into t select i, 'x' from generate_series(1, 100) as g(i)").await?;
    let mut failures = Vec::new();

    for (name, bytes) in hostile() {
        let ended = send_raw(node.port, &bytes).await?;
        println!("{name}: {ended}");
    }
    if !node.is_running()? || client.query_one("select count(*) from t", &[]).await.is_err() {
        return Err("the node did not stand hostile bytes".into());
    }
    vanish_in_transaction(&node, &mut failures).await?;
    vanish_in_copy(&node, &mut failures).await?;

    let before = node.resident()?.0;
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(node.connect().await?);
    }
    let opened = begun.elapsed();
    let answers = futures::future::try_join_all(
        clients.iter().map(|client| client.query_one("select count(*) from t", &[])),
    )
    .await;
    let with = node.resident()?.0;
    println!(
        "{connections} connections in {opened:?}, {} each; all answer: {}",
        mebibytes(with.saturating_sub(before) / connections as u64),
        answers.is_ok()
    );
    if let Err(error) = answers {
        failures.push(format!("one of {connections} connections: {error}"));
    }
    let mut more = Vec::new();
    let refusal = loop {
        match connect(node.port).await {
            Ok(client) if more.len() < 400 => more.push(client),
            Ok(_) => break "none".to_owned(),
            Err(error) => break format!("{error:?}"),
        }
    };
    let coded = refusal.contains("53300");
    println!("the connection too many (number {}): 53300: {coded}", connections + more.len() + 2);
    if !coded {
        failures.push(format!("too many connections: {refusal}"));
    }
    drop((clients, more));
    until_sessions(&client, 1).await?;
    println!("after they left: {}", mebibytes(node.resident()?.0));

    many_ranges(&client).await?;
    let quiet = async || Ok(processor_percent(&node, Duration::from_millis(500)).await? < 1.0);
    until("the ranges are divided and the node is quiet", Duration::from_secs(60), quiet).await?;
    let ranges: i64 = client.query_one("select count(*) from basalt_ranges", &[]).await?.get(0);
    println!(
        "with {ranges} ranges: {}, idle {:.2} % of a processor",
        mebibytes(node.resident()?.0),
        processor_percent(&node, IDLE_WINDOW).await?
    );
    println!("stops cleanly: {}", node.stop()?);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Waits until there are only so many sessions, that of `client` among them.
async fn until_sessions(client: &Client, left: i64) -> Outcome {
    let gone = async || {
        let sessions: i64 = client.query_one("select count(*) from pg_stat_activity", &[]).await?.get(0);
        Ok(sessions <= left)
    };
    until("the other sessions are gone", Duration::from_secs(30), gone).await
}

fn startup() -> BytesMut {
    let mut packet = BytesMut::new();
    let body = b"user\0postgres\0database\0postgres\0\0";
    packet.put_u32(8 + body.len() as u32);
    packet.put_u32(196_608);
    packet.put_slice(body);
    packet
}

/// After the startup packet, if it begins with one.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let after_startup = |bytes: &[u8]| [&startup()[..], bytes].concat();
    let garbage: Vec<u8> =
        (0..4_096_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("nothing", Vec::new()),
        ("garbage", garbage.clone()),
        ("half a startup packet", startup()[..12].to_vec()),
        ("a startup length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        ("a startup length of 0", vec![0; 8]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("garbage after the startup", after_startup(&garbage)),
        ("a query of 2 GiB", after_startup(&[b'Q', 0x7f, 0xff, 0xff, 0xff, b's'])),
        ("a length of 0", after_startup(&[b'Q', 0, 0, 0, 0])),
        ("half a query", after_startup(&[b'Q', 0, 0, 0, 100, b's', b'e'])),
        ("an unknown message", after_startup(&[0x01, 0, 0, 0, 4])),
        ("a query that is not UTF-8", after_startup(&[b'Q', 0, 0, 0, 8, 0xff, 0xfe, 0xfd, 0])),
        ("a bind of nothing", after_startup(&[b'B', 0, 0, 0, 6, 0, 0, b'S', 0, 0, 0, 4])),
        ("a bind that counts wrong", after_startup(b"B\0\0\0\x0c\0\0\x7f\xff\0\0\0\0S\0\0\0\x04")),
    ]
}

/// Sends, closes its half, and reads what comes until the end.
async fn send_raw(port: u16, bytes: &[u8]) -> Outcome<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    if let Err(error) = socket.write_all(bytes).await {
        return Ok(format!("closed while sending ({error})"));
    }
    let _closed_already = socket.shutdown().await;
    let mut answer = Vec::new();
    match tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut answer)).await {
        Err(_) => Err("the connection stays open".into()),
        Ok(Err(error)) => Ok(format!("reset ({})", error.kind())),
        Ok(Ok(_)) => {
            let text = String::from_utf8_lossy(&answer);
            let code =
                text.find("SFATAL").or_else(|| text.find("SERROR")).map(|at| text[at..].replace('\0', " "));
            Ok(code.map_or_else(
                || format!("closed after {} bytes", answer.len()),
                |code| code.chars().take(110).collect(),
            ))
        }
    }
}

async fn abandoned(port: u16) -> Outcome<(Client, tokio::task::JoinHandle<()>)> {
    let (client, connection) =
        tokio_postgres::connect(&super::process::url(port), tokio_postgres::NoTls).await?;
    let task = tokio::spawn(async move {
        let _ended = connection.await;
    });
    Ok((client, task))
}

/// Its row locks must go at once, and not only when they expire.
async fn vanish_in_transaction(node: &Node, failures: &mut Vec<String>) -> Outcome {
    let (client, connection) = abandoned(node.port).await?;
    client.batch_execute("begin").await?;
    client.batch_execute("select * from t where id < 50 for update").await?;
    client.batch_execute("update t set data = 'y' where id = 60").await?;
    connection.abort();
    let other = node.connect().await?;
    let begun = Instant::now();
    let updates = async {
        other.execute("update t set data = 'z' where id = 1", &[]).await?;
        other.execute("update t set data = 'z' where id = 60", &[]).await
    };
    let done = tokio::time::timeout(Duration::from_secs(30), updates).await;
    println!("locks of a vanished client: gone after {:?}", begun.elapsed());
    if !matches!(done, Ok(Ok(1))) || begun.elapsed() > Duration::from_secs(2) {
        failures.push(format!("locks of a vanished client: {done:?} after {:?}", begun.elapsed()));
    }
    Ok(())
}

async fn vanish_in_copy(node: &Node, failures: &mut Vec<String>) -> Outcome {
    node.connect().await?.batch_execute("create table copied (id int8 primary key, data text)").await?;
    let before = node.resident()?.0;
    let mut during = 0;
    for turn in 0..3_u32 {
        let mut socket = TcpStream::connect(("127.0.0.1", node.port)).await?;
        let query = b"copy copied from stdin\0";
        let mut bytes = startup();
        bytes.put_u8(b'Q');
        bytes.put_u32(4 + query.len() as u32);
        bytes.put_slice(query);
        socket.write_all(&bytes).await?;
        for chunk in 0..600_u32 {
            let rows: String = (0..100)
                .map(|row| format!("{}\t{}\n", (turn * 600 + chunk) * 100 + row, "d".repeat(300)))
                .collect();
            let mut message = BytesMut::new();
            message.put_u8(b'd');
            message.put_u32(4 + rows.len() as u32);
            message.put_slice(rows.as_bytes());
            socket.write_all(&message).await?;
        }
        during = during.max(node.resident()?.0);
        drop(socket);
    }
    let client = node.connect().await?;
    // This one and the scenario's.
    until_sessions(&client, 2).await?;
    let count: i64 = client.query_one("select count(*) from copied", &[]).await?.get(0);
    let begun = Instant::now();
    let row = client.execute("insert into copied values (5, 'mine')", &[]).await;
    println!(
        "vanished in mid-COPY three times: {count} rows, insert on a copied key in {:?}; resident {} before, {} during, {} after",
        begun.elapsed(),
        mebibytes(before),
        mebibytes(during),
        mebibytes(node.resident()?.0)
    );
    if count != 0 || row.is_err() || begun.elapsed() > Duration::from_secs(2) {
        failures
            .push(format!("after a vanished COPY: {count} rows, insert {row:?} in {:?}", begun.elapsed()));
    }
    Ok(())
}

async fn many_ranges(client: &Client) -> Outcome {
    client.batch_execute("create table wide (id int8 primary key, data text not null)").await?;
    for batch in 0..70 {
        let from = batch * 2_000;
        let insert = format!(
            "insert into wide select i, repeat(md5(i::text), 25) from generate_series({from}, {}) as g(i)",
            from + 1_999
        );
        client.batch_execute(&insert).await?;
    }
    Ok(())
}
