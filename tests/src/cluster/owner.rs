//! Which process opened a connection that was accepted on this machine.
//!
//! The nodes of a cluster on loopback all dial from one address, so the address does not tell who it is. The kernel does:
//! it lists every socket with its inode, and every process with the inodes that it holds.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// The first of `processes` that holds the socket at the other end: bound to `dialler`, connected to `listener`.
pub fn owner<T: Copy>(dialler: SocketAddr, listener: SocketAddr, processes: &[(T, u32)]) -> Option<T> {
    let inode = inode(&fs::read_to_string("/proc/net/tcp").ok()?, dialler, listener)?;
    let wanted = format!("socket:[{inode}]");
    processes.iter().find(|(_, process)| holds(*process, &wanted)).map(|(name, _)| *name)
}

fn holds(process: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    descriptors
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted))
}

/// In a table whose second and third columns are addresses, whose tenth is the inode.
fn inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (as_listed(local)?, as_listed(remote)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        if fields.next()? != local || fields.next()? != remote {
            return None;
        }
        fields.nth(6)?.parse().ok()
    })
}

/// The bytes of the address as one number of the machine's order, and the port.
fn as_listed(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(host) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(host.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_accepted, dialler) = listener.accept().unwrap();
        let own = std::process::id();
        let address = listener.local_addr().unwrap();
        assert_eq!(owner(dialler, address, &[("init", 1), ("own", own)]), Some("own"));
        assert_eq!(owner(dialler, address, &[("init", 1)]), None);
        assert_eq!(owner(address, address, &[("own", own)]), None);
    }

    #[test]
    fn the_table_is_read_by_column() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 0200007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0\n";
        let (local, remote) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.2:80".parse().unwrap());
        assert_eq!(inode(table, local, remote), Some(4711));
        assert_eq!(inode(table, remote, local), None);
    }
}
