//! How the nodes of a test ask each other, and sessions that others may stop.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::{BoxFuture, sim::SimExecutor};
use basalt_sql::{
    Cancel, Signal, SqlServices,
    others::{Others, answer::answer},
};
use basalt_types::{Result, SqlError, SqlState};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::world::Link;

pub struct Neighbourhood {
    pub executor: SimExecutor,
    pub members: Mutex<BTreeMap<NodeId, (Weak<SqlServices>, Arc<Link>)>>,
}

struct Neighbour {
    me: NodeId,
    all: Arc<Neighbourhood>,
}

impl Neighbourhood {
    pub fn enter(
        self: &Arc<Self>,
        node: NodeId,
        services: &Arc<SqlServices>,
        link: &Arc<Link>,
    ) -> Arc<dyn Others> {
        self.members.lock().insert(node, (Arc::downgrade(services), link.clone()));
        Arc::new(Neighbour { me: node, all: self.clone() })
    }
}

impl Others for Neighbour {
    fn members(&self) -> Vec<NodeId> {
        self.all.members.lock().keys().copied().filter(|node| *node != self.me).collect()
    }

    /// A node that is cut off is silent.
    fn ask(&self, node: NodeId, question: Bytes) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            self.all.executor.sleep(Duration::from_millis(1)).await;
            let (services, link) = self.all.members.lock().get(&node).cloned()?;
            if link.is_cut() {
                return std::future::pending().await;
            }
            let services = services.upgrade()?;
            answer(&services, question).ok()
        })
    }
}

/// A client's flag that another session may set.
#[derive(Default)]
pub struct Flag {
    signal: Mutex<Option<Signal>>,
    set: Notify,
}

impl Flag {
    pub fn signal(&self) -> Option<Signal> {
        *self.signal.lock()
    }

    fn error(&self) -> Option<SqlError> {
        Some(match self.signal()? {
            Signal::Cancel => SqlError::new(SqlState::QUERY_CANCELED, "cancelled"),
            Signal::Terminate => SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminated"),
        })
    }
}

impl Cancel for Flag {
    fn check(&self) -> Result<()> {
        self.error().map_or(Ok(()), Err)
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(async {
            loop {
                let set = self.set.notified();
                tokio::pin!(set);
                set.as_mut().enable();
                if let Some(error) = self.error() {
                    return error;
                }
                set.await;
            }
        })
    }

    fn signal(&self, signal: Signal) {
        *self.signal.lock() = Some(signal);
        self.set.notify_waiters();
    }
}
