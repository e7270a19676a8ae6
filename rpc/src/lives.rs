//! That only one process speaks as a node.
//!
//! A copied store is the same node twice: both would vote and acknowledge in its name, and what one of them has promised the
//! other one has not. So every start of a process is a life, a random number that is appended to a list in the store before
//! anybody is talked to. The list travels with each handshake, and everybody remembers the last life of every other node.
//! A process that has not lived that life is not its successor: its store was copied, or set back, before it. A copy that was
//! made later has lived it, and is told apart only as long as the other process shows signs of life; so a new life has to wait
//! until all connections of the last one have ended. The list holds the last 256 lives: who comes with a full one that lacks the
//! life that was met is let in, because a node in trouble reaches that number sooner than a copy does.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::NodeId;
use parking_lot::Mutex;

use crate::{
    Refusal, RefusalKind,
    message::Met,
    options::{LIVES_MAX, NODES_MAX},
};

pub(crate) struct Lives {
    /// The last one is this process.
    own: Vec<u64>,
    others: Others,
}

type Others = Arc<Mutex<BTreeMap<NodeId, Last>>>;

/// The last life of a node that was met.
struct Last {
    life: u64,
    /// Those of this life that stand.
    connections: usize,
}

/// A connection with a life of another node; it stands until this is dropped.
pub(crate) struct Meeting {
    /// `None`: by a build that knows nothing of lives.
    of: Option<(Others, NodeId)>,
    /// Of a life that was not met before.
    pub(crate) is_first: bool,
}

impl Lives {
    /// Begins the life `life` of this node, after those in its address book.
    pub(crate) fn begin(mut own: Vec<u64>, life: u64, met: &[Met]) -> Self {
        own.push(life);
        own.drain(..own.len().saturating_sub(LIVES_MAX));
        let last = |met: &Met| (NodeId(met.node_id), Last { life: met.life, connections: 0 });
        Self { own, others: Arc::new(Mutex::new(met.iter().map(last).collect())) }
    }

    pub(crate) fn own(&self) -> Vec<u64> {
        self.own.clone()
    }

    /// For the address book.
    pub(crate) fn met(&self) -> Vec<Met> {
        let others = self.others.lock();
        others.iter().map(|(node, last)| Met { node_id: node.0, life: last.life }).collect()
    }

    /// Whether the process with this list may speak as `node`.
    pub(crate) fn meet(&self, node: NodeId, lives: &[u64]) -> Result<Meeting, Refusal> {
        let mut others = self.others.lock();
        let is_full = others.len() >= NODES_MAX;
        let nobody = Meeting { of: None, is_first: false };
        let (known, life) = match (others.get_mut(&node), lives.last()) {
            (None, None) => return Ok(nobody),
            (None, Some(_)) if is_full => return Ok(nobody),
            (None, Some(life)) => {
                others.insert(node, Last { life: *life, connections: 1 });
                return Ok(Meeting { of: Some((self.others.clone(), node)), is_first: true });
            }
            (Some(last), Some(life)) if lives.contains(&last.life) => (last, *life),
            // More starts than a list holds since the two last met, as of a node that is started again and again while
            // the other one is down: the list cannot say.
            (Some(last), Some(life)) if lives.len() >= LIVES_MAX => {
                tracing::warn!(%node, "it has begun anew more often since it was last met than can be told from a copy");
                (last, *life)
            }
            (Some(_), _) => {
                let reason = format!(
                    "node {node}: its store is a copy: another process has spoken as this node since; wipe the store and join anew"
                );
                return Err(Refusal::new(RefusalKind::Copy, reason));
            }
        };
        let is_first = known.life != life;
        if is_first && known.connections > 0 {
            let reason = format!("node {node}: another process still speaks as this node");
            return Err(Refusal::new(RefusalKind::Busy, reason));
        }
        known.life = life;
        known.connections += 1;
        Ok(Meeting { of: Some((self.others.clone(), node)), is_first })
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        if let Some((others, node)) = &self.of
            && let Some(last) = others.lock().get_mut(node)
        {
            // Its life is the last one still: no other one begins while it stands.
            last.connections = last.connections.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lives: &Lives, of: &[u64]) -> Result<Meeting, RefusalKind> {
        lives.meet(NodeId(2), of).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn whoever_has_not_lived_the_last_life_is_a_copy() {
        // What was met before, who comes, and whether it is a copy.
        let cases: [(&[u64], &[u64], bool); 8] = [
            (&[], &[], false),
            (&[], &[5], false),
            (&[5], &[5], false),
            (&[5], &[5, 6], false),
            (&[5], &[4, 5, 6, 7, 8], false),
            (&[4, 5], &[4, 6], true),
            (&[4, 5], &[4], true),
            (&[5], &[], true),
        ];
        for (before, comes, is_copy) in cases {
            let lives = Lives::begin(Vec::new(), 1, &[]);
            drop(outcome(&lives, before).ok().unwrap());
            // After a restart, too.
            let again = Lives::begin(lives.own(), 2, &lives.met());
            for lives in [lives, again] {
                let refused = outcome(&lives, comes).err();
                assert_eq!(refused, is_copy.then_some(RefusalKind::Copy), "{before:?} {comes:?}");
            }
        }
    }

    #[test]
    fn a_node_that_began_anew_more_often_than_its_list_is_long_is_let_in() {
        let lives = Lives::begin(Vec::new(), 1, &[]);
        drop(outcome(&lives, &[5]).ok().unwrap());
        let since: Vec<u64> = (1000..).take(LIVES_MAX - 1).collect();
        assert_eq!(outcome(&lives, &since).err(), Some(RefusalKind::Copy));
        let since: Vec<u64> = (1000..).take(LIVES_MAX).collect();
        drop(outcome(&lives, &since).ok().unwrap());
        // From here on it is the one.
        assert_eq!(outcome(&lives, &[5]).err(), Some(RefusalKind::Copy));
    }

    #[test]
    fn a_new_life_waits_for_the_end_of_the_last_one() {
        let lives = Lives::begin(Vec::new(), 1, &[]);
        let first = outcome(&lives, &[5]).ok().unwrap();
        let second = outcome(&lives, &[5]).ok().unwrap();
        assert!(first.is_first && !second.is_first);
        drop(first);
        assert_eq!(outcome(&lives, &[5, 6]).err(), Some(RefusalKind::Busy));
        drop(second);
        assert!(outcome(&lives, &[5, 6]).ok().unwrap().is_first);
        assert_eq!(lives.met(), [Met { node_id: 2, life: 6 }]);
        assert_eq!(outcome(&lives, &[5]).err(), Some(RefusalKind::Copy));
    }

    #[test]
    fn lists_are_bounded() {
        let mut own = Vec::new();
        for life in 1..1000 {
            own = Lives::begin(own, life, &[]).own();
        }
        assert_eq!((own.len(), own.last()), (LIVES_MAX, Some(&999)));
    }
}
