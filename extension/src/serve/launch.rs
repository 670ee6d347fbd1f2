//! From a folder to a node that runs and lets clients in.

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_cluster::{Cluster, Error as ClusterError};
use quack_net::Server as Network;
use quack_node::{DataFolder, Membership, NoTransport, NodeConfig, NodeHandle, Transport};

use super::{invalid, io, lock};
use crate::cluster_host::ClusterHost;
use crate::machine::Machine;
use crate::proposer::SharedNode;
use crate::service::{ClientRules, Sessions};
use crate::store::AttachedStore;
use crate::store_file::StoreFile;
use crate::verifications::Verifications;
use crate::writer::share_node;

/// How often a node that may not serve asks whether it may.
const AGREEMENT_PERIOD: Duration = Duration::from_millis(200);
/// How often a node that was not ready tries again.
const READY_POLL: Duration = Duration::from_millis(50);

/// What runs once the node is a member of its cluster.
pub struct Running {
    pub node: Arc<NodeHandle>,
    pub shared: Weak<SharedNode>,
    pub store: Arc<AttachedStore>,
    pub store_file: Arc<StoreFile>,
}

/// What is needed to start a node, now or later.
pub(super) struct Launch {
    /// The C++ host; alive as long as the server is, which waits for the thread that uses this.
    pub host: usize,
    pub catalog: String,
    pub config: NodeConfig,
    /// The members that the cluster is founded with.
    pub first: Membership,
    pub cluster: Option<Arc<Cluster>>,
}

impl Launch {
    /// Opens store and node.
    pub fn start(&self, folder: DataFolder) -> Result<(Running, Arc<SharedNode>), StoreError> {
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
        // DuckDB has created it as the umask says; the folder has kept others away until now.
        quack_node::make_private(Path::new(store_path)).map_err(io)?;
        let store = Arc::new(store);
        let store_file = Arc::new(StoreFile::new(store_path));
        let verifications = Arc::new(Verifications::default());
        match self.start_on(folder, &shared, &store, &verifications) {
            Ok(node) => {
                if let Some(cluster) = &self.cluster {
                    let files = ClusterHost::new(shared.clone(), verifications, store_file.clone());
                    cluster.run(node.clone(), Arc::new(files));
                }
                Ok((Running { node, shared: Arc::downgrade(&shared), store, store_file }, shared))
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
        let owner = identity.owner();
        let foreign = folder.has_foreign_store().map_err(io)?;
        let machine = Machine::open(
            store.clone(),
            folder.path(),
            &owner,
            foreign,
            self.cluster.clone(),
            verifications.clone(),
            shared,
        )?;
        let transport: Box<dyn Transport> = match &self.cluster {
            Some(cluster) => cluster.transport(&identity).ok_or_else(|| io("the network has not started"))?,
            None => Box::new(NoTransport),
        };
        let alone = || Membership::new([identity.raft_id()], []);
        let first = if self.cluster.is_some() { self.first.clone() } else { alone() };
        let node = NodeHandle::start(self.config.clone(), folder, Box::new(machine), transport, first)
            .map_err(io)?;
        shared.started(node.clone(), self.cluster.clone());
        Ok(node)
    }
}

/// What makes a server ready, in the background.
pub(super) struct Opening {
    pub network: Arc<Network>,
    pub running: Arc<OnceLock<Running>>,
    pub open: Arc<AtomicBool>,
    pub failed: Arc<Mutex<Option<StoreError>>>,
    pub refusing: Arc<Mutex<Option<String>>>,
    pub cluster: Option<Arc<Cluster>>,
    pub clients: ClientRules,
}

impl Opening {
    pub fn hold(&self, running: Running) {
        // It fails only for a second node, and a server has one.
        let _ = self.running.set(running);
    }

    /// Lets clients in.
    pub fn open(&self) {
        let Some(running) = self.running.get() else { return };
        self.network.open(Arc::new(Sessions::new(running.store.clone(), self.clients.clone())));
        self.open.store(true, Ordering::Release);
    }

    /// Becomes a member, starts the node, and waits for its leader.
    pub fn settle(&self, launch: &Launch, started: Option<(Running, Arc<SharedNode>)>) {
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
                Err(error) => {
                    tracing::debug!(reason = %error.message, "not ready yet");
                    std::thread::sleep(READY_POLL);
                }
            }
            if node.has_failed() || node.has_stopped() || cluster.is_stopped() {
                return Ok(());
            }
        }
        self.agree(cluster, &node);
        Ok(())
    }

    /// Lets clients in as soon as the members that were started otherwise are no obstacle.
    fn agree(&self, cluster: &Cluster, node: &NodeHandle) {
        while !node.has_failed() && !node.has_stopped() && !cluster.is_stopped() {
            let reason = match cluster.require_agreement() {
                Ok(()) => {
                    *lock(&self.refusing) = None;
                    cluster.say(String::new());
                    cluster.serves();
                    self.open();
                    return;
                }
                Err(error @ ClusterError::Disagreement(_)) => {
                    let reason = error.to_string();
                    if lock(&self.refusing).replace(reason.clone()).as_ref() != Some(&reason) {
                        tracing::error!(reason, "the node does not serve");
                    }
                    reason
                }
                Err(error) => {
                    *lock(&self.refusing) = None;
                    error.to_string()
                }
            };
            self.network.wait_for(&reason);
            cluster.say(reason);
            std::thread::sleep(AGREEMENT_PERIOD);
        }
    }
}

/// DuckDB's own word about a store that it cannot read names neither the file nor what to do.
fn of_file(error: StoreError, path: &Path) -> StoreError {
    // What is ours says what to do.
    if [ErrorKind::INVALID_INPUT, ErrorKind::CONNECTION, ErrorKind::INTERRUPT].contains(&error.kind) {
        return error;
    }
    // The file is as it was: the process has another database of the catalog's name.
    if error.kind == ErrorKind::BINDER {
        let message =
            format!("{}: DETACH that database, or serve the catalog under another name", error.message);
        return StoreError::new(error.kind, message);
    }
    let message = format!(
        "the node cannot start with '{}': {}. Check the disk, move the files of the folder elsewhere, and start the node \
         with an empty folder: with peers it is rebuilt from them. A copy of the folder from an earlier time is no help: \
         it does not know what the node has promised since",
        path.display(),
        error.message
    );
    StoreError::new(error.kind, message)
}
