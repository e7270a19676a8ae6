//! Batches that are for other nodes, and those that come from them.
//!
//! An answer carries what the answering node knows of the ranges that the request was about: so whoever has a stale route
//! hears the better one with the refusal.

use std::sync::Arc;

use basalt_base::{Key, NodeId, RangeId};
use basalt_kv_api::{
    BatchRequest, BatchResponse, Error, Result,
    wire::{self, Input, WireError, put_bytes},
};
use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Located,
    divide::{self, Target},
    lookup::Aim,
};
use crate::{replica::RangeDescriptor, store::Store};

/// Ranges told with one answer.
const HINTS_MAX: usize = 16;

/// What one node asks of another.
#[derive(Debug)]
pub enum PeerRequest {
    /// A batch for one range, encoded.
    Batch { range_id: RangeId, batch: Bytes },
    /// The range that holds a key, or the keys just below it, as the node knows it.
    Find { key: Key, before: bool },
    /// A message of Raft with a copy of a range.
    Snapshot(Bytes),
    /// Something was decided about a node.
    NodesChanged,
    /// What the node has to do.
    Load,
    /// A batch for one range whose leaseholder the asking node can't reach: to be served, or passed on once. The answer is
    /// that of a batch, or empty if what became of it is unknown.
    Relay { range_id: RangeId, batch: Bytes },
    /// This incarnation of the asking node stops, and is to be called no more.
    Leaves { incarnation: u64 },
    /// For the layers above the store. Their answer is behind a byte that says that there is one.
    Above(Bytes),
}

impl PeerRequest {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Batch { range_id, batch } | Self::Relay { range_id, batch } => {
                out.put_u8(if matches!(self, Self::Relay { .. }) { 6 } else { 1 });
                out.put_u64(range_id.0);
                put_bytes(&mut out, batch);
            }
            Self::Find { key, before } => {
                out.put_u8(2);
                put_bytes(&mut out, key);
                out.put_u8(u8::from(*before));
            }
            Self::Snapshot(bytes) => {
                out.put_u8(3);
                put_bytes(&mut out, bytes);
            }
            Self::NodesChanged => out.put_u8(4),
            Self::Load => out.put_u8(5),
            Self::Above(bytes) => {
                out.put_u8(7);
                put_bytes(&mut out, bytes);
            }
            Self::Leaves { incarnation } => {
                out.put_u8(8);
                out.put_u64(*incarnation);
            }
        }
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "request of a node");
        let request = match input.u8()? {
            1 => Self::Batch { range_id: RangeId(input.u64()?), batch: input.bytes()? },
            2 => Self::Find { key: input.bytes()?, before: input.u8()? != 0 },
            3 => Self::Snapshot(input.bytes()?),
            4 => Self::NodesChanged,
            5 => Self::Load,
            6 => Self::Relay { range_id: RangeId(input.u64()?), batch: input.bytes()? },
            7 => Self::Above(input.bytes()?),
            8 => Self::Leaves { incarnation: input.u64()? },
            _ => return Err(input.error()),
        };
        input.end()?;
        Ok(request)
    }
}

/// The answer to a batch or a search.
#[derive(Debug)]
pub struct PeerReply {
    pub hints: Vec<Located>,
    pub result: Result<BatchResponse>,
}

impl PeerReply {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(self.hints.len()).expect("hints are few"));
        for hint in &self.hints {
            put_bytes(&mut out, &hint.descriptor.encode());
            out.put_u64(hint.holder.map_or(0, |holder| holder.0));
        }
        put_bytes(&mut out, &wire::encode_result(&self.result));
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "answer of a node");
        let count = input.count(12)?;
        let mut hints = Vec::with_capacity(count.min(HINTS_MAX));
        for _ in 0..count {
            let descriptor = Arc::new(RangeDescriptor::decode(input.bytes()?)?);
            let holder = Some(NodeId(input.u64()?)).filter(|holder| holder.0 != 0);
            hints.push(Located { descriptor, holder });
        }
        let result = wire::decode_result(input.bytes()?)?;
        input.end()?;
        Ok(Self { hints, result })
    }
}

impl Store {
    /// Answers another node.
    pub(crate) async fn serve_peer(self: &Arc<Self>, from: NodeId, request: PeerRequest) -> Bytes {
        let reply = match request {
            PeerRequest::Batch { range_id, batch } => self.serve_batch(range_id, batch).await,
            PeerRequest::Relay { range_id, batch } => {
                let reply = self.serve_batch(range_id, batch.clone()).await;
                match self.next_hop(range_id, from, &reply) {
                    Some(holder) => return self.pass_on(holder, range_id, batch, reply).await,
                    None => reply,
                }
            }
            PeerRequest::Find { key, before } => {
                let aim = if before { Aim::Before(&key) } else { Aim::At(&key) };
                let hints = self.find_here(aim, false).into_iter().collect();
                PeerReply { hints, result: Ok(BatchResponse::default()) }
            }
            PeerRequest::NodesChanged => {
                if let Err(error) = self.reload_node_states().await {
                    tracing::debug!(%error, "what was decided about nodes is read later");
                }
                PeerReply { hints: Vec::new(), result: Ok(BatchResponse::default()) }
            }
            PeerRequest::Leaves { incarnation } => {
                self.peers().note_leaving(from, incarnation);
                PeerReply { hints: Vec::new(), result: Ok(BatchResponse::default()) }
            }
            PeerRequest::Load => return self.node_load().encode(),
            PeerRequest::Above(request) => return self.answer_above(from, request).await,
            PeerRequest::Snapshot(_) => return Bytes::new(),
        };
        reply.encode()
    }

    async fn serve_batch(self: &Arc<Self>, range_id: RangeId, batch: Bytes) -> PeerReply {
        let batch = match wire::decode_request(batch) {
            Ok(batch) => batch,
            Err(error) => {
                return PeerReply { hints: Vec::new(), result: Err(Error::Invalid(error.to_string())) };
            }
        };
        let result = self.execute_for_peer(range_id, &batch).await;
        let stale =
            matches!(result, Err(Error::RangeMismatch | Error::NotLeaseholder | Error::RangeNotFound));
        let hints = if stale { self.hints(&batch) } else { Vec::new() };
        PeerReply { hints, result }
    }

    async fn execute_for_peer(
        self: &Arc<Self>,
        range_id: RangeId,
        batch: &BatchRequest,
    ) -> Result<BatchResponse> {
        let replica = self.states.ranges.by_id(range_id).ok_or(Error::RangeNotFound)?;
        if batch.header.from_any_replica {
            match self.follow(&replica, batch) {
                Err(Error::NotLeaseholder) => {}
                answer => return answer,
            }
        }
        self.ensure_lease(&replica).await?;
        self.execute(&replica, batch, super::Origin::Peer).await
    }

    /// What is known here of the ranges that a batch is about.
    fn hints(&self, batch: &BatchRequest) -> Vec<Located> {
        let mut hints: Vec<Located> = Vec::new();
        for request in &batch.requests {
            let key = match divide::target(&batch.header, request) {
                Target::Key(key) => key,
                Target::Span(span) => span.start,
                Target::Anywhere => continue,
            };
            if hints.len() >= HINTS_MAX || hints.iter().any(|hint| hint.descriptor.contains(&key)) {
                continue;
            }
            hints.extend(self.find_here(Aim::At(&key), false));
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::{ReplicaId, Span};

    use super::*;
    use crate::replica::Place;

    #[test]
    fn requests_and_replies_round_trip_and_refuse_truncation() {
        let requests = [
            PeerRequest::Find { key: Key::from_static(b"k"), before: true },
            PeerRequest::Batch { range_id: RangeId(7), batch: Bytes::from_static(b"batch") },
            PeerRequest::Snapshot(Bytes::from_static(b"copy")),
            PeerRequest::NodesChanged,
            PeerRequest::Load,
            PeerRequest::Leaves { incarnation: 7 },
            PeerRequest::Above(Bytes::from_static(b"who is there")),
            PeerRequest::Relay { range_id: RangeId(7), batch: Bytes::from_static(b"batch") },
        ];
        for request in requests {
            let bytes = request.encode();
            let decoded = PeerRequest::decode(bytes.clone()).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{request:?}"));
            (0..bytes.len()).for_each(|length| assert!(PeerRequest::decode(bytes.slice(..length)).is_err()));
        }
        let descriptor = RangeDescriptor {
            range_id: RangeId(7),
            generation: 2,
            span: Span::new(Key::from_static(b"a"), Key::from_static(b"m")),
            replicas: vec![Place { node_id: NodeId(2), replica_id: ReplicaId(5) }],
            next_replica_id: ReplicaId(6),
        };
        let hints = vec![Located { descriptor: Arc::new(descriptor), holder: Some(NodeId(2)) }];
        for result in [Ok(BatchResponse::default()), Err(Error::NotLeaseholder)] {
            let reply = PeerReply { hints: hints.clone(), result };
            let bytes = reply.encode();
            let decoded = PeerReply::decode(bytes.clone()).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{reply:?}"));
            (0..bytes.len()).for_each(|length| assert!(PeerReply::decode(bytes.slice(..length)).is_err()));
        }
    }
}
