//! tokio-postgres as a client: what it understands is what drivers understand.

use std::{pin::pin, sync::atomic::Ordering};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt, future::join_all};
use tokio_postgres::{NoTls, SimpleQueryMessage, error::SqlState, types::Type};

use crate::running_server::RunningServer;

#[tokio::test]
async fn simple_queries_with_several_statements() {
    let server = RunningServer::start();
    let client = server.driver().await;
    let messages = client.simple_query("series 3; begin; commit").await.unwrap();
    let values: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(values, ["1", "2", "3"]);
    let completions = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::CommandComplete(_))).count();
    assert_eq!(completions, 3);
    assert!(client.simple_query("").await.unwrap().len() <= 1);
}

#[tokio::test]
async fn prepared_statements_in_binary() {
    let server = RunningServer::start();
    let client = server.driver().await;
    let statement = client.prepare("echo_int $1").await.unwrap();
    assert_eq!(statement.params(), [Type::INT4]);
    assert_eq!(statement.columns()[0].type_(), &Type::INT4);
    for value in [Some(0), Some(-1), Some(i32::MAX), None] {
        let row = client.query_one(&statement, &[&value]).await.unwrap();
        assert_eq!(row.get::<_, Option<i32>>(0), value);
    }
    let row = client.query_one("echo_text $1", &[&"grüezi"]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "grüezi");
    let row = client.query_one("echo_bool $1", &[&true]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    let row = client.query_one("whoami", &[]).await.unwrap();
    assert!(row.get::<_, &str>(0).starts_with("tester db"), "{row:?}");
}

#[tokio::test]
async fn portals_suspend_and_resume() {
    let server = RunningServer::start();
    let mut client = server.driver().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("series 10", &[]).await.unwrap();
    for expected in [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10], vec![]] {
        let rows = transaction.query_portal(&portal, 4).await.unwrap();
        let values: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(values, expected);
    }
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn pipelined_queries_keep_their_order() {
    let server = RunningServer::start();
    let client = server.driver().await;
    let statement = client.prepare("echo_int $1").await.unwrap();
    let values: Vec<i32> = (0..500).collect();
    let rows = join_all(values.iter().map(|value| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[value]).await.unwrap().get::<_, i32>(0) }
    }));
    assert_eq!(rows.await, values);
}

#[tokio::test]
async fn errors_carry_their_fields_and_the_session_recovers() {
    let server = RunningServer::start();
    let mut client = server.driver().await;
    let error = client.query("fail", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code(), error.message()), (&SqlState::SYNTAX_ERROR, "syntax error"));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(3)));
    let error = client.query("fail_parse", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    let error = client.query("silent", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INTERNAL_ERROR));
    let error = client.simple_query("series 2; fail_after_row; series 1").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));

    let transaction = client.transaction().await.unwrap();
    transaction.query("fail", &[]).await.unwrap_err();
    let error = transaction.query("series 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    assert_eq!(client.query("series 2", &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn copy_in_and_out() {
    let server = RunningServer::start();
    let client = server.driver().await;
    let mut sink = pin!(client.copy_in("copy_in").await.unwrap());
    for line in 0..10_000 {
        sink.send(Bytes::from(format!("{line}\tsome text\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 10_000);

    // An error in the middle, while the client is still sending.
    let mut sink = pin!(client.copy_in("copy_in 3").await.unwrap());
    let mut result = Ok(());
    for _ in 0..1_000 {
        result = sink.send(Bytes::from_static(&[b'x'; 1_000])).await;
        if result.is_err() {
            break;
        }
    }
    let error = match result {
        Ok(()) => sink.finish().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code(), Some(&SqlState::BAD_COPY_FILE_FORMAT), "{error:?}");

    let data: Vec<Bytes> = client.copy_out("copy_out 20000").await.unwrap().try_collect().await.unwrap();
    assert_eq!(data.len(), 20_000);
    assert_eq!(data[19_999], "19999\n");

    // Dropping the sink sends CopyFail.
    let before = server.observed.copied_bytes.load(Ordering::Relaxed);
    {
        let mut sink = pin!(client.copy_in("copy_in").await.unwrap());
        sink.send(Bytes::from_static(b"1\n")).await.unwrap();
    }
    assert_eq!(client.query("series 1", &[]).await.unwrap().len(), 1);
    assert!(server.observed.copied_bytes.load(Ordering::Relaxed) <= before + 2);
}

#[tokio::test]
async fn cancel_requests_stop_a_statement_and_only_that() {
    let server = RunningServer::start();
    let client = server.driver().await;
    let token = client.cancel_token();
    // One while nothing runs stops nothing.
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(client.query("series 1", &[]).await.unwrap().len(), 1);
    for round in 1..=3 {
        let (result, ()) = tokio::join!(client.query("hang", &[]), async {
            server.wait_hanging(round).await;
            token.cancel_query(NoTls).await.unwrap();
        });
        assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
        assert_eq!(client.query("series 1", &[]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn settings_and_notices_are_reported() {
    let server = RunningServer::start();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address.port()).user("tester").dbname("db");
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    assert_eq!(connection.parameter("TimeZone"), Some("Europe/Bern"));
    assert_eq!(connection.parameter("server_encoding"), Some("UTF8"));
    assert!(connection.parameter("server_version").unwrap().starts_with("15.0 (Basalt "));
    let query =
        tokio::spawn(async move { client.batch_execute("notice mind the gap; set TimeZone UTC").await });
    let mut messages = futures::stream::poll_fn(|cx| connection.poll_message(cx));
    let message = messages.next().await.unwrap().unwrap();
    match message {
        tokio_postgres::AsyncMessage::Notice(notice) => {
            assert_eq!((notice.severity(), notice.message()), ("NOTICE", "mind the gap"));
        }
        other => panic!("{other:?}"),
    }
    while messages.next().await.is_some() {}
    query.await.unwrap().unwrap();
    assert_eq!(connection.parameter("TimeZone"), Some("UTC"));
}
