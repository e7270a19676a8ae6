//! Much data that no compression makes less.

use std::pin::pin;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Client;

use crate::chaos::Outcome;

/// Of the text in one row.
pub const ROW_BYTES: u64 = 1_000;
/// Of one COPY.
const ROWS: u64 = 2_000;
/// COPY takes these as they are.
const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";

/// Makes table `big`, and returns the number of its rows.
pub async fn fill(client: &Client, mebibytes: u64) -> Outcome<u64> {
    client.batch_execute("create table big (id int8 primary key, pad text not null)").await?;
    let rows = (mebibytes << 20) / ROW_BYTES;
    extend(client, 0, rows).await?;
    Ok(rows)
}

/// Puts rows with the ids from `first` on, below `end`, into table `big`.
pub async fn extend(client: &Client, first: u64, end: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(first);
    for from in (first..end).step_by(usize::try_from(ROWS)?) {
        let mut text = Vec::new();
        for id in from..(from + ROWS).min(end) {
            text.extend_from_slice(format!("{id}\t").as_bytes());
            text.extend((0..ROW_BYTES).map(|_| LETTERS[random.usize(..LETTERS.len())]));
            text.push(b'\n');
        }
        let text = Bytes::from(text);
        // A retry is what the server asks for under load.
        let mut tries = 0;
        while let Err(error) = copy(client, text.clone()).await {
            tries += 1;
            if tries == 10 || client.is_closed() {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

async fn copy(client: &Client, text: Bytes) -> Result<(), tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in::<_, Bytes>("copy big from stdin").await?);
    sink.send(text).await?;
    sink.finish().await?;
    Ok(())
}
