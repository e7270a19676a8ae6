//! Cutting links, one by one or in the patterns that consensus must survive.
//!
//! Every function adds to what is cut already; [`SimNetwork::heal`] opens everything. Nodes need not be connected.

use super::{
    fabric::{SimNetwork, State},
    link::Gate,
};

impl SimNetwork {
    /// Loses all messages of one direction, those under way too.
    pub fn block(&self, from: u64, to: u64) {
        self.state.lock().set_gate(from, to, Gate::Blocked);
    }

    /// Lets the messages of one direction wait until the link is unblocked: a stream whose packets are lost delivers
    /// old messages when the network has healed.
    pub fn clog(&self, from: u64, to: u64) {
        self.state.lock().set_gate(from, to, Gate::Clogged);
    }

    /// Opens one direction and sends off what waited.
    pub fn unblock(&self, from: u64, to: u64) {
        let mut state = self.state.lock();
        state.set_gate(from, to, Gate::Open);
        self.release(&mut state, from, to);
    }

    /// Whether messages of this direction are lost or wait.
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.state.lock().links.get(&(from, to)).is_some_and(|link| link.gate != Gate::Open)
    }

    /// Loses all messages between nodes of different groups. Nodes of no group keep their links.
    pub fn partition(&self, groups: &[&[u64]]) {
        let mut state = self.state.lock();
        for (number, group) in groups.iter().enumerate() {
            for other in &groups[number + 1..] {
                for (one, two) in pairs(group, other) {
                    state.cut(one, two);
                }
            }
        }
    }

    /// Cuts `node` off from all nodes that were ever connected.
    pub fn isolate(&self, node: u64) {
        let mut state = self.state.lock();
        let others: Vec<u64> = state.known.iter().copied().filter(|other| *other != node).collect();
        for other in others {
            state.cut(node, other);
        }
    }

    /// Lays the nodes in a ring and leaves each only so many neighbours that it sees a majority, and each a different
    /// one. Three nodes cannot all see different ones: the first and the last see each other through the middle only.
    pub fn majority_ring(&self, nodes: &[u64]) {
        let count = nodes.len();
        if count < 3 {
            return;
        }
        // Neighbours on each side: they and the node itself are a majority of `count / 2 + 1`.
        let reach = (count / 2).div_ceil(2);
        let mut state = self.state.lock();
        if 2 * reach + 1 >= count {
            state.cut(nodes[0], nodes[count - 1]);
            return;
        }
        for one in 0..count {
            for two in one + 1..count {
                let distance = (two - one).min(count - (two - one));
                if distance > reach {
                    state.cut(nodes[one], nodes[two]);
                }
            }
        }
    }

    /// Opens all links and sends off what waited. The faults of open links stay.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        let links: Vec<(u64, u64)> = state.links.keys().copied().collect();
        for (from, to) in links {
            state.set_gate(from, to, Gate::Open);
            self.release(&mut state, from, to);
        }
    }
}

impl State {
    fn set_gate(&mut self, from: u64, to: u64, gate: Gate) {
        self.links.entry((from, to)).or_default().gate = gate;
    }

    /// Both directions.
    fn cut(&mut self, one: u64, two: u64) {
        self.set_gate(one, two, Gate::Blocked);
        self.set_gate(two, one, Gate::Blocked);
    }
}

fn pairs<'a>(left: &'a [u64], right: &'a [u64]) -> impl Iterator<Item = (u64, u64)> + 'a {
    left.iter().flat_map(move |one| right.iter().map(move |two| (*one, *two)))
}
