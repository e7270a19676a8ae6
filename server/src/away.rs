//! A node whose disk does not answer sends its clients away.
//!
//! Nothing that it serves itself can be read or written then, and its leases move to other nodes within seconds. Its clients would
//! hear errors until the disk answers, if it ever does; without their connections those that know several nodes go on
//! elsewhere. A node that is alone keeps its clients: nobody else could serve them, and most stalls end.

use std::{sync::Arc, time::Duration};

use basalt_env::Env;
use basalt_pgwire::Server;

use crate::{backend::SqlBackend, node::Node};

/// A busy disk may take seconds to sync; other nodes need as long to take over.
const PATIENCE: Duration = Duration::from_secs(4);
const INTERVAL: Duration = Duration::from_millis(250);

/// Never completes.
pub async fn send_clients_away(env: &Env, node: &Node, backend: &SqlBackend, server: &Arc<Server>) {
    let mut was_away = false;
    loop {
        env.spawner.sleep(INTERVAL).await;
        let held_up = node.held_up_for();
        let is_away = held_up >= PATIENCE && node.has_others();
        if is_away != was_away {
            backend.set_away(is_away);
            if is_away {
                tracing::warn!(?held_up, "the disk does not answer: clients are sent to other nodes");
            } else {
                tracing::info!("the disk answers again: clients are welcome");
            }
            was_away = is_away;
        }
        if is_away {
            // Each time: one may have been let in just before.
            server.send_away();
        }
    }
}
