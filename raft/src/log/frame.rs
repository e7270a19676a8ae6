//! Segment files and the frames of batches in them.
//!
//! Replay looks for headers behind the last batch that it can read, to tell a torn tail from damage. What lies there may be
//! anything: a client's values, too, in a file that is used again. So headers carry a secret of the store, its salt: nobody
//! can store a value that passes for one.

use basalt_env::Rng;
use crc32fast::Hasher;

use super::codec::{put_u32, put_u64};

/// The folder of the log inside the store.
pub(super) const FOLDER: &str = "log";
/// Where the first batch of a segment begins.
pub(super) const SEGMENT_HEADER: u64 = 64;
pub(super) const BATCH_HEADER: usize = 40;
/// Batches begin at multiples of this, which makes the search for later ones cheap.
pub(super) const ALIGNMENT: u64 = 8;

pub(super) const SPARE_SUFFIX: &str = ".spare";

const SEGMENT_MAGIC: &[u8; 8] = b"BSLTRLOG";
const VERSION: u32 = 2;
/// Without a salt, in segments of format 1.
const VERSION_UNSALTED: u32 = 1;
const BATCH_MAGIC: u32 = 0x8ba5_a17b;

/// What the headers of a store's batches begin with, and what their checksums begin from. Random, and never shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt {
    magic: u32,
    seed: u32,
}

impl Salt {
    /// That of a log which began in format 1.
    pub const NONE: Self = Self { magic: BATCH_MAGIC, seed: 0 };

    pub fn new(rng: &dyn Rng) -> Self {
        let mut secret = [0; 8];
        rng.fill_secret(&mut secret);
        // A header never begins with zeros, which is what a new file holds.
        Self { magic: u32_at(&secret, 0).max(1), seed: u32_at(&secret, 4) }
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.seed);
        hasher.update(bytes);
        hasher.finalize()
    }
}

pub(super) fn segment_path(segment: u64) -> String {
    format!("{FOLDER}/{segment:016x}.seg")
}

/// Where a dead segment's file waits to be used again.
pub(super) fn spare_path(segment: u64) -> String {
    format!("{FOLDER}/{segment:016x}{SPARE_SUFFIX}")
}

/// The number in a segment's file name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

pub(super) fn padded(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

/// The start of a segment file: how it continues the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub segment: u64,
    /// The number of its first batch.
    pub first_batch: u64,
    /// The chain value that its first batch names.
    pub chain: u32,
    /// That of its batches.
    pub salt: Salt,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = SEGMENT_MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.chain);
        put_u64(&mut out, self.segment);
        put_u64(&mut out, self.first_batch);
        put_u32(&mut out, self.salt.magic);
        put_u32(&mut out, self.salt.seed);
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER as usize)?;
        let (salt, end) = match u32_at(bytes, 8) {
            VERSION => (Salt { magic: u32_at(bytes, 32), seed: u32_at(bytes, 36) }, 40),
            VERSION_UNSALTED => (Salt::NONE, 32),
            _ => return None,
        };
        let valid = bytes.starts_with(SEGMENT_MAGIC) && u32_at(bytes, end) == crc32fast::hash(&bytes[..end]);
        valid.then(|| Self {
            chain: u32_at(bytes, 12),
            segment: u64_at(bytes, 16),
            first_batch: u64_at(bytes, 24),
            salt,
        })
    }
}

/// The start of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub segment: u64,
    pub number: u64,
    /// All batches up to this number were synced before this one was written.
    pub synced: u64,
    pub payload_len: u32,
    pub payload_crc: u32,
    /// The checksum of the header before this one.
    pub chain: u32,
}

impl BatchHeader {
    /// The bytes, and the checksum that the next header names.
    pub fn encode(&self, salt: Salt) -> ([u8; BATCH_HEADER], u32) {
        let mut out = Vec::with_capacity(BATCH_HEADER);
        put_u32(&mut out, salt.magic);
        put_u32(&mut out, self.payload_len);
        put_u64(&mut out, self.number);
        put_u64(&mut out, self.synced);
        put_u32(&mut out, self.payload_crc);
        put_u32(&mut out, self.chain);
        put_u32(&mut out, low_bits(self.segment));
        let crc = salt.crc(&out);
        put_u32(&mut out, crc);
        (out.try_into().expect("the fields add up to the header's size"), crc)
    }

    /// Reads a header of `segment`; its payload is not looked at. Gives the checksum too.
    pub fn decode(bytes: &[u8], segment: u64, salt: Salt) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        let crc = u32_at(bytes, 36);
        let valid = u32_at(bytes, 0) == salt.magic
            && u32_at(bytes, 32) == low_bits(segment)
            && crc == salt.crc(&bytes[..36]);
        let header = || Self {
            segment,
            payload_len: u32_at(bytes, 4),
            number: u64_at(bytes, 8),
            synced: u64_at(bytes, 16),
            payload_crc: u32_at(bytes, 24),
            chain: u32_at(bytes, 28),
        };
        valid.then(|| (header(), crc))
    }
}

fn low_bits(segment: u64) -> u32 {
    (segment & u64::from(u32::MAX)) as u32
}

/// The caller has checked the length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
