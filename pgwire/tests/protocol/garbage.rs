//! Streams of half-valid bytes: every connection ends, and none of them by a panic.

use std::sync::Arc;

use basalt_env::os::os_env;
use basalt_pgwire::{Authenticator, Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

use crate::{
    fake_backend::FakeBackend,
    raw_client::{VERSION_3_0, bind, describe, execute, extended, message, parse, query, startup, sync},
};

/// A small generator, so that a seed names a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A startup and some messages, a few bytes of which are then changed, lost or repeated.
fn stream(dice: &mut Dice) -> Vec<u8> {
    let messages = [
        query("series 3;begin;copy_in"),
        query("fail"),
        extended("series 2"),
        parse("s", "echo_text $1"),
        describe('S', "s"),
        bind("p", "s"),
        execute("p", 1),
        execute("", 0),
        sync(),
        message(b'd', b"1\t2\n"),
        message(b'c', b""),
        message(b'f', b"no\0"),
        message(b'H', b""),
        message(b'F', b"\0\0\0\0"),
        message(b'C', b"Ss\0"),
        message(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x02hi\0\x01\0\x01"),
    ];
    let mut bytes = startup(VERSION_3_0, "user\0me\0options\0-c a=b\0\0");
    let started = if dice.roll(4) == 0 { 0 } else { bytes.len() };
    for _ in 0..dice.roll(20) {
        bytes.extend(&messages[dice.roll(messages.len())]);
    }
    for _ in 0..dice.roll(4) {
        if started == bytes.len() {
            break;
        }
        let at = started + dice.roll(bytes.len() - started);
        match dice.roll(4) {
            0 => bytes[at] = dice.roll(256) as u8,
            1 => bytes[at] ^= 1 << dice.roll(8),
            2 => drop(bytes.drain(at..(at + 1 + dice.roll(8)).min(bytes.len()))),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}

#[tokio::test]
async fn garbage_ends_in_a_close() {
    let backend = FakeBackend::default();
    let server = Server::new(os_env("unused"), Arc::new(backend), Limits::default(), Authenticator::Trust);
    for seed in 1..=2_000 {
        let bytes = stream(&mut Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
        let (client, other) = duplex(64);
        let (reader, writer) = split(other);
        let serving = tokio::spawn(server.clone().serve_stream(reader, writer, None));
        let (mut answers, mut requests) = split(client);
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            let _closed = answers.read_to_end(&mut received).await;
            received
        });
        // The server may hang up in the middle.
        let _sent = requests.write_all(&bytes).await;
        let _ended = requests.shutdown().await;
        serving.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let received = reading.await.unwrap();
        assert!(!received.windows(5).any(|code| code == b"XX000"), "seed {seed}");
    }
    assert_eq!(server.session_count(), 0);
}
