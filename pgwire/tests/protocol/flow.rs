//! How often the server writes, how much it holds for a client that does not read, and how far it reads ahead.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use basalt_env::os::os_env;
use basalt_pgwire::{Authenticator, Limits, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split};

use crate::{
    fake_backend::{FakeBackend, Observed},
    raw_client::{VERSION_3_0, bind, describe, execute, extended, message, parse, query, startup, sync},
};

/// A stream that counts calls of `write` and bytes read.
struct Counted<S> {
    stream: S,
    writes: Arc<AtomicUsize>,
    read_bytes: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.read_bytes.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if result.is_ready() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Peer {
    stream: DuplexStream,
    observed: Arc<Observed>,
    writes: Arc<AtomicUsize>,
    read_bytes: Arc<AtomicUsize>,
}

impl Peer {
    /// A started session over pipes of `pipe_bytes`.
    async fn start(pipe_bytes: usize) -> Self {
        let backend = FakeBackend::default();
        let observed = backend.observed.clone();
        let server =
            Server::new(os_env("unused"), Arc::new(backend), Limits::default(), Authenticator::Trust);
        let (stream, other) = duplex(pipe_bytes);
        let (writes, read_bytes) = (Arc::default(), Arc::default());
        let counted =
            Counted { stream: other, writes: Arc::clone(&writes), read_bytes: Arc::clone(&read_bytes) };
        let (reader, writer) = split(counted);
        tokio::spawn(server.serve_stream(reader, writer, None));
        let mut peer = Self { stream, observed, writes, read_bytes };
        peer.stream.write_all(&startup(VERSION_3_0, "user\0me\0\0")).await.unwrap();
        assert!(peer.until_ready().await.ends_with('Z'));
        peer
    }

    /// The kinds of the messages up to ReadyForQuery.
    async fn until_ready(&mut self) -> String {
        let mut kinds = String::new();
        while !kinds.ends_with('Z') {
            kinds.push(self.stream.read_u8().await.unwrap() as char);
            let length = self.stream.read_u32().await.unwrap();
            let mut body = vec![0; length as usize - 4];
            self.stream.read_exact(&mut body).await.unwrap();
        }
        kinds
    }

    /// Lets the server run until `figure` stands still.
    async fn settle(&self, figure: impl Fn(&Self) -> u64) -> u64 {
        let (mut last, mut still) = (figure(self), 0);
        while still < 100 {
            tokio::task::yield_now().await;
            let now = figure(self);
            still = if now == last { still + 1 } else { 0 };
            last = now;
        }
        last
    }
}

#[tokio::test]
async fn a_batch_is_answered_with_one_write() {
    let mut peer = Peer::start(1 << 20).await;
    let batch = extended("series 5");
    let prepared = [parse("s", "series 1"), describe('S', "s"), sync()].concat();
    let executed = [bind("", "s"), execute("", 0), sync()].concat();
    let flushed = [bind("", "s"), execute("", 0), message(b'H', b"")].concat();
    for (bytes, kinds, writes) in [
        (&batch, "12TDDDDDCZ", 1),
        (&prepared, "1tTZ", 1),
        (&executed, "2DCZ", 1),
        (&query("series 100"), &*format!("T{}CZ", "D".repeat(100)), 1),
        (&query("begin;series 1;notice x;set a b;commit"), "CTDCNCCCSZ", 1),
        (&extended("fail"), "12nEZ", 1),
        (&[flushed, executed.clone()].concat(), "2DC2DCZ", 2),
    ] {
        let before = peer.writes.load(Ordering::Relaxed);
        peer.stream.write_all(bytes).await.unwrap();
        assert_eq!(peer.until_ready().await, kinds);
        assert_eq!(peer.writes.load(Ordering::Relaxed) - before, writes, "{kinds}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_scan() {
    const ROWS: u64 = 1_000_000;
    // `D`, length, count, value length and at least one digit.
    const ROW_BYTES_MIN: u64 = 12;
    const PIPE_BYTES: usize = 8 << 10;
    let mut peer = Peer::start(PIPE_BYTES).await;
    peer.stream.write_all(&query(&format!("series {ROWS}"))).await.unwrap();
    let held = peer.settle(|peer| peer.observed.rows.load(Ordering::Relaxed)).await;
    let bound = (Limits::default().output_bytes_max + PIPE_BYTES) as u64 / ROW_BYTES_MIN + 1;
    assert!(held > 0 && held <= bound, "{held} rows are held, more than {bound}");
    let kinds = peer.until_ready().await;
    assert_eq!(kinds.len() as u64, ROWS + 3);
    // COPY out is bounded in the same way, and a client that leaves ends it.
    peer.stream.write_all(&query("copy_out 1000000")).await.unwrap();
    drop(peer.stream);
    peer.observed.closed.subscribe().wait_for(|closed| *closed == 1).await.unwrap();
}

#[tokio::test]
async fn answers_to_a_client_that_only_asks_are_bounded() {
    let mut peer = Peer::start(4 << 10).await;
    let prepared = [parse("s", "series 1"), sync()].concat();
    peer.stream.write_all(&prepared).await.unwrap();
    assert_eq!(peer.until_ready().await, "1Z");
    let before = peer.read_bytes.load(Ordering::Relaxed);
    let (_reader, mut writer) = split(peer.stream);
    let asked = describe('S', "s").repeat(1_000_000);
    let asking = tokio::spawn(async move {
        let _blocked_for_good = writer.write_all(&asked).await;
    });
    let (mut last, mut still) = (0, 0);
    while still < 100 {
        tokio::task::yield_now().await;
        let now = peer.read_bytes.load(Ordering::Relaxed) - before;
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    // Every request of eight bytes is answered with more.
    assert!(last > 0 && last <= Limits::default().output_bytes_max, "{last} bytes were read");
    asking.abort();
}

#[tokio::test]
async fn pipelined_messages_are_read_ahead_within_bounds_and_kept() {
    const PIPE_BYTES: usize = 1 << 10;
    let limit = Limits::default().read_ahead_bytes_max;
    let mut peer = Peer::start(PIPE_BYTES).await;
    let before = peer.read_bytes.load(Ordering::Relaxed);
    // A COPY that waits for nothing but its data shows that read-ahead does not lose any.
    let messages = 20_000;
    let mut bytes = query("copy_in");
    for _ in 0..messages {
        bytes.extend(message(b'd', b"0123456789\n"));
    }
    bytes.extend(message(b'c', b""));
    bytes.extend(query("series 1"));
    peer.stream.write_all(&bytes).await.unwrap();
    assert_eq!(peer.until_ready().await, "GCZ");
    assert_eq!(peer.until_ready().await, "TDCZ");
    assert_eq!(peer.observed.copied_bytes.load(Ordering::Relaxed), messages * 11);
    assert_eq!(peer.read_bytes.load(Ordering::Relaxed) - before, bytes.len());

    // Behind a statement that never ends, no more than the limit and one buffer's worth is read.
    let before = peer.read_bytes.load(Ordering::Relaxed);
    let hang = query("hang");
    peer.stream.write_all(&hang).await.unwrap();
    let (_reader, mut writer) = split(peer.stream);
    let writing = tokio::spawn(async move {
        let pipelined = query("series 1").repeat(100_000);
        let _blocked_for_good = writer.write_all(&pipelined).await;
    });
    let mut last = 0;
    let mut still = 0;
    while still < 100 {
        tokio::task::yield_now().await;
        let now = peer.read_bytes.load(Ordering::Relaxed) - before;
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    assert!(last >= limit && last <= 3 * limit, "{last} bytes were read ahead");
    writing.abort();
}
