//! What nodes ask each other about their clients: the questions of SQL, and cancel requests that came to the wrong node.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{NodeId, process_id};
use basalt_env::{BoxFuture, Env};
use basalt_kv::{Above, Store};
use basalt_pgwire::Server;
use basalt_sql::{
    SqlServices,
    others::{Others, answer::answer},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::join_all;

/// The first byte of a question.
const SQL: u8 = 1;
const CANCEL: u8 = 2;
/// A cancel request is passed on within this time, or not at all.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// The way to the other nodes, over the calls of the store.
pub struct OtherNodes {
    pub store: Arc<Store>,
    pub env: Env,
}

impl Others for OtherNodes {
    fn members(&self) -> Vec<NodeId> {
        self.store.other_members()
    }

    fn ask(&self, node: NodeId, question: Bytes) -> BoxFuture<'_, Option<Bytes>> {
        let mut request = BytesMut::with_capacity(1 + question.len());
        request.put_u8(SQL);
        request.put_slice(&question);
        Box::pin(self.ask_node(node, request.freeze()))
    }
}

impl OtherNodes {
    /// Passes a cancel request on to the node that may have the session.
    pub async fn cancel(&self, process_id: i32, secret: &[u8]) {
        let mut request = BytesMut::with_capacity(5 + secret.len());
        request.put_u8(CANCEL);
        request.put_i32(process_id);
        request.put_slice(secret);
        let request = request.freeze();
        let owners = self.members().into_iter().filter(|node| process_id::is_of(process_id, *node));
        let asked = join_all(owners.map(|node| self.ask_node(node, request.clone())));
        tokio::select! {
            biased;
            _ = asked => {}
            () = self.env.spawner.sleep(CANCEL_PATIENCE) => {}
        }
    }

    async fn ask_node(&self, node: NodeId, request: Bytes) -> Option<Bytes> {
        match self.store.ask_above(node, request).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%node, %error, "a question was not answered");
                None
            }
        }
    }
}

/// Answers other nodes.
pub struct Answers {
    pub services: Weak<SqlServices>,
    pub server: Weak<Server>,
}

impl Above for Answers {
    fn answer(&self, from: NodeId, mut request: Bytes) -> BoxFuture<'static, Bytes> {
        let answered = match request.try_get_u8() {
            Ok(SQL) => self.services.upgrade().map(|services| answer(&services, request).ok()),
            Ok(CANCEL) => self.server.upgrade().map(|server| {
                let process_id = request.try_get_i32().ok()?;
                Some(Bytes::copy_from_slice(&[u8::from(server.cancel(process_id, &request))]))
            }),
            _ => Some(None),
        };
        if answered == Some(None) {
            tracing::warn!(node = %from, "an unreadable question of another node");
        }
        Box::pin(std::future::ready(answered.flatten().unwrap_or_default()))
    }
}
