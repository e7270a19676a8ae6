//! `basalt node`: shows the nodes of a cluster and takes them out of service, through any node's SQL address.

use std::time::Duration;

use clap::{Args, Subcommand};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Between two looks at what is left.
const POLL: Duration = Duration::from_secs(1);
/// After so many looks without a change, something is wrong.
const STILL_LOOKS: u32 = 20;

#[derive(Subcommand)]
pub enum NodeCommand {
    /// Lists the nodes, as the node that is asked sees them
    Ls(Address),
    /// Moves the leases of the node that is asked to others, before it is stopped
    Drain {
        #[command(flatten)]
        address: Address,
        /// Let it take leases again
        #[arg(long)]
        undo: bool,
    },
    /// Moves all replicas of a node to others, for good, and shows what is left until it is done
    Decommission {
        #[command(flatten)]
        address: Address,
        /// The node's id
        node: u64,
        /// Let it take part again
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Args)]
pub struct Address {
    /// Any node, as libpq writes it
    #[arg(long, env = "BASALT_URL", default_value = "postgresql://postgres@127.0.0.1:5454/postgres")]
    url: String,
}

pub fn run(command: &NodeCommand) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    runtime.block_on(async {
        match command {
            NodeCommand::Ls(address) => list(&connect(address).await?).await,
            NodeCommand::Drain { address, undo } => drain(&connect(address).await?, *undo).await,
            NodeCommand::Decommission { address, node, undo } => {
                decommission(&connect(address).await?, *node, *undo).await
            }
        }
    })
}

async fn connect(address: &Address) -> Result<Client, String> {
    let (client, connection) =
        tokio_postgres::connect(&address.url, NoTls).await.map_err(|error| tell(&error))?;
    // Its error reaches whoever uses the client.
    tokio::spawn(connection);
    Ok(client)
}

/// What the server said, or why it could not be asked.
fn tell(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => match answer.hint() {
            Some(hint) => format!("{} ({hint})", answer.message()),
            None => answer.message().to_owned(),
        },
        None => error.to_string(),
    }
}

/// The rows of a statement, as text; the names of the columns first.
async fn ask(client: &Client, statement: &str) -> Result<Vec<Vec<String>>, String> {
    let mut table = Vec::new();
    for message in client.simple_query(statement).await.map_err(|error| tell(&error))? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.push(columns.iter().map(|column| column.name().to_owned()).collect());
            }
            SimpleQueryMessage::Row(row) => {
                table.push((0..row.len()).map(|at| row.get(at).unwrap_or("").to_owned()).collect());
            }
            _ => {}
        }
    }
    Ok(table)
}

async fn list(client: &Client) -> Result<(), String> {
    print!("{}", aligned(&ask(client, "SHOW NODES").await?));
    Ok(())
}

/// Columns side by side.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One column of a node; nothing while the cluster can not tell.
async fn column(client: &Client, name: &str, node: u64) -> Result<Option<u64>, String> {
    let table = ask(client, &format!("SELECT {name} FROM basalt_nodes WHERE node_id = {node}")).await?;
    let cell = table.get(1).and_then(|row| row.first()).ok_or_else(|| format!("there is no node {node}"))?;
    Ok(cell.parse().ok())
}

async fn drain(client: &Client, undo: bool) -> Result<(), String> {
    // Of the node that was asked: it is the one to be stopped.
    let table = ask(client, "SELECT node_id FROM basalt_nodes WHERE is_local").await?;
    let node = table.get(1).and_then(|row| row.first()).and_then(|text| text.parse::<u64>().ok());
    let node = node.ok_or("the node does not say its id")?;
    if undo {
        ask(client, &format!("ALTER NODE {node} UNDRAIN")).await?;
        println!("node {node} takes leases again");
        return Ok(());
    }
    ask(client, &format!("ALTER NODE {node} DRAIN")).await?;
    let shared = format!(
        "SELECT count(*) FROM basalt_ranges WHERE leaseholder = {node} AND cardinality(replicas) > 1"
    );
    let mut progress = Progress::default();
    loop {
        // Ranges that nobody else has a replica of have nowhere to go.
        let left = ask(client, &shared).await?.get(1).and_then(|row| row.first()?.parse::<u64>().ok());
        progress.report(left, |left| format!("node {node}: {left} leases left"));
        if left == Some(0) {
            println!("node {node} serves no range that another node could serve");
            return Ok(());
        }
        if progress.stands_still() {
            return Err(format!("node {node}: nobody takes its leases; are the other nodes up?"));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn decommission(client: &Client, node: u64, undo: bool) -> Result<(), String> {
    if undo {
        ask(client, &format!("ALTER NODE {node} RECOMMISSION")).await?;
        println!("node {node} takes part again");
        return Ok(());
    }
    ask(client, &format!("ALTER NODE {node} DECOMMISSION")).await?;
    let mut progress = Progress::default();
    loop {
        let left = column(client, "replicas", node).await?;
        progress.report(left, |left| format!("node {node}: {left} replicas left"));
        if left == Some(0) {
            break;
        }
        if progress.stands_still() {
            println!(
                "node {node}: nothing has moved for a while; is there another node that could take them? \
                 Add one, or take it back with --undo. Still waiting"
            );
            progress.look_again();
        }
        tokio::time::sleep(POLL).await;
    }
    ask(client, &format!("ALTER NODE {node} REMOVE")).await?;
    println!("node {node} holds nothing any more, and is no part of the cluster");
    Ok(())
}

/// What is left, told when it changes.
#[derive(Default)]
struct Progress {
    last: Option<u64>,
    looks: u32,
}

impl Progress {
    fn report(&mut self, left: Option<u64>, tell: impl Fn(u64) -> String) {
        self.looks += 1;
        if left.is_some() && left != self.last {
            self.last = left;
            self.looks = 0;
            println!("{}", left.map_or_else(String::new, tell));
        }
    }

    fn stands_still(&self) -> bool {
        self.looks >= STILL_LOOKS
    }

    fn look_again(&mut self) {
        self.looks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(aligned(&[row(["a", "bc"]), row(["long", "d"])]), "a     bc\nlong  d\n");
        assert_eq!(aligned(&[]), "");
    }
}
