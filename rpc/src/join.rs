//! How a node without an id gets one: it asks any node of the cluster.
//!
//! The answer holds what it must know to take part: the cluster, its id, what all nodes have to agree on, and where the others
//! are. Who allocates ids is the server's business. A joining store names itself by a random number that it keeps until
//! it has an id, so that an answer which was lost costs nothing but a second question.

use std::time::Duration;

use basalt_base::NodeId;
use basalt_env::{BoxFuture, Env};
use bytes::Bytes;

use crate::{
    LocalNode, Refusal, RefusalKind, RpcError, Security, WireOptions,
    core::Core,
    handshake::{self, check_holder, check_protocol, check_refusal, cluster_id, micros},
    message::{Answer, Hello, Join, PURPOSE_INTRODUCE, PURPOSE_JOIN, Record, Tier},
    nodes::is_proper,
    pacing::Backoff,
    security::Holder,
};

/// A request that took no longer tells the difference of two clocks well enough.
const PROMPT: Duration = Duration::from_millis(50);

/// A node that asks for an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The same store asks again with the same number.
    pub joiner: u128,
    /// Where it will be reached by other nodes.
    pub address: String,
    pub locality: Vec<(String, String)>,
    pub build: String,
    /// How far its clock seemed to be ahead of this node's, in microseconds; less the time the request took.
    pub clock_offset_micros: i64,
}

/// Gives ids to nodes that join.
pub trait JoinHandler: Send + Sync + 'static {
    /// The id of the node, the same one for the same `joiner`; or why it can have none now, in a sentence for its operator.
    fn join(&self, request: JoinRequest) -> BoxFuture<'_, Result<NodeId, String>>;
}

/// What a node that has joined knows.
#[derive(Clone, Debug)]
pub struct Joined {
    pub cluster_id: u128,
    pub node_id: NodeId,
    pub offset_max: Duration,
    /// 0 when the node that was asked does not say.
    pub replicas_wanted: usize,
    /// For [`crate::WireConfig`].
    pub known: KnownNodes,
}

/// Nodes that were learned of before the wire was there.
#[derive(Clone, Debug, Default)]
pub struct KnownNodes(pub(crate) Vec<Record>);

impl KnownNodes {
    pub fn new(addresses: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        let record = |(node, rpc_address): (NodeId, String)| Record {
            node_id: node.0,
            rpc_address,
            ..Record::default()
        };
        Self(addresses.into_iter().map(record).collect())
    }

    /// The ids and addresses.
    pub fn addresses(&self) -> Vec<(NodeId, String)> {
        self.0.iter().map(|record| (NodeId(record.node_id), record.rpc_address.clone())).collect()
    }
}

/// Asks the nodes at `addresses`, one after the other and again, until one answers or all of them say no.
pub async fn join(
    env: &Env,
    security: &Security,
    options: &WireOptions,
    addresses: &[String],
    joiner: u128,
    local: &LocalNode,
    attempts_max: usize,
) -> Result<Joined, RpcError> {
    let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
    let mut problems = Vec::new();
    // One list may serve all nodes.
    let others: Vec<_> = addresses.iter().filter(|address| **address != local.rpc_address).collect();
    if others.is_empty() {
        let own = &local.rpc_address;
        return Err(RpcError::NotJoined(match addresses {
            [] => "no address was given".to_owned(),
            _ => format!("the only address that was given, {own}, is that of this node itself"),
        }));
    }
    for _ in 0..attempts_max.max(1) {
        problems.clear();
        let mut all_refuse = true;
        for address in &others {
            let error = match ask(env, security, options, address, joiner, local).await {
                Ok(joined) => return Ok(joined),
                Err(error) => error,
            };
            tracing::warn!("joining failed: {error}");
            all_refuse &= is_final(&error);
            problems.push(error.to_string());
        }
        if all_refuse {
            break;
        }
        env.spawner.sleep(backoff.pause(&*env.rng)).await;
    }
    Err(RpcError::NotJoined(problems.join("; ")))
}

/// Whether asking again would be no use.
fn is_final(error: &RpcError) -> bool {
    match error {
        RpcError::Refused { refusal, .. } => !matches!(refusal.kind, RefusalKind::Join | RefusalKind::Busy),
        RpcError::NotBasalt { .. } | RpcError::Tls { .. } | RpcError::NotLoopback { .. } => true,
        _ => false,
    }
}

async fn ask(
    env: &Env,
    security: &Security,
    options: &WireOptions,
    address: &str,
    joiner: u128,
    local: &LocalNode,
) -> Result<Joined, RpcError> {
    let tier = |(key, value): &(String, String)| Tier { key: key.clone(), value: value.clone() };
    let hello = Hello {
        protocol_min: options.protocol.0,
        protocol_max: options.protocol.1,
        address: local.rpc_address.clone(),
        purpose: PURPOSE_JOIN,
        build: local.build.clone(),
        join: vec![Join {
            joiner: Bytes::copy_from_slice(&joiner.to_be_bytes()),
            locality: local.locality.iter().map(tier).collect(),
            wall_micros: env.clock.wall_micros(),
        }],
        ..Hello::default()
    };
    let asked = env.clock.monotonic();
    let opened = handshake::open(env, security, options, address, &hello).await?;
    let took = env.clock.monotonic().saturating_sub(asked);
    let answer = &opened.answer;
    check_refusal(answer, address).map_err(|error| doubted(error, took))?;
    let refused = |refusal| RpcError::Refused { address: address.to_owned(), refusal };
    check_holder(opened.holder.as_ref(), Some(NodeId(answer.node_id))).map_err(refused)?;
    match cluster_id(&answer.cluster_id) {
        Some(cluster_id) if answer.joined_as != 0 => Ok(Joined {
            cluster_id,
            node_id: NodeId(answer.joined_as),
            offset_max: Duration::from_micros(answer.offset_max_micros),
            replicas_wanted: usize::try_from(answer.replicas_wanted).unwrap_or(usize::MAX),
            known: KnownNodes(answer.records.iter().filter(|record| is_proper(record)).cloned().collect()),
        }),
        _ => Err(refused(Refusal::new(RefusalKind::Malformed, "its answer makes no sense"))),
    }
}

/// A request that was long under way makes a right clock look late: its refusal is not the last word.
fn doubted(error: RpcError, took: Duration) -> RpcError {
    match error {
        RpcError::Refused { address, refusal }
            if refusal.kind == RefusalKind::ClockOffset && took > PROMPT =>
        {
            let reason = format!("{} (the request took {took:?})", refusal.reason);
            RpcError::Refused { address, refusal: Refusal::new(RefusalKind::Busy, reason) }
        }
        error => error,
    }
}

/// Serves a node that asks to join.
pub(crate) async fn answer(core: &Core, hello: &Hello, holder: Option<&Holder>) -> Result<Answer, Refusal> {
    let refuse =
        |kind, reason: String| Refusal::new(kind, format!("the node at {}: {reason}", hello.address));
    check_protocol(&core.identity, hello)?;
    check_holder(holder, None).map_err(|refusal| refuse(refusal.kind, refusal.reason))?;
    let own = core.identity.node_id;
    let malformed = || refuse(RefusalKind::Malformed, "its request makes no sense".to_owned());
    let join = hello.join.first().ok_or_else(malformed)?;
    let joiner = join.joiner[..].try_into().map(u128::from_be_bytes).map_err(|_| malformed())?;
    let shape = Record {
        node_id: 1,
        rpc_address: hello.address.clone(),
        build: hello.build.clone(),
        locality: join.locality.clone(),
        ..Record::default()
    };
    if hello.address.is_empty() || !is_proper(&shape) {
        return Err(malformed());
    }
    let offset = join.wall_micros.saturating_sub(core.env.clock.wall_micros());
    if offset.unsigned_abs() > micros(core.identity.offset_max) {
        let (off, most) = (Duration::from_micros(offset.unsigned_abs()), core.identity.offset_max);
        let reason = format!("its clock and that of node {own} are {off:?} apart, and {most:?} is the most");
        return Err(refuse(RefusalKind::ClockOffset, reason));
    }
    let handler = core.join_handler.read().clone();
    let Some(handler) = handler else {
        return Err(refuse(RefusalKind::Join, format!("node {own} cannot take in other nodes now")));
    };
    let request = JoinRequest {
        joiner,
        address: hello.address.clone(),
        locality: join.locality.iter().map(|tier| (tier.key.clone(), tier.value.clone())).collect(),
        build: hello.build.clone(),
        clock_offset_micros: offset,
    };
    let node = handler.join(request).await.map_err(|reason| refuse(RefusalKind::Join, reason))?;
    check_holder(holder, Some(node)).map_err(|refusal| refuse(refusal.kind, refusal.reason))?;
    tracing::info!(%node, address = hello.address, "a node joins");
    Ok(Answer { joined_as: node.0, records: core.introduction(), ..core.identity.welcome(hello) })
}

/// Asks the node at `address` which nodes there are: of a node that has an id, and has lost sight of the others.
pub(crate) async fn introduce(core: &Core, address: &str) -> Result<(), RpcError> {
    let hello = core.hello(PURPOSE_INTRODUCE);
    let opened = handshake::open(&core.env, &core.security, &core.options, address, &hello).await?;
    let peer = core.identity.check_answer(&opened, address, None)?;
    let meeting = core.meet(peer, &opened.answer.lives);
    meeting.map_err(|refusal| RpcError::Distrusted { address: address.to_owned(), refusal })?;
    let now = core.now();
    for record in opened.answer.records {
        let heard = (record.node_id == peer.0).then_some(now);
        core.nodes.merge(record, heard);
    }
    Ok(())
}
