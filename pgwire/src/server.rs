//! The accept loop, the life of a connection from socket to socket, and shutdown.

use std::{future::Future, io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use basalt_env::Env;
use basalt_types::{SqlError, SqlState};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    Authenticator, Backend, BackendSession, CancelReason, Limits,
    connection::Connection,
    handshake::{self, NotStarted},
    input::Input,
    output::Output,
    registry::Registry,
    report::FATAL,
    socket,
    supervise::panic_message,
};

/// What a client may still send after its last answer, and how long it may take to read it.
const GOODBYE_BYTES_MAX: usize = 1 << 20;
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after a failed accept: the process may be out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves PostgreSQL clients from one backend.
pub struct Server {
    pub(crate) env: Env,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) limits: Limits,
    pub(crate) authenticator: Authenticator,
    pub(crate) registry: Arc<Registry>,
    shutdown: watch::Sender<bool>,
}

impl Server {
    pub fn new(
        env: Env,
        backend: Arc<dyn Backend>,
        limits: Limits,
        authenticator: Authenticator,
    ) -> Arc<Self> {
        let registry = Registry::new(&limits);
        let (shutdown, _) = watch::channel(false);
        Arc::new(Self { env, backend, limits, authenticator, registry, shutdown })
    }

    /// Accepts connections until `shutdown` completes, then ends them: idle ones at once, busy ones when their
    /// statement ends, and all of them after the timeouts in [`Limits`].
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.env.spawner.sleep(ACCEPT_RETRY).await;
                }
            }
        }
        drop(listener);
        self.drain().await;
    }

    /// Sessions that have authenticated.
    pub fn session_count(&self) -> usize {
        self.registry.session_count()
    }

    /// Ends every session, whatever it does: this server cannot serve them for now, and others can. Later clients are the
    /// backend's to refuse.
    pub fn send_away(&self) {
        self.registry.cancel_all(CancelReason::Away);
    }

    /// Acts on a cancel request that came to another server, which has passed it on. Says whether the session is one of
    /// this server's, not whether the key was right.
    pub fn cancel(&self, process_id: i32, secret: &[u8]) -> bool {
        self.registry.cancel(process_id, secret)
    }

    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = socket::configure(&stream) {
            tracing::debug!(%error, "a connection's options could not be set");
        }
        let server = self.clone();
        let (reader, writer) = stream.into_split();
        self.env.spawner.spawn(
            "pgwire connection",
            Box::pin(async move { server.serve_stream(reader, writer, Some(peer)).await }),
        );
    }

    /// Serves one client to its end, over any stream.
    pub async fn serve_stream<R, W>(self: Arc<Self>, reader: R, writer: W, peer: Option<SocketAddr>)
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let _count = self.registry.count_connection();
        let mut input = Input::new(reader);
        let mut output = Output::new(writer, self.limits.output_bytes_max);
        let negotiated = async {
            // Given back when the client is authenticated.
            let address = peer.map(|peer| peer.ip());
            let _starting = self.registry.start_line.wait(address).await.ok_or(NotStarted::Closed)?;
            handshake::negotiate(&self, &mut input, &mut output).await
        };
        let request = tokio::select! {
            biased;
            request = negotiated => request,
            () = self.env.spawner.sleep(self.limits.authentication_timeout) => Err(NotStarted::Closed),
            () = self.shutting_down() => Err(NotStarted::Closed),
        };
        let input = Mutex::new(input);
        let started = match request {
            Ok(request) => handshake::open_session(&self, &input, &mut output, request, peer).await,
            Err(not_started) => Err(not_started),
        };
        match started {
            Ok(started) => {
                let mut connection =
                    Connection::new(&self, input, output, started.session, started.registration);
                let end = connection.serve().await;
                connection.finish(end).await;
            }
            Err(not_started) => self.refuse(not_started, &mut input.into_inner(), &mut output).await,
        }
    }

    async fn refuse<R, W>(&self, not_started: NotStarted, input: &mut Input<R>, output: &mut Output<W>)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let error = match not_started {
            NotStarted::Closed => None,
            NotStarted::Refused(error) => Some(error),
            NotStarted::Panicked(message) => {
                tracing::error!(message, "opening a session panicked");
                Some(SqlError::new(SqlState::INTERNAL_ERROR, format!("internal error: {message}")))
            }
        };
        if let Some(error) = &error {
            output.error(FATAL, error);
        }
        self.say_goodbye(input, output, error.is_some()).await;
    }

    /// Writes what is left and closes the stream; `waits` for the client to read a last word, for a while.
    pub(crate) async fn say_goodbye<R, W>(&self, input: &mut Input<R>, output: &mut Output<W>, waits: bool)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if !waits {
            // Half-written results help nobody.
            let _closed = output.shutdown().now_or_never();
            return;
        }
        let goodbye = async {
            if output.flush().await.is_ok() && output.shutdown().await.is_ok() {
                input.discard(&self.limits, GOODBYE_BYTES_MAX).await;
            }
        };
        tokio::select! {
            biased;
            () = goodbye => {}
            () = self.env.spawner.sleep(GOODBYE_TIMEOUT) => {}
        }
    }

    /// Rolls a session back, within bounds.
    pub(crate) async fn close_session(&self, mut session: Box<dyn BackendSession>) {
        let closed = tokio::select! {
            biased;
            closed = AssertUnwindSafe(session.close()).catch_unwind() => closed,
            () = self.env.spawner.sleep(self.limits.end_timeout) => {
                tracing::warn!("a session did not close in time");
                Ok(())
            }
        };
        if let Err(payload) = closed {
            tracing::error!(message = panic_message(&*payload), "a session panicked as it was closed");
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Completes when shutdown begins.
    pub(crate) async fn shutting_down(&self) {
        let mut shutdown = self.shutdown.subscribe();
        // The sender lives as long as the server.
        let _begun = shutdown.wait_for(|begun| *begun).await;
    }

    async fn drain(&self) {
        // A session that registers after this sees the flag.
        self.shutdown.send_replace(true);
        self.registry.drain_all();
        if self.empty_within(self.limits.drain_timeout).await {
            return;
        }
        self.registry.cancel_all(CancelReason::Shutdown);
        // A statement's end, the session's end and the client's.
        if !self.empty_within(self.limits.end_timeout * 2 + GOODBYE_TIMEOUT * 2).await {
            tracing::warn!("connections are left at shutdown");
        }
    }

    async fn empty_within(&self, timeout: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.registry.wait_empty() => true,
            () = self.env.spawner.sleep(timeout) => false,
        }
    }
}

/// Listens on `address`, with the options that suit a server.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    socket::listen(address)
}
