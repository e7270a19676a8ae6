//! The coordinator against a model of the store.

mod cleanups;
mod commits;
mod fake;
mod flushes;
mod heartbeats;
mod scans;
mod staging;

use std::sync::Arc;

use basalt_base::Key;
use basalt_env::os::os_env;
use bytes::Bytes;
use futures::FutureExt;

use crate::{ReadOptions, Txn, TxnClient, TxnConfig, TxnOptions};
use fake::Fake;

fn key(name: &str) -> Key {
    Key::copy_from_slice(name.as_bytes())
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn client(fake: &Arc<Fake>, options: TxnOptions) -> TxnClient {
    TxnClient::new(os_env("."), fake.clone(), options)
}

fn begin(client: &TxnClient) -> Txn {
    client.begin(TxnConfig::default()).unwrap()
}

async fn get(txn: &Txn, name: &str) -> Option<String> {
    let value = txn.get(&key(name), ReadOptions::default()).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Lets background tasks run until the store shows no lock any more.
async fn until_no_traces(fake: &Fake) {
    for _ in 0..10_000 {
        if fake.traces() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} locks stay behind", fake.traces());
}

/// The outcome of what must not wait for anybody.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::pin!(future);
    for _ in 0..10_000 {
        if let Some(value) = future.as_mut().now_or_never() {
            return value;
        }
        tokio::task::yield_now().await;
    }
    panic!("it waits for ever");
}

async fn load(client: &TxnClient, pairs: &[(&str, &str)]) {
    let txn = begin(client);
    for (name, text) in pairs {
        txn.put(key(name), value(text)).unwrap();
    }
    txn.commit().await.unwrap();
}
