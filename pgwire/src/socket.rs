//! Socket options: answers leave at once, and a peer that has vanished is noticed within a minute or two.

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Seconds of silence before the first probe, between probes, and their number.
const KEEPALIVE_IDLE_SECONDS: libc::c_int = 60;
const KEEPALIVE_INTERVAL_SECONDS: libc::c_int = 10;
const KEEPALIVE_PROBES: libc::c_int = 6;
/// Milliseconds that sent data may remain unacknowledged.
const USER_TIMEOUT_MILLIS: libc::c_int = 60_000;

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it a restart would have to wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets the options of an accepted connection.
pub(crate) fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    set(stream, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    #[cfg(target_os = "linux")]
    for (option, value) in [
        (libc::TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS),
        (libc::TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
        (libc::TCP_KEEPCNT, KEEPALIVE_PROBES),
        (libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MILLIS),
    ] {
        set(stream, libc::IPPROTO_TCP, option, value)?;
    }
    Ok(())
}

fn set(stream: &TcpStream, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, and the kernel only reads the `size` bytes of `value`.
    let result =
        unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
