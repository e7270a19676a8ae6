//! A cluster of processes on this machine, its nodes joined by a [`Switch`].

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    member::{Member, Site, within},
    status::{Range, nodes_alive, ranges},
    switch::{Switch, free_port},
};
use crate::chaos::{Outcome, loop_fs::LoopFs, wait::until};

impl Drop for RealCluster {
    fn drop(&mut self) {
        for disk in &self.disks {
            // A process that waits for a frozen disk can't even be killed.
            let _not_frozen = disk.thaw();
        }
    }
}

/// How the nodes of a cluster are made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub binary: PathBuf,
    /// Everything lies below it.
    pub folder: PathBuf,
    pub nodes: usize,
    /// Mebibytes of the file system of each node, for faults of disks; without, a folder. Needs root.
    pub disks: Option<u64>,
    pub flags: Vec<String>,
}

impl Plan {
    pub fn new(binary: &Path, folder: &Path, nodes: usize) -> Self {
        let flags = [
            "--cache",
            "64MiB",
            "--sql-memory",
            "64MiB",
            "--range-max-bytes",
            "1MiB",
            "--max-connections",
            "60",
        ];
        Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            nodes,
            disks: None,
            flags: flags.map(str::to_owned).to_vec(),
        }
    }

    /// Gives a flag another value.
    pub fn set(&mut self, flag: &str, value: &str) {
        match self.flags.iter().position(|known| known == flag) {
            Some(at) => value.clone_into(&mut self.flags[at + 1]),
            None => self.flags.extend([flag.to_owned(), value.to_owned()]),
        }
    }
}

pub struct RealCluster {
    // Dropped in this order: processes before their network and their disks.
    pub members: Vec<Member>,
    pub switch: Switch,
    pub disks: Vec<LoopFs>,
    folder: PathBuf,
    known_ids: Vec<Option<i64>>,
}

impl RealCluster {
    /// The first node begins a cluster, the others join it; returns when all serve clients.
    pub async fn start(plan: &Plan) -> Outcome<Self> {
        let mut cluster = Self::prepare(plan).await?;
        for node in 0..plan.nodes {
            cluster.start_node(node).await?;
        }
        Ok(cluster)
    }

    /// Everything but the processes.
    pub async fn prepare(plan: &Plan) -> Outcome<Self> {
        let switch = Switch::start(plan.nodes).await?;
        let (mut members, mut disks) = (Vec::new(), Vec::new());
        for node in 0..plan.nodes {
            let folder = plan.folder.join(format!("node{}", node + 1));
            fs::create_dir_all(&folder)?;
            let mut store = folder.join("store");
            if let Some(mebibytes) = plan.disks {
                let disk = LoopFs::create(&folder, mebibytes)?;
                store = disk.path().join("store");
                disks.push(disk);
            }
            members.push(Member::new(Site {
                binary: plan.binary.clone(),
                store,
                folder,
                sql_port: free_port().await?,
                listens_at: switch.listens_at(node),
                advertised: switch.advertised(node),
                flags: plan.flags.clone(),
            }));
        }
        Ok(Self { members, switch, disks, folder: plan.folder.clone(), known_ids: Vec::new() })
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn sql_ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.site.sql_port).collect()
    }

    /// Starts a process and does not wait for it. With an empty store it joins the others; the first node of all begins
    /// the cluster.
    pub fn spawn(&mut self, node: usize) -> Outcome {
        let begins = self.members.iter().all(|member| member.starts == 0);
        let others: Vec<SocketAddr> = (0..self.len())
            .filter(|other| *other != node && self.members[*other].starts > 0)
            .map(|other| self.switch.advertised(other))
            .collect();
        self.members[node].spawn(if begins { &[] } else { &others })?;
        self.switch.runs_as(node, self.members[node].id());
        Ok(())
    }

    pub async fn start_node(&mut self, node: usize) -> Outcome {
        self.spawn(node)?;
        self.members[node].serves().await.map_err(|error| format!("node {}: {error}", node + 1).into())
    }

    /// Starts those that have ended, all at once, and waits for them.
    pub async fn start_missing(&mut self) -> Outcome {
        let missing: Vec<usize> = (0..self.len()).filter(|node| !self.members[*node].is_running()).collect();
        for node in &missing {
            self.spawn(*node)?;
        }
        for node in missing {
            self.members[node].serves().await.map_err(|error| format!("node {}: {error}", node + 1))?;
        }
        Ok(())
    }

    pub fn kill(&mut self, node: usize) -> Outcome {
        self.members[node].kill()?;
        self.switch.runs_as(node, None);
        Ok(())
    }

    pub async fn stop(&mut self, node: usize) -> Outcome {
        self.members[node].stop().await.map_err(|error| format!("node {} stops: {error}", node + 1))?;
        self.switch.runs_as(node, None);
        Ok(())
    }

    /// Asks for the ids while all nodes answer, for the time when some do not.
    pub async fn learn_ids(&mut self) -> Outcome {
        self.known_ids = self.ids().await?.into_iter().map(Some).collect();
        Ok(())
    }

    pub fn known_ids(&self) -> &[Option<i64>] {
        &self.known_ids
    }

    /// The id of each node, by its place here.
    pub async fn ids(&self) -> Outcome<Vec<i64>> {
        let mut ids = Vec::new();
        for member in &self.members {
            ids.push(within(Duration::from_secs(10), super::status::own_id(member)).await?);
        }
        Ok(ids)
    }

    /// The ranges as the first of the nodes that answers sees them.
    pub async fn ranges(&self) -> Outcome<Vec<Range>> {
        let mut last = "no node".into();
        for member in &self.members {
            match within(Duration::from_secs(3), ranges(member)).await {
                Ok(ranges) => return Ok(ranges),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits until every node sees all others and every range has all its replicas.
    pub async fn whole(&self, replicas: usize, patience: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut missing = String::new();
        let is_whole = async || {
            missing = match within(Duration::from_secs(10), self.what_is_missing(replicas)).await {
                Ok(None) => return Ok(true),
                Ok(Some(text)) => text,
                Err(error) => error.to_string(),
            };
            Ok(false)
        };
        match until("a cluster that is whole", patience, is_whole).await {
            Ok(()) => Ok(begun.elapsed()),
            Err(error) => Err(format!("{error}; {missing}").into()),
        }
    }

    async fn what_is_missing(&self, replicas: usize) -> Outcome<Option<String>> {
        let alive: BTreeSet<i64> = self.ids().await?.into_iter().collect();
        for (node, member) in self.members.iter().enumerate() {
            // One that lost its disk counts for a while though it will not come back, and its replicas as if they were there.
            let seen = nodes_alive(member).await?;
            if seen != alive {
                return Ok(Some(format!("node {} sees {seen:?} instead of {alive:?}", node + 1)));
            }
        }
        let wanted = replicas.min(self.len());
        let ranges = ranges(&self.members[0]).await?;
        let is_short = |range: &&Range| {
            // A replica on a node that will not come back is none.
            range.replicas.len() != wanted || !range.replicas.iter().all(|node| alive.contains(node))
        };
        let short: Vec<&Range> = ranges.iter().filter(is_short).collect();
        if let Some(first) = short.first() {
            return Ok(Some(format!(
                "{} of {} ranges have not {wanted} replicas on {alive:?}: {first:?}",
                short.len(),
                ranges.len()
            )));
        }
        // One that nobody asks for anything may be without a leaseholder.
        Ok(None)
    }

    /// The node that holds most leases, by its place here.
    pub async fn busiest(&self) -> Outcome<usize> {
        let ids = self.ids().await?;
        let ranges = self.ranges().await?;
        let leases = |id: i64| ranges.iter().filter(|range| range.leaseholder == Some(id)).count();
        let busiest = (0..ids.len()).max_by_key(|node| leases(ids[*node]));
        busiest.ok_or_else(|| "there is no node".into())
    }
}
