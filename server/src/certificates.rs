//! `basalt cert`: an authority of the cluster's own, and what it signs.

use std::path::PathBuf;

use basalt_base::NodeId;
use basalt_env::os::os_env;
use basalt_rpc::certificates;
use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum CertCommand {
    /// Makes the cluster's authority: ca.crt, and ca.key, which stays in a safe place
    Ca(Folder),
    /// Makes a node's certificate and key, signed by the authority: node.crt and node.key
    Node {
        #[command(flatten)]
        folder: Folder,
        /// Binds the certificate to one node
        #[arg(long, value_name = "N")]
        id: Option<u64>,
        /// Names and addresses by which SQL clients know the node
        hosts: Vec<String>,
    },
    /// Makes a client's certificate and key: client.USER.crt and client.USER.key
    Client {
        #[command(flatten)]
        folder: Folder,
        /// The user's name
        user: String,
    },
}

#[derive(Args)]
pub struct Folder {
    /// Folder of certificates and keys
    #[arg(long, env = "BASALT_CERTS_DIR", value_name = "DIR", default_value = "certs")]
    certs_dir: PathBuf,
}

pub fn run(command: &CertCommand) -> Result<(), String> {
    let (Folder { certs_dir }, files) = match command {
        CertCommand::Ca(folder) => (folder, "ca.crt and ca.key".to_owned()),
        CertCommand::Node { folder, .. } => (folder, "node.crt and node.key".to_owned()),
        CertCommand::Client { folder, user } => (folder, format!("client.{user}.crt and client.{user}.key")),
    };
    // The environment of a process wants a runtime, whether or not it is asked for anything but the time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    let _entered = runtime.enter();
    let clock = &*os_env(certs_dir).clock;
    match command {
        CertCommand::Ca(_) => certificates::create_authority(certs_dir, clock)?,
        CertCommand::Node { id, hosts, .. } => {
            certificates::create_node(certs_dir, hosts, id.map(NodeId), clock)?;
        }
        CertCommand::Client { user, .. } => certificates::create_client(certs_dir, user, clock)?,
    }
    println!("made {files} in {}", certs_dir.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_signs_for_nodes_and_clients() {
        let folder = std::env::temp_dir().join(format!("basalt-cert-{}", std::process::id()));
        let certs = || Folder { certs_dir: folder.clone() };
        run(&CertCommand::Ca(certs())).unwrap();
        run(&CertCommand::Node { folder: certs(), id: Some(1), hosts: vec!["localhost".to_owned()] })
            .unwrap();
        run(&CertCommand::Client { folder: certs(), user: "ada".to_owned() }).unwrap();
        for file in ["ca.crt", "ca.key", "node.crt", "node.key", "client.ada.crt", "client.ada.key"] {
            assert!(folder.join(file).exists(), "{file}");
        }
        // What is there is not overwritten.
        assert!(run(&CertCommand::Ca(certs())).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
