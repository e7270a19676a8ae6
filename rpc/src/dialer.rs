//! The sending end: one task for each peer and class, which connects when there is something to send, sends what its outbox
//! holds, and connects again when the connection is lost.
//!
//! Messages that wait while the peer cannot be reached are dropped with each failed attempt: they would be late, and
//! whoever sent them has to cope with loss anyway. The other side sends nothing but signs of life.

use std::{io, sync::Arc, time::Duration};

use basalt_kv_api::Class;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf};

use crate::{
    RpcError,
    assembly::cut,
    core::{Core, Peer, Pulse},
    frame::{FrameReader, put_frame},
    handshake::{self, Opened},
    lives::Meeting,
    message::{PURPOSE_MESSAGES, Packet},
    options::{FRAME_BYTES_MAX, PIECE_BYTES, RECORDS_PER_FRAME, class_index},
    outbox::{Load, Outbox},
    pacing::Backoff,
    security::Stream,
    traffic::Traffic,
};

pub(crate) struct Dialer {
    core: Arc<Core>,
    peer: Arc<Peer>,
    class: Class,
    /// The ping that is on its way.
    ping: Mutex<Option<(u64, Duration)>>,
}

impl Dialer {
    pub(crate) fn spawn(core: &Arc<Core>, peer: &Arc<Peer>, class: Class) {
        let dialer = Self { core: core.clone(), peer: peer.clone(), class, ping: Mutex::default() };
        core.env.spawner.spawn("rpc dialer", Box::pin(dialer.run()));
    }

    async fn run(self) {
        let core = self.core.clone();
        tokio::select! {
            biased;
            () = core.closed() => {}
            () = self.stay_connected() => {}
        }
    }

    fn outbox(&self) -> &Outbox {
        &self.peer.outboxes[class_index(self.class)]
    }

    async fn stay_connected(&self) {
        let options = &self.core.options;
        let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
        loop {
            self.outbox().wait().await;
            match self.connect().await {
                Ok((opened, meeting)) => {
                    backoff.reset();
                    self.set_connected(true);
                    self.traffic().connections.add(1);
                    let end = self.pump(opened).await;
                    drop(meeting);
                    self.set_connected(false);
                    let (peer, class) = (self.peer.node_id, self.class);
                    tracing::info!(%peer, ?class, "connection lost: {end}");
                    self.peer.state.lock().problem = Some(end);
                }
                Err(error) => {
                    self.traffic().messages_dropped.add(self.outbox().clear());
                    self.core.note_failure(&error);
                    self.peer.state.lock().problem = Some(error.to_string());
                }
            }
            let pause = backoff.pause(&*self.core.env.rng);
            tokio::select! {
                biased;
                () = self.peer.awake.notified() => {}
                () = self.core.env.spawner.sleep(pause) => {}
            }
        }
    }

    fn set_connected(&self, connected: bool) {
        let mut state = self.peer.state.lock();
        state.connected[class_index(self.class)] = connected;
        if connected {
            state.problem = None;
        } else {
            state.round_trip = None;
        }
    }

    async fn connect(&self) -> Result<(Opened, Meeting), RpcError> {
        let core = &*self.core;
        let peer = self.peer.node_id;
        let address = core.nodes.address(peer).ok_or_else(|| RpcError::Unreachable {
            address: format!("node {peer}"),
            cause: "its address is not known, or it was removed".to_owned(),
        })?;
        let hello = crate::message::Hello {
            expected: peer.0,
            class: class_index(self.class) as u32,
            ..core.hello(PURPOSE_MESSAGES)
        };
        let mut opened = handshake::open(&core.env, &core.security, &core.options, &address, &hello).await?;
        core.identity.check_answer(&opened, &address, Some(peer))?;
        let meeting = core.meet(peer, &opened.answer.lives);
        let meeting =
            meeting.map_err(|refusal| RpcError::Distrusted { address: address.clone(), refusal })?;
        let now = core.now();
        for record in std::mem::take(&mut opened.answer.records) {
            let heard = (record.node_id == peer.0).then_some(now);
            core.nodes.merge(record, heard);
        }
        tracing::debug!(%peer, class = ?self.class, address, "connected");
        Ok((opened, meeting))
    }

    /// Sends until the connection ends; says why it did.
    async fn pump(&self, opened: Opened) -> String {
        let Opened { mut reader, mut writer, .. } = opened;
        reader.set_bytes_max(FRAME_BYTES_MAX);
        *self.ping.lock() = None;
        let pulse = Pulse::default();
        tokio::select! {
            biased;
            error = self.listen(&mut reader, &pulse) => error.to_string(),
            error = self.send(&mut writer) => error.to_string(),
            reason = pulse.watch(&self.core, self.peer.node_id) => reason,
        }
    }

    async fn listen(&self, reader: &mut FrameReader<ReadHalf<Stream>>, pulse: &Pulse) -> io::Error {
        loop {
            let packet = match reader.next::<Packet>().await {
                Ok(Some((packet, _))) => packet,
                Ok(None) => return io::Error::new(io::ErrorKind::UnexpectedEof, "the other side hung up"),
                Err(error) => return error,
            };
            pulse.beat();
            let now = self.core.now();
            let mut ping = self.ping.lock();
            if let Some((number, sent)) = *ping
                && number == packet.pong
            {
                *ping = None;
                // Behind a snapshot it would tell of the snapshot.
                if self.class == Class::Raft {
                    self.peer.state.lock().round_trip = Some(now.saturating_sub(sent));
                }
            }
        }
    }

    async fn send(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Error {
        let mut buffer = BytesMut::new();
        loop {
            let mut tick = self.core.env.spawner.sleep(self.core.options.alive_interval);
            loop {
                tokio::select! {
                    biased;
                    () = &mut tick => break,
                    load = self.outbox().take() => {
                        let messages = load.messages.len();
                        if let Err(error) = self.write(writer, &mut buffer, load).await {
                            self.traffic().messages_dropped.add(messages);
                            return error;
                        }
                        self.traffic().messages_sent.add(messages);
                    }
                }
            }
            if let Err(error) = self.ping(writer, &mut buffer).await {
                return error;
            }
        }
    }

    async fn ping(&self, writer: &mut (impl AsyncWrite + Unpin), buffer: &mut BytesMut) -> io::Result<()> {
        let number = {
            let mut ping = self.ping.lock();
            // While one is on its way, the next ones only show life.
            let (number, _) = *ping.get_or_insert((self.core.env.rng.next_u64() | 1, self.core.now()));
            number
        };
        put_frame(buffer, &Packet { ping: number, ..Packet::default() });
        self.flush(writer, buffer).await
    }

    /// Waits until `bytes` of a snapshot may go, and shows life meanwhile.
    async fn hold_back(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        buffer: &mut BytesMut,
        bytes: usize,
    ) -> io::Result<()> {
        if self.class != Class::Snapshot {
            return Ok(());
        }
        let interval = self.core.options.alive_interval;
        let mut wait = self.core.throttle.reserve(self.core.now(), bytes);
        while wait > interval {
            self.core.env.spawner.sleep(interval).await;
            self.ping(writer, buffer).await?;
            wait -= interval;
        }
        if !wait.is_zero() {
            self.core.env.spawner.sleep(wait).await;
        }
        Ok(())
    }

    async fn flush(&self, writer: &mut (impl AsyncWrite + Unpin), buffer: &mut BytesMut) -> io::Result<()> {
        writer.write_all(buffer).await?;
        writer.flush().await?;
        let traffic = self.traffic();
        traffic.frames_sent.add(1);
        traffic.bytes_sent.add(buffer.len());
        buffer.clear();
        Ok(())
    }

    fn traffic(&self) -> &Traffic {
        &self.core.traffic[class_index(self.class)]
    }

    async fn write(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        buffer: &mut BytesMut,
        load: Load<'_>,
    ) -> io::Result<()> {
        for records in load.records.chunks(RECORDS_PER_FRAME) {
            put_frame(buffer, &Packet { records: records.to_vec(), ..Packet::default() });
            self.flush(writer, buffer).await?;
        }
        // The load itself keeps counting the messages until they are written.
        if let [long] = &load.messages[..]
            && long.len() > PIECE_BYTES
        {
            for piece in cut(long.clone()) {
                self.hold_back(writer, buffer, piece.body.len()).await?;
                tokio::task::yield_now().await;
                put_frame(buffer, &Packet { pieces: vec![piece], ..Packet::default() });
                self.flush(writer, buffer).await?;
            }
            return Ok(());
        }
        if load.messages.is_empty() {
            return Ok(());
        }
        self.hold_back(writer, buffer, load.messages.iter().map(Bytes::len).sum()).await?;
        let pieces = load.messages.iter().flat_map(|message| cut(message.clone())).collect();
        put_frame(buffer, &Packet { pieces, ..Packet::default() });
        self.flush(writer, buffer).await
    }
}
