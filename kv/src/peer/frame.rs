//! What travels between two nodes: a header of fixed places, then the payload of the frame's kind.
//!
//! The header keeps its places in all formats, and a refusal its payload, so that nodes of different versions can tell
//! each other that they do not understand each other.

use basalt_base::Timestamp;
use basalt_kv_api::wire::{Input, WireError};
use bytes::{BufMut, Bytes, BytesMut};

pub const FORMAT: u8 = 1;
pub const HEADER_BYTES: usize = 50;
const TO_INCARNATION_AT: usize = 26;
const CALL_ID_AT: usize = 42;
/// Calls that one ping asks about.
pub const ASKED_MAX: usize = 1 << 16;
const REASON_BYTES_MAX: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Pong,
    Call,
    Reply,
    Cancel,
    Message,
    Refusal,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Ping, Self::Pong, Self::Call, Self::Reply, Self::Cancel, Self::Message, Self::Refusal];

    fn to_byte(self) -> u8 {
        match self {
            Self::Ping => 1,
            Self::Pong => 2,
            Self::Call => 3,
            Self::Reply => 4,
            Self::Cancel => 5,
            Self::Message => 6,
            Self::Refusal => 7,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_byte() == byte)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: u8,
    pub kind: Kind,
    pub cluster_id: u128,
    pub from_incarnation: u64,
    /// As last known to the sender; 0 if it knows none.
    pub to_incarnation: u64,
    /// No timestamp in the payload is above it, unless it came from elsewhere.
    pub reading: Timestamp,
    /// 0 outside of calls.
    pub call_id: u64,
}

impl Header {
    pub fn encode(&self, payload_bytes: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + payload_bytes);
        out.put_u8(self.format);
        out.put_u8(self.kind.to_byte());
        out.put_u128(self.cluster_id);
        out.put_u64(self.from_incarnation);
        debug_assert_eq!(out.len(), TO_INCARNATION_AT);
        out.put_u64(self.to_incarnation);
        out.put_u64(self.reading.0);
        debug_assert_eq!(out.len(), CALL_ID_AT);
        out.put_u64(self.call_id);
        out
    }

    /// The header, and the payload behind it.
    pub fn decode(frame: Bytes) -> Result<(Self, Bytes), WireError> {
        let mut input = Input::new(frame, "frame header");
        let header = Self {
            format: input.u8()?,
            kind: Kind::from_byte(input.u8()?).ok_or_else(|| input.error())?,
            cluster_id: input.u128()?,
            from_incarnation: input.u64()?,
            to_incarnation: input.u64()?,
            reading: input.timestamp()?,
            call_id: input.u64()?,
        };
        Ok((header, input.rest))
    }
}

/// Fills in what is known only when the call is noted.
pub fn address(frame: &mut BytesMut, to_incarnation: u64, call_id: u64) {
    frame[TO_INCARNATION_AT..TO_INCARNATION_AT + 8].copy_from_slice(&to_incarnation.to_be_bytes());
    frame[CALL_ID_AT..CALL_ID_AT + 8].copy_from_slice(&call_id.to_be_bytes());
}

/// Asks for a sign of life, and what became of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The sender's monotonic clock, to be echoed.
    pub stamp_micros: u64,
    pub clock_offset_max_micros: u64,
    /// Of the calls with lower ids, the sender waits for those in `asked` and no others, now and for ever.
    pub asked_below: u64,
    pub asked: Vec<u64>,
}

impl Ping {
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.stamp_micros);
        out.put_u64(self.clock_offset_max_micros);
        out.put_u64(self.asked_below);
        put_count(out, self.asked.len());
        self.asked.iter().for_each(|id| out.put_u64(*id));
    }

    pub fn decode(payload: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(payload, "ping");
        let (stamp_micros, clock_offset_max_micros) = (input.u64()?, input.u64()?);
        let asked_below = input.u64()?;
        let count = count(&mut input, 8)?;
        let asked = (0..count).map(|_| input.u64()).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { stamp_micros, clock_offset_max_micros, asked_below, asked })
    }
}

/// What a node knows of a call it was asked about and does not work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// It never arrived, or so long ago that it is forgotten.
    Unknown,
    /// It has ended, and its reply is not kept.
    Finished,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Of the ping.
    pub stamp_micros: u64,
    /// The wall clock of who answers.
    pub wall_micros: i64,
    pub states: Vec<(u64, CallState)>,
}

impl Pong {
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.stamp_micros);
        out.put_i64(self.wall_micros);
        put_count(out, self.states.len());
        for (id, state) in &self.states {
            out.put_u64(*id);
            out.put_u8(match state {
                CallState::Unknown => 0,
                CallState::Finished => 1,
            });
        }
    }

    pub fn decode(payload: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(payload, "pong");
        let (stamp_micros, wall_micros) = (input.u64()?, input.i64()?);
        let count = count(&mut input, 9)?;
        let mut states = Vec::with_capacity(count);
        for _ in 0..count {
            let id = input.u64()?;
            states.push(match input.u8()? {
                0 => (id, CallState::Unknown),
                1 => (id, CallState::Finished),
                _ => return Err(input.error()),
            });
        }
        input.end()?;
        Ok(Self { stamp_micros, wall_micros, states })
    }
}

/// Why a frame was not accepted. Without a call id it concerns the whole connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call has certainly not been executed, and will not be.
    pub not_executed: bool,
    pub reason: String,
}

impl Refusal {
    pub fn put(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.not_executed));
        let reason = &self.reason.as_bytes()[..self.reason.len().min(REASON_BYTES_MAX)];
        out.put_slice(reason);
    }

    pub fn decode(payload: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(payload, "refusal");
        let not_executed = input.u8()? == 1;
        let reason = &input.rest[..input.rest.len().min(REASON_BYTES_MAX)];
        Ok(Self { not_executed, reason: String::from_utf8_lossy(reason).into_owned() })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).expect("calls are bounded"));
}

fn count(input: &mut Input, item_bytes: usize) -> Result<usize, WireError> {
    let count = input.count(item_bytes)?;
    if count > ASKED_MAX { Err(input.error()) } else { Ok(count) }
}
