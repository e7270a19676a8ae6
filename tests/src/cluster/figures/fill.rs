//! Much data, of which each row can be checked.

use tokio_postgres::Client;

use crate::chaos::Outcome;

const ROW_BYTES: u64 = 1_000;
/// Of one statement.
const ROWS: u64 = 2_000;

/// Returns the number of rows.
pub async fn fill(client: &Client, mebibytes: u64) -> Outcome<u64> {
    client.batch_execute("create table big (id int8 primary key, pad text not null)").await?;
    let rows = (mebibytes << 20) / ROW_BYTES;
    for from in (0..rows).step_by(usize::try_from(ROWS)?) {
        // What can't be compressed: hashes of hashes would be, by half, being text.
        let insert = format!(
            "insert into big select i, repeat(md5(i::text), {}) from generate_series({from}, {}) as g(i)",
            ROW_BYTES / 32,
            (from + ROWS).min(rows) - 1
        );
        // A retry is what the server asks for under load.
        let mut tries = 0;
        while let Err(error) = client.batch_execute(&insert).await {
            tries += 1;
            if tries == 10 || client.is_closed() {
                return Err(error.into());
            }
        }
    }
    Ok(rows)
}
