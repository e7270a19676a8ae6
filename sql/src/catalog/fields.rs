//! Fields of stored rows of the catalog: big-endian integers, and bytes behind their length. Damage is an error.

use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(crate) fn put_bool(out: &mut BytesMut, value: bool) {
    out.put_u8(u8::from(value));
}

pub(crate) fn put_bytes(out: &mut BytesMut, value: &[u8]) {
    out.put_u32(u32::try_from(value.len()).expect("descriptor parts are small"));
    out.put_slice(value);
}

pub(crate) fn put_string(out: &mut BytesMut, value: &str) {
    put_bytes(out, value.as_bytes());
}

pub(crate) fn put_list<T>(out: &mut BytesMut, items: &[T], put: impl Fn(&mut BytesMut, &T)) {
    out.put_u32(u32::try_from(items.len()).expect("descriptor lists are short"));
    for item in items {
        put(out, item);
    }
}

pub(crate) fn put_option<T>(out: &mut BytesMut, value: Option<&T>, put: impl Fn(&mut BytesMut, &T)) {
    put_bool(out, value.is_some());
    if let Some(value) = value {
        put(out, value);
    }
}

/// What is left to read.
pub(crate) struct Input(pub(crate) Bytes);

impl Input {
    fn need(&self, bytes: usize) -> Result<()> {
        if self.0.remaining() < bytes { Err(damaged("descriptor is truncated".to_owned())) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.need(8)?;
        Ok(self.0.get_u64())
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.need(8)?;
        Ok(self.0.get_i64())
    }

    pub(crate) fn oid(&mut self) -> Result<Oid> {
        self.u32().map(Oid)
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec())
            .map_err(|_| damaged("descriptor text is not UTF-8".to_owned()))
    }

    pub(crate) fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let length = self.u32()? as usize;
        // Every item takes at least a byte: a damaged length can't ask for more memory than there are bytes.
        self.need(length)?;
        (0..length).map(|_| item(self)).collect()
    }

    pub(crate) fn option<T>(&mut self, item: impl Fn(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.bool()? { item(self).map(Some) } else { Ok(None) }
    }
}

pub(crate) fn damaged(what: String) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, format!("catalog is damaged: {what}"))
}
