//! Errors in a pipeline, and what is passed over after them.

use crate::{
    raw_client::{bind, describe, execute, extended, kinds, message, parse, query, sync},
    running_server::RunningServer,
};

#[tokio::test]
async fn answers_follow_the_protocol() {
    let server = RunningServer::start();
    let mut client = server.started().await;
    let suspended =
        [parse("s", "series 3"), bind("p", "s"), execute("p", 2), execute("p", -1), sync()].concat();
    let failing_parse =
        [parse("", "fail_parse"), bind("", ""), execute("", 0), query("series 1"), sync(), query("series 1")];
    let described = [parse("d", "echo_int $1"), describe('S', "d"), message(b'C', b"Sd\0"), sync()].concat();
    let copy = [query("copy_in"), message(b'd', b"1\n"), message(b'c', b""), query("series 0")].concat();
    let copy_fails = [
        query("copy_in 1"),
        message(b'd', b"1\n"),
        message(b'd', b"2\n"),
        message(b'c', b""),
        query("series 0"),
    ];
    let copy_extended = [
        parse("", "copy_in"),
        bind("", ""),
        execute("", 0),
        sync(),
        message(b'd', b"1\n"),
        message(b'H', b""),
        message(b'c', b""),
        sync(),
    ];
    let copy_extended_fails = [
        parse("", "copy_in 1"),
        bind("", ""),
        execute("", 0),
        message(b'd', b"1\n"),
        message(b'd', b"2\n"),
        message(b'c', b""),
        parse("", "series 1"),
        sync(),
    ];
    let two_parts_of_a_bad_batch =
        [describe('P', "none"), execute("none", 0), sync(), extended("series 1")].concat();
    // Bytes to send, ReadyForQuery to await, kinds of the answers.
    let script: Vec<(Vec<u8>, usize, &str)> = vec![
        (query("series 2"), 1, "TDDCZ"),
        (query(""), 1, "IZ"),
        (query("series 1;begin;commit"), 1, "TDCCCZ"),
        (query("series 1;fail;series 1"), 1, "TDCEZ"),
        (query("fail_after_row"), 1, "TDEZ"),
        (query("wrong_row"), 1, "TEZ"),
        (extended("series 1"), 1, "12TDCZ"),
        (extended(""), 1, "12nIZ"),
        (extended("begin"), 1, "12nCZ"),
        (query("rollback"), 1, "CZ"),
        (suspended, 1, "12DDsDCZ"),
        (failing_parse.concat(), 2, "EZTDCZ"),
        (described, 1, "1tT3Z"),
        (extended("fail_after_row"), 1, "12nDEZ"),
        (two_parts_of_a_bad_batch, 2, "EZ12TDCZ"),
        (extended("commit_fails"), 1, "12nCEZ"),
        (copy, 2, "GCZTCZ"),
        (copy_fails.concat(), 2, "GEZTCZ"),
        (copy_extended.concat(), 1, "12GCZ"),
        (copy_extended_fails.concat(), 1, "12GEZ"),
        ([query("copy_in"), message(b'f', b"enough\0")].concat(), 1, "GEZ"),
        (query("copy_out 2"), 1, "HddcCZ"),
        // Stray COPY messages are passed over.
        ([message(b'd', b"x"), message(b'c', b""), message(b'f', b"\xff"), sync()].concat(), 1, "Z"),
        // Bad bodies in good frames.
        (message(b'Q', b"series '\xff'\0"), 1, "EZ"),
        ([message(b'P', b"\0x\0\0\x09"), execute("", 0), sync()].concat(), 1, "EZ"),
        ([describe('X', ""), sync()].concat(), 1, "EZ"),
        ([message(b'B', b"\0\0\0\x01\0\x07\0\0\0\0"), sync()].concat(), 1, "EZ"),
        ([message(b'B', b"\0\0\0\x02\0\0\0\0\0\0\0\0"), sync()].concat(), 1, "EZ"),
        (message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), 1, "EZ"),
        (query("series 1"), 1, "TDCZ"),
    ];
    for (bytes, readies, expected) in script {
        client.send(&bytes).await;
        let mut replies = Vec::new();
        for _ in 0..readies {
            replies.extend(client.until_ready().await);
        }
        assert_eq!(kinds(&replies), expected, "{:?}", String::from_utf8_lossy(&bytes));
    }
    client.send(&message(b'X', b"")).await;
    assert_eq!(client.until_closed().await, []);
    server.wait_closed(1).await;
}

#[tokio::test]
async fn sqlstates_and_transaction_status_are_told() {
    let server = RunningServer::start();
    let mut client = server.started().await;
    for (bytes, state) in [
        (query("fail"), "42601"),
        (message(b'Q', b"series '\xff'\0"), "22021"),
        (message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), "0A000"),
        ([bind("", "none"), sync()].concat(), "26000"),
        ([execute("none", 0), sync()].concat(), "34000"),
        ([message(b'B', b"\0\0\0\x01\0\x07\0\0\0\0"), sync()].concat(), "22023"),
        ([query("copy_in"), message(b'f', b"enough\0")].concat(), "57014"),
        ([parse("twice", "x"), sync()].concat(), ""),
        ([parse("twice", "x"), sync()].concat(), "42P05"),
    ] {
        let replies = client.exchange(&bytes).await;
        let error = replies.iter().find(|reply| reply.kind == b'E');
        assert_eq!(error.map(|error| error.state()).unwrap_or_default(), state);
    }
    for (sql, status) in [("begin", b'T'), ("fail", b'E'), ("series 1", b'E'), ("rollback", b'I')] {
        let replies = client.exchange(&query(sql)).await;
        assert_eq!(replies.last().unwrap().body, [status], "{sql}");
    }
    // An error of the protocol layer fails the transaction too.
    client.exchange(&query("begin")).await;
    let replies = client.exchange(&[describe('X', ""), sync()].concat()).await;
    assert_eq!(replies.last().unwrap().body, *b"E");
}

#[tokio::test]
async fn prepared_statements_are_bounded() {
    let server = RunningServer::start();
    let mut client = server.started().await;
    let mut batch: Vec<u8> = (0..1_000).flat_map(|number| parse(&format!("s{number}"), "series 1")).collect();
    batch.extend(sync());
    assert_eq!(client.exchange(&batch).await.len(), 1_001);
    let replies = client.exchange(&[parse("one more", "series 1"), sync()].concat()).await;
    assert_eq!(replies[0].state(), "53400");
    let freed = [message(b'C', b"Ss7\0"), parse("one more", "series 1"), sync()].concat();
    assert_eq!(kinds(&client.exchange(&freed).await), "31Z");
}
