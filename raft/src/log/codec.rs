//! Little-endian fields of log records.

use bytes::Bytes;

/// The bytes end before the value does, or the value is impossible.
#[derive(Debug)]
pub(super) struct Malformed;

pub(super) type Decoded<T> = Result<T, Malformed>;

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u128(out: &mut Vec<u8>, value: u128) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Lengths in the log fit 32 bits: commands, snapshots and so batches are limited far below that.
pub(super) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a log record is shorter than 4 GiB")
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, length_u32(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Reads fields one after the other.
pub(super) struct Fields {
    bytes: Bytes,
    position: usize,
}

impl Fields {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Decoded<Bytes> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(Malformed)?;
        let taken = self.bytes.slice(self.position..end);
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let end = self.position.checked_add(N).ok_or(Malformed)?;
        let array =
            self.bytes.get(self.position..end).and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed)?;
        self.position = end;
        Ok(array)
    }

    pub fn u8(&mut self) -> Decoded<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn u128(&mut self) -> Decoded<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub fn bytes(&mut self) -> Decoded<Bytes> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Malformed)?)
    }
}
