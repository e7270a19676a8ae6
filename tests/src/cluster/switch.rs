//! The network between the nodes of a cluster on one machine, with faults per directed link.
//!
//! Each node listens on 127.0.0.1 and advertises an address of the loopback network that is not its own: there the switch
//! listens for it, finds out which node is dialling, and passes bytes on in both directions, each under the condition of
//! its own link. So a cut of one direction does what it does to packets: the requests of one node vanish, and so do its
//! answers on connections that the other one has opened. No rights are needed, and no program but this one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};

use super::{
    links::{Effect, Links},
    owner::owner,
};
use crate::chaos::Outcome;

/// What is read at once: a few segments.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces under way on one link of one connection; more wait at the sender, as with a full window.
const PIECES_MAX: usize = 256;
/// How long TCP waits before it sends a lost segment again; twice as long for each further loss.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Where the advertised addresses begin, in the last byte.
const HOSTS_FROM: u8 = 11;
/// Below those that the system gives to outgoing connections, or a node could find its port taken at a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ends with the cluster.
pub struct Switch {
    pub links: Links,
    ports: Vec<u16>,
    /// The process of each node, while it runs.
    processes: Arc<Mutex<Vec<Option<u32>>>>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Switch {
    pub async fn start(nodes: usize) -> Outcome<Self> {
        let links = Links::new(nodes);
        let processes: Arc<Mutex<Vec<Option<u32>>>> = Arc::new(Mutex::new(vec![None; nodes]));
        let (mut ports, mut acceptors) = (Vec::new(), Vec::new());
        for node in 0..nodes {
            let (listener, port) = listen(node).await?;
            ports.push(port);
            let (links, processes) = (links.clone(), Arc::clone(&processes));
            acceptors.push(tokio::spawn(accept(node, port, listener, links, processes)));
        }
        Ok(Self { links, ports, processes, acceptors })
    }

    /// Where the node itself has to listen.
    pub fn listens_at(&self, node: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[node]).into()
    }

    /// By which the other nodes reach it.
    pub fn advertised(&self, node: usize) -> SocketAddr {
        (host(node), self.ports[node]).into()
    }

    /// Whose connections are this node's from now on.
    pub fn runs_as(&self, node: usize, process: Option<u32>) {
        self.processes.lock().expect("nobody panics with it")[node] = process;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
    }
}

fn host(node: usize) -> Ipv4Addr {
    let last = HOSTS_FROM + u8::try_from(node).expect("clusters are small");
    Ipv4Addr::new(127, 0, 0, last)
}

/// A port that is free on both addresses of a node.
async fn listen(node: usize) -> Outcome<(TcpListener, u16)> {
    for _ in 0..100 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok()
            && let Ok(listener) = TcpListener::bind((host(node), port)).await
        {
            return Ok((listener, port));
        }
    }
    Err("no port is free on two addresses".into())
}

/// A port for clients of a node, free at this moment.
pub async fn free_port() -> Outcome<u16> {
    for _ in 0..100 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}

async fn accept(
    to: usize,
    port: u16,
    listener: TcpListener,
    links: Links,
    processes: Arc<Mutex<Vec<Option<u32>>>>,
) {
    let address = SocketAddr::from((host(to), port));
    loop {
        let Ok((dialled, dialler)) = listener.accept().await else { continue };
        let running: Vec<(usize, u32)> = {
            let processes = processes.lock().expect("nobody panics with it");
            processes.iter().enumerate().filter_map(|(node, process)| Some((node, (*process)?))).collect()
        };
        // Of a process that has ended meanwhile, or of none of the nodes.
        let Some(from) = owner(dialler, address, &running) else { continue };
        tokio::spawn(carry(from, to, dialled, port, links.clone()));
    }
}

/// One connection, from its opening to its end.
async fn carry(from: usize, to: usize, dialled: TcpStream, port: u16, links: Links) {
    // Without the answer to its first packet no connection is made.
    if links.get(from, to).cut || links.get(to, from).cut {
        links.note(Effect::Unanswered);
        links.passes(from, to).await;
        links.passes(to, from).await;
    }
    let Ok(accepted) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    if dialled.set_nodelay(true).is_err() || accepted.set_nodelay(true).is_err() {
        return;
    }
    let ((dialled_read, dialled_write), (accepted_read, accepted_write)) =
        (dialled.into_split(), accepted.into_split());
    tokio::join!(
        pass(from, to, dialled_read, accepted_write, &links),
        pass(to, from, accepted_read, dialled_write, &links),
    );
}

/// Passes on what is read, in order, each piece when it is due and the link lets it through.
async fn pass(
    from: usize,
    to: usize,
    mut source: tcp::OwnedReadHalf,
    mut target: tcp::OwnedWriteHalf,
    links: &Links,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let read = async move {
        let mut last_due = Instant::now();
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length) = source.read(&mut buffer).await
            && length > 0
        {
            last_due = last_due.max(Instant::now() + time_under_way(links, from, to));
            if sender.send((last_due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            wait_for_link(links, from, to).await;
            if target.write_all(&piece).await.is_err() {
                return;
            }
        }
        // Its end does not pass a cut either.
        wait_for_link(links, from, to).await;
        let _closed_already = target.shutdown().await;
    };
    tokio::join!(read, write);
}

async fn wait_for_link(links: &Links, from: usize, to: usize) {
    if links.get(from, to).cut {
        links.note(Effect::Held);
        links.passes(from, to).await;
    }
}

fn time_under_way(links: &Links, from: usize, to: usize) -> Duration {
    let condition = links.get(from, to);
    let mut time = condition.delay + condition.jitter.mul_f64(fastrand::f64());
    if !time.is_zero() {
        links.note(Effect::Delayed);
    }
    let mut wait = RETRANSMISSION;
    while condition.loss > 0.0 && fastrand::f64() < condition.loss && wait < 8 * RETRANSMISSION {
        links.note(Effect::Lost);
        time += wait;
        wait *= 2;
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::links::Condition;

    /// This process plays both nodes: node 0 dials node 1.
    struct Pair {
        switch: Switch,
        dialled: TcpStream,
        accepted: TcpStream,
    }

    impl Pair {
        async fn connect() -> Self {
            let switch = Switch::start(2).await.unwrap();
            switch.runs_as(0, Some(std::process::id()));
            let listener = TcpListener::bind(switch.listens_at(1)).await.unwrap();
            let dialled = TcpStream::connect(switch.advertised(1)).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            Self { switch, dialled, accepted }
        }

        async fn there(&mut self) -> Option<u8> {
            self.dialled.write_all(b"x").await.unwrap();
            soon(self.accepted.read_u8()).await
        }

        async fn back(&mut self) -> Option<u8> {
            self.accepted.write_all(b"y").await.unwrap();
            soon(self.dialled.read_u8()).await
        }
    }

    async fn soon(read: impl Future<Output = std::io::Result<u8>>) -> Option<u8> {
        tokio::time::timeout(Duration::from_millis(300), read).await.ok().map(|read| read.unwrap())
    }

    #[tokio::test]
    async fn a_one_way_cut_holds_one_direction_until_it_heals() {
        let mut pair = Pair::connect().await;
        assert_eq!((pair.there().await, pair.back().await), (Some(b'x'), Some(b'y')));
        pair.switch.links.cut(|from, to| (from, to) == (0, 1));
        assert_eq!((pair.there().await, pair.back().await), (None, Some(b'y')));
        assert_eq!(pair.switch.links.interference().held, 1);
        pair.switch.links.heal();
        assert_eq!(soon(pair.accepted.read_u8()).await, Some(b'x'));
    }

    #[tokio::test]
    async fn no_connection_is_made_across_a_cut_of_either_direction() {
        for severed in [(0, 1), (1, 0)] {
            let pair = Pair::connect().await;
            pair.switch.links.cut(|from, to| (from, to) == severed);
            let listener = pair.switch.listens_at(1);
            drop((pair.accepted, pair.dialled));
            let listener = TcpListener::bind(listener).await.unwrap();
            let _dialled = TcpStream::connect(pair.switch.advertised(1)).await.unwrap();
            let accept = tokio::time::timeout(Duration::from_millis(300), listener.accept());
            assert!(accept.await.is_err(), "{severed:?}");
            assert_eq!(pair.switch.links.interference().unanswered, 1);
        }
    }

    #[tokio::test]
    async fn delay_and_loss_take_their_time() {
        let mut pair = Pair::connect().await;
        let delay = Duration::from_millis(50);
        pair.switch.links.set(0, 1, Condition { delay, ..Condition::default() });
        let begun = Instant::now();
        assert_eq!(pair.there().await, Some(b'x'));
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
        pair.switch.links.set(0, 1, Condition { loss: 1.0, ..Condition::default() });
        assert_eq!(pair.there().await, None);
        assert!(pair.switch.links.interference().lost >= 3);
    }

    #[tokio::test]
    async fn the_end_of_a_stream_is_passed_on() {
        let mut pair = Pair::connect().await;
        pair.dialled.shutdown().await.unwrap();
        assert_eq!(pair.accepted.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(pair.back().await, Some(b'y'));
    }

    #[tokio::test]
    async fn strangers_are_not_served() {
        let switch = Switch::start(1).await.unwrap();
        let _listener = TcpListener::bind(switch.listens_at(0)).await.unwrap();
        let mut stranger = TcpStream::connect(switch.advertised(0)).await.unwrap();
        assert_eq!(stranger.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
