//! Frames: a length, a checksum and that many bytes. TLS would notice damage by itself; plain connections must not be
//! worse off.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

const HEADER_BYTES: usize = 8;
const READ_BYTES: usize = 64 << 10;
const READ_BYTES_MIN: usize = 4 << 10;

/// Appends `message` as a frame.
pub(crate) fn put_frame(buffer: &mut BytesMut, message: &impl Message) {
    let length = message.encoded_len();
    buffer.reserve(HEADER_BYTES + length);
    let start = buffer.len();
    buffer.put_u32(u32::try_from(length).expect("frames are small"));
    buffer.put_u32(0);
    message.encode_raw(buffer);
    let body = start + HEADER_BYTES;
    let checksum = crc32fast::hash(&buffer[body..]);
    buffer[start + 4..body].copy_from_slice(&checksum.to_be_bytes());
}

/// Takes frames off a stream. What it has read survives a dropped future.
pub(crate) struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R, bytes_max: usize) -> Self {
        Self { reader, buffer: BytesMut::new(), bytes_max }
    }

    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The first bytes of the stream, as many as there are up to `count`.
    pub(crate) async fn prefix(&mut self, count: usize) -> io::Result<Bytes> {
        while self.buffer.len() < count && self.fill().await? > 0 {}
        let there = count.min(self.buffer.len());
        Ok(self.buffer.split_to(there).freeze())
    }

    /// Reads to the end of the stream and forgets what it reads; not more than `bytes_max`.
    pub(crate) async fn drain(&mut self, bytes_max: usize) -> io::Result<()> {
        let mut read = 0;
        while read < bytes_max {
            self.buffer.clear();
            match self.fill().await? {
                0 => break,
                more => read += more,
            }
        }
        Ok(())
    }

    /// The next frame, and how many bytes it took; `None` at the end of the stream.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> io::Result<Option<(M, usize)>> {
        loop {
            if let Some(frame) = self.buffered()? {
                let length = frame.len();
                let message = M::decode(frame).map_err(|error| damaged(&error.to_string()))?;
                return Ok(Some((message, length)));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(damaged("it ends within a frame"))
                };
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        self.reader.read_buf(&mut self.buffer).await
    }

    fn buffered(&mut self) -> io::Result<Option<Bytes>> {
        let Some((header, _)) = self.buffer.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let (mut length, mut checksum) = header.split_at(4);
        let (length, checksum) = (length.get_u32() as usize, checksum.get_u32());
        if length > self.bytes_max {
            return Err(damaged(&format!("a frame of {length} bytes, and {} are the most", self.bytes_max)));
        }
        if self.buffer.len() < HEADER_BYTES + length {
            self.buffer.reserve(HEADER_BYTES + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(length).freeze();
        if crc32fast::hash(&body) != checksum {
            return Err(damaged("a frame with a wrong checksum"));
        }
        Ok(Some(body))
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged stream: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Tier;

    fn tier(length: usize) -> Tier {
        Tier { key: "k".repeat(length), value: String::new() }
    }

    #[tokio::test]
    async fn frames_pass_whatever_the_reads_return() {
        let mut bytes = BytesMut::new();
        for length in [0, 1, 9_000, 5] {
            put_frame(&mut bytes, &tier(length));
        }
        let whole = bytes.freeze();
        for step in [1, 7, 8, 9, 4096, whole.len()] {
            let (mut near, far) = tokio::io::duplex(step);
            let sent = whole.clone();
            let write = async move {
                tokio::io::AsyncWriteExt::write_all(&mut near, &sent).await.unwrap();
            };
            let read = async {
                let mut reader = FrameReader::new(far, 100_000);
                for length in [0, 1, 9_000, 5] {
                    assert_eq!(reader.next::<Tier>().await.unwrap().unwrap().0, tier(length));
                }
                assert!(reader.next::<Tier>().await.unwrap().is_none());
            };
            tokio::join!(write, read);
        }
    }

    #[tokio::test]
    async fn damage_and_excess_are_errors() {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, &tier(40));
        let good = bytes.freeze();
        assert!(FrameReader::new(&good[..], 41).next::<Tier>().await.is_err(), "too long");
        assert!(FrameReader::new(&good[..good.len() - 1], 99).next::<Tier>().await.is_err(), "cut off");
        for byte in 0..good.len() {
            let mut bad = good.to_vec();
            bad[byte] ^= 4;
            assert!(FrameReader::new(&bad[..], 1 << 20).next::<Tier>().await.is_err(), "byte {byte}");
        }
    }
}
