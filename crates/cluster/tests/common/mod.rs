//! Whole nodes in one process: the real cluster, network and node over a store of keys and values, and peers that say
//! what a test tells them to. A node starts and stops as `Server` of the extension does it.

#![allow(dead_code, unused_imports, clippy::unwrap_used)]

#[path = "../../../net/tests/cluster/certificates.rs"]
mod certificates;
mod machine;
mod node;
mod puppet;

pub use machine::{Image, REFUSES, row, statement};
pub use node::{Node, is_leader_lost};
pub use puppet::Puppet;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use certificates::{Ca, Wish};
use quack_cluster::{Settings, Shared};
use quack_net::{PeerLimits, PeerSpec, ServerConfig, Tls};
use quack_node::{Membership, NodeConfig};
use quack_types::NodeId;
use tempfile::TempDir;

/// What every node of a test runs, unless the test says otherwise.
pub const DUCKDB: &str = "v2.0.0";
pub const ENTRY_VERSION: u32 = 5;

/// What all nodes of the tests are started with.
pub fn shared() -> Shared {
    Shared { catalog: "cp".to_owned(), token: "token-of-the-tests".to_owned() }
}
/// How many ports, from 10000 on, nodes may be given.
const PORTS: u32 = 20_000;
/// Longer than anything takes on a slow machine.
pub const LONG: Duration = Duration::from_secs(20);

pub fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A free port that stays free while a node restarts: the system assigns no number below 32768 by itself, not to
/// connections either, and each process of tests begins its search at another number.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS {
        let next = std::process::id().wrapping_mul(251).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (next % PORTS) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// An authority, addresses, and a folder for each node.
pub struct World {
    ca: Ca,
    folder: TempDir,
    pub peers: Vec<PeerSpec>,
    /// What nodes keep of their logs behind a checkpoint.
    pub keep_log_bytes: u64,
}

impl World {
    /// With first peers such as `n0:voter`.
    pub fn new(members: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep_log_bytes = NodeConfig::with_peers().keep_log_bytes;
        let mut world = Self { ca: Ca::new(), folder, peers: Vec::new(), keep_log_bytes };
        world.peers = members.iter().map(|member| world.member(member)).collect();
        world
    }

    /// A member at a free address.
    pub fn member(&self, member: &str) -> PeerSpec {
        format!("{member}=quack:127.0.0.1:{}", free_port()).parse().unwrap()
    }

    pub fn spec(&self, name: &str) -> PeerSpec {
        self.peers.iter().find(|peer| peer.node.as_str() == name).unwrap().clone()
    }

    pub fn settings(&self, name: &str) -> Settings {
        Settings {
            own: id(name),
            peers: self.peers.clone(),
            entry_version: ENTRY_VERSION,
            duckdb_version: DUCKDB.to_owned(),
            extensions: Vec::new(),
            shared: shared(),
            verify_entries: Settings::VERIFY_ENTRIES,
        }
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes a node's disk away.
    pub fn wipe(&self, name: &str) {
        std::fs::remove_dir_all(self.data(name)).unwrap();
    }

    /// The text of the file that makes a folder a member's, if there is one.
    pub fn identity(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.data(name).join("identity")).ok()
    }

    /// The cluster that a node belongs to.
    pub fn cluster_id(&self, name: &str) -> Option<String> {
        let identity = self.identity(name)?;
        identity.lines().find_map(|line| line.strip_prefix("cluster_id=")).map(str::to_owned)
    }

    fn config(&self, spec: &PeerSpec) -> ServerConfig {
        let certificates = self.folder.path().join(format!("{}-certificates", spec.node));
        std::fs::create_dir_all(&certificates).unwrap();
        let files = self.ca.files(&certificates, &Wish::node(spec.node.as_str()));
        let mut config = ServerConfig::new(spec.endpoint.clone(), "token-of-the-tests");
        config.tls = Some(Tls::load(files, &spec.node).unwrap());
        config.peer_limits = PeerLimits {
            retry_time_min: Duration::from_millis(20),
            retry_time_max: Duration::from_millis(100),
            ..PeerLimits::default()
        };
        config
    }

    /// Starts a node with what lies in its folder.
    pub fn start(&self, name: &str) -> Node {
        self.start_with(self.settings(name))
    }

    pub fn start_with(&self, settings: Settings) -> Node {
        let mut node = self.listen(settings);
        node.go();
        node
    }

    /// A node that is there and goes no further until it is told to: one whose start takes its time.
    pub fn listen(&self, settings: Settings) -> Node {
        let spec = settings.peers.iter().find(|peer| peer.node == settings.own).unwrap();
        let config = self.config(spec);
        let path = self.data(settings.own.as_str());
        Node::listen(settings, config, &path, self.keep_log_bytes)
    }

    /// A second process of a node, with a copy of its folder, at an address of its own.
    pub fn start_copy(&self, name: &str, folder: &str) -> Node {
        let copy = self.member(&format!("{name}:voter"));
        let mut settings = self.settings(name);
        settings.peers.retain(|peer| peer.node != copy.node);
        settings.peers.push(copy.clone());
        let mut node = Node::listen(settings, self.config(&copy), &self.data(folder), self.keep_log_bytes);
        node.go();
        node
    }

    /// All first peers, working.
    pub fn found(&self) -> Vec<Node> {
        let nodes: Vec<_> = self.peers.iter().map(|peer| self.start(peer.node.as_str())).collect();
        nodes.iter().for_each(Node::ready);
        // The last thing that a young cluster does by itself.
        let is_known = |node: &Node| node.cluster.roster().members().iter().all(|m| m.release.is_some());
        eventually("what all of them run is recorded", || nodes.iter().all(is_known));
        nodes
    }

    /// A peer that answers calls as a test wants it to. It looks for all first peers.
    pub fn puppet(
        &self,
        name: &str,
        answer: impl Fn(&str, bytes::Bytes) -> Result<bytes::Bytes, String> + Send + Sync + 'static,
    ) -> Puppet {
        self.puppet_at(&self.spec(name), answer)
    }

    /// One that is somewhere else than the cluster believes it to be.
    pub fn puppet_at(
        &self,
        spec: &PeerSpec,
        answer: impl Fn(&str, bytes::Bytes) -> Result<bytes::Bytes, String> + Send + Sync + 'static,
    ) -> Puppet {
        let addresses: Vec<_> =
            self.peers.iter().map(|peer| (peer.node.clone(), peer.endpoint.clone())).collect();
        let known = self.peers.iter().find_map(|peer| self.cluster_id(peer.node.as_str()));
        let number = known.map_or(0, |id| u128::from_str_radix(&id, 16).unwrap());
        let cluster_id = bytes::Bytes::copy_from_slice(&number.to_be_bytes());
        Puppet::start(self.config(spec), &addresses, cluster_id, answer)
    }
}

/// The members that a cluster is founded with.
pub fn first_members(peers: &[PeerSpec]) -> Membership {
    let ids = |role| -> Vec<_> {
        peers.iter().filter(|peer| peer.role == role).map(|peer| peer.node.raft_id(0)).collect()
    };
    Membership::new(ids(quack_net::PeerRole::Voter), ids(quack_net::PeerRole::Learner))
}

/// The one that leads, when all agree who does.
pub fn leader(nodes: &[Node]) -> usize {
    let leading = || -> Option<usize> {
        let leaders: Vec<_> = nodes.iter().map(|node| node.handle().leader()).collect();
        let first = (*leaders.first()?)?;
        if leaders.iter().any(|leader| *leader != Some(first)) {
            return None;
        }
        nodes.iter().position(|node| node.handle().raft_id() == first)
    };
    eventually("all agree on a leader", || leading().is_some());
    leading().unwrap_or_else(|| leader(nodes))
}

/// Asks for leadership to go to a node until it has it.
pub fn hand_over(nodes: &[Node], to: usize) {
    eventually("it leads", || {
        if leader(nodes) == to {
            return true;
        }
        let _ = nodes[to].cluster.change(&quack_cluster::Change::Lead(nodes[to].id.clone()));
        std::thread::sleep(Duration::from_millis(50));
        false
    });
}
