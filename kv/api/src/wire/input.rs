//! Writing and reading flat encodings: big-endian integers and length-prefixed bytes.

use basalt_base::{Span, Timestamp, TxnId};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed {0}")]
pub struct WireError(pub &'static str);

pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("keys and values are bounded far below 4 GiB"));
    out.put_slice(bytes);
}

pub fn put_span(out: &mut BytesMut, span: &Span) {
    put_bytes(out, &span.start);
    put_bytes(out, &span.end);
}

/// Takes values from the front of shared bytes, without copying.
pub struct Input {
    pub rest: Bytes,
    pub what: &'static str,
}

impl Input {
    pub fn new(bytes: Bytes, what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub fn error(&self) -> WireError {
        WireError(self.what)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.rest.try_get_u8().map_err(|_| WireError(self.what))
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.rest.try_get_u32().map_err(|_| WireError(self.what))
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.rest.try_get_u64().map_err(|_| WireError(self.what))
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        self.rest.try_get_i64().map_err(|_| WireError(self.what))
    }

    pub fn u128(&mut self) -> Result<u128, WireError> {
        self.rest.try_get_u128().map_err(|_| WireError(self.what))
    }

    pub fn timestamp(&mut self) -> Result<Timestamp, WireError> {
        self.u64().map(Timestamp)
    }

    pub fn txn_id(&mut self) -> Result<TxnId, WireError> {
        self.u128().map(TxnId)
    }

    pub fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = self.u32()? as usize;
        if length > self.rest.len() {
            return Err(self.error());
        }
        Ok(self.rest.split_to(length))
    }

    pub fn span(&mut self) -> Result<Span, WireError> {
        Ok(Span::new(self.bytes()?, self.bytes()?))
    }

    /// A count of items that take at least `item_bytes` each, so that garbage can't ask for much memory.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, WireError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(item_bytes.max(1)) > self.rest.len() { Err(self.error()) } else { Ok(count) }
    }

    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError(self.what)) }
    }
}
