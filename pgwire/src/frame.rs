//! From bytes to frontend messages, trusting nothing.
//!
//! The codec of the `pgwire` crate reads a message's fields from the whole buffer: a count too large for its
//! message would read into the next one, or panic at the end. So a message is first cut out of the stream by its
//! length word, its body is walked with bounds checks, and only then is it decoded.
//!
//! Two kinds of error follow. A bad type or length loses the stream's synchronisation: the connection ends
//! ([`BadFrame`]). A bad body inside a good frame is an ordinary error, after which the next message is read.

use basalt_types::{Result, SqlError, SqlState};
use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};

use crate::{Limits, encoding::decode_utf8};

/// A message with its header, complete.
#[derive(Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    bytes: BytesMut,
}

/// The stream cannot be followed any further; the message says why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame(pub SqlError);

/// What the connection loop acts on.
#[derive(Debug)]
pub(crate) enum FrontendMessage {
    Known(PgWireFrontendMessage),
    /// The obsolete fast-path call, which the codec does not know.
    FunctionCall,
}

/// A type byte and a length word.
const HEADER_BYTES: usize = 5;

/// Whether errors in this message are followed by a skip to Sync.
pub(crate) fn is_extended(kind: u8) -> bool {
    matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
}

/// The total size of the message at the start of `buffer`, once its header is there and is sane.
pub(crate) fn frame_size(buffer: &[u8], limits: &Limits) -> Result<Option<usize>, BadFrame> {
    let Some(&kind) = buffer.first() else { return Ok(None) };
    let bytes_max = match kind {
        b'Q' | b'P' | b'B' | b'd' | b'F' => limits.message_bytes_max,
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => limits.short_message_bytes_max,
        _ => return Err(BadFrame(violation(format!("invalid frontend message type {kind}")))),
    };
    let Some(length) = buffer.get(1..HEADER_BYTES) else { return Ok(None) };
    let length = u32::from_be_bytes(length.try_into().expect("four bytes were taken"));
    // The length word counts itself, not the type byte.
    match usize::try_from(length) {
        Ok(length) if length >= 4 && length <= bytes_max => Ok(Some(length + 1)),
        _ => Err(BadFrame(violation("invalid message length"))),
    }
}

/// Takes the next complete message off `buffer`.
pub(crate) fn next_frame(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, BadFrame> {
    match frame_size(buffer, limits)? {
        Some(size) if buffer.len() >= size => {
            Ok(Some(Frame { kind: buffer[0], bytes: buffer.split_to(size) }))
        }
        _ => Ok(None),
    }
}

/// Checks and decodes a message. The error leaves the connection usable.
pub(crate) fn decode(frame: Frame) -> Result<FrontendMessage> {
    if frame.kind == b'F' {
        return Ok(FrontendMessage::FunctionCall);
    }
    check_body(frame.kind, &frame.bytes[HEADER_BYTES..])?;
    let mut bytes = frame.bytes;
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    match PgWireFrontendMessage::decode(&mut bytes, &context) {
        Ok(Some(message)) if bytes.is_empty() => Ok(FrontendMessage::Known(message)),
        Ok(_) => Err(violation("invalid message format")),
        Err(error) => Err(violation(error.to_string())),
    }
}

fn violation(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Walks the body as the codec will, so that the codec meets no surprise.
fn check_body(kind: u8, body: &[u8]) -> Result<()> {
    let mut body = Body(body);
    match kind {
        b'Q' | b'f' => body.string()?,
        b'P' => {
            body.string()?;
            body.string()?;
            let types = body.count()?;
            body.skip(types * 4)?;
        }
        b'B' => {
            body.string()?;
            body.string()?;
            let formats = body.count()?;
            body.skip(formats * 2)?;
            for _ in 0..body.count()? {
                body.parameter()?;
            }
            let formats = body.count()?;
            body.skip(formats * 2)?;
        }
        b'C' | b'D' => {
            body.skip(1)?;
            body.string()?;
        }
        b'E' => {
            body.string()?;
            body.skip(4)?;
        }
        b'd' => return Ok(()),
        _ => {}
    }
    if body.0.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
}

/// The unread rest of a message's body.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn skip(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.get(bytes..).ok_or_else(|| violation("insufficient data left in message"))?;
        Ok(())
    }

    fn count(&mut self) -> Result<usize> {
        let bytes = self.0.first_chunk::<2>().copied();
        self.skip(2)?;
        Ok(usize::from(u16::from_be_bytes(bytes.expect("two bytes were skipped"))))
    }

    fn parameter(&mut self) -> Result<()> {
        let bytes = self.0.first_chunk::<4>().copied();
        self.skip(4)?;
        match i32::from_be_bytes(bytes.expect("four bytes were skipped")) {
            -1 => Ok(()),
            length => match usize::try_from(length) {
                Ok(length) => self.skip(length),
                Err(_) => Err(violation("insufficient data left in message")),
            },
        }
    }

    /// Zero-terminated UTF-8.
    fn string(&mut self) -> Result<()> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| violation("invalid string in message"))?;
        decode_utf8(&self.0[..end])?;
        self.skip(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&[kind][..]);
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn decode_error(kind: u8, body: &[u8]) -> SqlError {
        let mut buffer = message(kind, body);
        let frame = next_frame(&mut buffer, &Limits::default()).unwrap().unwrap();
        decode(frame).unwrap_err()
    }

    #[test]
    fn bad_lengths_and_types_end_the_stream() {
        let limits = Limits::default();
        for header in [
            &b"Q\0\0\0\0"[..],
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"Q\x7f\xff\xff\xff",
            b"S\0\0\x27\x11",
            b"Q\x01\0\0\x01",
            b"G",
            b"\0",
            b"\xff",
        ] {
            assert!(frame_size(header, &limits).is_err(), "{header:?}");
        }
        assert_eq!(frame_size(b"S\0\0\x27\x10", &limits), Ok(Some(10_001)));
        assert_eq!(frame_size(b"Q\0\0", &limits), Ok(None));
    }

    #[test]
    fn bad_bodies_are_ordinary_errors() {
        let violations: [(u8, &[u8]); 12] = [
            (b'Q', b""),
            (b'Q', b"select 1"),
            (b'Q', b"select 1\0x"),
            (b'S', b"x"),
            (b'P', b"\0select\0"),
            (b'P', b"\0select\0\xff\xff\0\0\0\x19"),
            (b'B', b"\0\0\0\x01"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x05abc"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'B', b"\0\0\0\0\0\0\xff\xff"),
            (b'E', b"\0\0\0"),
            (b'D', b""),
        ];
        for (kind, body) in violations {
            let error = decode_error(kind, body);
            assert_eq!(error.sqlstate(), SqlState::PROTOCOL_VIOLATION, "{kind} {body:?} {error}");
        }
        let error = decode_error(b'Q', b"select '\xff'\0");
        assert_eq!(error.sqlstate(), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xff");
    }

    #[test]
    fn no_prefix_and_no_mutation_panics() {
        let limits = Limits::default();
        let samples = [
            message(b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x02\0\x01\0\0"),
            message(b'P', b"s\0select $1\0\0\x02\0\0\0\x19\0\0\0\x17"),
            message(b'E', b"p\0\0\0\0\x07"),
            message(b'D', b"Sname\0"),
        ];
        for sample in samples {
            assert!(decode(next_frame(&mut sample.clone(), &limits).unwrap().unwrap()).is_ok());
            for at in 0..sample.len() {
                assert!(next_frame(&mut BytesMut::from(&sample[..at]), &limits).unwrap().is_none());
                for byte in 0..=255 {
                    let mut mutated = sample.clone();
                    mutated[at] = byte;
                    if let Ok(Some(frame)) = next_frame(&mut mutated, &limits) {
                        let _either = decode(frame);
                    }
                }
            }
        }
    }
}
