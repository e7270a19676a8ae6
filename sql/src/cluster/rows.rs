//! What nodes store of each other.

use std::collections::BTreeMap;

use basalt_base::{Key, NodeId, Span, Timestamp, codec, keys};
use basalt_env::{Env, Rng};
use basalt_kv_api::{BatchHeader, BatchRequest, ReadConsistency, Request, Response, ScanBatch};
use basalt_txn::{ScanRequest, Txn, TxnClient};
use basalt_types::{Oid, Result, SqlError};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::sql_error;

const PREFIX: [u8; 2] = [keys::SYSTEM_PREFIX, b'C'];

/// A node's session; never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub node: NodeId,
    pub incarnation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// No transaction of the session commits above it.
    pub expiration: Timestamp,
    /// The node knows of everybody who serves, and they of it.
    pub serves: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The node uses the catalog as it was then, or a later one.
    pub synchronized: Timestamp,
    /// Ids of the table locks that it holds for others, in order.
    pub held: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRow {
    pub owner: Identity,
    pub id: u64,
}

/// All rows at one time.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub version: Bytes,
    pub sequences: Bytes,
    pub sessions: BTreeMap<Identity, SessionRow>,
    pub acknowledgements: BTreeMap<Identity, Acknowledgement>,
    pub locks: BTreeMap<Oid, LockRow>,
}

impl Rows {
    pub async fn read(txn: &Txn) -> Result<Self, basalt_txn::Error> {
        let mut rows = Self::default();
        let mut span = Some(Span::prefix(Bytes::from_static(&PREFIX)));
        while let Some(next) = span {
            let page = txn.scan(ScanRequest::new(next)).await?;
            if let ScanBatch::Rows(found) = page.batch {
                for (key, value) in found {
                    rows.add(&key, value).ok_or_else(damaged)?;
                }
            }
            span = page.resume;
        }
        Ok(rows)
    }

    fn add(&mut self, key: &[u8], value: Bytes) -> Option<()> {
        let (kind, mut rest) = key.get(2..)?.split_first()?;
        match kind {
            b'v' => self.version = value,
            b'q' => self.sequences = value,
            b's' => {
                self.sessions.insert(decode_identity(&mut rest)?, decode_session(&value)?);
            }
            b'a' => {
                self.acknowledgements.insert(decode_identity(&mut rest)?, decode_acknowledgement(&value)?);
            }
            b'l' => {
                let table = Oid(codec::decode_u32(&mut rest).ok()?);
                self.locks.insert(table, decode_lock(&value)?);
            }
            // Of no concern here.
            _ => {}
        }
        Some(())
    }

    /// What a session is known to have acknowledged.
    pub fn acknowledged(&self, session: &Identity) -> Option<&Acknowledgement> {
        self.acknowledgements.get(session)
    }
}

fn damaged() -> basalt_txn::Error {
    let what = "what the cluster's nodes store of each other".to_owned();
    basalt_txn::Error::Store(basalt_kv_api::Error::Corruption(what))
}

fn key_of(kind: u8) -> BytesMut {
    let mut key = BytesMut::with_capacity(19);
    key.put_slice(&PREFIX);
    key.put_u8(kind);
    key
}

pub fn version_key() -> Key {
    key_of(b'v').freeze()
}

pub fn sequences_key() -> Key {
    key_of(b'q').freeze()
}

/// Who removes garbage; the value is an identity.
pub fn garbage_executor_key() -> Key {
    key_of(b'g').freeze()
}

pub fn session_key(session: Identity) -> Key {
    identity_key(b's', session)
}

pub fn acknowledgement_key(session: Identity) -> Key {
    identity_key(b'a', session)
}

fn identity_key(kind: u8, session: Identity) -> Key {
    let mut key = key_of(kind);
    codec::encode_u64(&mut key, session.node.0);
    codec::encode_u64(&mut key, session.incarnation);
    key.freeze()
}

pub fn lock_key(table: Oid) -> Key {
    let mut key = key_of(b'l');
    codec::encode_u32(&mut key, table.0);
    key.freeze()
}

pub fn encode_session(row: SessionRow) -> Bytes {
    let mut value = BytesMut::with_capacity(9);
    value.put_u64(row.expiration.0);
    value.put_u8(u8::from(row.serves));
    value.freeze()
}

pub fn decode_session(mut value: &[u8]) -> Option<SessionRow> {
    let expiration = Timestamp(value.try_get_u64().ok()?);
    Some(SessionRow { expiration, serves: value.try_get_u8().ok()? != 0 })
}

pub fn encode_acknowledgement(row: &Acknowledgement) -> Bytes {
    let mut value = BytesMut::with_capacity(8 + 8 * row.held.len());
    value.put_u64(row.synchronized.0);
    row.held.iter().for_each(|id| value.put_u64(*id));
    value.freeze()
}

fn decode_acknowledgement(mut value: &[u8]) -> Option<Acknowledgement> {
    let synchronized = Timestamp(value.try_get_u64().ok()?);
    let mut held = Vec::with_capacity(value.len() / 8);
    while value.has_remaining() {
        held.push(value.try_get_u64().ok()?);
    }
    Some(Acknowledgement { synchronized, held })
}

pub fn encode_identity(identity: Identity) -> Bytes {
    let mut value = BytesMut::with_capacity(16);
    value.put_u64(identity.node.0);
    value.put_u64(identity.incarnation);
    value.freeze()
}

pub fn decode_identity(value: &mut &[u8]) -> Option<Identity> {
    let node = NodeId(value.try_get_u64().ok()?);
    Some(Identity { node, incarnation: value.try_get_u64().ok()? })
}

pub fn encode_lock(row: LockRow) -> Bytes {
    let mut value = BytesMut::from(&encode_identity(row.owner)[..]);
    value.put_u64(row.id);
    value.freeze()
}

pub fn decode_lock(mut value: &[u8]) -> Option<LockRow> {
    let owner = decode_identity(&mut value)?;
    Some(LockRow { owner, id: value.try_get_u64().ok()? })
}

/// Has every node look once `txn` has committed. Blind, so that it conflicts with nobody who does the same.
pub fn tell(env: &Env, txn: &Txn) -> Result<(), basalt_txn::Error> {
    txn.put(version_key(), fresh(&*env.rng))
}

/// Sixteen bytes never seen before.
pub fn fresh(rng: &dyn Rng) -> Bytes {
    let mut value = BytesMut::with_capacity(16);
    value.put_u64(rng.next_u64());
    value.put_u64(rng.next_u64());
    value.freeze()
}

/// The newest committed version, without waiting for anybody or keeping anybody from changing it.
pub async fn peek_version(client: &TxnClient) -> Result<Bytes> {
    let header = BatchHeader { consistency: ReadConsistency::Inconsistent, ..BatchHeader::default() };
    let requests = vec![Request::Get { key: version_key(), lock: None }];
    let sent = client.sender().send(BatchRequest { header, requests }).await;
    let response = sent.map_err(|error| sql_error(error.into()))?;
    match response.responses.into_iter().next() {
        Some(Response::Get { value }) => Ok(value.unwrap_or_default()),
        _ => Err(SqlError::internal("a read was answered with something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let owner = Identity { node: NodeId(3), incarnation: u64::MAX };
        let session = SessionRow { expiration: Timestamp(77), serves: true };
        let acknowledgement = Acknowledgement { synchronized: Timestamp(5), held: vec![1, 9] };
        let lock = LockRow { owner, id: 8 };
        let mut rows = Rows::default();
        rows.add(&session_key(owner), encode_session(session)).expect("a session");
        let value = encode_acknowledgement(&acknowledgement);
        rows.add(&acknowledgement_key(owner), value).expect("an acknowledgement");
        rows.add(&lock_key(Oid(16_384)), encode_lock(lock)).expect("a lock");
        rows.add(&version_key(), Bytes::from_static(b"v")).expect("a version");
        assert_eq!(rows.sessions[&owner], session);
        assert_eq!(rows.acknowledged(&owner), Some(&acknowledgement));
        assert_eq!(rows.locks[&Oid(16_384)], lock);
        assert_eq!(rows.version, "v");
    }

    #[test]
    fn damage_is_noticed() {
        let owner = Identity { node: NodeId(3), incarnation: 1 };
        for key in [session_key(owner), acknowledgement_key(owner), lock_key(Oid(1))] {
            assert!(Rows::default().add(&key, Bytes::from_static(&[1, 2, 3])).is_none());
        }
    }
}
