//! The reading half of a connection: a buffer that grows with what arrived, never with what was announced.
//!
//! While a statement runs, the same buffer is filled by the watch that looks for a vanished client, and emptied
//! by COPY. Both run in the connection's task; the lock around [`Input`] is never contended.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    Limits,
    frame::{BadFrame, Frame, frame_size, next_frame},
};

/// The capacity of a fresh buffer, and the least room for a read.
const BUFFER_BYTES: usize = 4 << 10;
/// The room for a read of COPY data.
const COPY_BYTES: usize = 32 << 10;
/// An empty buffer that was larger is given back, at once or when the connection goes idle.
const KEPT_BYTES_MAX: usize = 128 << 10;
const IDLE_BYTES_MAX: usize = 16 << 10;

pub(crate) struct Input<R> {
    reader: R,
    pub buffer: BytesMut,
    /// The largest capacity since the buffer was fresh: what `BytesMut` holds behind its visible part counts.
    capacity_max: usize,
    ended: bool,
    /// The reader of COPY data, when it is not the watch's own task context that waits.
    copy_waker: Option<Waker>,
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            capacity_max: BUFFER_BYTES,
            ended: false,
            copy_waker: None,
        }
    }

    pub fn next_frame(&mut self, limits: &Limits) -> Result<Option<Frame>, BadFrame> {
        let frame = next_frame(&mut self.buffer, limits)?;
        if frame.is_none() {
            self.shrink_to(KEPT_BYTES_MAX);
        }
        Ok(frame)
    }

    /// Whether the next message is here and is Sync.
    pub fn next_is_sync(&self) -> bool {
        self.buffer.starts_with(&[b'S', 0, 0, 0, 4])
    }

    /// Gives memory back when a connection goes idle.
    pub fn shrink(&mut self) {
        self.shrink_to(IDLE_BYTES_MAX);
    }

    fn shrink_to(&mut self, bytes_max: usize) {
        if self.buffer.is_empty() && self.capacity_max > bytes_max {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
            self.capacity_max = BUFFER_BYTES;
        }
    }

    /// Reads once; 0 is the end of the stream.
    fn poll_fill(&mut self, room: usize, limits: &Limits, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        // What is missing of a message bounds the room, what has arrived of it bounds it too.
        let missing = match frame_size(&self.buffer, limits) {
            Ok(Some(size)) => size.saturating_sub(self.buffer.len()),
            _ => 0,
        };
        self.buffer.reserve(missing.min(self.buffer.len()).max(room));
        self.capacity_max = self.capacity_max.max(self.buffer.capacity());
        // A read_buf future holds nothing between polls.
        let result = ready!(pin!(self.reader.read_buf(&mut self.buffer)).poll(cx));
        self.ended = !matches!(result, Ok(1..));
        Poll::Ready(result)
    }

    /// Reads once with room for much, and leaves word so that the watch wakes this reader when it got there first.
    pub fn poll_fill_copy(&mut self, limits: &Limits, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let result = self.poll_fill(COPY_BYTES, limits, cx);
        if result.is_pending() && self.copy_waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.copy_waker = Some(cx.waker().clone());
        }
        result
    }

    /// Completes when the stream has ended. Reads ahead up to the limit to find out: behind a full buffer an end
    /// cannot be seen. No wake-up is lost then, because whoever empties the buffer runs in the same task,
    /// which polls the watch afterwards.
    pub fn poll_watch(&mut self, limits: &Limits, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ended {
            if self.buffer.len() >= limits.read_ahead_bytes_max {
                return Poll::Pending;
            }
            let _seen_in_ended = ready!(self.poll_fill(BUFFER_BYTES, limits, cx));
            if let Some(waker) = self.copy_waker.take() {
                waker.wake();
            }
        }
        Poll::Ready(())
    }

    /// Waits for more bytes; `false` at the end of the stream.
    pub async fn fill(&mut self, limits: &Limits) -> bool {
        matches!(poll_fn(|cx| self.poll_fill(BUFFER_BYTES, limits, cx)).await, Ok(1..))
    }

    /// As [`Self::fill`], for packets without a type byte.
    pub async fn fill_startup(&mut self) -> bool {
        self.buffer.reserve(BUFFER_BYTES);
        let result = self.reader.read_buf(&mut self.buffer).await;
        self.ended = !matches!(result, Ok(1..));
        !self.ended
    }

    /// Throws away what the client still sends, up to `bytes_max`: closing a socket with unread bytes would
    /// reset the connection, and the client might lose the error it was sent.
    pub async fn discard(&mut self, limits: &Limits, mut bytes_max: usize) {
        self.buffer.clear();
        while bytes_max > 0 && self.fill(limits).await {
            bytes_max = bytes_max.saturating_sub(self.buffer.len());
            self.buffer.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn memory_follows_what_arrived_and_comes_back() {
        let limits = Limits::default();
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut input = Input::new(server);
        // A message announced as large as allowed, of which little comes.
        let size: u32 = 16 << 20;
        client.write_all(&[&b"Q"[..], &size.to_be_bytes(), b"select"].concat()).await.unwrap();
        assert!(input.fill(&limits).await);
        assert!(input.next_frame(&limits).unwrap().is_none());
        assert!(input.capacity_max <= 4 * BUFFER_BYTES, "{}", input.capacity_max);
        // The rest of it, and the beginning of the next.
        let rest = vec![b'x'; size as usize - 4 - 6];
        let writing = tokio::spawn(async move {
            client.write_all(&rest).await.unwrap();
            client.write_all(b"S\0\0").await.unwrap();
            client
        });
        let frame = loop {
            assert!(input.fill(&limits).await);
            if let Some(frame) = input.next_frame(&limits).unwrap() {
                break frame;
            }
        };
        assert_eq!(frame.kind, b'Q');
        assert!(input.capacity_max <= 3 * size as usize, "{}", input.capacity_max);
        drop(frame);
        let mut client = writing.await.unwrap();
        client.write_all(b"\0\x04").await.unwrap();
        let frame = loop {
            if let Some(frame) = input.next_frame(&limits).unwrap() {
                break frame;
            }
            assert!(input.fill(&limits).await);
        };
        assert_eq!(frame.kind, b'S');
        assert!(input.next_frame(&limits).unwrap().is_none());
        assert_eq!(input.buffer.capacity(), BUFFER_BYTES);
    }
}
