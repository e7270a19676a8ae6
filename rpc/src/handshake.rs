//! The handshake, and what both sides check in it.
//!
//! Whoever opens a connection sends eight fixed bytes and a [`Hello`]; the other side sends the same bytes and an [`Answer`],
//! which welcomes or says why not. The fixed bytes end like a line of text, so that a server of another kind answers
//! or hangs up at once, and what it says tells what it is. The same sentence is the reason on both sides.

use std::{fmt, future::Future, io, time::Duration};

use basalt_base::NodeId;
use basalt_env::Env;
use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};

use crate::{
    Refusal, RefusalKind, RpcError, Security, WireOptions,
    frame::{FrameReader, put_frame},
    message::{Answer, Hello},
    options::ANSWER_BYTES_MAX,
    security::{Holder, Stream, explain},
    socket::dial,
};

pub(crate) const MAGIC: [u8; 8] = *b"BASALT\r\n";

/// What the nodes of a cluster must agree on, and who one of them is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u128,
    pub(crate) node_id: NodeId,
    pub(crate) offset_max: Duration,
    /// 0 when not said.
    pub(crate) replicas_wanted: u64,
    pub(crate) protocol: (u32, u32),
}

/// A connection whose other side has answered.
pub(crate) struct Opened {
    pub(crate) reader: FrameReader<ReadHalf<Stream>>,
    pub(crate) writer: WriteHalf<Stream>,
    pub(crate) answer: Answer,
    pub(crate) holder: Option<Holder>,
}

/// Connects, says `hello` and waits for the answer, all in the time that `options` give.
pub(crate) async fn open(
    env: &Env,
    security: &Security,
    options: &WireOptions,
    address: &str,
    hello: &Hello,
) -> Result<Opened, RpcError> {
    let timeout = options.handshake_timeout;
    let unreachable = |cause: String| RpcError::Unreachable { address: address.to_owned(), cause };
    let opening = async {
        let dialling = options.connect_timeout.min(timeout);
        let stream = within(env, dialling, dial(address, security)).await;
        let late = || Err(unreachable(format!("no connection in {} s", dialling.as_secs_f32())));
        greet(security, address, hello, stream.unwrap_or_else(late)?).await
    };
    within(env, timeout, opening).await.unwrap_or_else(|| {
        let seconds = timeout.as_secs_f32();
        Err(unreachable(format!(
            "no answer to the handshake in {seconds} s: it is not a Basalt node, or it hangs"
        )))
    })
}

async fn within<T>(env: &Env, timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        value = future => Some(value),
        () = env.spawner.sleep(timeout) => None,
    }
}

async fn greet(
    security: &Security,
    address: &str,
    hello: &Hello,
    stream: TcpStream,
) -> Result<Opened, RpcError> {
    let broken = |error: io::Error| no_answer(address, &error);
    let (stream, holder) = security.connect(stream).await.map_err(broken)?;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut request = BytesMut::from(&MAGIC[..]);
    put_frame(&mut request, hello);
    writer.write_all(&request).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    let mut reader = FrameReader::new(reader, ANSWER_BYTES_MAX);
    let prefix = reader.prefix(MAGIC.len()).await.map_err(broken)?;
    if prefix[..] != MAGIC && MAGIC.starts_with(&prefix) {
        return Err(RpcError::Unreachable { address: address.to_owned(), cause: describe(&[]) });
    }
    if prefix[..] != MAGIC {
        return Err(RpcError::NotBasalt { address: address.to_owned(), found: describe(&prefix) });
    }
    let unreachable =
        |cause: &str| RpcError::Unreachable { address: address.to_owned(), cause: cause.to_owned() };
    let answer = reader.next::<Answer>().await.map_err(|error| unreachable(&error.to_string()))?;
    let (answer, _) = answer.ok_or_else(|| unreachable("it hung up in the handshake"))?;
    Ok(Opened { reader, writer, answer, holder })
}

/// The other side ended the connection, or TLS did.
fn no_answer(address: &str, error: &io::Error) -> RpcError {
    let address = address.to_owned();
    if let Some(cause) = explain(error) {
        return RpcError::Tls { address, cause };
    }
    // A node that stops, or is asked by too many at once, does the same; so it says nothing of what is there.
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            RpcError::Unreachable { address, cause: describe(&[]) }
        }
        io::ErrorKind::InvalidData => {
            let found =
                format!("it does not speak TLS (or it is one that was started with --insecure): {error}");
            RpcError::NotBasalt { address, found }
        }
        _ => RpcError::Unreachable { address, cause: error.to_string() },
    }
}

/// What answers with these bytes.
pub(crate) fn describe(prefix: &[u8]) -> String {
    match prefix {
        [] => "it closed the connection without an answer".to_owned(),
        [b'H', b'T', b'T', b'P', ..] => "it is an HTTP server".to_owned(),
        [b'E', 0, 0, ..] => "it is a PostgreSQL server".to_owned(),
        [0x15 | 0x16, 3, ..] => "it speaks TLS, and this node was started with --insecure".to_owned(),
        [b'G' | b'P', b'E' | b'O' | b'U', ..] => "it is an HTTP client".to_owned(),
        [0, 0, _, _, 0, 3, 0 | 2, 0, ..] | [0, 0, 0, 8, 4, 0xD2, ..] => {
            "it is a PostgreSQL client".to_owned()
        }
        other => format!("it began with \"{}\"", other.escape_ascii()),
    }
}

/// The bytes that answer a [`Hello`].
pub(crate) fn answer_bytes(answer: &Answer) -> BytesMut {
    let mut bytes = BytesMut::from(&MAGIC[..]);
    put_frame(&mut bytes, answer);
    debug_assert!(answer.encoded_len() <= ANSWER_BYTES_MAX);
    bytes
}

pub(crate) fn refusal_answer(refusal: &Refusal) -> Answer {
    Answer { refusal: refusal.kind as u32, reason: refusal.reason.clone(), ..Answer::default() }
}

impl Identity {
    pub(crate) fn hello(&self, address: &str, purpose: u32) -> Hello {
        Hello {
            protocol_min: self.protocol.0,
            protocol_max: self.protocol.1,
            cluster_id: Bytes::copy_from_slice(&self.cluster_id.to_be_bytes()),
            node_id: self.node_id.0,
            offset_max_micros: micros(self.offset_max),
            replicas_wanted: self.replicas_wanted,
            address: address.to_owned(),
            purpose,
            ..Hello::default()
        }
    }

    pub(crate) fn welcome(&self, hello: &Hello) -> Answer {
        Answer {
            protocol: self.protocol.1.min(hello.protocol_max),
            cluster_id: Bytes::copy_from_slice(&self.cluster_id.to_be_bytes()),
            node_id: self.node_id.0,
            offset_max_micros: micros(self.offset_max),
            replicas_wanted: self.replicas_wanted,
            ..Answer::default()
        }
    }

    /// Of a node that has an id: whether it may connect.
    pub(crate) fn check_hello(&self, hello: &Hello, holder: Option<&Holder>) -> Result<NodeId, Refusal> {
        check_protocol(self, hello)?;
        let peer = NodeId(hello.node_id);
        let text = |what: fmt::Arguments<'_>| format!("node {peer} at {}: {what}", hello.address);
        let refuse = |kind, what: fmt::Arguments<'_>| Err(Refusal::new(kind, text(what)));
        let Some(cluster_id) = cluster_id(&hello.cluster_id) else {
            return refuse(RefusalKind::Malformed, format_args!("its cluster id is not 16 bytes long"));
        };
        if cluster_id != self.cluster_id {
            let own = self.cluster_id;
            return refuse(
                RefusalKind::Cluster,
                format_args!(
                    "it belongs to cluster {cluster_id:032x}, and node {} to cluster {own:032x}",
                    self.node_id
                ),
            );
        }
        if peer == NodeId(0) || peer == self.node_id {
            return refuse(
                RefusalKind::NodeId,
                format_args!("node id {peer} is taken by the node it connected to"),
            );
        }
        if ![0, self.node_id.0].contains(&hello.expected) {
            let (expected, own) = (hello.expected, self.node_id);
            return refuse(
                RefusalKind::NodeId,
                format_args!("it looks for node {expected} at the address of node {own}"),
            );
        }
        check_holder(holder, Some(peer))
            .map_err(|refusal| Refusal::new(refusal.kind, text(format_args!("{refusal}"))))?;
        if hello.offset_max_micros != micros(self.offset_max) {
            let theirs = Duration::from_micros(hello.offset_max_micros);
            return refuse(
                RefusalKind::ClockOffset,
                format_args!(
                    "its maximum clock offset is {theirs:?}, and that of node {} is {:?}; all nodes must have the same",
                    self.node_id, self.offset_max
                ),
            );
        }
        let (theirs, own) = (hello.replicas_wanted, self.replicas_wanted);
        if theirs != own && theirs != 0 && own != 0 {
            return refuse(
                RefusalKind::Replicas,
                format_args!(
                    "it wants {theirs} replicas of everything, and node {} wants {own}; all nodes must want the same",
                    self.node_id
                ),
            );
        }
        Ok(peer)
    }

    /// The side that connected checks as well: nothing that it sends may reach another node than it means.
    pub(crate) fn check_answer(
        &self,
        opened: &Opened,
        address: &str,
        expected: Option<NodeId>,
    ) -> Result<NodeId, RpcError> {
        let answer = &opened.answer;
        let error = |refusal| RpcError::Refused { address: address.to_owned(), refusal };
        let refused = |kind, reason: String| Err(error(Refusal::new(kind, reason)));
        check_refusal(answer, address)?;
        let peer = NodeId(answer.node_id);
        if cluster_id(&answer.cluster_id) != Some(self.cluster_id) {
            let own = self.cluster_id;
            return refused(
                RefusalKind::Cluster,
                match cluster_id(&answer.cluster_id) {
                    Some(theirs) => format!(
                        "node {peer} belongs to cluster {theirs:032x}, and node {} to cluster {own:032x}",
                        self.node_id
                    ),
                    None => format!("the cluster id of node {peer} is not 16 bytes long"),
                },
            );
        }
        if peer == self.node_id || expected.is_some_and(|expected| expected != peer) {
            return refused(RefusalKind::NodeId, format!("node {peer} is there, and another was looked for"));
        }
        if answer.offset_max_micros != micros(self.offset_max) {
            let (theirs, own) = (Duration::from_micros(answer.offset_max_micros), self.offset_max);
            let reason = format!(
                "the maximum clock offset of node {peer} is {theirs:?}, and that of this node {own:?}"
            );
            return refused(RefusalKind::ClockOffset, reason);
        }
        let (theirs, own) = (answer.replicas_wanted, self.replicas_wanted);
        if theirs != own && theirs != 0 && own != 0 {
            let reason = format!("node {peer} wants {theirs} replicas of everything, and this node {own}");
            return refused(RefusalKind::Replicas, reason);
        }
        check_holder(opened.holder.as_ref(), Some(peer)).map_err(error)?;
        Ok(peer)
    }
}

pub(crate) fn check_refusal(answer: &Answer, address: &str) -> Result<(), RpcError> {
    if answer.refusal == 0 {
        return Ok(());
    }
    let refusal = Refusal { kind: RefusalKind::from_number(answer.refusal), reason: answer.reason.clone() };
    Err(RpcError::Refused { address: address.to_owned(), refusal })
}

pub(crate) fn check_protocol(own: &Identity, hello: &Hello) -> Result<(), Refusal> {
    let ((min, max), theirs) = (own.protocol, (hello.protocol_min, hello.protocol_max));
    if theirs.0 <= max && min <= theirs.1 {
        return Ok(());
    }
    let reason = format!(
        "the node at {} (basalt {}) speaks versions {} to {} of the protocol, and node {} versions {min} to {max}",
        hello.address, hello.build, theirs.0, theirs.1, own.node_id
    );
    Err(Refusal::new(RefusalKind::Protocol, reason))
}

/// What a certificate allows.
pub(crate) fn check_holder(holder: Option<&Holder>, node: Option<NodeId>) -> Result<(), Refusal> {
    let reason = match (holder, node) {
        (Some(holder), _) if !holder.is_node => "its certificate is not a node's".to_owned(),
        (Some(holder), Some(node)) if !holder.may_be(node) => {
            let ids: Vec<_> = holder.node_ids.iter().map(u64::to_string).collect();
            format!("its certificate is that of node {}, not of node {node}", ids.join(", "))
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(RefusalKind::Certificate, reason))
}

pub(crate) fn cluster_id(bytes: &Bytes) -> Option<u128> {
    Some(u128::from_be_bytes(bytes[..].try_into().ok()?))
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
