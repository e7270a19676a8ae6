//! Clients that are wrong, hostile or not clients at all. After each, the server works for the next one.

use std::time::Duration;

use basalt_pgwire::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    raw_client::{Reply, VERSION_3_0, kinds, message, query, startup, sync},
    running_server::RunningServer,
};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A backend's key data: process id and secret.
fn key(replies: &[Reply]) -> &[u8] {
    &replies.iter().find(|reply| reply.kind == b'K').unwrap().body
}

#[tokio::test]
async fn nonsense_before_the_session_is_closed() {
    let server = RunningServer::start();
    let ssl_and_more = [&SSL_REQUEST[..], &startup(VERSION_3_0, "user\0me\0\0")].concat();
    let oversized = startup(VERSION_3_0, &format!("user\0{}\0\0", "a".repeat(10_000)));
    // What is sent, and the SQLSTATE answered before the close.
    let cases: Vec<(&[u8], Option<&str>)> = vec![
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
        (b"\0\0\0\0", None),
        (b"\0\0\0\x03", None),
        (b"\x7f\xff\xff\xff\0\x03\0\0", None),
        (b"\xff\xff\xff\xff\0\x03\0\0", None),
        (b"\0\0\0\x08\0\x03\0\0", Some("08P01")),
        (b"\0\0\0\x09\0\x02\0\0\0", Some("0A000")),
        (b"\0\0\0\x09\0\x03\0\0\0", Some("28000")),
        (b"\0\0\0\x0c\0\x03\0\0user", Some("08P01")),
        (&oversized, None),
        (&ssl_and_more, Some("08P01")),
    ];
    for (bytes, state) in cases {
        let mut client = server.raw().await;
        client.send(bytes).await;
        let replies = client.until_closed().await;
        match state {
            None => assert_eq!(replies, [], "{bytes:?}"),
            Some(state) => {
                assert_eq!(replies.len(), 1, "{bytes:?}");
                assert_eq!(replies[0].state(), state, "{bytes:?}");
                assert_eq!(replies[0].field(b'S').unwrap(), "FATAL");
            }
        }
        server.assert_alive().await;
    }
    // Half a startup packet, then silence of the grave.
    let mut client = server.raw().await;
    client.send(&startup(VERSION_3_0, "user\0me\0\0")[..11]).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.until_closed().await, []);
    server.assert_alive().await;
}

#[tokio::test]
async fn encryption_is_refused_politely() {
    let server = RunningServer::start();
    let mut client = server.raw().await;
    client.send(&GSS_REQUEST).await;
    assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    client.send(&SSL_REQUEST).await;
    assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    client.start().await;
    assert_eq!(client.ask("series 1").await, "TDCZ");
    // Asking twice is no negotiation any more.
    let mut client = server.raw().await;
    client.send(&SSL_REQUEST).await;
    assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    client.send(&SSL_REQUEST).await;
    assert_eq!(client.until_closed().await, []);
}

#[tokio::test]
async fn versions_are_negotiated() {
    let server = RunningServer::start();
    for (version, options, negotiated, key_bytes) in [
        (0x30000, "", None, 4),
        (0x30001, "", None, 4),
        (0x30002, "", None, 32),
        (0x3270f, "", Some(0x30002), 32),
        (0x30000, "_pq_.x\0y\0", Some(0x30000), 4),
    ] {
        let mut client = server.raw().await;
        client.send(&startup(version, &format!("user\0me\0{options}\0"))).await;
        let replies = client.until_ready().await;
        let told = replies.iter().find(|reply| reply.kind == b'v');
        let told = told.map(|reply| u32::from_be_bytes(reply.body[..4].try_into().unwrap()));
        assert_eq!(told, negotiated, "{version:x}");
        assert_eq!(key(&replies).len(), 4 + key_bytes);
        let order = kinds(&replies).replace('S', "");
        assert_eq!(order, if negotiated.is_some() { "vRKZ" } else { "RKZ" });
    }
}

#[tokio::test]
async fn a_startup_error_is_told() {
    let server = RunningServer::start();
    for (database, state) in [("missing", "3D000"), ("panic", "XX000")] {
        let mut client = server.raw().await;
        client.send(&startup(VERSION_3_0, &format!("user\0me\0database\0{database}\0\0"))).await;
        let replies = client.until_closed().await;
        assert_eq!((kinds(&replies).as_str(), replies[1].state().as_str()), ("RE", state));
    }
    server.assert_alive().await;
    server.wait_sessions(0).await;
}

#[tokio::test]
async fn lost_framing_ends_the_connection() {
    let server = RunningServer::start();
    let too_long = [&b"Q"[..], &(16_u32 << 20).wrapping_add(1).to_be_bytes()].concat();
    let cases: Vec<&[u8]> = vec![
        b"\0",
        b"G\0\0\0\x04",
        b"\xff\xff\xff\xff\xff\xff",
        b"p\0\0\0\x08abc\0",
        b"Q\0\0\0\0",
        b"Q\0\0\0\x03",
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
        b"S\0\x01\0\0",
        &too_long,
    ];
    for bytes in &cases {
        let mut client = server.started().await;
        client.send(&[&query("series 1"), *bytes, &query("series 1")].concat()).await;
        let replies = client.until_closed().await;
        assert_eq!(kinds(&replies), "TDCZE", "{bytes:?}");
        assert_eq!(replies[4].state(), "08P01");
        assert_eq!(replies[4].field(b'V').unwrap(), "FATAL");
        server.assert_alive().await;
    }
    // The same in the middle of COPY, where some valid messages are out of place too.
    let mut cases = cases.clone();
    let misplaced = query("series 1");
    cases.push(&misplaced);
    for bytes in cases {
        let mut client = server.started().await;
        client.send(&[&query("copy_in"), &message(b'd', b"1\n")[..], bytes].concat()).await;
        let replies = client.until_closed().await;
        assert_eq!(kinds(&replies), "GE", "{bytes:?}");
        assert_eq!(replies[1].state(), "08P01");
        server.assert_alive().await;
    }
    server.wait_sessions(0).await;
}

#[tokio::test]
async fn a_message_split_into_bytes_is_one_message() {
    let server = RunningServer::start();
    let mut client = server.raw().await;
    for byte in startup(VERSION_3_0, "user\0me\0\0") {
        client.send(&[byte]).await;
    }
    client.until_ready().await;
    for byte in query("series 1") {
        client.send(&[byte]).await;
    }
    assert_eq!(kinds(&client.until_ready().await), "TDCZ");
    // And a large one is read whole.
    let text = "x".repeat(3 << 20);
    let bytes = [
        message(b'P', b"\0echo_text $1\0\0\0"),
        message(
            b'B',
            &[&b"\0\0\0\0\0\x01"[..], &(text.len() as u32).to_be_bytes(), text.as_bytes(), b"\0\0"].concat(),
        ),
        message(b'E', b"\0\0\0\0\0"),
        sync(),
    ];
    let replies = client.exchange(&bytes.concat()).await;
    assert_eq!(kinds(&replies), "12DCZ");
    assert_eq!(replies[2].body.len(), text.len() + 6);
}

#[tokio::test]
async fn a_silent_client_loses_its_place() {
    let limits = Limits {
        authentication_timeout: Duration::from_millis(50),
        starting_connections_max: 1,
        ..Limits::default()
    };
    let server = RunningServer::start_with(limits);
    let mut silent = server.raw().await;
    silent.send(b"\0\0").await;
    assert_eq!(silent.until_closed().await, []);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_burst_of_clients_waits_in_line() {
    let server = RunningServer::start_with(Limits { starting_connections_max: 2, ..Limits::default() });
    let clients = futures::future::join_all((0..150).map(|_| server.started())).await;
    assert_eq!(server.server.session_count(), clients.len());
    let limits = Limits {
        starting_connections_max: 1,
        connection_line_max: 1,
        authentication_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    let server = RunningServer::start_with(limits);
    let mut first = server.raw().await;
    first.send(&SSL_REQUEST).await;
    assert_eq!(first.stream.read_u8().await.unwrap(), b'N');
    let mut waiting = server.raw().await;
    let mut refused = server.raw().await;
    assert_eq!(refused.until_closed().await, []);
    first.start().await;
    waiting.start().await;
}

#[tokio::test]
async fn too_many_clients_are_told_and_cancel_still_works() {
    let server = RunningServer::start_with(Limits { connections_max: 1, ..Limits::default() });
    let mut first = server.raw().await;
    let replies = first.start().await;
    let mut second = server.raw().await;
    second.send(&startup(VERSION_3_0, "user\0me\0\0")).await;
    let refused = second.until_closed().await;
    assert_eq!(refused.last().unwrap().state(), "53300");
    assert_eq!(refused.last().unwrap().field(b'M').unwrap(), "sorry, too many clients already");

    first.send(&query("hang")).await;
    server.wait_hanging(1).await;
    let mut wrong = key(&replies).to_vec();
    wrong[7] ^= 1;
    for key in [&wrong[..], key(&replies)] {
        let mut canceller = server.raw().await;
        canceller.send(&[&[0, 0, 0, 16, 4, 210, 22, 46][..], key].concat()).await;
        assert_eq!(canceller.until_closed().await, []);
    }
    let replies = first.until_ready().await;
    assert_eq!((kinds(&replies).as_str(), replies[0].state().as_str()), ("EZ", "57014"));
    assert!(server.observed.foreign.lock().unwrap().is_empty());
    let elsewhere = [0, 0, 0, 9, 1, 2, 3, 4];
    let mut canceller = server.raw().await;
    canceller.send(&[&[0, 0, 0, 16, 4, 210, 22, 46][..], &elsewhere].concat()).await;
    assert_eq!(canceller.until_closed().await, []);
    let foreign = server.observed.foreign.lock().unwrap().clone();
    assert_eq!(foreign, [(9, vec![1, 2, 3, 4])], "it is passed on before the end");
    drop(first);
    server.wait_closed(1).await;
}
