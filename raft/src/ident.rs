//! Which store this is.

use basalt_base::{NodeId, StoreId};

/// Written once, at bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdent {
    pub cluster_id: u128,
    pub node_id: NodeId,
    pub store_id: StoreId,
}
