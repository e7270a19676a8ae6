//! The network of one node.

use std::{sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::Env;
use basalt_kv_api::{Capacity, Class, Directory, Link, NodeInfo, Receiver};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    ClassCounts, JoinHandler, KnownNodes, Listener, LocalNode, NodeStatus, RpcError, Security, WireOptions,
    acceptor::accept,
    address_book,
    assembly::Budget,
    core::{Complaints, Core, Peer},
    dialer::Dialer,
    gossip::{gossip, keep_book},
    handshake::Identity,
    lives::Lives,
    message::Record,
    nodes::{Nodes, is_proper},
    options::class_index,
    pacing::Throttle,
    seeds,
};

/// What a wire is started with.
pub struct WireConfig {
    pub cluster_id: u128,
    pub node_id: NodeId,
    /// How far the clocks of two nodes may be apart; the same in all nodes.
    pub offset_max: Duration,
    /// How many replicas of everything there are to be; the same in all nodes. 0 agrees with every number.
    pub replicas_wanted: usize,
    pub security: Security,
    pub local: LocalNode,
    /// What a node that has just joined was told.
    pub known: KnownNodes,
    /// Addresses to ask when nobody is heard of: `--join`. None may belong to another cluster.
    pub seeds: Vec<String>,
    pub options: WireOptions,
}

/// Connects this node with the others of its cluster. Closed when dropped.
pub struct Wire {
    core: Arc<Core>,
}

impl Wire {
    /// Reads the address book, and begins to listen and to tell the others. Messages are delivered from the moment on at
    /// which [`Link::deliver_to`] names a receiver. Fails if a seed belongs to another cluster.
    pub async fn start(env: Env, listener: Listener, config: WireConfig) -> Result<Self, RpcError> {
        let book = address_book::read(&*env.disk)?;
        let now = u64::try_from(env.clock.wall_micros()).unwrap_or_default();
        let incarnation = now.max(book.incarnation.saturating_add(1));
        let options = config.options;
        let nodes = Nodes::new(config.node_id, config.local, incarnation);
        if !is_proper(&nodes.own_record()) {
            let cause = "an address, the locality or the version is too long".to_owned();
            return Err(RpcError::AddressBook { path: format!("node {}", config.node_id), cause });
        }
        let others = |record: &Record| record.node_id != config.node_id.0;
        for record in book.records.into_iter().chain(config.known.0).filter(others) {
            nodes.merge(record, None);
        }
        let lives = Lives::begin(book.lives, env.rng.next_u64(), &book.met);
        let saved = nodes.changes();
        let identity = Identity {
            cluster_id: config.cluster_id,
            node_id: config.node_id,
            offset_max: config.offset_max,
            replicas_wanted: config.replicas_wanted as u64,
            protocol: options.protocol,
        };
        let core = Arc::new(Core {
            identity,
            nodes,
            lives,
            book_changed: Notify::new(),
            security: config.security,
            join_handler: Default::default(),
            peers: Default::default(),
            receiver: watch::Sender::new(None),
            throttle: Throttle::new(options.snapshot_bytes_per_second),
            assembly: Budget::new(options.assembly_bytes),
            traffic: Default::default(),
            complaints: Complaints::default(),
            strangers: Arc::new(Semaphore::new(options.strangers_max)),
            connections: Arc::new(Semaphore::new(options.connections_max)),
            inbound: Default::default(),
            closing: watch::Sender::new(false),
            cast_out: watch::Sender::new(None),
            options,
            env,
        });
        // Nobody may hear of this life, nor of this incarnation, before a restart is sure to know of it.
        address_book::write(&*core.env.disk, &core.book()).await?;
        let spawner = &core.env.spawner;
        spawner.spawn("rpc accept", Box::pin(accept(core.clone(), listener.socket)));
        // From here on, whatever goes wrong ends what was begun.
        let wire = Self { core: core.clone() };
        seeds::check(&core, &config.seeds).await?;
        spawner.spawn("rpc gossip", Box::pin(gossip(core.clone(), saved)));
        spawner.spawn("rpc seeds", Box::pin(seeds::find_others(core.clone(), config.seeds)));
        spawner.spawn_blocking_loop("address book", Box::pin(keep_book(core.clone())));
        Ok(wire)
    }

    /// All nodes ever heard of, removed ones included, in order.
    pub fn statuses(&self) -> Vec<NodeStatus> {
        let mut statuses = self.core.nodes.statuses(self.core.now());
        let peers = self.core.peers.read();
        for status in &mut statuses {
            if let Some(peer) = peers.get(&status.node_id) {
                let state = peer.state.lock();
                status.problem = state.problem.clone();
                status.round_trip = state.round_trip;
            }
        }
        statuses
    }

    /// Whether the connection of a class to a node stands.
    pub fn is_connected(&self, node: NodeId, class: Class) -> bool {
        let peer = self.core.peers.read().get(&node).cloned();
        peer.is_some_and(|peer| peer.state.lock().connected[class_index(class)])
    }

    /// What the messages of a class came to.
    pub fn counts(&self, class: Class) -> ClassCounts {
        self.core.traffic[class_index(class)].counts()
    }

    /// What went wrong with other nodes in the last minute, each sentence once.
    pub fn complaints(&self) -> Vec<String> {
        self.core.complaints.texts()
    }

    /// Tells the others that this node is about to stop or to leave, or no longer is.
    pub fn set_draining(&self, draining: bool) {
        self.core.nodes.change_own(|own| own.draining = draining);
    }

    /// Tells the others how large the store is, and how full. A file system of no bytes says nothing.
    pub fn set_store(&self, capacity: Capacity) {
        self.core.nodes.change_own(|own| {
            own.capacity_bytes = capacity.size_bytes;
            own.available_bytes = capacity.available_bytes;
            own.used_bytes = capacity.used_bytes;
        });
    }

    /// Tells the others where SQL clients and browsers reach this node.
    pub fn set_addresses(&self, sql_address: &str, http_address: &str) {
        self.core.nodes.change_own(|own| {
            sql_address.clone_into(&mut own.sql_address);
            http_address.clone_into(&mut own.http_address);
        });
    }

    /// Takes a node out of the cluster for ever: no node that hears of it talks to it again.
    pub fn remove_node(&self, node: NodeId) {
        self.core.nodes.remove(node);
    }

    /// Completes when another node says that this one must not take part any more, with the reason: it was taken out of the
    /// cluster, or its store is a copy.
    pub async fn until_cast_out(&self) -> String {
        let mut cast_out = self.core.cast_out.subscribe();
        let reason = cast_out.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.expect("the sender is a field of this, and a reason was waited for")
    }

    /// Takes in nodes that join, from now on: whoever gives ids needs the wire itself to do so.
    pub fn admit_with(&self, handler: Arc<dyn JoinHandler>) {
        *self.core.join_handler.write() = Some(handler);
    }

    /// Ends all connections, and lets go of who was called by them.
    pub fn close(&self) {
        self.core.closing.send_replace(true);
        self.core.receiver.send_replace(None);
        *self.core.join_handler.write() = None;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

impl Link for Wire {
    fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool {
        let peer = peer_of(&self.core, to);
        let taken = peer.is_some_and(|peer| peer.outboxes[class_index(class)].push(message));
        if !taken {
            self.core.traffic[class_index(class)].messages_refused.add(1);
        }
        taken
    }

    fn deliver_to(&self, receiver: Arc<dyn Receiver>) {
        self.core.receiver.send_replace(Some(receiver));
    }
}

impl Directory for Wire {
    fn nodes(&self) -> Vec<NodeInfo> {
        self.core.nodes.infos()
    }

    fn has_peers(&self) -> bool {
        self.core.nodes.has_peers()
    }

    fn set_draining(&self, draining: bool) {
        Wire::set_draining(self, draining);
    }
}

/// The other end of this node's connections to `node`; made when it is known and not yet there.
pub(crate) fn peer_of(core: &Arc<Core>, node: NodeId) -> Option<Arc<Peer>> {
    let there = core.peers.read().get(&node).cloned();
    if let Some(peer) = there {
        // Whoever was removed keeps a peer, to which nothing is sent.
        return (!core.nodes.is_removed(node)).then_some(peer);
    }
    core.nodes.address(node)?;
    if core.is_closed() {
        return None;
    }
    let mut peers = core.peers.write();
    let peer = peers.entry(node).or_insert_with(|| {
        let peer = Peer::new(node, &core.options);
        for class in Class::ALL {
            Dialer::spawn(core, &peer, class);
        }
        peer
    });
    Some(peer.clone())
}
