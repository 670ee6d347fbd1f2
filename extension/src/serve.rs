//! Starting and stopping a server: node, store, network and cluster together.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_cluster::{Change, Cluster, Contract, Settings};
use quack_net::{
    Endpoint, PeerRole, PeerSpec, Server as Network, ServerConfig, Tls, TlsFiles, random_token, tokens_equal,
};
use quack_node::{Claim, DataFolder, Membership, NoTransport, NodeConfig, NodeHandle, Transport};
use quack_types::NodeId;

use crate::cluster_host::ClusterHost;
use crate::ffi::{Interrupt, ServeArguments};
use crate::machine::Machine;
use crate::proposer::SharedNode;
use crate::service::Sessions;
use crate::store::AttachedStore;
use crate::verifications::Verifications;
use crate::writer::share_node;

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
/// Name of the catalog when none is given.
const CATALOG: &str = "cp";
/// Name of the node when none is given.
const NODE_ID: &str = "n0";
/// The DuckDB that this extension is built for.
const DUCKDB_VERSION: &str = "v2.0.0";

/// What `quack_serve` was called with, checked.
pub struct Arguments {
    uri: String,
    token: String,
    node_id: String,
    data_dir: String,
    catalog: String,
    peers: Vec<String>,
    cert_file: String,
    key_file: String,
    client_ca_file: String,
    allow_other_hostname: bool,
}

impl Arguments {
    /// # Safety
    /// The arguments are valid for the call.
    pub unsafe fn from_ffi(arguments: &ServeArguments<'_>) -> Self {
        let peers = if arguments.peers_count == 0 {
            &[]
        } else {
            // SAFETY: as promised by the caller.
            unsafe { std::slice::from_raw_parts(arguments.peers, arguments.peers_count) }
        };
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        Self {
            uri: arguments.uri.text(),
            token: arguments.token.text(),
            node_id: or(arguments.node_id.text(), NODE_ID),
            data_dir: arguments.data_dir.text(),
            catalog: or(arguments.catalog.text(), CATALOG),
            peers: peers.iter().map(|peer| peer.text()).collect(),
            cert_file: arguments.cert_file.text(),
            key_file: arguments.key_file.text(),
            client_ca_file: arguments.client_ca_file.text(),
            allow_other_hostname: arguments.allow_other_hostname,
        }
    }

    /// The folder, as the folder of a running server is known.
    pub fn data_folder(&self) -> PathBuf {
        PathBuf::from(&self.data_dir)
    }

    fn check(&self) -> Result<Checked, StoreError> {
        let endpoint: Endpoint = self.uri.parse().map_err(invalid)?;
        let own = NodeId::new(&self.node_id).map_err(invalid)?;
        if self.data_dir.is_empty() {
            return Err(invalid(
                "give data_dir := '<folder>': the folder in which this node keeps its log and its tables",
            ));
        }
        let peers = PeerSpec::parse_list(&self.peers).map_err(invalid)?;
        if !peers.is_empty() && !peers.iter().any(|peer| peer.node == own) {
            let named: Vec<_> = peers.iter().map(|peer| peer.node.as_str()).collect();
            return Err(invalid(format!(
                "peers names {} but not this node, '{own}': name all nodes, this one too, or give the node_id under which it is named",
                named.join(", ")
            )));
        }
        if !peers.is_empty() && !peers.iter().any(|peer| peer.role == PeerRole::Voter) {
            return Err(invalid("peers names no voter: give at least one peer the role voter"));
        }
        let tls = self.tls(&own)?;
        if peers.len() > 1 && tls.is_none() {
            return Err(invalid(
                "nodes speak to each other over TLS only: give cert_file, key_file and client_ca_file (quackctl cert init and issue make some)",
            ));
        }
        Ok(Checked { endpoint, own, peers, tls })
    }

    fn tls(&self, own: &NodeId) -> Result<Option<Tls>, StoreError> {
        let files = [
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
            ("client_ca_file", &self.client_ca_file),
        ];
        let missing: Vec<_> =
            files.iter().filter(|(_, file)| file.is_empty()).map(|(name, _)| *name).collect();
        if missing.len() == files.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            return Err(invalid(format!(
                "{} is missing: cert_file, key_file and client_ca_file belong together",
                missing.join(" and ")
            )));
        }
        let files = TlsFiles {
            cert_file: (&self.cert_file).into(),
            key_file: (&self.key_file).into(),
            client_ca_file: (&self.client_ca_file).into(),
        };
        Tls::load(files, own).map(Some).map_err(invalid)
    }
}

/// Arguments that make sense.
struct Checked {
    endpoint: Endpoint,
    own: NodeId,
    /// Empty for a node that is alone.
    peers: Vec<PeerSpec>,
    tls: Option<Tls>,
}

/// Bad input: the caller can do something about it.
pub fn invalid(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::INVALID_INPUT, error.to_string())
}

fn io(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::IO, error.to_string())
}

/// What runs once the node is a member of its cluster.
pub struct Running {
    node: Arc<NodeHandle>,
    shared: Weak<SharedNode>,
    store: Arc<AttachedStore>,
}

/// A server: it listens from its start on, and runs a node as soon as it belongs to a cluster.
pub struct Server {
    endpoint: Endpoint,
    token: String,
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
    settling: Mutex<Option<JoinHandle<()>>>,
}

/// What is needed to start a node, now or later.
struct Launch {
    /// The C++ host; alive as long as the server is, which waits for the thread that uses this.
    host: usize,
    catalog: String,
    config: NodeConfig,
    /// The members that the cluster is founded with.
    first: Membership,
    cluster: Option<Arc<Cluster>>,
}

impl Launch {
    /// Opens store and node.
    fn start(&self, folder: DataFolder) -> Result<(Running, Arc<SharedNode>), StoreError> {
        let path = folder.store_path();
        self.start_in(folder).map_err(|error| of_file(error, &path))
    }

    fn start_in(&self, folder: DataFolder) -> Result<(Running, Arc<SharedNode>), StoreError> {
        let shared = Arc::new(SharedNode::default());
        let store_path = folder.store_path();
        let store_path = store_path.to_str().ok_or_else(|| invalid("data_dir must be UTF-8"))?;
        let host = self.host as *mut c_void;
        // SAFETY: the host is alive, see its field; the node reference was just made.
        let store = unsafe { AttachedStore::open(host, store_path, &self.catalog, share_node(&shared)) }?;
        let store = Arc::new(store);
        let verifications = Arc::new(Verifications::default());
        match self.start_on(folder, &shared, &store, &verifications) {
            Ok(node) => {
                if let Some(cluster) = &self.cluster {
                    let files = ClusterHost::new(shared.clone(), verifications, store_path);
                    cluster.run(node.clone(), Arc::new(files));
                }
                Ok((Running { node, shared: Arc::downgrade(&shared), store }, shared))
            }
            Err(error) => {
                store.close();
                Err(error)
            }
        }
    }

    fn start_on(
        &self,
        folder: DataFolder,
        shared: &Arc<SharedNode>,
        store: &Arc<AttachedStore>,
        verifications: &Arc<Verifications>,
    ) -> Result<Arc<NodeHandle>, StoreError> {
        let identity = folder.identity().clone();
        let owner = format!("{:032x} {} {}", identity.cluster_id, identity.node_id, identity.incarnation);
        let foreign = folder.has_foreign_store().map_err(io)?;
        let machine =
            Machine::open(store.clone(), &owner, foreign, self.cluster.clone(), verifications.clone())?;
        let own = identity.raft_id();
        let transport: Box<dyn Transport> = match &self.cluster {
            Some(cluster) => cluster.transport(own).ok_or_else(|| io("the network has not started"))?,
            None => Box::new(NoTransport),
        };
        let first = if self.cluster.is_some() { self.first.clone() } else { Membership::new([own], []) };
        let node = NodeHandle::start(self.config.clone(), folder, Box::new(machine), transport, first)
            .map_err(io)?;
        shared.started(node.clone(), self.cluster.clone());
        Ok(node)
    }
}

impl Server {
    /// Starts a server. A node that is alone is ready when this returns; one with peers listens, and becomes a member
    /// of its cluster in the background, if it is none yet.
    ///
    /// # Safety
    /// `host` is the live C++ host.
    pub unsafe fn start(host: *mut c_void, arguments: &Arguments) -> Result<Self, StoreError> {
        let Checked { endpoint, own, peers, tls } = arguments.check()?;
        quack_logging::name_node(own.as_str());
        let token =
            if arguments.token.is_empty() { random_token().map_err(io)? } else { arguments.token.clone() };
        let mut config = ServerConfig::new(endpoint, token.clone());
        config.allow_other_hostname = arguments.allow_other_hostname;
        config.tls = tls;
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
                duckdb_version: DUCKDB_VERSION.to_owned(),
            };
            Cluster::new(settings, empty)
        });
        config.peers = cluster.clone().map(|cluster| cluster as Arc<dyn quack_net::PeerHandler>);
        let network = Arc::new(Network::listen(&config).map_err(invalid)?);
        if let (Some(cluster), Some(peers)) = (&cluster, network.peers()) {
            cluster.connect(peers.clone());
        }
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
            own,
            data_dir,
            network,
            cluster,
            running: Arc::default(),
            open: Arc::default(),
            failed: Arc::default(),
            settling: Mutex::default(),
        };
        match server.launch(launch, folder) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop();
                Err(error)
            }
        }
    }

    fn launch(&self, launch: Launch, folder: Option<DataFolder>) -> Result<(), StoreError> {
        let opening = Opening {
            network: self.network.clone(),
            running: self.running.clone(),
            open: self.open.clone(),
            failed: self.failed.clone(),
            cluster: self.cluster.clone(),
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
            ready.map_err(io)?;
            shared.announce_boot()?;
            opening.open();
            return Ok(());
        }
        let settle = move || opening.settle(&launch, started);
        let thread = std::thread::Builder::new().name("quack-settle".to_owned()).spawn(settle).map_err(io)?;
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

    /// The row that `quack_serve` returns.
    pub fn serve_row(&self) -> Vec<Option<String>> {
        vec![Some(self.uri()), Some(self.network.url()), Some(self.token.clone())]
    }

    /// The row of `quack_server_list`.
    pub fn list_row(&self) -> Vec<Option<String>> {
        vec![
            Some(self.uri()),
            Some(self.network.url()),
            Some(self.endpoint.host().to_owned()),
            Some(self.endpoint.port().to_string()),
            Some(self.network.active_connections().to_string()),
            self.running.get().map(|running| running.store.catalog()),
            Some(self.own.to_string()),
            Some(self.data_dir.display().to_string()),
        ]
    }

    /// Rows of `quack_raft_status`: one for each group, or one that says what the node waits for.
    pub fn raft_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else {
            let failed = lock(&self.failed).as_ref().map(|error| error.message.clone());
            return vec![crate::status::waiting_row(&self.own, failed, &self.waiting_for())];
        };
        let roster = self.cluster.as_ref().map(|cluster| cluster.roster().clone());
        let name = |id| Some(roster.as_ref()?.node_of(id)?.to_string());
        running.node.status(name).iter().map(crate::status::raft_row).collect()
    }

    /// The node, as catalogs hold it.
    pub fn node(&self) -> Result<Arc<SharedNode>, StoreError> {
        let shared = self.running.get().and_then(|running| running.shared.upgrade());
        shared.ok_or_else(|| {
            let message = format!("the node has not started yet: it waits for {}", self.waiting_for());
            StoreError::new(ErrorKind::CONNECTION, message)
        })
    }

    /// Rows of `quack_group_status`.
    pub fn group_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let roster = self.cluster.as_ref().map(|cluster| cluster.roster().clone());
        let name = |id| Some(roster.as_ref()?.node_of(id)?.to_string());
        running.node.group_infos(name).iter().map(crate::status::group_row).collect()
    }

    /// Rows of `quack_metrics`.
    pub fn metric_rows(&self) -> Vec<Vec<Option<String>>> {
        let mut samples = crate::status::session_samples(&self.network.session_counts());
        samples.extend(self.cluster.iter().flat_map(|cluster| cluster.metrics()));
        samples.extend(self.running.get().iter().flat_map(|running| running.node.metrics()));
        samples.iter().map(|sample| crate::status::metric_row(&self.own, sample)).collect()
    }

    /// Rows of `quack_nodes`.
    pub fn node_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        match &self.cluster {
            Some(cluster) => {
                let committed = running.node.commit_index().0;
                cluster.nodes().iter().map(|view| crate::status::node_row(view, committed)).collect()
            }
            None => vec![crate::status::lone_row(&self.own, &self.endpoint, &running.node, DUCKDB_VERSION)],
        }
    }

    /// Rows of `quack_verify`: the nodes compared.
    pub fn verify_rows(&self) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        let Some(cluster) = &self.cluster else {
            return Err(invalid("this node is alone: there is nothing to compare it with"));
        };
        let verdicts = cluster.verify().map_err(io)?;
        Ok(verdicts.iter().map(crate::status::verdict_row).collect())
    }

    /// Rows of `quack_multiraft_sql_contract_status`.
    pub fn contract_rows(&self) -> Vec<Vec<Option<String>>> {
        let Some(running) = self.running.get() else { return Vec::new() };
        let contract = match &self.cluster {
            Some(cluster) => cluster.contract(),
            None => Contract::alone(self.own.clone(), quack_apply::entry::VERSION, DUCKDB_VERSION),
        };
        crate::status::contract_rows(&running.store.catalog(), &contract, running.node.groups_enabled())
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

    /// The row of `quack_state_hash`.
    pub fn hash_row(&self) -> Result<Vec<Option<String>>, StoreError> {
        let running = self.running.get().ok_or_else(|| self.not_ready())?;
        let (index, hash) = running
            .store
            .snapshot_for_hash()
            .and_then(|snapshot| Ok((snapshot.position, snapshot.run()?)))?;
        Ok(vec![Some(running.store.catalog()), Some(index.to_string()), Some(hash)])
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
            if let Some(running) = self.running.get() {
                if self.open.load(Ordering::Acquire) {
                    return Ok(running.store.catalog());
                }
                if let Some(reason) = running.node.degraded() {
                    let message = format!("this node is degraded and answers nobody: {reason}");
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

    /// Lets nobody wait for the cluster any more, and nothing of it hold the node.
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

/// DuckDB's own word about a store that it cannot read names neither the file nor what to do.
fn of_file(error: StoreError, path: &Path) -> StoreError {
    // What is ours says what to do.
    if [ErrorKind::INVALID_INPUT, ErrorKind::CONNECTION, ErrorKind::INTERRUPT].contains(&error.kind) {
        return error;
    }
    let message = format!(
        "the node cannot start with '{}': {}. Check the disk; restore the node's folder from a backup, or start it with \
         an empty folder: with peers it is rebuilt from them",
        path.display(),
        error.message
    );
    StoreError::new(error.kind, message)
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

/// What makes a server ready, in the background.
struct Opening {
    network: Arc<Network>,
    running: Arc<OnceLock<Running>>,
    open: Arc<AtomicBool>,
    failed: Arc<Mutex<Option<StoreError>>>,
    cluster: Option<Arc<Cluster>>,
}

impl Opening {
    fn hold(&self, running: Running) {
        // A second one would be a second node, which nobody makes.
        let _ = self.running.set(running);
    }

    /// Lets clients in.
    fn open(&self) {
        let Some(running) = self.running.get() else { return };
        self.network.open(Arc::new(Sessions::new(running.store.clone())));
        self.open.store(true, Ordering::Release);
    }

    /// Becomes a member, starts the node, and waits for its leader.
    fn settle(&self, launch: &Launch, started: Option<(Running, Arc<SharedNode>)>) {
        if let Err(error) = self.try_settle(launch, started) {
            tracing::error!(error = %error.message, "the node does not run");
            self.network.wait_for(&error.message);
            *lock(&self.failed) = Some(error);
        }
    }

    fn try_settle(
        &self,
        launch: &Launch,
        started: Option<(Running, Arc<SharedNode>)>,
    ) -> Result<(), StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let (running, shared) = match started {
            Some(started) => started,
            None => launch.start(cluster.settle().map_err(io)?)?,
        };
        let node = running.node.clone();
        self.hold(running);
        // Nothing of the cluster is readable before this node has seen what its leader has committed.
        loop {
            match node
                .wait_until_ready(Duration::from_secs(1), &|| false)
                .map_err(io)
                .and_then(|()| shared.announce_boot())
            {
                Ok(()) => break,
                Err(error) => tracing::debug!(reason = %error.message, "not ready yet"),
            }
            if node.degraded().is_some() || node.has_stopped() {
                return Ok(());
            }
        }
        self.open();
        Ok(())
    }
}
