use std::{any::Any, collections::BTreeMap};

use basalt_base::Span;
use basalt_kv_api::{Error as StoreError, RowAction, ScanBatch, ScanProgram, ScanSink};

use super::*;
use crate::ScanRequest;

/// Keeps rows whose value has an even first byte.
#[derive(Debug)]
struct EvenRows;

#[derive(Default)]
struct EvenSink(Vec<Key>);

impl ScanProgram for EvenRows {
    fn start(&self) -> Box<dyn ScanSink> {
        Box::<EvenSink>::default()
    }
}

impl ScanSink for EvenSink {
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<RowAction, StoreError> {
        let counted = value[0].is_multiple_of(2);
        if counted {
            self.0.push(Key::copy_from_slice(key));
        }
        Ok(RowAction::Continue { counted })
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|key| key.len()).sum()
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Any + Send>, StoreError> {
        Ok(Box::new(self.0))
    }
}

async fn scan_all(txn: &Txn, mut request: ScanRequest) -> Vec<Key> {
    let mut keys = Vec::new();
    loop {
        let page = txn.scan(request.clone()).await.unwrap();
        let rows: Vec<Key> = match page.batch {
            ScanBatch::Rows(rows) => rows.into_iter().map(|(key, _)| key).collect(),
            ScanBatch::Program(rows) => *rows.downcast().unwrap(),
        };
        if request.rows_max > 0 {
            assert!(rows.len() as u64 <= request.rows_max);
        }
        keys.extend(rows);
        match page.resume {
            Some(resume) => request.span = resume,
            None => return keys,
        }
    }
}

#[tokio::test]
async fn scans_merge_the_buffer_like_a_map_would() {
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..60 {
        let fake = Fake::with_splits(&["k30"]);
        let small = TxnOptions { buffer_bytes_max: 2_000, batch_bytes_max: 500, ..TxnOptions::default() };
        let client = client(&fake, if round % 2 == 0 { TxnOptions::default() } else { small });
        let mut model = BTreeMap::new();
        let name = |rng: &mut fastrand::Rng| key(&format!("k{:02}", rng.u8(..60)));
        let loader = begin(&client);
        for _ in 0..rng.usize(..60) {
            let (name, byte) = (name(&mut rng), rng.u8(..));
            loader.put(name.clone(), Bytes::from(vec![byte])).unwrap();
            model.insert(name, byte);
        }
        loader.commit().await.unwrap();
        let txn = begin(&client);
        for _ in 0..rng.usize(..40) {
            let (name, byte) = (name(&mut rng), rng.u8(..));
            if rng.bool() {
                txn.put(name.clone(), Bytes::from(vec![byte])).unwrap();
                model.insert(name, byte);
            } else {
                txn.delete(name.clone()).unwrap();
                model.remove(&name);
            }
            txn.flush_if_needed().await.unwrap();
        }
        txn.statement();
        for _ in 0..10 {
            let (a, b) = (name(&mut rng), name(&mut rng));
            let span = Span::new(a.clone().min(b.clone()), a.max(b));
            let mut request = ScanRequest::new(span.clone());
            request.reverse = rng.bool();
            request.rows_max = rng.u64(..5);
            request.bytes_max = rng.u64(..3) * 7;
            let even = rng.bool();
            if even {
                request.program = Some(Arc::new(EvenRows));
            }
            let reverse = request.reverse;
            let mut expected: Vec<Key> = model
                .iter()
                .filter(|(key, byte)| span.contains(key) && (!even || **byte % 2 == 0))
                .map(|(key, _)| key.clone())
                .collect();
            if reverse {
                expected.reverse();
            }
            assert_eq!(scan_all(&txn, request).await, expected, "round {round}");
        }
        txn.commit().await.unwrap();
        until_no_traces(&fake).await;
    }
}

#[tokio::test]
async fn several_scans_at_once_and_a_refresh_agree_on_one_timestamp() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    load(&client, &[("a", "1"), ("c", "1")]).await;
    let txn = begin(&client);
    load(&client, &[("b", "1")]).await;
    let scan = |from: &str, to: &str| {
        let request = ScanRequest::new(Span::new(key(from), key(to)));
        let txn = txn.clone();
        async move { txn.scan(request).await }
    };
    let target = client.now().unwrap();
    let (first, second, moved) = futures::join!(scan("a", "b"), scan("c", "d"), txn.inner.refresh_to(target));
    first.unwrap();
    second.unwrap();
    moved.unwrap();
    assert_eq!(txn.read_timestamp(), target);
    // Whoever read at the older timestamp has verified its span up to the newer one.
    let mut state = txn.inner.state();
    assert_eq!(state.reads.all_spans().len(), 2);
}
