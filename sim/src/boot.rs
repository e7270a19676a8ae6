//! Assembling a node as `server` does, over the simulated environment.

use std::sync::Arc;

use basalt_env::Env;
use basalt_kv::{LocalSender, Network, RANGE_BYTES_MIN, Store, StoreConfig};
use basalt_kv_api::Result;
use basalt_raft::{Options, StoreIdent};
use basalt_storage::MemoryEngine;
use basalt_txn::TxnClient;

use crate::{Parameters, node::Running, workload};

/// Opens the store (recovery included) and begins to serve.
pub(crate) async fn boot(
    env: Env,
    engine: MemoryEngine,
    network: Network,
    join: Option<StoreIdent>,
    parameters: &Parameters,
) -> Result<Running> {
    let options = Options {
        segment_bytes: parameters.log_segment_bytes,
        log_bytes_max: parameters.log_bytes_max,
        ..Options::default()
    };
    let config = StoreConfig {
        range_bytes_max: parameters.range_bytes_max.max(RANGE_BYTES_MIN),
        timestamp_cache_entries: parameters.timestamp_cache_entries,
        txn_markers_max: parameters.txn_markers_max,
        txn_expiry: parameters.txn_expiry,
        together_ranges_max: parameters.together_ranges_max,
        clock_offset_max: parameters.clock_offset_max,
        join,
        replicas_wanted: parameters.replicas,
        balances: parameters.balances,
        split_requests: parameters.split_requests,
        dead_after: parameters.dead_after,
        lease_duration: parameters.lease_duration,
        verify: true,
        closed_lag: parameters.closed_lag,
        ..StoreConfig::default()
    };
    let store = Store::open(env.clone(), Arc::new(engine), options, network, config).await?;
    let client =
        TxnClient::new(env, Arc::new(LocalSender::new(store.clone())), workload::options(parameters));
    Ok(Running { store, client })
}
