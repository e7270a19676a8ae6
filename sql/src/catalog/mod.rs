//! The catalog: databases, schemas and tables.
//!
//! Descriptors are rows of the key space below SQL's own tables (`05 …`), written in the same transaction as the rest of
//! a DDL statement. Every node keeps an immutable snapshot of all of them in memory: planning never waits.
//! A DDL transaction works on its own copy and publishes the changes when it has committed, before it releases its
//! table locks, so that whoever gets a table lock plans with the newest descriptor.
//!
//! Changes that other nodes have made are read when the node hears of them: see [`crate::cluster`].

pub mod codec;
mod estimates;
pub(crate) mod fields;
pub mod snapshot;
pub mod store;
pub mod view;

pub use snapshot::{CatalogSnapshot, Database, Descriptor, Schema};
pub use store::CatalogStore;
pub use view::CatalogView;

use basalt_types::Oid;

/// The database `postgres`.
pub const POSTGRES_DATABASE: Oid = Oid(5);
/// `pg_catalog`, the same in every database.
pub const PG_CATALOG_SCHEMA: Oid = Oid(11);
/// `information_schema`, the same in every database.
pub const INFORMATION_SCHEMA: Oid = Oid(13_000);
/// `public` of the database `postgres`.
pub const PUBLIC_SCHEMA: Oid = Oid(2_200);
/// The superuser `postgres`.
pub const POSTGRES_ROLE: Oid = Oid(10);
/// The first oid given to a user's object, as in PostgreSQL.
pub const FIRST_USER_OID: u32 = 16_384;
