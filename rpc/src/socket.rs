//! Listening and dialling.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

use crate::{RpcError, Security};

const BACKLOG: u32 = 1024;

/// A socket that other nodes connect to. It is opened before the node has an id, because a joining node tells its address.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub fn bind(address: SocketAddr, security: &Security) -> Result<Self, RpcError> {
        security.check_address(address.ip())?;
        let open = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // Without it a restart would have to wait for the connections of the last run to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            Ok(Self { address: socket.local_addr()?, socket })
        };
        open().map_err(|cause| RpcError::Listen { address: address.to_string(), cause })
    }

    /// With the port that the system chose, if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Connects to the first of the addresses behind `address` that answers.
pub(crate) async fn dial(address: &str, security: &Security) -> Result<TcpStream, RpcError> {
    let unreachable = |cause: &dyn std::fmt::Display| RpcError::Unreachable {
        address: address.to_owned(),
        cause: cause.to_string(),
    };
    let mut last = unreachable(&"the name has no address");
    for resolved in lookup_host(address).await.map_err(|error| unreachable(&error))? {
        security.check_address(resolved.ip())?;
        match TcpStream::connect(resolved).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                return Ok(stream);
            }
            Err(error) => last = unreachable(&error),
        }
    }
    Err(last)
}
