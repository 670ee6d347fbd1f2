//! Starting and stopping a server: node, store, network and cluster together.

mod arguments;
mod backup;
mod launch;
mod rows;

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_cluster::{Change, Cluster, Settings, Shared};
use quack_net::{Endpoint, PeerRole, PeerSpec, Server as Network, ServerConfig, random_token, tokens_equal};
use quack_node::{Claim, DataFolder, Membership, NodeConfig, NodeHandle};
use quack_types::NodeId;

pub use self::arguments::Arguments;
use self::arguments::Checked;
use self::launch::{Launch, Opening, Running};
use crate::ffi::Interrupt;
use crate::proposer::SharedNode;
use crate::service::ClientRules;

/// Longest time that a start may take: reading the log that no checkpoint covers.
const READY_WAIT: Duration = Duration::from_secs(3600);
/// How long requests that run may take to end when the server stops.
const NETWORK_STOP_WAIT: Duration = Duration::from_secs(5);
/// How long a last checkpoint may take when the server stops; without it the next start reads more of the log.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(60);
/// How long a stop hands leadership over before it gives up.
const HAND_OVER_WAIT: Duration = Duration::from_secs(2);
/// How long ATTACH waits for a node that is not ready.
const ATTACH_WAIT: Duration = Duration::from_secs(30);
/// How often a waiting thread looks again.
const POLL: Duration = Duration::from_millis(20);
/// The DuckDB that this extension is built for, such as `v2.0.1`.
const DUCKDB_VERSION: &str = env!("QUACK_DUCKDB_VERSION");

/// Bad input: the caller can do something about it.
pub fn invalid(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::INVALID_INPUT, error.to_string())
}

fn io(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::IO, error.to_string())
}

/// A server: it listens from its start on, and runs a node as soon as it belongs to a cluster.
pub struct Server {
    endpoint: Endpoint,
    token: String,
    token_is_drawn: bool,
    own: NodeId,
    data_dir: PathBuf,
    network: Arc<Network>,
    /// `None` for a node that is alone.
    cluster: Option<Arc<Cluster>>,
    running: Arc<OnceLock<Running>>,
    /// Whether the catalog may be attached.
    open: Arc<AtomicBool>,
    /// Why the node does not run, and never will in this server.
    failed: Arc<Mutex<Option<StoreError>>>,
    /// Why clients are not let in until another node, or this one, is started otherwise.
    refusing: Arc<Mutex<Option<String>>>,
    settling: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Starts a server. A node that is alone is ready when this returns; one with peers listens, and becomes a member
    /// of its cluster in the background, if it is none yet.
    ///
    /// # Safety
    /// `host` is the live C++ host.
    pub unsafe fn start(host: *mut c_void, arguments: &Arguments) -> Result<Self, StoreError> {
        let Checked { endpoint, own, token: given, peers, tls } = arguments.check()?;
        quack_logging::name_node(own.as_str());
        let token_is_drawn = given.is_none();
        let token = given.map_or_else(|| random_token().map_err(io), Ok)?;
        let mut config = ServerConfig::new(endpoint, token.clone());
        config.allow_other_hostname = arguments.allow_other_hostname;
        config.limits = arguments.limits();
        config.tls = tls;
        config.plain_loopback = !arguments.require_tls;
        // One text may be a list, as in the configuration of quackd.
        config.allow_origins = arguments
            .allow_origins
            .iter()
            .flat_map(|list| list.split(','))
            .map(|one| one.trim().to_owned())
            .collect();
        config.host_names = peers
            .iter()
            .filter(|peer| peer.node == own)
            .map(|peer| peer.endpoint.host().to_owned())
            .collect();
        // Before the folder is touched: a refused call leaves nothing behind.
        Network::check(&config).map_err(invalid)?;
        let claim = Claim::take(Path::new(&arguments.data_dir), &own).map_err(io)?;
        let data_dir = PathBuf::from(&arguments.data_dir);
        let (folder, empty) = match claim {
            Claim::Member(folder) => (Some(folder), None),
            Claim::Empty(empty) if peers.len() <= 1 => (Some(empty.found_alone().map_err(io)?), None),
            Claim::Empty(empty) => (None, Some(empty)),
        };
        let cluster = (peers.len() > 1).then(|| {
            let settings = Settings {
                own: own.clone(),
                peers: peers.clone(),
                entry_version: quack_apply::entry::VERSION,
                verify_entries: Settings::VERIFY_ENTRIES,
                duckdb_version: DUCKDB_VERSION.to_owned(),
                extensions: arguments.extensions.clone(),
                shared: Shared { catalog: arguments.catalog.clone(), token: token.clone() },
            };
            Cluster::new(settings, empty)
        });
        config.peers = cluster.clone().map(|cluster| cluster as Arc<dyn quack_net::PeerHandler>);
        let network = Arc::new(Network::listen(&config).map_err(invalid)?);
        if let (Some(cluster), Some(peers)) = (&cluster, network.peers()) {
            cluster.connect(peers.clone());
        }
        let folder = match (&cluster, folder) {
            (Some(cluster), Some(folder)) => cluster.recognise(folder).map_err(io)?,
            (_, folder) => folder,
        };
        let node_config = if cluster.is_some() { NodeConfig::with_peers() } else { NodeConfig::default() };
        let launch = Launch {
            host: host as usize,
            catalog: arguments.catalog.clone(),
            // The host asks for the last checkpoint itself, where there is time for one.
            config: NodeConfig { checkpoint_on_stop: false, ..node_config },
            first: first_members(&peers),
            cluster: cluster.clone(),
        };
        let server = Self {
            endpoint: network.endpoint().clone(),
            token,
            token_is_drawn,
            own,
            data_dir,
            network,
            cluster,
            running: Arc::default(),
            open: Arc::default(),
            failed: Arc::default(),
            refusing: Arc::default(),
            settling: Mutex::default(),
        };
        match server.launch(launch, folder, arguments.clients.clone()) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop();
                Err(error)
            }
        }
    }

    fn launch(
        &self,
        launch: Launch,
        folder: Option<DataFolder>,
        clients: ClientRules,
    ) -> Result<(), StoreError> {
        let opening = Opening {
            network: self.network.clone(),
            running: self.running.clone(),
            open: self.open.clone(),
            failed: self.failed.clone(),
            refusing: self.refusing.clone(),
            cluster: self.cluster.clone(),
            clients,
        };
        // What is wrong with the node's own files is the caller's to know.
        let started = folder.map(|folder| launch.start(folder)).transpose()?;
        if self.cluster.is_none() {
            let Some((running, shared)) = started else {
                return Err(io("a node that is alone has a folder"));
            };
            let node = running.node.clone();
            opening.hold(running);
            // The membership is known when the log's changes of it are replayed, not before.
            let alone = Membership::new([node.raft_id()], []);
            let ready = node.wait_until_ready(READY_WAIT, &|| node.membership() != alone);
            if node.membership() != alone {
                return Err(invalid(
                    "this data folder belongs to a node of a cluster: give peers, cert_file, key_file and client_ca_file as before",
                ));
            }
            if let Some(reason) = node.lacks_room() {
                return Err(io(format!("{reason}. Make room there, and start the server again")));
            }
            ready.map_err(io)?;
            shared.announce_boot()?;
            // A recovered node has a store that was another identity's.
            node.settle_store().map_err(io)?;
            opening.open();
            return Ok(());
        }
        let settle = move || opening.settle(&launch, started);
        let thread = quack_types::thread::builder("quack-settle").spawn(settle).map_err(io)?;
        *lock(&self.settling) = Some(thread);
        Ok(())
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn uri(&self) -> String {
        self.endpoint.to_string()
    }

    pub fn is_at(&self, endpoint: &Endpoint) -> bool {
        let same_host =
            self.endpoint.host() == endpoint.host() || (self.endpoint.is_local() && endpoint.is_local());
        same_host && self.endpoint.port() == endpoint.port()
    }

    /// Whether this is the server of the catalog with this name.
    pub fn serves(&self, catalog: &str) -> bool {
        self.running.get().is_some_and(|running| running.store.catalog().eq_ignore_ascii_case(catalog))
    }

    /// The node, as catalogs hold it.
    pub fn node(&self) -> Result<Arc<SharedNode>, StoreError> {
        let shared = self.running.get().and_then(|running| running.shared.upgrade());
        shared.ok_or_else(|| {
            let message = format!("the node has not started yet: it waits for {}", self.waiting_for());
            StoreError::new(ErrorKind::CONNECTION, message)
        })
    }

    /// Changes the members of the cluster.
    pub fn change_members(&self, change: &Change) -> Result<(), StoreError> {
        let Some(cluster) = &self.cluster else {
            return Err(invalid(
                "this node was started alone: stop the server and start it again with peers, cert_file, key_file and client_ca_file",
            ));
        };
        cluster.change(change).map_err(|error| StoreError::new(ErrorKind::INVALID_INPUT, error.to_string()))
    }

    /// Checks a client's token.
    pub fn authenticate(&self, token: &str) -> Result<(), StoreError> {
        if token.is_empty() {
            let message = "Could not find a Quack authentication token: give TOKEN '...', or create a secret of TYPE quack";
            return Err(invalid(message));
        }
        if !tokens_equal(token, &self.token) {
            return Err(StoreError::new(ErrorKind::CONNECTION, "Authentication failed"));
        }
        Ok(())
    }

    /// Waits until the catalog may be attached, and returns its name.
    pub fn wait_for_catalog(&self, interrupt: &Interrupt) -> Result<String, StoreError> {
        let deadline = Instant::now() + ATTACH_WAIT;
        loop {
            if let Some(error) = &*lock(&self.failed) {
                return Err(error.clone());
            }
            if let Some(reason) = &*lock(&self.refusing) {
                return Err(invalid(format!("this node does not serve: {reason}")));
            }
            if let Some(running) = self.running.get() {
                if self.open.load(Ordering::Acquire) {
                    return Ok(running.store.catalog());
                }
                if let Some(reason) = running.node.degraded() {
                    let message = format!("this node is degraded and answers no client: {reason}");
                    return Err(StoreError::new(ErrorKind::CONNECTION, message));
                }
            }
            if interrupt.interrupted() {
                return Err(StoreError::new(ErrorKind::INTERRUPT, "Interrupted!"));
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready());
            }
            std::thread::sleep(POLL);
        }
    }

    fn not_ready(&self) -> StoreError {
        let message = format!("the node is not ready: it waits for {}", self.waiting_for());
        StoreError::new(ErrorKind::CONNECTION, message)
    }

    fn waiting_for(&self) -> String {
        let waiting = self.cluster.as_ref().map(|cluster| cluster.waiting_for()).unwrap_or_default();
        if waiting.is_empty() { "a leader, and all that is committed".to_owned() } else { waiting }
    }

    /// Stops everything. Returns whether the store's file is closed, and the node for as long as it is not.
    pub fn stop(&self) -> (bool, Weak<SharedNode>) {
        self.network.stop(NETWORK_STOP_WAIT);
        if let Some(running) = self.running.get() {
            self.hand_over(&running.node);
        }
        self.end_cluster();
        let Some(running) = self.running.get() else { return (true, Weak::new()) };
        if let Err(error) = running.node.checkpoint(CHECKPOINT_WAIT, &|| false) {
            tracing::warn!(%error, "stopped without a last checkpoint");
        }
        running.node.stop();
        (running.store.close(), running.shared.clone())
    }

    /// Hands leadership to another voter, so that the others need no election.
    fn hand_over(&self, node: &NodeHandle) {
        let own = node.identity().raft_id();
        let Some(other) = node.membership().voters.into_iter().find(|voter| *voter != own) else { return };
        if !node.is_leader() {
            return;
        }
        node.transfer_leader(other);
        let deadline = Instant::now() + HAND_OVER_WAIT;
        while node.is_leader() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }

    /// Ends all calls that wait for the cluster, and all references of the cluster to the node.
    fn end_cluster(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
        if let Some(thread) = lock(&self.settling).take() {
            // Its panics have been printed; there is nothing left to do about them.
            let _ = thread.join();
        }
    }

    /// Ends the threads of the server, and leaves DuckDB as it is: the process is about to exit.
    pub fn halt(&self) {
        if let Some(running) = self.running.get() {
            running.store.seal("the process is exiting");
        }
        self.network.stop(Duration::from_secs(1));
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
        if let Some(running) = self.running.get() {
            running.node.stop();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The members of a cluster that these peers found.
fn first_members(peers: &[PeerSpec]) -> Membership {
    let ids = |role| -> Vec<_> {
        peers.iter().filter(|peer| peer.role == role).map(|peer| peer.node.raft_id(0)).collect()
    };
    Membership::new(ids(PeerRole::Voter), ids(PeerRole::Learner))
}
