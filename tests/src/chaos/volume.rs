//! Many rows on a node with little memory: load, ranges, reads, and what it costs.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::Client;

use super::{
    Outcome,
    options::Options,
    process::{Launch, Node, mebibytes},
};

pub async fn run(options: &Options) -> Outcome {
    let rows: i64 = options.get("rows", 1_000_000)?;
    let range = options.get("range-max-bytes", "64MiB".to_owned())?;
    let mut launch =
        Launch::new(&options.binary, &options.folder.join("store"), &["--range-max-bytes", &range]);
    launch.memory = Some(options.get::<u64>("memory-mib", 1_024)? << 20);
    let mut node = launch.start()?;
    let client = node.connect().await?;
    client
        .batch_execute("create table big (id int8 primary key, k int4 not null, pad text not null)")
        .await?;
    let mut loaded = 0;
    let mut size = 10_000.min(rows);
    loop {
        let begun = Instant::now();
        copy(&client, loaded, size).await?;
        let rate = (size - loaded) as f64 / begun.elapsed().as_secs_f64();
        loaded = size;
        stage(&node, &client, loaded, rate).await?;
        if loaded == rows {
            break;
        }
        size = (size * 10).min(rows);
    }
    println!("stops cleanly: {}", node.stop()?);
    node = launch.start()?;
    println!("started again in {:?}", node.started_in);
    Ok(())
}

/// One COPY of the rows `from..to`, of about 100 bytes each.
async fn copy(client: &Client, from: i64, to: i64) -> Outcome {
    let sink = client.copy_in::<_, Bytes>("copy big from stdin").await?;
    let mut sink = pin!(sink);
    let mut buffer = BytesMut::new();
    for id in from..to {
        let pad = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        buffer.put_slice(
            format!("{id}\t{}\t{pad:016x}{pad:016x}{pad:016x}{pad:016x}{pad:016x}\n", id * 7_919 % 1_000)
                .as_bytes(),
        );
        if buffer.len() > 60_000 {
            sink.send(buffer.split().freeze()).await?;
        }
    }
    sink.send(buffer.freeze()).await?;
    let copied = sink.finish().await?;
    if copied != (to - from) as u64 { Err(format!("{copied} rows were copied").into()) } else { Ok(()) }
}

async fn stage(node: &Node, client: &Client, rows: i64, rate: f64) -> Outcome {
    let point = client.prepare("select k from big where id = $1").await?;
    let mut latencies = Vec::new();
    let mut id = 1_i64;
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        id = (id.wrapping_mul(48_271) + 11).rem_euclid(rows);
        let begun = Instant::now();
        let k: i32 = client.query_one(&point, &[&id]).await?.get(0);
        latencies.push(begun.elapsed());
        if i64::from(k) != id * 7_919 % 1_000 {
            return Err(format!("row {id} holds {k}").into());
        }
    }
    latencies.sort_unstable();
    let begun = Instant::now();
    let half = rows / 2;
    let between = client
        .query_one("select count(*) from big where id between $1 and $2", &[&half, &(half + 999)])
        .await?
        .get::<_, i64>(0);
    let range_time = begun.elapsed();
    let begun = Instant::now();
    let row = client.query_one("select count(*), sum(k)::int8 from big", &[]).await?;
    let (count, sum): (i64, i64) = (row.get(0), row.get(1));
    let all_time = begun.elapsed();
    let expected: i64 = (0..rows).map(|id| id * 7_919 % 1_000).sum();
    let ranges: i64 = client.query_one("select count(*) from basalt_ranges", &[]).await?.get(0);
    let (now, peak) = node.resident()?;
    println!(
        "{rows} rows: COPY {rate:.0} rows/s; point reads median {:?}, 99th {:?}; 1000 rows in {range_time:?}; all in {all_time:?}; {ranges} ranges; resident {}, peak {}",
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
        mebibytes(now),
        mebibytes(peak),
    );
    if between != 1_000 || count != rows || sum != expected {
        return Err(
            format!("wrong answers: {between} of 1000, {count} rows, sum {sum} for {expected}").into()
        );
    }
    Ok(())
}
