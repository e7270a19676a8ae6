//! Segment files and the frames of batches in them.

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
const VERSION: u32 = 1;
const BATCH_MAGIC: u32 = 0x8ba5_a17b;

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
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = SEGMENT_MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.chain);
        put_u64(&mut out, self.segment);
        put_u64(&mut out, self.first_batch);
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..36)?;
        let valid = bytes.starts_with(SEGMENT_MAGIC)
            && u32_at(bytes, 8) == VERSION
            && u32_at(bytes, 32) == crc32fast::hash(&bytes[..32]);
        valid.then(|| Self {
            chain: u32_at(bytes, 12),
            segment: u64_at(bytes, 16),
            first_batch: u64_at(bytes, 24),
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
    pub fn encode(&self) -> ([u8; BATCH_HEADER], u32) {
        let mut out = Vec::with_capacity(BATCH_HEADER);
        put_u32(&mut out, BATCH_MAGIC);
        put_u32(&mut out, self.payload_len);
        put_u64(&mut out, self.number);
        put_u64(&mut out, self.synced);
        put_u32(&mut out, self.payload_crc);
        put_u32(&mut out, self.chain);
        put_u32(&mut out, low_bits(self.segment));
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        (out.try_into().expect("the fields add up to the header's size"), crc)
    }

    /// Reads a header of `segment`; its payload is not looked at. Gives the checksum too.
    pub fn decode(bytes: &[u8], segment: u64) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        let crc = u32_at(bytes, 36);
        let valid = u32_at(bytes, 0) == BATCH_MAGIC
            && u32_at(bytes, 32) == low_bits(segment)
            && crc == crc32fast::hash(&bytes[..36]);
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
