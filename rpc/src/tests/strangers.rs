use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::join;

/// What a connection is sent before it is closed.
async fn pester(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may have hung up already.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_no_harm() {
    let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let target = &nodes[1];
    let mut hello = crate::handshake::MAGIC.to_vec();
    hello.extend(u32::MAX.to_be_bytes());
    hello.extend([0; 100]);
    let mut empty = crate::handshake::MAGIC.to_vec();
    empty.extend([0; 8]);
    let startup = [0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F];
    let cases: [(&[u8], &str); 8] = [
        (b"", "it closed the connection"),
        (b"GET / HTTP/1.1\r\n\r\n", "it is an HTTP client"),
        (&startup, "it is a PostgreSQL client"),
        (&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5], "started with --insecure"),
        (b"\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8\xF7", "\\xff\\xfe"),
        (b"BASALT\r\n", "hung up in the handshake"),
        (&hello, "a frame of 4294967295 bytes"),
        (&empty, "speaks versions 0 to 0"),
    ];
    for (bytes, complaint) in cases {
        in_time("the end", pester(&target.address, bytes)).await;
        target.must_complain(complaint).await;
    }
    // Whatever bytes come.
    for round in 0..200_u64 {
        let bytes: Vec<u8> = (0..40).map(|_| nodes[0].env.rng.next_u64() as u8).collect();
        let with_magic = [&crate::handshake::MAGIC[..], &bytes[..]].concat();
        in_time("the end", pester(&target.address, if round % 2 == 0 { &bytes } else { &with_magic })).await;
    }
    assert!(nodes[0].wire.send(NodeId(2), Class::Raft, Bytes::new()));
    target.inbox.wait(NodeId(1), Class::Raft, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_strangers_do_not_keep_a_node_out() {
    let mut seat = Seat::new(2);
    seat.options.strangers_max = 4;
    seat.options.handshake_timeout = Duration::from_millis(200);
    let second = seat.start(&[]).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(&second.address).await.unwrap());
    }
    let first = Seat::new(1).start(&[second.known()]).await;
    until("a connection", || {
        first.wire.send(NodeId(2), Class::Raft, Bytes::new());
        first.wire.is_connected(NodeId(2), Class::Raft)
    })
    .await;
    second.inbox.wait(NodeId(1), Class::Raft, 1).await;
}

/// A server that reads a little, says `answer` and hangs up.
async fn other_server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 8]).await;
            let _ = stream.write_all(answer).await;
        }
    };
    os_env("").spawner.spawn("server", Box::pin(serve));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_basalt_is_named() {
    let cases: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a Basalt node: it is an HTTP server"),
        (b"E\0\0\0\x10SFATAL\0C0A000\0\0", "is not a Basalt node: it is a PostgreSQL server"),
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", "is not a Basalt node: it began with \"SSH-2.0-\""),
    ];
    for (answer, expected) in cases {
        let address = other_server(answer).await;
        let node = Seat::new(1).start(&[(NodeId(2), address.clone())]).await;
        assert!(node.wire.send(NodeId(2), Class::Raft, Bytes::new()));
        node.must_complain(expected).await;
        assert!(node.complains(&address));

        let seat = Seat::new(9);
        let (env, options, local) = (os_env(""), quick(), seat.local());
        let error = join(&env, &seat.security, &options, &[address], 1, &local, 3).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sends_nonsense_harms_nobody_else() {
    use crate::{
        frame::put_frame,
        handshake::{Identity, MAGIC},
        message::{PIECE_FIRST, PIECE_NEXT, PURPOSE_MESSAGES, Packet, Piece, Record},
    };

    let nodes = start_all(vec![Seat::new(1), Seat::new(2)]).await;
    let (honest, target) = (&nodes[0], &nodes[1]);
    let identity = Identity {
        cluster_id: CLUSTER,
        node_id: NodeId(3),
        offset_max: OFFSET_MAX,
        replicas_wanted: 0,
        protocol: crate::PROTOCOL,
    };
    let mut greeting = bytes::BytesMut::from(&MAGIC[..]);
    put_frame(&mut greeting, &identity.hello("127.0.0.1:1", PURPOSE_MESSAGES));
    let piece = |kind, total, length| Piece { kind, total, body: vec![0; length].into() };
    let sound = Packet {
        pieces: vec![piece(0, 0, 10), piece(PIECE_FIRST, 20, 10), piece(PIECE_NEXT, 0, 10)],
        records: vec![Record { node_id: 3, incarnation: 1, version: 1, ..Record::default() }],
        ..Packet::default()
    };
    let mut frame = bytes::BytesMut::new();
    put_frame(&mut frame, &sound);
    for round in 0..300_usize {
        let mut bytes = frame.to_vec();
        // Damage, with a checksum that fits from the second hundred on.
        let at = 8 + round % (bytes.len() - 8);
        bytes[at] ^= 1 << (round % 8);
        if round >= 100 {
            let checksum = crc32fast::hash(&bytes[8..]);
            bytes[4..8].copy_from_slice(&checksum.to_be_bytes());
        }
        in_time("the end", pester(&target.address, &[&greeting[..], &bytes].concat())).await;
    }
    let claims = [piece(PIECE_FIRST, u64::MAX, 1), piece(PIECE_FIRST, 1 << 29, 1), piece(PIECE_NEXT, 0, 1)];
    for claim in claims {
        let mut bytes = greeting.clone();
        put_frame(&mut bytes, &Packet { pieces: vec![claim], ..Packet::default() });
        in_time("the end", pester(&target.address, &bytes)).await;
    }
    assert!(honest.wire.send(NodeId(2), Class::Raft, Bytes::from_static(b"still here")));
    assert_eq!(target.inbox.wait(NodeId(1), Class::Raft, 1).await[0], "still here");
    let large = Bytes::from(vec![1; 1 << 20]);
    assert!(honest.wire.send(NodeId(2), Class::Snapshot, large.clone()));
    assert_eq!(target.inbox.wait(NodeId(1), Class::Snapshot, 1).await[0], large);
}
