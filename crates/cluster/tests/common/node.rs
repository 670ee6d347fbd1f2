//! A node from its start to its end.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use quack_cluster::{Change, Cluster, Host, Member, NodeView, Settings};
use quack_net::{PeerHandler, Server, ServerConfig};
use quack_node::{Claim, DataFolder, Membership, NodeConfig, NodeHandle, NodeStatus};
use quack_types::{GroupId, NodeId};

use super::machine::{Machine, TestHost, Values, row, statement};
use super::{LONG, eventually, first_members};

pub struct Node {
    pub id: NodeId,
    pub cluster: Arc<Cluster>,
    network: Server,
    running: Arc<OnceLock<Arc<TestHost>>>,
    failed: Arc<Mutex<Option<String>>>,
    first: Membership,
    folder: Option<DataFolder>,
    keep_log_bytes: u64,
    settling: Option<JoinHandle<()>>,
}

impl Node {
    pub fn listen(settings: Settings, mut config: ServerConfig, path: &Path, keep_log_bytes: u64) -> Self {
        let (id, first) = (settings.own.clone(), first_members(&settings.peers));
        let (folder, empty) = match Claim::take(path, &id).unwrap() {
            Claim::Member(folder) => (Some(folder), None),
            Claim::Empty(empty) => (None, Some(empty)),
        };
        let cluster = Cluster::new(settings, empty);
        config.peers = Some(cluster.clone() as Arc<dyn PeerHandler>);
        let network = Server::listen(&config).unwrap();
        cluster.connect(network.peers().unwrap().clone());
        let (running, failed) = Default::default();
        Self { id, cluster, network, running, failed, first, folder, keep_log_bytes, settling: None }
    }

    /// Becomes a member, if it is none, and works.
    pub fn go(&mut self) {
        let (cluster, running, failed) = (self.cluster.clone(), self.running.clone(), self.failed.clone());
        let (folder, first, keep) = (self.folder.take(), self.first.clone(), self.keep_log_bytes);
        let settle = move || match folder.map_or_else(|| cluster.settle(), Ok) {
            Ok(folder) => launch(&cluster, &running, folder, first, keep),
            Err(error) => *failed.lock().unwrap() = Some(error.to_string()),
        };
        self.settling = Some(std::thread::spawn(settle));
    }

    /// Why it will never work in this life.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap().clone()
    }

    pub fn host(&self) -> &Arc<TestHost> {
        let end = std::time::Instant::now() + LONG;
        while !self.runs() {
            let (waiting, failed) = (self.cluster.waiting_for(), self.failed());
            assert!(std::time::Instant::now() < end, "{} never runs: {waiting} {failed:?}", self.id);
            std::thread::sleep(Duration::from_millis(2));
        }
        self.running.get().unwrap()
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub fn runs(&self) -> bool {
        self.running.get().is_some()
    }

    pub fn handle(&self) -> &Arc<NodeHandle> {
        &self.host().node
    }

    pub fn values(&self) -> &Arc<Values> {
        &self.host().values
    }

    /// Waits until it works and has told so.
    pub fn ready(&self) {
        self.handle().wait_until_ready(LONG, &|| false).unwrap();
        self.host().announce_boot().unwrap();
    }

    pub fn set(&self, key: &str, value: &str) {
        self.host().propose(statement(key, value)).unwrap();
    }

    /// The lane of this name, once this node has created it.
    pub fn lane(&self, name: &str) -> GroupId {
        eventually(&format!("{} has lane {name}", self.id), || self.handle().group_named(name).is_some());
        self.handle().group_named(name).unwrap()
    }

    pub fn set_in(&self, lane: GroupId, key: &str, value: &str) {
        self.host().propose_in(lane, row(key, value), LONG).unwrap();
    }

    /// Role of this node in a group, and the group's members.
    pub fn group(&self, group: GroupId) -> Option<NodeStatus> {
        self.handle().status(|_| None).into_iter().find(|status| status.group_id == group)
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.values().get(key)
    }

    /// Changes the members. A leader may lose its place for a moment on a busy machine, and then it is asked again.
    pub fn change(&self, change: &Change) {
        eventually(&format!("{change:?} is done"), || match self.cluster.change(change) {
            Ok(()) => true,
            Err(error) => {
                assert!(is_leader_lost(&error.to_string()), "{change:?}: {error}");
                false
            }
        });
    }

    pub fn incarnation(&self) -> u64 {
        self.handle().identity().incarnation
    }

    /// A line of `quack_nodes` as this node sees it.
    pub fn view(&self, of: &str) -> Option<NodeView> {
        self.cluster.nodes().into_iter().find(|view| view.member.node.as_str() == of)
    }

    pub fn wait_until_waiting_for(&self, text: &str) {
        eventually(&format!("{} waits for: {text}", self.id), || {
            let waiting = self.cluster.waiting_for();
            assert!(!self.runs(), "{} runs, and should wait for: {text}", self.id);
            waiting.contains(text)
        });
    }

    /// Waits until it says this, whether its node runs or not.
    pub fn wait_until_it_waits_for(&self, text: &str) {
        eventually(&format!("{} waits for: {text}", self.id), || self.cluster.waiting_for().contains(text));
    }

    /// The term of its group.
    pub fn term(&self) -> u64 {
        self.handle().status(|_| None)[0].term
    }

    /// The member that this node believes another one to be.
    pub fn member(&self, name: &str) -> Option<Member> {
        self.cluster.roster().get(&super::id(name))
    }

    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Node {
    /// Leaves the folder as a kill would: no checkpoint, nothing handed over.
    fn drop(&mut self) {
        self.cluster.stop();
        self.network.stop(Duration::ZERO);
        if let Some(thread) = self.settling.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the start of {} has panicked", self.id);
        }
        if let Some(host) = self.running.get() {
            host.node.stop();
        }
    }
}

/// Whether a change of members was refused because no node, or another node, leads now.
pub fn is_leader_lost(error: &str) -> bool {
    ["knows no leader", "has no leader", "' leads", "does not lead the group"]
        .iter()
        .any(|text| error.contains(text))
}

fn launch(
    cluster: &Arc<Cluster>,
    running: &OnceLock<Arc<TestHost>>,
    folder: DataFolder,
    first: Membership,
    keep_log_bytes: u64,
) {
    let values = Values::open(&folder.store_path());
    let machine = Machine::open(values.clone(), cluster.clone());
    let transport = cluster.transport(folder.identity()).unwrap();
    let config = NodeConfig {
        tick: Duration::from_millis(30),
        checkpoint_on_stop: false,
        keep_log_bytes,
        ..NodeConfig::with_peers()
    };
    let node = NodeHandle::start(config, folder, Box::new(machine), transport, first).unwrap();
    let host = Arc::new(TestHost::new(node.clone(), values));
    cluster.run(node, host.clone());
    let _ = running.set(host);
}
