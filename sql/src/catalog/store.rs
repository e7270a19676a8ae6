//! Stored descriptors, the node's current snapshot, and object ids.
//!
//! | key | value |
//! |---|---|
//! | `05 ‖ 'D' ‖ oid` | descriptor |
//! | `05 ‖ 'N' ‖ parent oid ‖ kind ‖ enc(name)` | oid: what makes names unique under concurrency |
//! | `05 ‖ 'I'` | next free oid |
//! | `05 ‖ 'E' ‖ table ‖ index` | about how many rows the table has, of whose rows that index is the primary one |
//! | `05 ‖ 'G' ‖ table ‖ index` | an index whose entries await physical removal |

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, Span, Timestamp, codec, keys};
use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_planner::Table;
use basalt_txn::{ReadOptions, ScanRequest, Txn, TxnClient, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use super::{
    FIRST_USER_OID, POSTGRES_DATABASE, PUBLIC_SCHEMA, codec as descriptor_codec,
    snapshot::{CatalogSnapshot, Database, Descriptor, Schema},
};
use crate::error::sql_error;

/// Oids taken from the stored counter at a time.
const OID_BLOCK: u32 = 64;
/// Rows per page of catalog scans.
const PAGE_ROWS: u64 = 1_000;

/// The node's catalog.
pub struct CatalogStore {
    client: TxnClient,
    pub(super) current: RwLock<Arc<CatalogSnapshot>>,
    ages: RwLock<Ages>,
    oids: Mutex<(u32, u32)>,
}

/// As of when the node knows what it knows. Answers of commits and reads of the catalog overtake each other: whatever
/// comes late must not put the older over the newer.
#[derive(Default)]
struct Ages {
    /// The newest read of the whole catalog: every commit at or below it is known.
    loaded_at: Timestamp,
    /// Commit timestamps of published changes: a transaction that reads below one can't use the new descriptor.
    changed_at: BTreeMap<Oid, Timestamp>,
}

/// Which name space a name is unique in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Database = 1,
    Schema = 2,
    Relation = 3,
}

impl CatalogStore {
    /// Loads the catalog, writing the first descriptors into an empty store.
    pub async fn open(client: TxnClient) -> Result<Self> {
        let store =
            Self { client, current: RwLock::default(), ages: RwLock::default(), oids: Mutex::new((0, 0)) };
        store.reload().await?;
        if store.current().databases.is_empty() {
            let made = store.bootstrap().await;
            store.reload().await?;
            // Another node may have been faster.
            if store.current().databases.is_empty() {
                made?;
            }
        }
        Ok(store)
    }

    async fn bootstrap(&self) -> Result<()> {
        let txn = self.client.begin(TxnConfig::default()).map_err(sql_error)?;
        let database = Database { id: POSTGRES_DATABASE, name: "postgres".to_owned() };
        let schema = Schema { id: PUBLIC_SCHEMA, database: POSTGRES_DATABASE, name: "public".to_owned() };
        self.insert_name(&txn, Oid(0), NameKind::Database, &database.name, database.id).await?;
        self.insert_name(&txn, database.id, NameKind::Schema, &schema.name, schema.id).await?;
        self.write(&txn, &Descriptor::Database(Arc::new(database)))?;
        self.write(&txn, &Descriptor::Schema(Arc::new(schema)))?;
        txn.commit().await.map_err(sql_error)?;
        Ok(())
    }

    /// The newest published snapshot.
    pub fn current(&self) -> Arc<CatalogSnapshot> {
        self.current.read().clone()
    }

    /// Reads every descriptor anew, at start and after a commit of unknown outcome; tells as of when.
    pub async fn reload(&self) -> Result<Timestamp> {
        let txn = self.client.begin(TxnConfig::default()).map_err(sql_error)?;
        let loaded = self.load(&txn).await;
        let at = txn.read_timestamp();
        txn.rollback().await;
        self.replace(loaded?, at);
        Ok(at)
    }

    /// Every descriptor, as `txn` sees them.
    pub(crate) async fn load(&self, txn: &Txn) -> Result<CatalogSnapshot> {
        let mut snapshot = CatalogSnapshot::default();
        let mut span = Some(Span::prefix(descriptor_prefix().freeze()));
        while let Some(next) = span {
            let mut request = ScanRequest::new(next);
            request.rows_max = PAGE_ROWS;
            let page = txn.scan(request).await.map_err(sql_error)?;
            if let ScanBatch::Rows(rows) = page.batch {
                for (_, value) in rows {
                    snapshot.put(descriptor_codec::decode(&value)?);
                }
            }
            span = page.resume;
        }
        let kept = super::estimates::load(txn).await?;
        super::estimates::apply(&mut snapshot, &kept);
        Ok(snapshot)
    }

    /// Makes a catalog that was read at `at` the node's, except for what the node itself has committed since; nothing if
    /// it has a newer one.
    pub(crate) fn replace(&self, mut loaded: CatalogSnapshot, at: Timestamp) {
        let mut ages = self.ages.write();
        if at < ages.loaded_at {
            return;
        }
        ages.loaded_at = at;
        let changed_at = &mut ages.changed_at;
        let mut current = self.current.write();
        let newer = changed_at.iter().filter(|(_, changed)| **changed > at);
        for id in newer.map(|(id, _)| *id).collect::<Vec<_>>() {
            match current.descriptor(id) {
                Some(descriptor) => loaded.put(descriptor),
                None => loaded.remove(id),
            }
        }
        for table in current.tables.values() {
            match loaded.tables.get(&table.id) {
                // The same one serves on, so that what is kept of it holds.
                Some(read) if read.version == table.version => {
                    let newest = read.row_estimate.is_some() && read.row_estimate != table.row_estimate;
                    if !newest {
                        loaded.put(Descriptor::Table(table.clone()));
                    }
                }
                _ => drop(changed_at.insert(table.id, at)),
            }
        }
        for id in loaded.tables.keys().filter(|id| !current.tables.contains_key(id)) {
            changed_at.insert(*id, at);
        }
        *current = Arc::new(loaded);
    }

    /// Makes a committed transaction's changes visible to the node, unless it knows of them, or of newer ones, already:
    /// `None` removes.
    pub fn publish(&self, changes: &[(Oid, Option<Descriptor>)], commit: Timestamp) {
        let mut ages = self.ages.write();
        if commit <= ages.loaded_at {
            return;
        }
        let mut current = self.current.write();
        let mut next = CatalogSnapshot::clone(&current);
        // One transaction may change the same thing twice.
        let is_older = |id: &Oid| ages.changed_at.get(id).is_some_and(|changed| *changed > commit);
        let newer: Vec<_> = changes.iter().filter(|(id, _)| !is_older(id)).collect();
        for (id, change) in newer {
            ages.changed_at.insert(*id, commit);
            match change {
                Some(descriptor) => next.put(descriptor.clone()),
                None => next.remove(*id),
            }
        }
        *current = Arc::new(next);
    }

    /// Since when the object is as this process knows it, or earlier; zero when it was so from the start.
    pub fn changed_at(&self, id: Oid) -> Timestamp {
        self.ages.read().changed_at.get(&id).copied().unwrap_or_default()
    }

    /// A fresh object id; never given twice, even after a crash.
    pub async fn allocate_oid(&self) -> Result<Oid> {
        {
            let mut block = self.oids.lock();
            if block.0 < block.1 {
                block.0 += 1;
                return Ok(Oid(block.0 - 1));
            }
        }
        let key = Bytes::from_static(&[keys::SYSTEM_PREFIX, b'I']);
        let first = self
            .client
            .run(TxnConfig::default(), |txn| {
                let key = key.clone();
                async move {
                    let options = ReadOptions::locking(LockStrength::Exclusive);
                    let stored = txn.get(&key, options).await?;
                    let first =
                        stored.filter(|value| value.len() == 4).map_or(FIRST_USER_OID, |mut v| v.get_u32());
                    let next = first + OID_BLOCK;
                    txn.put(key, Bytes::copy_from_slice(&next.to_be_bytes()))?;
                    Ok::<_, basalt_txn::Error>(first)
                }
            })
            .await
            .map_err(sql_error)?;
        let mut block = self.oids.lock();
        *block = (first + 1, first + OID_BLOCK);
        Ok(Oid(first))
    }

    /// A table's descriptor as a transaction sees it, which may read the past.
    pub async fn stored_table(&self, txn: &Txn, id: Oid) -> Result<Option<Arc<Table>>> {
        let stored = txn.get(&descriptor_key(id), ReadOptions::default()).await.map_err(sql_error)?;
        match stored.map(|bytes| descriptor_codec::decode(&bytes)).transpose()? {
            Some(Descriptor::Table(table)) => Ok(Some(table)),
            _ => Ok(None),
        }
    }

    /// Claims a name; `42P07` and its kin when it is taken.
    pub async fn insert_name(
        &self,
        txn: &Txn,
        parent: Oid,
        kind: NameKind,
        name: &str,
        id: Oid,
    ) -> Result<()> {
        let key = name_key(parent, kind, name);
        let options =
            ReadOptions { lock: Some(LockStrength::Exclusive), latest: true, ..ReadOptions::default() };
        if txn.get(&key, options).await.map_err(sql_error)?.is_some() {
            return Err(name_taken(kind, name));
        }
        txn.put(key, Bytes::copy_from_slice(&id.0.to_be_bytes())).map_err(sql_error)
    }

    /// Gives the name of `id` back. One that names something else by now stays.
    pub async fn remove_name(
        &self,
        txn: &Txn,
        parent: Oid,
        kind: NameKind,
        name: &str,
        id: Oid,
    ) -> Result<()> {
        let key = name_key(parent, kind, name);
        let named = txn.get(&key, ReadOptions::LATEST).await.map_err(sql_error)?;
        if named.is_some_and(|named| named == id.0.to_be_bytes()[..]) {
            txn.delete(key).map_err(sql_error)?;
        }
        Ok(())
    }

    /// The ids of all names in `parent`, as `txn` sees them.
    pub async fn named_in(&self, txn: &Txn, parent: Oid, kind: NameKind) -> Result<Vec<Oid>> {
        let mut ids = Vec::new();
        let mut span = Some(Span::prefix(name_prefix(parent, kind).freeze()));
        while let Some(next) = span {
            let mut request = ScanRequest::new(next);
            request.rows_max = PAGE_ROWS;
            request.read = ReadOptions::LATEST;
            let page = txn.scan(request).await.map_err(sql_error)?;
            if let ScanBatch::Rows(rows) = page.batch {
                let named = rows.iter().filter_map(|(_, value)| <[u8; 4]>::try_from(&value[..]).ok());
                ids.extend(named.map(|id| Oid(u32::from_be_bytes(id))));
            }
            span = page.resume;
        }
        Ok(ids)
    }

    /// Locks a schema or database until `txn` ends; false when there is none. The read counts, too: should the lock be
    /// lost, the commit fails if the descriptor has changed.
    pub async fn lock_parent(&self, txn: &Txn, id: Oid, strength: LockStrength) -> Result<bool> {
        let options = ReadOptions { lock: Some(strength), ..ReadOptions::LATEST };
        Ok(txn.get(&descriptor_key(id), options).await.map_err(sql_error)?.is_some())
    }

    pub fn write(&self, txn: &Txn, descriptor: &Descriptor) -> Result<()> {
        let key = descriptor_key(descriptor.id());
        txn.put(key, descriptor_codec::encode(descriptor)).map_err(sql_error)
    }

    pub fn delete(&self, txn: &Txn, id: Oid) -> Result<()> {
        txn.delete(descriptor_key(id)).map_err(sql_error)
    }

    /// Records that nothing references an index any more once `txn` commits; see [`garbage_key`].
    pub fn discard_index(&self, txn: &Txn, table: Oid, index: u32) -> Result<()> {
        txn.delete(super::estimates::estimate_key(table, index)).map_err(sql_error)?;
        txn.put(garbage_key(table, index), Bytes::from_static(&[1])).map_err(sql_error)
    }

    pub fn client(&self) -> &TxnClient {
        &self.client
    }
}

/// The span of indexes that await removal.
pub fn garbage_span() -> Span {
    Span::prefix(Bytes::from_static(&[keys::SYSTEM_PREFIX, b'G']))
}

/// Names an index to be removed.
pub fn garbage_key(table: Oid, index: u32) -> Key {
    let mut key = BytesMut::with_capacity(10);
    key.put_slice(&[keys::SYSTEM_PREFIX, b'G']);
    codec::encode_u32(&mut key, table.0);
    codec::encode_u32(&mut key, index);
    key.freeze()
}

/// The inverse of [`garbage_key`].
pub fn decode_garbage_key(key: &[u8]) -> Option<(Oid, u32)> {
    let mut rest = key.get(2..)?;
    let table = codec::decode_u32(&mut rest).ok()?;
    let index = codec::decode_u32(&mut rest).ok()?;
    Some((Oid(table), index))
}

fn descriptor_prefix() -> BytesMut {
    BytesMut::from(&[keys::SYSTEM_PREFIX, b'D'][..])
}

fn descriptor_key(id: Oid) -> Key {
    let mut key = descriptor_prefix();
    codec::encode_u32(&mut key, id.0);
    key.freeze()
}

fn name_prefix(parent: Oid, kind: NameKind) -> BytesMut {
    let mut key = BytesMut::with_capacity(48);
    key.put_slice(&[keys::SYSTEM_PREFIX, b'N']);
    codec::encode_u32(&mut key, parent.0);
    key.put_u8(kind as u8);
    key
}

fn name_key(parent: Oid, kind: NameKind, name: &str) -> Key {
    let mut key = name_prefix(parent, kind);
    codec::encode_bytes(&mut key, name.as_bytes());
    key.freeze()
}

fn name_taken(kind: NameKind, name: &str) -> SqlError {
    match kind {
        NameKind::Database => {
            SqlError::new(SqlState::DUPLICATE_DATABASE, format!("database \"{name}\" already exists"))
        }
        NameKind::Schema => {
            SqlError::new(SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists"))
        }
        NameKind::Relation => {
            SqlError::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
        }
    }
}
