//! Dividing the spans of a large scan between partitions.
//!
//! Spans stay in order, so that partitions one after the other are the scan. A span is cut where its first and last
//! stored keys, read as numbers, are evenly spaced between: the middle of serial keys, of UUIDs and of time stamps.

use basalt_base::{Key, Span};
use basalt_kv_api::ScanBatch;
use basalt_sql::{error::sql_error, exec::ExecContext};
use basalt_txn::ScanRequest;
use basalt_types::{Result, SqlError};
use bytes::BytesMut;

/// `count` lists of spans that together are `spans`; some may be empty.
pub async fn split(spans: Vec<Span>, count: usize, context: &ExecContext) -> Result<Vec<Vec<Span>>> {
    let pieces = match &spans[..] {
        [span] => cut(span, count, context).await?,
        _ => spans,
    };
    let each = pieces.len().div_ceil(count).max(1);
    let mut partitions: Vec<Vec<Span>> = pieces.chunks(each).map(<[Span]>::to_vec).collect();
    partitions.resize(count, Vec::new());
    Ok(partitions)
}

async fn cut(span: &Span, count: usize, context: &ExecContext) -> Result<Vec<Span>> {
    let (Some(first), Some(last)) = (edge(span, false, context).await?, edge(span, true, context).await?)
    else {
        return Ok(vec![span.clone()]);
    };
    let mut pieces = Vec::with_capacity(count);
    let mut start = span.start.clone();
    for key in between(&first, &last, count) {
        if key > start && key < span.end {
            pieces.push(Span::new(start, key.clone()));
            start = key;
        }
    }
    pieces.push(Span::new(start, span.end.clone()));
    Ok(pieces)
}

/// The first or last stored key.
async fn edge(span: &Span, last: bool, context: &ExecContext) -> Result<Option<Key>> {
    let mut request = ScanRequest::new(span.clone());
    request.reverse = last;
    request.rows_max = 1;
    let page = context.txn.scan(request).await.map_err(sql_error)?;
    match page.batch {
        ScanBatch::Rows(rows) => Ok(rows.into_iter().next().map(|(key, _)| key)),
        ScanBatch::Program(_) => {
            Err(SqlError::internal("a scan without a program returned a program's output"))
        }
    }
}

/// `count - 1` keys that divide the way from `first` to `last` evenly.
fn between(first: &[u8], last: &[u8], count: usize) -> Vec<Key> {
    let same = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut bytes = [0; 8];
        let rest = &key[same.min(key.len())..];
        let length = rest.len().min(8);
        bytes[..length].copy_from_slice(&rest[..length]);
        u64::from_be_bytes(bytes)
    };
    let (low, high) = (number(first), number(last));
    let step = u128::from(high.saturating_sub(low));
    let mut keys = Vec::with_capacity(count.saturating_sub(1));
    for index in 1..count {
        let at = low + (step * index as u128 / count as u128) as u64;
        let mut key = BytesMut::from(&first[..same]);
        key.extend_from_slice(&at.to_be_bytes());
        keys.push(key.freeze());
    }
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn keys_divide_evenly() {
        let key = |number: u64| [b"prefix".as_slice(), &number.to_be_bytes()].concat();
        let cuts = between(&key(1_000), &key(5_000), 4);
        let expected: Vec<Vec<u8>> = [2_000, 3_000, 4_000].map(key).to_vec();
        let same = 12; // The first six bytes of the numbers are equal too, and the cut is made behind them.
        for (cut, expected) in cuts.iter().zip(&expected) {
            assert_eq!(cut[..same], expected[..same]);
            assert_eq!(cut[same..same + 2], expected[same..]);
        }
    }

    #[test]
    fn one_key_is_not_cut_below_itself() {
        for cut in between(b"abc", b"abc", 3) {
            assert!(&cut[..] > b"abc".as_slice());
        }
        assert!(between(b"", b"\xff", 2).len() == 1);
    }
}
