//! A server on a loopback port for the length of a test.

use std::{net::SocketAddr, sync::Arc};

use basalt_env::os::os_env;
use basalt_pgwire::{Authenticator, Limits, Server, listen};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    fake_backend::{FakeBackend, Observed},
    raw_client::RawClient,
};

pub struct RunningServer {
    pub address: SocketAddr,
    pub observed: Arc<Observed>,
    pub server: Arc<Server>,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl RunningServer {
    pub fn start() -> Self {
        Self::start_with(Limits::default())
    }

    pub fn start_with(limits: Limits) -> Self {
        let backend = FakeBackend::default();
        let observed = backend.observed.clone();
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(os_env("unused"), Arc::new(backend), limits, Authenticator::Trust);
        let (shutdown, asked) = oneshot::channel();
        let serving = tokio::spawn({
            let server = server.clone();
            async move {
                server
                    .serve(listener, async {
                        let _asked_or_test_over = asked.await;
                    })
                    .await;
            }
        });
        Self { address, observed, server, shutdown, serving }
    }

    pub async fn raw(&self) -> RawClient {
        RawClient::connect(self.address).await
    }

    /// A raw client that has started its session.
    pub async fn started(&self) -> RawClient {
        let mut client = self.raw().await;
        client.start().await;
        client
    }

    pub async fn driver(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port()).user("tester").dbname("db");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The server works for the next client.
    pub async fn assert_alive(&self) {
        let mut client = self.started().await;
        assert_eq!(client.ask("series 1").await, "TDCZ");
    }

    pub async fn wait_closed(&self, count: usize) {
        self.observed.closed.subscribe().wait_for(|closed| *closed >= count).await.unwrap();
    }

    /// Until `count` sessions hold a place.
    pub async fn wait_sessions(&self, count: usize) {
        while self.server.session_count() != count {
            tokio::task::yield_now().await;
        }
    }

    pub async fn wait_hanging(&self, count: usize) {
        self.observed.hanging.subscribe().wait_for(|hanging| *hanging >= count).await.unwrap();
    }

    pub async fn shut_down(self) {
        self.shutdown.send(()).unwrap();
        self.serving.await.unwrap();
    }

    pub fn begin_shutdown(self) -> JoinHandle<()> {
        self.shutdown.send(()).unwrap();
        self.serving
    }
}
