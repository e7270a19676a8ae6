//! A node's place in its cluster: who it is, how others reach it, and how it gets an id.
//!
//! The network wants to know the node's identity before the store can be opened on it, so the order is: the listener (a
//! node that joins tells its address), the identity (from the store's log, from a node that was asked, or new), the wire,
//! the store. Others are taken in last, because ids come from the store.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{NodeId, StoreId};
use basalt_env::{BoxFuture, Env};
use basalt_kv::Store;
use basalt_raft::StoreIdent;
use basalt_rpc::{
    JoinHandler, JoinRequest, KnownNodes, Listener, LocalNode, NodeStatus, Security, Wire, WireConfig,
    WireOptions, join,
};

use crate::configuration::Configuration;

/// A node that says nothing for so long is taken for down.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Every node has one store.
const STORE_ID: StoreId = StoreId(1);
const FIRST_NODE: NodeId = NodeId(1);
/// The random number by which a store without an id names itself.
const JOINER_FILE: &str = "JOINER";
const JOINER_DIGITS: usize = 32;

/// What a node knows of itself before its store is open.
pub struct Membership {
    pub ident: StoreIdent,
    /// The store is new, and belongs to a cluster that is there already.
    pub joins: bool,
    pub wire: Arc<Wire>,
    /// Where other nodes reach this one.
    pub rpc_address: String,
}

/// Listens, finds out who this node is, and connects it with the others. `stored` is the identity in its store.
pub async fn enter(
    env: &Env,
    configuration: &Configuration,
    stored: Option<StoreIdent>,
) -> Result<Membership, String> {
    let security = match &configuration.certs_dir {
        Some(folder) => {
            Security::from_certs_dir(folder, env.clock.clone()).map_err(|error| error.to_string())?
        }
        None => Security::Insecure,
    };
    let listener = Listener::bind(configuration.rpc_addr, &security).map_err(|error| error.to_string())?;
    let rpc_address = advertised(configuration, listener.address());
    let local = LocalNode {
        rpc_address: rpc_address.clone(),
        locality: configuration.locality.iter().map(|tier| (tier.key.clone(), tier.value.clone())).collect(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        ..LocalNode::default()
    };
    let options = WireOptions::default();
    let (ident, joins, known) = match stored {
        Some(ident) => (ident, false, KnownNodes::default()),
        None if configuration.join.is_empty() => (new_cluster(env), false, KnownNodes::default()),
        None => {
            tracing::info!(nodes = configuration.join.join(","), "joining a cluster");
            let joiner = joiner(env, &configuration.store)?;
            // Whoever is asked may only be starting: only an answer that will not change ends this.
            let joined = join(env, &security, &options, &configuration.join, joiner, &local, usize::MAX)
                .await
                .map_err(|error| error.to_string())?;
            if joined.offset_max != configuration.clock_offset_max.get() {
                return Err(format!(
                    "the maximum clock offset of the cluster is {:?}, and this node was started with \
                     --max-clock-offset {}",
                    joined.offset_max, configuration.clock_offset_max
                ));
            }
            if ![0, configuration.replicas].contains(&joined.replicas_wanted) {
                return Err(format!(
                    "the cluster keeps {} replicas, and this node was started with --replicas {}",
                    joined.replicas_wanted, configuration.replicas
                ));
            }
            tracing::info!(cluster = %cluster_name(joined.cluster_id), node = %joined.node_id, "joined");
            let ident =
                StoreIdent { cluster_id: joined.cluster_id, node_id: joined.node_id, store_id: STORE_ID };
            (ident, true, joined.known)
        }
    };
    let config = WireConfig {
        cluster_id: ident.cluster_id,
        node_id: ident.node_id,
        offset_max: configuration.clock_offset_max.get(),
        replicas_wanted: configuration.replicas,
        security,
        local,
        known,
        seeds: configuration.join.clone(),
        options,
    };
    let wire = Wire::start(env.clone(), listener, config).await.map_err(|error| error.to_string())?;
    Ok(Membership { ident, joins, wire: Arc::new(wire), rpc_address })
}

/// The nodes that this one has not heard of lately, for its operator.
pub fn missing_nodes(wire: &Wire) -> String {
    let missing = wire
        .statuses()
        .into_iter()
        .filter(|status| !status.removed && status.silent_for.is_none_or(|time| time > SILENCE_MAX));
    let describe = |status: NodeStatus| {
        let problem = status.problem.map_or_else(String::new, |problem| format!(" ({problem})"));
        format!("node {} at {}{problem}", status.node_id, status.node.rpc_address)
    };
    let missing: Vec<String> = missing.map(describe).collect();
    if missing.is_empty() {
        "none of those that are known; perhaps --join names others".to_owned()
    } else {
        missing.join("; ")
    }
}

/// The name of a cluster in messages.
pub fn cluster_name(cluster_id: u128) -> String {
    format!("{cluster_id:032x}")
}

/// The address that other machines use: with the host that the operator named, or the one it listens on.
pub fn advertised(configuration: &Configuration, listening: SocketAddr) -> String {
    match &configuration.advertised_host {
        Some(host) if host.contains(':') => format!("[{host}]:{}", listening.port()),
        Some(host) => format!("{host}:{}", listening.port()),
        None => listening.to_string(),
    }
}

fn new_cluster(env: &Env) -> StoreIdent {
    StoreIdent { cluster_id: random(env), node_id: FIRST_NODE, store_id: STORE_ID }
}

fn random(env: &Env) -> u128 {
    (u128::from(env.rng.next_u64()) << 64) | u128::from(env.rng.next_u64())
}

/// The same number until the store has an id, so that an answer that was lost does not cost an id.
fn joiner(env: &Env, store: &Path) -> Result<u128, String> {
    let path = store.join(JOINER_FILE);
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    let text = text.trim();
    if text.len() == JOINER_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Ok(joiner) = u128::from_str_radix(text, 16)
    {
        return Ok(joiner);
    }
    // New, or cut short by a crash before anybody was asked.
    let joiner = random(env);
    fs::write(&path, format!("{joiner:032x}\n")).map_err(wrong)?;
    Ok(joiner)
}

/// The store has its id. Whoever empties the store and keeps this file must not get the same one again: a node that has
/// forgotten what it promised is another node.
pub fn forget_joiner(store: &Path) -> Result<(), String> {
    let path = store.join(JOINER_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

/// Gives ids to nodes that join, from the store.
pub struct Admission(pub Weak<Store>);

impl JoinHandler for Admission {
    fn join(&self, request: JoinRequest) -> BoxFuture<'_, Result<NodeId, String>> {
        let store = self.0.upgrade();
        Box::pin(async move {
            let store = store.ok_or("the node is stopping")?;
            store.allocate_node_id(request.joiner).await.map_err(|error| error.to_string())
        })
    }
}
