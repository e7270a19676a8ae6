//! The packets before a session: they have a length word but no type byte.

use basalt_types::{SqlError, SqlState};
use bytes::BytesMut;
use pgwire::messages::{
    DecodeContext, PgWireFrontendMessage, ProtocolVersion, SslNegotiationMetaMessage, startup::SecretKey,
};

use crate::{Limits, encoding::decode_utf8, parameters};

/// What a client may say first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartupPacket {
    SslRequest,
    GssEncRequest,
    Cancel { process_id: i32, secret: Vec<u8> },
    Startup(StartupRequest),
}

/// A StartupMessage, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StartupRequest {
    /// Of major version 3.
    pub minor: u16,
    pub user: String,
    pub database: String,
    pub application_name: String,
    /// See [`crate::StartupInfo::options`].
    pub options: Vec<(String, String)>,
    /// `_pq_.` options; none is known.
    pub unknown_options: Vec<String>,
}

/// Why a packet is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the protocol at all: close without a word.
    Silent,
    Told(SqlError),
}

const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;
/// The newest minor version, 3.2.
pub(crate) const MINOR_MAX: u16 = 2;

/// Takes one packet off `buffer`; `None` when it is not complete.
pub(crate) fn next_packet(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<StartupPacket>, Refusal> {
    let Some(length) = word(buffer, 0) else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length < 8 || length > limits.startup_bytes_max {
        return Err(Refusal::Silent);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let packet = buffer.split_to(length);
    let code = word(&packet, 4).expect("the packet has at least eight bytes");
    match code {
        SSL_CODE | GSS_CODE if length == 8 => {}
        CANCEL_CODE if (16..=12 + 256).contains(&length) => {}
        SSL_CODE | GSS_CODE | CANCEL_CODE => return Err(Refusal::Silent),
        version if version >> 16 != 3 => {
            let message = format!(
                "unsupported frontend protocol {}.{}: server supports 3.0 to 3.{MINOR_MAX}",
                version >> 16,
                version & 0xffff
            );
            return Err(Refusal::Told(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)));
        }
        _ => check_layout(&packet[8..])?,
    }
    decode(packet, matches!(code, SSL_CODE | GSS_CODE)).map(Some)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().expect("four bytes were taken")))
}

fn violation(message: &str) -> Refusal {
    Refusal::Told(SqlError::new(SqlState::PROTOCOL_VIOLATION, message))
}

/// Pairs of strings and a zero byte.
fn check_layout(body: &[u8]) -> Result<(), Refusal> {
    let layout = || violation("invalid startup packet layout: expected terminator as last byte");
    let (&last, strings) = body.split_last().ok_or_else(layout)?;
    if last != 0 {
        return Err(layout());
    }
    let Some((&0, strings)) = strings.split_last() else {
        return if strings.is_empty() { Ok(()) } else { Err(layout()) };
    };
    let mut count = 0_usize;
    for string in strings.split(|byte| *byte == 0) {
        decode_utf8(string).map_err(Refusal::Told)?;
        // An empty name would end the list for the codec.
        if string.is_empty() && count.is_multiple_of(2) {
            return Err(layout());
        }
        count += 1;
    }
    if count.is_multiple_of(2) { Ok(()) } else { Err(layout()) }
}

fn decode(mut packet: BytesMut, negotiation: bool) -> Result<StartupPacket, Refusal> {
    // With 3.2 the codec takes a cancel key of any length.
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    context.awaiting_frontend_ssl = negotiation;
    let message = PgWireFrontendMessage::decode(&mut packet, &context);
    match message.map_err(|_| violation("invalid startup packet"))? {
        Some(PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_))) => {
            Ok(StartupPacket::SslRequest)
        }
        Some(PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::PostgresGss(_))) => {
            Ok(StartupPacket::GssEncRequest)
        }
        Some(PgWireFrontendMessage::CancelRequest(request)) => {
            let secret = match request.secret_key {
                SecretKey::I32(key) => key.to_be_bytes().to_vec(),
                SecretKey::Bytes(key) => key.to_vec(),
            };
            Ok(StartupPacket::Cancel { process_id: request.pid, secret })
        }
        Some(PgWireFrontendMessage::Startup(startup)) => {
            sort(startup.protocol_number_minor, startup.parameters).map(StartupPacket::Startup)
        }
        _ => Err(violation("invalid startup packet")),
    }
}

fn sort(
    minor: u16,
    parameters: impl IntoIterator<Item = (String, String)>,
) -> Result<StartupRequest, Refusal> {
    let mut request = StartupRequest { minor, ..StartupRequest::default() };
    let mut named = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => request.user = value,
            "database" => request.database = value,
            "application_name" => request.application_name = value,
            "options" => {
                request.options = parameters::parse_options(&value).map_err(|word| {
                    let message = format!("invalid command-line argument for server process: {word}");
                    Refusal::Told(SqlError::new(SqlState::SYNTAX_ERROR, message))
                })?;
            }
            "replication" if !matches!(value.as_str(), "false" | "off" | "no" | "0") => {
                return Err(Refusal::Told(SqlError::not_supported("the replication protocol")));
            }
            "replication" => {}
            _ if name.starts_with("_pq_.") => request.unknown_options.push(name),
            _ => named.push((name, value)),
        }
    }
    if request.user.is_empty() {
        return Err(Refusal::Told(SqlError::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        )));
    }
    if request.database.is_empty() {
        request.database.clone_from(&request.user);
    }
    request.options.append(&mut named);
    // The option's value is the session default unless the parameter itself was given.
    let is_application_name = |(name, _): &(String, String)| name.eq_ignore_ascii_case("application_name");
    if let Some(at) = request.options.iter().position(is_application_name) {
        let (_, value) = request.options.remove(at);
        if request.application_name.is_empty() {
            request.application_name = value;
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&(body.len() as u32 + 8).to_be_bytes()[..]);
        bytes.extend_from_slice(&code.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn parse(code: u32, body: &[u8]) -> Result<Option<StartupPacket>, Refusal> {
        next_packet(&mut packet(code, body), &Limits::default())
    }

    #[test]
    fn packets_are_told_apart() {
        assert_eq!(parse(SSL_CODE, b""), Ok(Some(StartupPacket::SslRequest)));
        assert_eq!(parse(GSS_CODE, b""), Ok(Some(StartupPacket::GssEncRequest)));
        let cancel = StartupPacket::Cancel { process_id: 7, secret: b"abcd".to_vec() };
        assert_eq!(parse(CANCEL_CODE, b"\0\0\0\x07abcd"), Ok(Some(cancel)));
        let long = StartupPacket::Cancel { process_id: 7, secret: vec![9; 32] };
        let body = [&b"\0\0\0\x07"[..], &[9; 32]].concat();
        assert_eq!(parse(CANCEL_CODE, &body), Ok(Some(long)));
        let body = b"user\0me\0options\0-c a=b\0_pq_.x\0y\0DateStyle\0ISO\0application_name\0psql\0\0";
        let startup = StartupRequest {
            minor: 0,
            user: "me".into(),
            database: "me".into(),
            application_name: "psql".into(),
            options: vec![("a".into(), "b".into()), ("DateStyle".into(), "ISO".into())],
            unknown_options: vec!["_pq_.x".into()],
        };
        assert_eq!(parse(0x30000, body), Ok(Some(StartupPacket::Startup(startup))));
    }

    #[test]
    fn nonsense_is_refused() {
        let limits = Limits::default();
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\0\0\0\0",
            b"\0\0\0\x03",
            b"\x16\x03\x01\x02\0\x01",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(next_packet(&mut BytesMut::from(bytes), &limits), Err(Refusal::Silent), "{bytes:?}");
        }
        assert_eq!(parse(SSL_CODE, b"x"), Err(Refusal::Silent));
        assert_eq!(parse(CANCEL_CODE, b"\0\0\0\x07"), Err(Refusal::Silent));
        for (code, body, state) in [
            (0x20000, &b"x"[..], SqlState::FEATURE_NOT_SUPPORTED),
            (0x30000, b"", SqlState::PROTOCOL_VIOLATION),
            (0x30000, b"user", SqlState::PROTOCOL_VIOLATION),
            (0x30000, b"user\0me\0", SqlState::PROTOCOL_VIOLATION),
            (0x30000, b"user\0me\0database\0\0", SqlState::PROTOCOL_VIOLATION),
            (0x30000, b"\0", SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
            (0x30000, b"user\0\xff\0\0", SqlState::CHARACTER_NOT_IN_REPERTOIRE),
            (0x30000, b"user\0me\0replication\0true\0\0", SqlState::FEATURE_NOT_SUPPORTED),
            (0x30000, b"user\0me\0options\0-z\0\0", SqlState::SYNTAX_ERROR),
        ] {
            match parse(code, body) {
                Err(Refusal::Told(error)) => assert_eq!(error.sqlstate(), state, "{body:?} {error}"),
                other => panic!("{body:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn no_prefix_and_no_mutation_panics() {
        let sample = packet(0x30000, b"user\0me\0database\0\0options\0-c a=b\0\0");
        for at in 0..sample.len() {
            assert_eq!(next_packet(&mut BytesMut::from(&sample[..at]), &Limits::default()), Ok(None));
            for byte in 0..=255 {
                let mut mutated = sample.clone();
                mutated[at] = byte;
                let _either = next_packet(&mut mutated, &Limits::default());
            }
        }
    }
}
