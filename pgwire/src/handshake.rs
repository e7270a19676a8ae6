//! From accept to a session: encryption requests, the startup message, authentication.

use std::{net::SocketAddr, sync::Arc};

use basalt_types::{SqlError, SqlState};
use bytes::Bytes;
use parking_lot::Mutex;
use pgwire::messages::{
    PgWireBackendMessage, ProtocolVersion,
    response::{GssEncResponse, SslResponse},
    startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    BackendSession, Limits, StartupInfo,
    input::Input,
    output::Output,
    parameters,
    registry::{LONG_KEY_BYTES, Registration, SHORT_KEY_BYTES},
    server::Server,
    startup_packet::{MINOR_MAX, Refusal, StartupPacket, StartupRequest, next_packet},
    supervise::{Stop, Supervisor},
};

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authenticator {
    /// Every client is who it says.
    #[default]
    Trust,
}

/// A session that is ready for its first query; its answers so far are in the output buffer.
pub(crate) struct Started {
    pub session: Box<dyn BackendSession>,
    pub registration: Registration,
}

/// Why there is no session.
pub(crate) enum NotStarted {
    /// The client left, sent a cancel request, or does not speak the protocol.
    Closed,
    /// The error to send before closing.
    Refused(SqlError),
    /// The session failed in a way that leaves nothing to close.
    Panicked(String),
}

impl From<Refusal> for NotStarted {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Silent => Self::Closed,
            Refusal::Told(error) => Self::Refused(error),
        }
    }
}

/// Reads startup packets until one asks for a session. Runs under the authentication deadline.
pub(crate) async fn negotiate<R, W>(
    server: &Server,
    input: &mut Input<R>,
    output: &mut Output<W>,
) -> Result<StartupRequest, NotStarted>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let answer = match read_packet(input, &server.limits).await? {
            StartupPacket::Startup(request) => {
                greet(&request, output);
                authenticate(server.authenticator, output);
                return Ok(request);
            }
            StartupPacket::Cancel { process_id, secret } => {
                if !server.registry.cancel(process_id, &secret) {
                    server.backend.cancel(process_id, &secret).await;
                }
                return Err(NotStarted::Closed);
            }
            StartupPacket::SslRequest if !ssl_asked => {
                ssl_asked = true;
                refuse_pipelined(input, "SSL")?;
                PgWireBackendMessage::SslResponse(SslResponse::Refuse)
            }
            StartupPacket::GssEncRequest if !gss_asked => {
                gss_asked = true;
                refuse_pipelined(input, "GSSAPI encryption")?;
                PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse)
            }
            StartupPacket::SslRequest | StartupPacket::GssEncRequest => return Err(NotStarted::Closed),
        };
        output.message(&answer).expect("the answer is one byte");
        output.flush().await.map_err(|_| NotStarted::Closed)?;
    }
}

async fn read_packet<R: AsyncRead + Unpin>(
    input: &mut Input<R>,
    limits: &Limits,
) -> Result<StartupPacket, NotStarted> {
    loop {
        if let Some(packet) = next_packet(&mut input.buffer, limits)? {
            return Ok(packet);
        }
        if !input.fill_startup().await {
            return Err(NotStarted::Closed);
        }
    }
}

/// Bytes sent before the answer could have been injected by somebody in the middle, to be taken for the client's
/// own once the connection is encrypted.
fn refuse_pipelined<R: AsyncRead + Unpin>(input: &Input<R>, request: &str) -> Result<(), NotStarted> {
    if input.buffer.is_empty() {
        return Ok(());
    }
    let error = SqlError::new(
        SqlState::PROTOCOL_VIOLATION,
        format!("received unencrypted data after {request} request"),
    );
    Err(NotStarted::Refused(error.with_detail(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )))
}

/// Agrees on a version: the newest of ours that is not newer than the client's.
fn greet<W: AsyncWrite + Unpin>(request: &StartupRequest, output: &mut Output<W>) {
    if request.minor <= MINOR_MAX && request.unknown_options.is_empty() {
        return;
    }
    let agreed = (3 << 16) | i32::from(request.minor.min(MINOR_MAX));
    let message = NegotiateProtocolVersion::new(agreed, request.unknown_options.clone());
    output
        .message(&PgWireBackendMessage::NegotiateProtocolVersion(message))
        .expect("the options came in a startup packet, which is shorter than the message may be");
}

fn authenticate<W: AsyncWrite + Unpin>(authenticator: Authenticator, output: &mut Output<W>) {
    match authenticator {
        Authenticator::Trust => {
            let message = PgWireBackendMessage::Authentication(Authentication::Ok);
            output.message(&message).expect("the message has a fixed size");
        }
    }
}

/// Opens the session and tells the client what it needs to know of it. The client is authenticated.
pub(crate) async fn open_session<R, W>(
    server: &Arc<Server>,
    input: &Mutex<Input<R>>,
    output: &mut Output<W>,
    request: StartupRequest,
    peer: Option<SocketAddr>,
) -> Result<Started, NotStarted>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (_, minor_of_long_keys) = ProtocolVersion::PROTOCOL3_2.version_number();
    let key_bytes = if request.minor >= minor_of_long_keys { LONG_KEY_BYTES } else { SHORT_KEY_BYTES };
    let registration = server
        .registry
        .register(&*server.env.rng, key_bytes, |number| server.backend.process_id(number))
        .ok_or_else(|| {
            NotStarted::Refused(SqlError::new(
                SqlState::TOO_MANY_CONNECTIONS,
                "sorry, too many clients already",
            ))
        })?;
    if server.is_shutting_down() {
        let error = SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the database system is shutting down");
        return Err(NotStarted::Refused(error));
    }
    let startup = StartupInfo {
        user: request.user.clone(),
        database: request.database,
        application_name: request.application_name.clone(),
        options: request.options,
        peer,
        process_id: registration.process_id,
        cancel: registration.cancel.clone(),
    };
    let supervisor =
        Supervisor { input, cancel: &registration.cancel, env: &server.env, limits: &server.limits };
    let mut session = match supervisor.run(server.backend.connect(startup)).await {
        Ok(session) => session,
        Err(Stop::Error(error)) => return Err(NotStarted::Refused(error)),
        Err(Stop::ClientGone | Stop::Overdue(_)) => return Err(NotStarted::Closed),
        Err(Stop::Panicked(message)) => return Err(NotStarted::Panicked(message)),
    };
    let reported = parameters::reported(&request.user, &request.application_name, session.parameters());
    for (name, value) in reported {
        let status = PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value));
        // A value too long to be sent is not reported; the setting holds all the same.
        let _sent = output.message(&status);
    }
    let secret_key = match <[u8; SHORT_KEY_BYTES]>::try_from(&registration.secret[..]) {
        Ok(key) => SecretKey::I32(i32::from_be_bytes(key)),
        Err(_) => SecretKey::Bytes(Bytes::copy_from_slice(&registration.secret)),
    };
    let key = BackendKeyData::new(registration.process_id, secret_key);
    output.message(&PgWireBackendMessage::BackendKeyData(key)).expect("the key has a fixed size");
    for notice in session.take_notices() {
        output.notice(&notice);
    }
    Ok(Started { session, registration })
}
