//! `basalt start`: the runtime, the node, the listener, and the end of all three.

use std::{net::SocketAddr, sync::Arc, thread};

use basalt_env::os::os_env_with_clock_file;
use basalt_pgwire::{Authenticator, Limits, Server, listen};
use tokio::sync::oneshot;

use crate::{
    away, backend::SqlBackend, cluster, configuration::Configuration, logging, node::Node,
    signals::StopSignals,
};

/// Statements nest as deep as the planner allows, and the threads that run them recurse as deep. Address space only: what
/// no statement reaches takes no memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs a node until it is asked to stop.
pub fn start(configuration: &Configuration) -> Result<(), String> {
    logging::begin(&configuration.log)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("basalt")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    let ended = runtime.block_on(serve(configuration));
    // The process ends now. Loops on threads of their own may still ask for the time, so their runtime stays.
    std::mem::forget(runtime);
    ended
}

async fn serve(configuration: &Configuration) -> Result<(), String> {
    let mut stop = StopSignals::listen().map_err(|error| format!("signals: {error}"))?;
    if configuration.stop_with_stdin {
        stop.listen_to_input().map_err(|error| format!("standard input: {error}"))?;
    }
    let listener = listen(configuration.sql_addr)
        .map_err(|error| format!("cannot listen on {}: {error}", configuration.sql_addr))?;
    let address = listener.local_addr().map_err(|error| format!("cannot listen: {error}"))?;
    let env = os_env_with_clock_file(&configuration.store, configuration.test_clock_file.clone());
    let limits = Limits { connections_max: configuration.connections_max, ..Limits::default() };
    let backend = Arc::new(SqlBackend::default());
    let server = Server::new(env.clone(), backend.clone(), limits, Authenticator::Trust);
    let (stop_serving, asked) = oneshot::channel::<()>();
    // From the beginning, so that clients of a node that waits for others hear that it does.
    let serving = server.serve(listener, async { drop(asked.await) });
    let mut serving = std::pin::pin!(serving);
    let node = tokio::select! {
        biased;
        () = stop.received() => return Ok(()),
        node = Node::open(env.clone(), configuration) => node?,
        () = &mut serving => return Ok(()),
    };
    node.serves_sql_at(&cluster::advertised(configuration, address));
    backend.serve(node.services().clone(), node.id(), node.talks_of_clients(&server));
    greet(configuration, address, &node);
    let asked = async {
        stop.received().await;
        node.begin_to_stop();
        tracing::info!("stopping: no new clients, open statements may end; ask again to stop at once");
        drop(stop_serving);
        std::future::pending::<()>().await
    };
    tokio::select! {
        biased;
        // A store that has failed would answer every statement with an error for ever. Whoever watches the process
        // learns of it now, and a restart can tell from the files what became durable.
        cause = node.until_failed() => {
            return Err(format!("store {}: {cause}", configuration.store.display()));
        }
        () = asked => {}
        () = away::send_clients_away(&env, &node, &backend, &server) => {}
        () = &mut serving => {}
    }
    tokio::select! {
        biased;
        () = stop.received() => Err("stopped at once; the next start replays the log".to_owned()),
        closed = node.close() => closed,
    }
}

/// Says what runs and how to reach it.
fn greet(configuration: &Configuration, address: SocketAddr, node: &Node) {
    let (host, port) = (address.ip(), address.port());
    println!(
        "basalt {} serves {} as node {}",
        env!("CARGO_PKG_VERSION"),
        configuration.store.display(),
        node.id()
    );
    println!("insecure: no passwords, no encryption; reachable from this machine only");
    println!("connect with: psql -h {host} -p {port} -U postgres");
    println!("other nodes:  basalt start --join {} …", node.rpc_address());
    println!("stop with:    Ctrl-C");
    tracing::info!(%address, store = %configuration.store.display(), "serving SQL clients");
}
