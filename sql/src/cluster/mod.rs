//! Schema changes on several nodes that share a store.
//!
//! What must hold: a transaction that used a table commits while the descriptor it was planned with is the table's, on
//! whatever node it ran. On one node table locks see to that (see [`crate::locks`]): users hold a table shared, a change
//! holds it exclusively. Here the same is made to hold for all nodes, in such a way that users of tables never ask anybody.
//!
//! * **Sessions.** A node uses the catalog under a session: a stored row with an expiration, put off every few seconds. No
//!   SQL transaction of the node commits above the expiration that it knows to be stored: the store enforces it at the
//!   commit ([`basalt_txn::Txn::set_deadline`]), and statements stop by the node's clock. So a session that expired, clock
//!   offsets allowed for, can be removed by anybody ([`fence`]). A node that finds its row gone gives its open
//!   transactions up, reads the catalog anew and begins another session ([`session`]).
//! * **Changes.** Before a change takes its exclusive lock on this node it stores a lock row, which every other node
//!   answers by taking the lock there, on the owner's behalf: that waits for the users of the table, and keeps new ones
//!   waiting. A node that holds the lock says so in its acknowledgement, and when all sessions have said so, or are fenced,
//!   the table is still everywhere ([`table_lock`]). The change commits its descriptors and removes its lock row in one
//!   transaction; nodes that see the row gone read the catalog first and let go of the lock then ([`synchronize`]).
//!   A dead owner's rows go with its session.
//! * **News.** Every change of the rows here, and every change of the catalog, puts a fresh value under one key, the
//!   *version*. Nodes poll it, which costs the log nothing, and read the rest when it has changed. An acknowledgement
//!   tells the timestamp as of which the node knows the catalog; a schema change is complete for its client when all
//!   nodes are past its commit.
//! * **Unknown outcomes.** What a commit relies on stays until it is known how it ended ([`commits`]), whatever has become
//!   of the client that asked for it.
//! * **Alone.** A node that is the only one changes its catalog with local locks and without any of that. To make that
//!   safe, a node that finds exactly one other serving before it begins waits until that one has acknowledged it, which it
//!   does when no such change is in flight any more. Where two serve already, they know of each other.
//!
//! Schemas and databases have no such locks while something is made in them: the transactions themselves hold them in the
//! store, as those do that drop them (`ddl::parent`), and names are kept unique by the store. A database that is dropped is
//! locked like a table, besides: its users are the sessions that are connected to it ([`database_lock`]).
//!
//! | key | value |
//! |---|---|
//! | `05 ‖ 'C' ‖ 'v'` | the version: 16 random bytes |
//! | `05 ‖ 'C' ‖ 's' ‖ node ‖ incarnation` | expiration, whether the node serves |
//! | `05 ‖ 'C' ‖ 'a' ‖ node ‖ incarnation` | acknowledgement: timestamp of the catalog it knows, ids of locks held for others |
//! | `05 ‖ 'C' ‖ 'l' ‖ table` | exclusive lock: node, incarnation, lock id |
//! | `05 ‖ 'C' ‖ 'q'` | 16 random bytes, fresh after each `setval` |
//! | `05 ‖ 'C' ‖ 'g'` | who removes garbage: node, incarnation |

mod acknowledge;
pub(crate) mod commits;
mod database_lock;
pub mod fence;
mod keeper;
mod member;
pub mod rows;
mod session;
mod synchronize;
pub mod table_lock;
mod transaction;
mod wait;

pub(crate) use keeper::{end, start};
pub use member::Member;
pub(crate) use member::{is_remote, lost};
pub(crate) use wait::all_know;
