//! What travels between nodes, as protocol buffers: fields are known by number, so a node skips what a newer one adds.
//!
//! The encoding is written out by a macro of a few lines instead of by `prost`'s own derive, which would change the features
//! of crates that much else is built on.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{
        DecodeContext, WireType, bool as boolean, bytes as blob, int64, message, skip_field, string, uint32,
        uint64,
    },
};

/// `one`: absent when it has its default value. `many`: zero or more.
macro_rules! encode {
    (one $kind:ident $tag:literal $value:expr, $type:ty, $buffer:ident) => {
        if $value != <$type>::default() {
            $kind::encode($tag, &$value, $buffer);
        }
    };
    (many $kind:ident $tag:literal $value:expr, $type:ty, $buffer:ident) => {
        $kind::encode_repeated($tag, &$value, $buffer)
    };
}

macro_rules! length {
    (one $kind:ident $tag:literal $value:expr, $type:ty) => {
        if $value == <$type>::default() { 0 } else { $kind::encoded_len($tag, &$value) }
    };
    (many $kind:ident $tag:literal $value:expr, $type:ty) => {
        $kind::encoded_len_repeated($tag, &$value)
    };
}

macro_rules! merge {
    (one $kind:ident $wire:ident $value:expr, $buffer:ident, $context:ident) => {
        $kind::merge($wire, $value, $buffer, $context)
    };
    (many $kind:ident $wire:ident $value:expr, $buffer:ident, $context:ident) => {
        $kind::merge_repeated($wire, $value, $buffer, $context)
    };
}

macro_rules! message {
    ($(#[$doc:meta])* struct $name:ident {
        $($(#[$about:meta])* $tag:literal $count:ident $kind:ident $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct $name {
            $($(#[$about])* pub(crate) $field: $type,)*
        }

        impl Message for $name {
            fn encode_raw(&self, buffer: &mut impl BufMut) {
                $(encode!($count $kind $tag self.$field, $type, buffer);)*
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire: WireType,
                buffer: &mut impl Buf,
                context: DecodeContext,
            ) -> Result<(), DecodeError> {
                match tag {
                    $($tag => merge!($count $kind wire &mut self.$field, buffer, context),)*
                    _ => skip_field(wire, tag, buffer, context),
                }
            }

            fn encoded_len(&self) -> usize {
                0 $(+ length!($count $kind $tag self.$field, $type))*
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    };
}

message! {
    /// The first thing a connection carries, from whoever opened it.
    struct Hello {
        1 one uint32 protocol_min: u32,
        2 one uint32 protocol_max: u32,
        /// 16 bytes; empty in a node that has yet to join.
        3 one blob cluster_id: Bytes,
        4 one uint64 node_id: u64,
        /// Whom the sender believes to reach; 0 when it does not know.
        5 one uint64 expected: u64,
        6 one uint64 offset_max_micros: u64,
        /// Where the sender is reached.
        7 one string address: String,
        8 one uint32 purpose: u32,
        /// Of a connection that carries messages.
        9 one uint32 class: u32,
        10 one string build: String,
        11 many message join: Vec<Join>,
        /// The sender's own.
        12 many message records: Vec<Record>,
        /// All starts of the sender that it remembers, this one last.
        13 many uint64 lives: Vec<u64>,
        /// 0 when not said.
        14 one uint64 replicas_wanted: u64,
    }
}

message! {
    /// The reply to [`Hello`].
    struct Answer {
        /// 0 welcomes.
        1 one uint32 refusal: u32,
        2 one string reason: String,
        3 one uint32 protocol: u32,
        4 one blob cluster_id: Bytes,
        5 one uint64 node_id: u64,
        6 one uint64 offset_max_micros: u64,
        7 one string build: String,
        /// The id of the node that asked to join.
        8 one uint64 joined_as: u64,
        /// The sender's own, and of others what there is room for.
        9 many message records: Vec<Record>,
        /// As in [`Hello`].
        10 many uint64 lives: Vec<u64>,
        11 one uint64 replicas_wanted: u64,
    }
}

message! {
    struct Join {
        /// 16 random bytes that the joining store keeps until it has an id: who asks twice gets one id.
        1 one blob joiner: Bytes,
        2 many message locality: Vec<Tier>,
        3 one int64 wall_micros: i64,
    }
}

message! {
    struct Tier {
        1 one string key: String,
        2 one string value: String,
    }
}

message! {
    /// What is known of a node. The newest by `(incarnation, version)` holds.
    struct Record {
        1 one uint64 node_id: u64,
        /// Rises with every start of the node.
        2 one uint64 incarnation: u64,
        3 one uint64 version: u64,
        4 one string rpc_address: String,
        5 one string sql_address: String,
        6 one string http_address: String,
        7 many message locality: Vec<Tier>,
        /// Of the store's file system; 0 when not said.
        8 one uint64 capacity_bytes: u64,
        9 one uint64 used_bytes: u64,
        10 one boolean draining: bool,
        /// Taken out of the cluster for ever.
        11 one boolean removed: bool,
        12 one string build: String,
        13 one uint64 available_bytes: u64,
    }
}

message! {
    /// Everything after the handshake.
    struct Packet {
        1 many message pieces: Vec<Piece>,
        /// Answered by a packet with the same number as `pong`.
        2 one uint64 ping: u64,
        3 one uint64 pong: u64,
        4 many message records: Vec<Record>,
    }
}

message! {
    struct Piece {
        1 one uint32 kind: u32,
        /// Of a first piece: the size of the message.
        2 one uint64 total: u64,
        3 one blob body: Bytes,
    }
}

message! {
    /// What the address book's file holds.
    struct Book {
        1 one uint64 incarnation: u64,
        2 many message records: Vec<Record>,
        /// The starts of this node, the last one at the end.
        3 many uint64 lives: Vec<u64>,
        4 many message met: Vec<Met>,
    }
}

message! {
    /// The last life of another node that this one has talked to.
    struct Met {
        1 one uint64 node_id: u64,
        2 one uint64 life: u64,
    }
}

pub(crate) const PURPOSE_MESSAGES: u32 = 1;
/// Asks for a node id.
pub(crate) const PURPOSE_JOIN: u32 = 2;
/// Asks which nodes there are.
pub(crate) const PURPOSE_INTRODUCE: u32 = 3;

pub(crate) const PIECE_WHOLE: u32 = 0;
pub(crate) const PIECE_FIRST: u32 = 1;
pub(crate) const PIECE_NEXT: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let record = Record {
            node_id: 3,
            incarnation: u64::MAX,
            rpc_address: "[::1]:7".into(),
            locality: vec![Tier { key: "zone".into(), value: "a".into() }],
            draining: true,
            ..Record::default()
        };
        let packet = Packet {
            pieces: vec![
                Piece::default(),
                Piece { kind: PIECE_FIRST, total: 1 << 40, body: Bytes::from_static(b"abc") },
            ],
            ping: 7,
            pong: 0,
            records: vec![record],
        };
        let bytes = packet.encode_to_vec();
        assert_eq!(bytes.len(), packet.encoded_len());
        assert_eq!(Packet::decode(bytes.as_slice()).unwrap(), packet);
        assert_eq!(Packet::default().encoded_len(), 0);
    }

    #[test]
    fn the_form_is_fixed() {
        let hello = Hello { protocol_min: 1, node_id: 300, address: "a".into(), ..Hello::default() };
        assert_eq!(hello.encode_to_vec(), [0x08, 1, 0x20, 0xAC, 0x02, 0x3A, 1, b'a']);
        let join = Join { wall_micros: -1, ..Join::default() };
        let minus_one = [0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(join.encode_to_vec(), minus_one);
    }

    #[test]
    fn unknown_fields_are_skipped_and_damage_is_an_error() {
        let mut bytes = Tier { key: "k".into(), value: "v".into() }.encode_to_vec();
        bytes.extend([0x7A, 2, 1, 2]);
        assert_eq!(Tier::decode(bytes.as_slice()).unwrap().value, "v");
        for cut in 1..bytes.len() {
            let _ = Tier::decode(&bytes[..cut]);
        }
        assert!(Tier::decode(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..]).is_err());
    }
}
