//! Starting and stopping a server: node, store and network together.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_net::{Endpoint, Limits, Server as Network, ServerConfig, random_token, tokens_equal};
use quack_node::{DataFolder, NoTransport, NodeConfig, NodeHandle};
use quack_types::NodeId;

use crate::ffi::ServeArguments;
use crate::machine::Machine;
use crate::proposer::SharedNode;
use crate::service::Sessions;
use crate::store::AttachedStore;
use crate::writer::share_node;

/// Longest time that a start may take: reading the log that no checkpoint covers.
const READY_WAIT: Duration = Duration::from_secs(3600);
/// How long requests that run may take to end when the server stops.
const NETWORK_STOP_WAIT: Duration = Duration::from_secs(5);
/// How long a last checkpoint may take when the server stops; without it the next start reads more of the log.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(60);
/// Name of the catalog when none is given.
const CATALOG: &str = "cp";
/// Name of the node when none is given.
const NODE_ID: &str = "n0";

/// What `quack_serve` was called with, checked.
pub struct Arguments {
    uri: String,
    token: String,
    node_id: String,
    data_dir: String,
    catalog: String,
    peers: Vec<String>,
    tls_files: Vec<(&'static str, String)>,
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
        let files = [
            ("cert_file", arguments.cert_file.text()),
            ("key_file", arguments.key_file.text()),
            ("client_ca_file", arguments.client_ca_file.text()),
        ];
        Self {
            uri: arguments.uri.text(),
            token: arguments.token.text(),
            node_id: or(arguments.node_id.text(), NODE_ID),
            data_dir: arguments.data_dir.text(),
            catalog: or(arguments.catalog.text(), CATALOG),
            peers: peers.iter().map(|peer| peer.text()).collect(),
            tls_files: files.into_iter().filter(|(_, file)| !file.is_empty()).collect(),
            allow_other_hostname: arguments.allow_other_hostname,
        }
    }

    /// The folder, as the folder of a running server is known.
    pub fn data_folder(&self) -> PathBuf {
        PathBuf::from(&self.data_dir)
    }

    fn check(&self) -> Result<(Endpoint, NodeId), StoreError> {
        let endpoint: Endpoint = self.uri.parse().map_err(invalid)?;
        let node_id = NodeId::new(&self.node_id).map_err(invalid)?;
        if self.data_dir.is_empty() {
            return Err(invalid(
                "give data_dir := '<folder>': the folder in which this node keeps its log and its tables",
            ));
        }
        let own = format!("{node_id}:voter=");
        if let Some(peer) = self.peers.iter().find(|peer| !peer.starts_with(&own)) {
            let message = format!(
                "peer '{peer}': a cluster of more than one node is not supported yet; leave peers out"
            );
            return Err(StoreError::new(ErrorKind::NOT_IMPLEMENTED, message));
        }
        if let Some((name, _)) = self.tls_files.first() {
            let message = format!("{name}: TLS is not supported yet; listen on localhost and leave it out");
            return Err(StoreError::new(ErrorKind::NOT_IMPLEMENTED, message));
        }
        Ok((endpoint, node_id))
    }
}

/// Bad input: the caller can do something about it.
pub fn invalid(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::INVALID_INPUT, error.to_string())
}

fn io(error: impl ToString) -> StoreError {
    StoreError::new(ErrorKind::IO, error.to_string())
}

/// A server that runs.
pub struct Server {
    endpoint: Endpoint,
    token: String,
    node: Arc<NodeHandle>,
    shared: Weak<SharedNode>,
    store: Arc<AttachedStore>,
    network: Network,
    data_dir: PathBuf,
}

impl Server {
    /// Starts node, store and network, in this order.
    ///
    /// # Safety
    /// `host` is the live C++ host.
    pub unsafe fn start(host: *mut c_void, arguments: &Arguments) -> Result<Self, StoreError> {
        let (endpoint, node_id) = arguments.check()?;
        let token =
            if arguments.token.is_empty() { random_token().map_err(io)? } else { arguments.token.clone() };
        let config = ServerConfig {
            listen: endpoint,
            token: token.clone(),
            allow_other_hostname: arguments.allow_other_hostname,
            duckdb_version: "v2.0.0".to_owned(),
            platform: "linux_amd64".to_owned(),
            limits: Limits::default(),
        };
        // Before the folder is touched: a refused call leaves nothing behind.
        Network::check(&config).map_err(invalid)?;
        let folder = DataFolder::open(Path::new(&arguments.data_dir), &node_id).map_err(io)?;
        let data_dir = folder.path().to_path_buf();
        let identity = folder.identity();
        let owner = format!("{:032x} {} {}", identity.cluster_id, identity.node_id, identity.incarnation);
        let shared = Arc::new(SharedNode::default());
        let store_path = folder.store_path();
        let store_path = store_path.to_str().ok_or_else(|| invalid("data_dir must be UTF-8"))?;
        // SAFETY: `host` is alive; the node reference was just made.
        let store =
            unsafe { AttachedStore::open(host, store_path, &arguments.catalog, share_node(&shared)) }?;
        let store = Arc::new(store);
        match start_on_store(&config, folder, &owner, &shared, &store) {
            Ok((node, network)) => {
                let endpoint = network.endpoint().clone();
                Ok(Self { endpoint, token, node, shared: Arc::downgrade(&shared), store, network, data_dir })
            }
            Err(error) => {
                store.close();
                Err(error)
            }
        }
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

    /// The row that `quack_serve` returns.
    pub fn serve_row(&self) -> Vec<Option<String>> {
        vec![Some(self.uri()), Some(self.endpoint.url()), Some(self.token.clone())]
    }

    /// The row of `quack_server_list`.
    pub fn list_row(&self) -> Vec<Option<String>> {
        vec![
            Some(self.uri()),
            Some(self.endpoint.url()),
            Some(self.endpoint.host().to_owned()),
            Some(self.endpoint.port().to_string()),
            Some(self.network.active_connections().to_string()),
            Some(self.store.catalog()),
            Some(self.node.identity().node_id.to_string()),
            Some(self.data_dir.display().to_string()),
        ]
    }

    pub fn raft_rows(&self) -> Vec<Vec<Option<String>>> {
        self.node.status().iter().map(crate::status::raft_row).collect()
    }

    /// The row of `quack_state_hash`.
    pub fn hash_row(&self) -> Result<Vec<Option<String>>, StoreError> {
        let (index, hash) = self.store.state_hash()?;
        Ok(vec![Some(self.store.catalog()), Some(index.to_string()), Some(hash)])
    }

    /// The name of the catalog, for a client that shows the token.
    pub fn catalog_for(&self, token: &str) -> Result<String, StoreError> {
        if token.is_empty() {
            let message = "Could not find a Quack authentication token: give TOKEN '...', or create a secret of TYPE quack";
            return Err(invalid(message));
        }
        if !tokens_equal(token, &self.token) {
            return Err(StoreError::new(ErrorKind::CONNECTION, "Authentication failed"));
        }
        Ok(self.store.catalog())
    }

    /// Stops everything. Returns whether the store's file is closed, and the node for as long as it is not.
    pub fn stop(&self) -> (bool, Weak<SharedNode>) {
        self.network.stop(NETWORK_STOP_WAIT);
        if let Err(error) = self.node.checkpoint(CHECKPOINT_WAIT, &|| false) {
            tracing::warn!(%error, "stopped without a last checkpoint");
        }
        self.node.stop();
        (self.store.close(), self.shared.clone())
    }

    /// Ends the threads of the server, and leaves DuckDB as it is: the process is about to exit.
    pub fn halt(&self) {
        self.store.seal("the process is exiting");
        self.network.stop(Duration::from_secs(1));
        self.node.stop();
    }
}

fn start_on_store(
    config: &ServerConfig,
    folder: DataFolder,
    owner: &str,
    shared: &Arc<SharedNode>,
    store: &Arc<AttachedStore>,
) -> Result<(Arc<NodeHandle>, Network), StoreError> {
    let machine = Machine::open(store.clone(), owner)?;
    // The host asks for the last checkpoint itself, where there is time for one.
    let node_config = NodeConfig { checkpoint_on_stop: false, ..NodeConfig::default() };
    let node =
        NodeHandle::start(node_config, folder, Box::new(machine), Box::new(NoTransport)).map_err(io)?;
    shared.started(node.clone());
    let started = node
        .wait_until_ready(READY_WAIT, &|| false)
        .map_err(io)
        .and_then(|()| shared.announce_boot())
        .and_then(|()| {
            let sessions = Arc::new(Sessions::new(store.clone(), shared.clone()));
            Network::start(config, sessions).map_err(invalid)
        });
    match started {
        Ok(network) => Ok((node, network)),
        Err(error) => {
            node.stop();
            Err(error)
        }
    }
}
