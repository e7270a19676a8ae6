//! Process ids of sessions.
//!
//! PostgreSQL's clients know a session by a positive number of 31 bits. The upper eleven name the session's node, so that
//! whoever is given one knows whom to ask; the lower twenty count. Of two nodes whose ids are 2,048 apart either may be
//! meant: both are asked, and seldom have both a session of the same count.

use crate::NodeId;

/// Sessions of a node are numbered with so many bits.
pub const COUNT_BITS: u32 = 20;
const NODES: u64 = 1 << (31 - COUNT_BITS);

/// The process id of the node's session with this number, of which the lowest [`COUNT_BITS`] bits count.
pub fn process_id(node: NodeId, number: u32) -> i32 {
    let upper = u32::try_from(node.0 % NODES).expect("eleven bits") << COUNT_BITS;
    (upper | (number & ((1 << COUNT_BITS) - 1))).cast_signed()
}

/// Whether the process id may be of a session of the node.
pub fn is_of(process_id: i32, node: NodeId) -> bool {
    u64::try_from(process_id).is_ok_and(|id| id >> COUNT_BITS == node.0 % NODES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_names_its_node() {
        for node in [0, 1, 2, 2_047, 2_048, 5_000, u64::MAX].map(NodeId) {
            for number in [1, (1 << COUNT_BITS) - 1] {
                let id = process_id(node, number);
                assert!(id > 0, "{node} {number}");
                assert!(is_of(id, node));
                assert!(!is_of(id, NodeId(node.0.wrapping_add(1))) || node.0 == u64::MAX);
                assert!(!is_of(-id, node));
            }
        }
        assert_eq!(process_id(NodeId(3), 7), (3 << 20) | 7);
        assert!(is_of(process_id(NodeId(5), 1), NodeId(5 + 2_048)), "both are asked");
    }
}
