//! The receiving end: connections that others opened, from the first byte on.
//!
//! Until a connection has shown that it comes from a node of this cluster, it may send one short frame in a few seconds, and
//! there are only so many of its kind.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::NodeId;
use basalt_kv_api::{Class, Receiver};
use bytes::BytesMut;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit},
};

use crate::{
    Refusal, RefusalKind,
    assembly::Assembly,
    core::{Core, Pulse},
    frame::{FrameReader, put_frame},
    handshake::{self, MAGIC},
    join,
    lives::Meeting,
    message::{Answer, Hello, PURPOSE_INTRODUCE, PURPOSE_JOIN, PURPOSE_MESSAGES, Packet},
    options::{FRAME_BYTES_MAX, HELLO_BYTES_MAX, class_index, class_of},
    security::{Accepted, Holder, Stream, explain},
};

/// The pause after a failed accept: the process may be out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long a refused peer may take to read why.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// What it may still send until then.
const GOODBYE_BYTES_MAX: usize = 64 << 10;
/// A connection that always has more to read lets others go first after so much: its own signs of life, too.
const TURN_BYTES: usize = 1 << 20;

/// Serves `listener` until the wire is closed.
pub(crate) async fn accept(core: Arc<Core>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = core.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Ok(permit) = core.strangers.clone().try_acquire_owned() else {
                    // One sentence for all of them: it is not repeated for a minute.
                    let most = core.options.strangers_max;
                    let complaint =
                        format!("connections are refused: {most} others have not said who they are");
                    core.complaints.note(core.now(), complaint);
                    tracing::debug!(%address, "refused without a word");
                    continue;
                };
                let serving = serve(core.clone(), stream, address, permit);
                core.env.spawner.spawn("rpc connection", Box::pin(serving));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                core.env.spawner.sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(core: Arc<Core>, stream: TcpStream, address: SocketAddr, stranger: OwnedSemaphorePermit) {
    let greeted = tokio::select! {
        biased;
        () = core.closed() => return,
        greeted = greet(&core, stream, address) => greeted,
        () = core.env.spawner.sleep(core.options.handshake_timeout) => {
            Err(format!("connection from {}: no handshake in time", address.ip()))
        }
    };
    drop(stranger);
    match greeted {
        Ok(Some(connection)) => connection.serve(core).await,
        Ok(None) => {}
        Err(reason) => core.complaints.note(core.now(), reason),
    }
}

/// A connection of another node, which was welcomed.
struct Inbound {
    peer: NodeId,
    class: Class,
    /// Among those of the same peer and class.
    number: u64,
    reader: FrameReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    _meeting: Meeting,
    _counted: OwnedSemaphorePermit,
}

/// The handshake. `None`: the connection has served its purpose.
async fn greet(core: &Core, stream: TcpStream, address: SocketAddr) -> Result<Option<Inbound>, String> {
    let stranger = |what: &str| format!("connection from {}: {what}", address.ip());
    stream.set_nodelay(true).map_err(|error| stranger(&error.to_string()))?;
    let accepted = core.security.accept(stream).await;
    let Accepted { stream, holder, mismatch } = accepted.map_err(|error| {
        stranger(&explain(&error).unwrap_or_else(|| format!("no connection with TLS: {error}")))
    })?;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader, HELLO_BYTES_MAX);
    if let Some(mismatch) = mismatch {
        let reason = stranger(mismatch);
        let refusal = Refusal::new(RefusalKind::Certificate, reason.clone());
        refuse(core, &mut reader, &mut writer, &refusal).await;
        return Err(reason);
    }
    let prefix = reader
        .prefix(MAGIC.len())
        .await
        .map_err(|error| stranger(&explain(&error).unwrap_or_else(|| error.to_string())))?;
    if prefix[..] != MAGIC {
        return Err(stranger(&format!("it is not a Basalt node: {}", handshake::describe(&prefix))));
    }
    let hello = reader.next::<Hello>().await.map_err(|error| stranger(&error.to_string()))?;
    let (hello, _) = hello.ok_or_else(|| stranger("it hung up in the handshake"))?;
    let counted = core.connections.clone().try_acquire_owned();
    let counted = counted.map_err(|_| {
        let reason = format!("node {} has too many connections", core.identity.node_id);
        Refusal::new(RefusalKind::Busy, reason)
    });
    let answered = match counted {
        Ok(counted) => decide(core, &hello, holder.as_ref()).await.map(|decision| (decision, counted)),
        Err(refusal) => Err(refusal),
    };
    let ((answer, peer), counted) = match answered {
        Ok(decision) => decision,
        Err(refusal) => {
            refuse(core, &mut reader, &mut writer, &refusal).await;
            return Err(format!("refused a node: {refusal}"));
        }
    };
    let bytes = handshake::answer_bytes(&answer);
    writer.write_all(&bytes).await.map_err(|error| stranger(&error.to_string()))?;
    writer.flush().await.map_err(|error| stranger(&error.to_string()))?;
    let Some((peer, class, meeting)) = peer else {
        return Ok(None);
    };
    reader.set_bytes_max(FRAME_BYTES_MAX);
    let number = {
        let mut inbound = core.inbound.lock();
        let number = inbound.entry((peer, class_index(class))).or_default();
        *number += 1;
        *number
    };
    Ok(Some(Inbound { peer, class, number, reader, writer, _meeting: meeting, _counted: counted }))
}

/// Says why the connection ends. The reason must have arrived before the end overtakes it.
async fn refuse(
    core: &Core,
    reader: &mut FrameReader<ReadHalf<Stream>>,
    writer: &mut WriteHalf<Stream>,
    refusal: &Refusal,
) {
    let bytes = handshake::answer_bytes(&handshake::refusal_answer(refusal));
    let goodbye = async {
        writer.write_all(&bytes).await?;
        writer.shutdown().await?;
        reader.drain(GOODBYE_BYTES_MAX).await
    };
    tokio::select! {
        biased;
        _ = goodbye => {}
        () = core.env.spawner.sleep(GOODBYE_TIMEOUT) => {}
    }
}

/// What a hello is answered, and which node's messages of which class follow.
async fn decide(
    core: &Core,
    hello: &Hello,
    holder: Option<&Holder>,
) -> Result<(Answer, Option<(NodeId, Class, Meeting)>), Refusal> {
    if hello.purpose == PURPOSE_JOIN {
        return Ok((join::answer(core, hello, holder).await?, None));
    }
    let peer = core.identity.check_hello(hello, holder)?;
    if core.nodes.is_removed(peer) {
        let reason = format!(
            "node {peer} was removed from the cluster and cannot come back; it can join as a new one"
        );
        return Err(Refusal::new(RefusalKind::Removed, reason));
    }
    let malformed =
        || Refusal::new(RefusalKind::Malformed, format!("node {peer}: a hello that makes no sense"));
    let class = match hello.purpose {
        PURPOSE_MESSAGES => Some(class_of(hello.class).ok_or_else(malformed)?),
        PURPOSE_INTRODUCE => None,
        _ => return Err(malformed()),
    };
    let meeting = core.meet(peer, &hello.lives)?;
    let now = core.now();
    for record in hello.records.iter().filter(|record| record.node_id == peer.0) {
        core.nodes.merge(record.clone(), Some(now));
    }
    core.nodes.met(peer, &hello.address, now);
    let waiting = core.peers.read().get(&peer).cloned();
    if let Some(waiting) = waiting {
        waiting.awake.notify_waiters();
    }
    let answer = Answer {
        records: core.introduction(),
        build: core.nodes.own_record().build,
        lives: core.lives.own(),
        ..core.identity.welcome(hello)
    };
    Ok((answer, class.map(|class| (peer, class, meeting))))
}

impl Inbound {
    async fn serve(self, core: Arc<Core>) {
        let Self { peer, class, number, mut reader, mut writer, _meeting, _counted } = self;
        let pulse = Pulse::default();
        let pong = Pong::default();
        let receive = async {
            let receiver = core
                .receiver
                .subscribe()
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|there| there.clone());
            match receiver {
                Some(receiver) => {
                    let inbound =
                        Receiving { core: &core, peer, class, number, receiver, pulse: &pulse, pong: &pong };
                    inbound.run(&mut reader).await
                }
                None => Ok(()),
            }
        };
        let end = tokio::select! {
            biased;
            () = core.closed() => return,
            end = receive => match end {
                Ok(()) => "the other side hung up".to_owned(),
                Err(error) => error.to_string(),
            },
            error = show_life(&core, &mut writer, &pong) => error.to_string(),
            reason = pulse.watch(&core, peer) => reason,
        };
        tracing::debug!(%peer, ?class, "connection ended: {end}");
    }
}

/// The last ping that was read.
#[derive(Default)]
struct Pong {
    number: AtomicU64,
    due: Notify,
}

struct Receiving<'a> {
    core: &'a Core,
    peer: NodeId,
    class: Class,
    number: u64,
    receiver: Arc<dyn Receiver>,
    pulse: &'a Pulse,
    pong: &'a Pong,
}

impl Receiving<'_> {
    async fn run(&self, reader: &mut FrameReader<ReadHalf<Stream>>) -> io::Result<()> {
        let message_bytes_max = self.core.options.limits(self.class).message_bytes;
        let mut assembly = Assembly::new(self.core.assembly.clone(), message_bytes_max);
        let traffic = &self.core.traffic[class_index(self.class)];
        let mut turn = 0;
        while let Some((packet, bytes)) = reader.next::<Packet>().await? {
            self.pulse.beat();
            traffic.bytes_received.add(bytes);
            turn += bytes;
            if turn >= TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
            if packet.ping != 0 {
                self.pong.number.store(packet.ping, Ordering::Relaxed);
                self.pong.due.notify_one();
            }
            if !packet.records.is_empty() {
                self.learn(packet.records);
            }
            for piece in packet.pieces {
                let begins = Assembly::begins(&piece);
                self.pulse.set_deaf(begins);
                let message = assembly.add(piece).await?;
                if begins {
                    self.pulse.set_deaf(false);
                }
                if let Some(message) = message {
                    self.check_newest()?;
                    traffic.messages_received.add(1);
                    self.receiver.receive(self.peer, self.class, message);
                }
            }
        }
        Ok(())
    }

    fn learn(&self, records: Vec<crate::message::Record>) {
        let now = self.core.now();
        for record in records {
            let heard = (record.node_id == self.peer.0).then_some(now);
            self.core.nodes.merge(record, heard);
        }
    }

    /// Messages of an older connection would arrive behind those of the newer one.
    fn check_newest(&self) -> io::Result<()> {
        let newest = self.core.inbound.lock().get(&(self.peer, class_index(self.class))).copied();
        if newest == Some(self.number) {
            return Ok(());
        }
        Err(io::Error::other("the peer has opened a newer connection"))
    }
}

/// Answers pings, and beats without being asked as well: the peer may be busy sending one long message.
async fn show_life(core: &Core, writer: &mut WriteHalf<Stream>, pong: &Pong) -> io::Error {
    let mut buffer = BytesMut::new();
    loop {
        tokio::select! {
            biased;
            () = pong.due.notified() => {}
            () = core.env.spawner.sleep(core.options.alive_interval) => {}
        }
        let number = pong.number.swap(0, Ordering::Relaxed);
        buffer.clear();
        put_frame(&mut buffer, &Packet { pong: number, ..Packet::default() });
        let written = async {
            writer.write_all(&buffer).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error;
        }
    }
}
