//! However a connection ends, its session ends with it, and the server goes on.

use std::{sync::atomic::Ordering, time::Duration};

use basalt_pgwire::Limits;
use futures::StreamExt;

use crate::{
    raw_client::{VERSION_3_0, extended, kinds, message, query, startup},
    running_server::RunningServer,
};

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let server = RunningServer::start();
    let mut bystander = server.started().await;
    for bytes in [query("panic"), extended("panic")] {
        let mut client = server.started().await;
        client.send(&bytes).await;
        let replies = client.until_closed().await;
        let last = replies.last().unwrap();
        assert_eq!((last.state().as_str(), last.field(b'S').unwrap().as_str()), ("XX000", "FATAL"));
    }
    assert_eq!(bystander.ask("series 1").await, "TDCZ");
    server.wait_sessions(1).await;
}

#[tokio::test]
async fn a_vanished_client_stops_its_statement() {
    let server = RunningServer::start();
    // In a statement that listens, in COPY, in a transaction, in mid-message.
    for (round, bytes) in [
        query("hang"),
        [query("copy_in"), message(b'd', b"1\n")].concat(),
        query("begin"),
        query("series 1")[..6].to_vec(),
        // Pipelined messages behind the statement do not hide that the client is gone.
        [query("hang"), query("series 1"), query("series 1")].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.started().await;
        client.send(&bytes).await;
        drop(client);
        server.wait_closed(round + 1).await;
    }
    server.assert_alive().await;
}

/// Whatever a client was doing, its session is closed in good order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_vanish_under_load_leave_nothing() {
    const CLIENTS: usize = 600;
    let server = RunningServer::start();
    let script = [
        query("begin"),
        extended("series 5000"),
        query("copy_out 5000"),
        query("copy_in"),
        message(b'd', &[b'x'; 5_000]),
        message(b'c', b""),
        extended("fail"),
        query("hang"),
        query("series 1"),
    ]
    .concat();
    let clients = (0..CLIENTS).map(|number| {
        let (server, cut) = (&server, script.len() * number / CLIENTS);
        let script = &script;
        async move {
            let mut client = server.started().await;
            client.send(&script[..cut]).await;
            // Some read a little before they go.
            for _ in 0..number % 5 {
                if cut > 60 {
                    client.reply().await;
                }
            }
        }
    });
    // No more at once than there are places.
    futures::stream::iter(clients).buffer_unordered(100).collect::<Vec<()>>().await;
    server.wait_closed(CLIENTS).await;
    server.wait_sessions(0).await;
    assert_eq!(server.observed.opened.load(Ordering::Relaxed), CLIENTS);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_statement_that_does_not_listen_is_dropped() {
    let limits = Limits { end_timeout: Duration::from_millis(20), ..Limits::default() };
    let server = RunningServer::start_with(limits);
    let mut client = server.started().await;
    client.send(&extended("stubborn")).await;
    server.wait_hanging(1).await;
    drop(client);
    server.wait_closed(1).await;
    assert_eq!(server.observed.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn shutdown_ends_idle_sessions_first() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(50),
        end_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = RunningServer::start_with(limits);
    let mut idle = server.started().await;
    let mut busy = server.started().await;
    let mut stubborn = server.started().await;
    busy.send(&query("hang")).await;
    stubborn.send(&query("stubborn")).await;
    server.wait_hanging(2).await;
    let observed = server.observed.clone();
    let serving = server.begin_shutdown();
    for (client, state) in [(&mut idle, "57P01"), (&mut busy, "57P01"), (&mut stubborn, "40003")] {
        let replies = client.until_closed().await;
        assert_eq!(kinds(&replies), "E");
        assert_eq!(replies[0].state(), state);
        assert_eq!(replies[0].field(b'S').unwrap(), "FATAL");
    }
    drop((idle, busy, stubborn));
    serving.await.unwrap();
    assert_eq!(*observed.closed.borrow(), 3);
}

#[tokio::test]
async fn who_is_sent_away_hears_that_others_serve() {
    let limits = Limits { end_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = RunningServer::start_with(limits);
    let mut idle = server.started().await;
    let mut busy = server.started().await;
    let mut stubborn = server.started().await;
    busy.send(&query("hang")).await;
    stubborn.send(&query("stubborn")).await;
    server.wait_hanging(2).await;
    server.server.send_away();
    for (client, state) in [(&mut idle, "57P01"), (&mut busy, "57P01"), (&mut stubborn, "40003")] {
        let replies = client.until_closed().await;
        assert_eq!(kinds(&replies), "E");
        assert_eq!(replies[0].state(), state);
        assert!(replies[0].field(b'M').unwrap().contains("this node"), "not the words of a shutdown");
    }
    drop((idle, busy, stubborn));
    server.wait_sessions(0).await;
    // The server itself goes on: whether it takes clients is the backend's to say.
    server.started().await;
}

#[tokio::test]
async fn a_session_can_be_terminated_idle_or_busy() {
    let server = RunningServer::start();
    for (sql, expected) in [("series 1", "TDCZE"), ("hang", "E")] {
        let mut client = server.raw().await;
        let replies = client.start().await;
        let key = &replies.iter().find(|reply| reply.kind == b'K').unwrap().body;
        let process_id = i32::from_be_bytes(key[..4].try_into().unwrap());
        client.send(&query(sql)).await;
        let mut replies = Vec::new();
        if sql == "hang" {
            server.wait_hanging(1).await;
        } else {
            replies = client.until_ready().await;
        }
        server.observed.cancels.lock().unwrap()[&process_id].terminate();
        replies.extend(client.until_closed().await);
        assert_eq!(kinds(&replies), expected);
        assert_eq!(replies.last().unwrap().state(), "57P01");
        drop(client);
        server.wait_sessions(0).await;
        assert!(!server.server.cancel(process_id, b""), "it is gone");
    }
}

#[tokio::test]
async fn an_idle_transaction_is_ended() {
    let server = RunningServer::start();
    let mut client = server.raw().await;
    client.send(&startup(VERSION_3_0, "user\0impatient\0\0")).await;
    client.until_ready().await;
    client.send(&query("begin")).await;
    let replies = client.until_closed().await;
    assert_eq!((kinds(&replies).as_str(), replies[2].state().as_str()), ("CZE", "25P03"));
    server.wait_closed(1).await;
}

#[tokio::test]
async fn shutdown_waits_for_a_statement_that_ends_in_time() {
    let server = RunningServer::start();
    let mut client = server.started().await;
    client.send(&query("copy_in")).await;
    assert_eq!(client.reply().await.unwrap().kind, b'G');
    let serving = server.begin_shutdown();
    client.send(&[message(b'd', b"1\n"), message(b'c', b"")].concat()).await;
    assert_eq!(kinds(&client.until_closed().await), "CZE");
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn shutdown_lets_a_transaction_finish_but_not_wait_for_ever() {
    let server = RunningServer::start();
    let mut client = server.started().await;
    client.send(&query("begin")).await;
    assert_eq!(kinds(&client.until_ready().await), "CZ");
    let serving = server.begin_shutdown();
    client.send(&query("series 1")).await;
    assert_eq!(kinds(&client.until_ready().await), "TDCZ");
    client.send(&query("commit")).await;
    let replies = client.until_closed().await;
    assert_eq!(kinds(&replies), "CZE");
    assert_eq!(replies[2].state(), "57P01");
    drop(client);
    serving.await.unwrap();

    let limits = Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = RunningServer::start_with(limits);
    let mut client = server.started().await;
    client.send(&query("begin")).await;
    client.until_ready().await;
    let serving = server.begin_shutdown();
    let replies = client.until_closed().await;
    assert_eq!(kinds(&replies), "E");
    assert_eq!(replies[0].state(), "57P01");
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_server_without_clients_stops_at_once() {
    let server = RunningServer::start();
    server.assert_alive().await;
    server.shut_down().await;
}
