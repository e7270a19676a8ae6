//! The addresses that a node was started with: `--join`.
//!
//! A store that has an id needs them only when it has lost sight of all others. But whoever names them means the cluster that is
//! there: a store of another one must not serve what it holds as if it were that cluster's data, so it does not start.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{RefusalKind, RpcError, core::Core, join};

/// How long a start waits for the seeds to say that they belong to the same cluster. One that says nothing is no reason not to
/// start: all nodes may be starting.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks all seeds at once. An error if one belongs to another cluster.
pub(crate) async fn check(core: &Arc<Core>, seeds: &[String]) -> Result<(), RpcError> {
    let (answered, mut answers) = mpsc::channel(seeds.len().max(1));
    for seed in others(core, seeds) {
        let (asker, answered) = (core.clone(), answered.clone());
        let ask = async move {
            let answer = join::introduce(&asker, &seed).await;
            // Nobody listens when another one has decided it, or time is up.
            let _late = answered.send(answer).await;
        };
        core.env.spawner.spawn("rpc seed", Box::pin(ask));
    }
    drop(answered);
    let hearing = async {
        while let Some(answer) = answers.recv().await {
            match answer {
                Err(RpcError::Refused { address, refusal }) if refusal.kind == RefusalKind::Cluster => {
                    return Err(RpcError::OtherCluster { address, refusal });
                }
                Err(error) => core.note_failure(&error),
                Ok(()) => {}
            }
        }
        Ok(())
    };
    let spawner = core.env.spawner.clone();
    tokio::select! {
        biased;
        heard = hearing => heard,
        () = spawner.sleep(PATIENCE) => Ok(()),
    }
}

/// A node that hears nobody asks the addresses it was started with: all others may have moved.
pub(crate) async fn find_others(core: Arc<Core>, seeds: Vec<String>) {
    let seeds = others(&core, &seeds);
    let asking = async {
        while !seeds.is_empty() {
            let silent_for = core.nodes.last_heard().map(|heard| core.now().saturating_sub(heard));
            if silent_for.is_none_or(|silent_for| silent_for > core.options.silence_max) {
                let seed = &seeds[core.env.rng.next_u64() as usize % seeds.len()];
                if let Err(error) = join::introduce(&core, seed).await {
                    core.note_failure(&error);
                }
            }
            core.env.spawner.sleep(core.options.gossip_interval).await;
        }
    };
    tokio::select! {
        biased;
        () = core.closed() => {}
        () = asking => {}
    }
}

/// One list may serve all nodes.
fn others(core: &Core, seeds: &[String]) -> Vec<String> {
    let own = core.nodes.own_record().rpc_address;
    seeds.iter().filter(|seed| **seed != own).cloned().collect()
}
