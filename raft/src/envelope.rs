//! Messages between replicas, as the transport sees them.

use basalt_base::{RangeId, ReplicaId};
use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::Term;

/// What a message is about. The numbers are for the wire and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MessageKind {
    /// Kinds that a transport need not tell apart.
    Other = 0,
    Append = 1,
    AppendResponse = 2,
    Heartbeat = 3,
    HeartbeatResponse = 4,
    Snapshot = 5,
    Vote = 6,
    VoteResponse = 7,
    PreVote = 8,
    PreVoteResponse = 9,
    TimeoutNow = 10,
    /// A leader's last heartbeat before it and its followers stop ticking. Not a kind of Raft's: the bytes are those
    /// of a heartbeat.
    Quiesce = 11,
    /// A follower asks its sleeping leader to wake. The bytes are those of an answer to a heartbeat.
    Wake = 12,
}

impl MessageKind {
    /// Whether a store without a replica of the range may make a blank one because of such a message: it asks for
    /// something, while a response would find nobody who asked.
    pub fn may_create_replica(self) -> bool {
        matches!(self, Self::Append | Self::Heartbeat | Self::Snapshot | Self::Vote | Self::PreVote)
    }

    /// The kind with this number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Other,
            1 => Self::Append,
            2 => Self::AppendResponse,
            3 => Self::Heartbeat,
            4 => Self::HeartbeatResponse,
            5 => Self::Snapshot,
            6 => Self::Vote,
            7 => Self::VoteResponse,
            8 => Self::PreVote,
            9 => Self::PreVoteResponse,
            10 => Self::TimeoutNow,
            11 => Self::Quiesce,
            12 => Self::Wake,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }

    fn of(message: &Message) -> Self {
        match message.get_msg_type() {
            MessageType::MsgAppend => Self::Append,
            MessageType::MsgAppendResponse => Self::AppendResponse,
            MessageType::MsgHeartbeat => Self::Heartbeat,
            MessageType::MsgHeartbeatResponse => Self::HeartbeatResponse,
            MessageType::MsgSnapshot => Self::Snapshot,
            MessageType::MsgRequestVote => Self::Vote,
            MessageType::MsgRequestVoteResponse => Self::VoteResponse,
            MessageType::MsgRequestPreVote => Self::PreVote,
            MessageType::MsgRequestPreVoteResponse => Self::PreVoteResponse,
            MessageType::MsgTimeoutNow => Self::TimeoutNow,
            _ => Self::Other,
        }
    }
}

/// A message between two replicas of a range. The bytes are Raft's own and opaque to the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub range_id: RangeId,
    pub from: ReplicaId,
    pub to: ReplicaId,
    /// The sender's term; for a pre-vote the one it asks for.
    pub term: Term,
    pub kind: MessageKind,
    /// Carries a snapshot: the transport reports its fate with `RaftHandle::report_snapshot`.
    pub is_snapshot: bool,
    pub message: Bytes,
}

impl Envelope {
    pub(crate) fn new(range_id: RangeId, message: &Message) -> Self {
        let bytes = message.write_to_bytes().expect("a message is encoded into memory");
        let kind = MessageKind::of(message);
        Self {
            range_id,
            from: ReplicaId(message.from),
            to: ReplicaId(message.to),
            term: message.term,
            kind,
            is_snapshot: kind == MessageKind::Snapshot,
            message: bytes.into(),
        }
    }

    /// The message, if it is one and says of itself what the envelope says.
    pub(crate) fn open(&self) -> Option<Message> {
        let message = Message::parse_from_bytes(&self.message).ok()?;
        let kind = match self.kind {
            MessageKind::Quiesce => MessageKind::Heartbeat,
            MessageKind::Wake => MessageKind::HeartbeatResponse,
            kind => kind,
        };
        (message.from == self.from.0 && message.to == self.to.0 && MessageKind::of(&message) == kind)
            .then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_numbers() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(MessageKind::from_number).collect();
        assert_eq!(all.len(), 13);
        assert!(all.iter().all(|kind| MessageKind::from_number(kind.number()) == Some(*kind)));
        assert_eq!((MessageKind::Append.number(), MessageKind::Quiesce.number()), (1, 11));
    }

    #[test]
    fn an_envelope_that_contradicts_its_message_is_not_opened() {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        (message.from, message.to, message.term) = (1, 2, 7);
        let envelope = Envelope::new(RangeId(3), &message);
        assert_eq!((envelope.kind, envelope.term), (MessageKind::Heartbeat, 7));
        assert_eq!(envelope.open(), Some(message));
        assert!(Envelope { kind: MessageKind::Quiesce, ..envelope.clone() }.open().is_some());
        assert!(Envelope { kind: MessageKind::Append, ..envelope.clone() }.open().is_none());
        assert!(Envelope { to: ReplicaId(9), ..envelope.clone() }.open().is_none());
        assert!(Envelope { message: Bytes::from_static(b"\xff\xff"), ..envelope }.open().is_none());
    }
}
