//! What the cluster asks of this process.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use quack_cluster::Host;
use quack_proto::log::v1::{entry::Body, outcome::Kind};

use crate::proposer::{LogProposer, SharedNode};
use crate::verifications::Verifications;

/// Writes decisions about members, and opens the store for a snapshot.
pub struct ClusterHost {
    node: Arc<SharedNode>,
    verifications: Arc<Verifications>,
    path: PathBuf,
    /// Opened once: to close one descriptor of a file gives up every lock that the process has on it (POSIX, fcntl),
    /// and DuckDB has one.
    file: Mutex<Option<Arc<File>>>,
}

impl ClusterHost {
    pub fn new(node: Arc<SharedNode>, verifications: Arc<Verifications>, path: impl Into<PathBuf>) -> Self {
        Self { node, verifications, path: path.into(), file: Mutex::default() }
    }
}

impl Host for ClusterHost {
    fn propose(&self, decision: Body) -> Result<(), String> {
        let proposer = LogProposer::new(self.node.clone());
        let outcome = proposer.run(decision);
        match outcome.map_err(|error| error.message)?.kind {
            Some(Kind::Refused(refused)) => Err(refused.message),
            _ => Ok(()),
        }
    }

    fn verified(&self, number: u64) -> Result<Option<String>, String> {
        self.verifications.get(number)
    }

    fn store_file(&self) -> Result<Arc<File>, String> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(file.clone());
        }
        let opened =
            File::open(&self.path).map_err(|error| format!("the store cannot be opened: {error}"))?;
        Ok(file.insert(Arc::new(opened)).clone())
    }
}
