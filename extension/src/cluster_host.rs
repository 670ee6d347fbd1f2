//! What the cluster asks of this process.

use std::fs::File;
use std::sync::Arc;

use quack_cluster::Host;
use quack_proto::log::v1::entry::Body;

use crate::proposer::{LogProposer, SharedNode};
use crate::store_file::StoreFile;
use crate::verifications::Verifications;
use crate::writer::as_result;

/// Writes decisions about members, and opens the store for a snapshot.
pub struct ClusterHost {
    node: Arc<SharedNode>,
    verifications: Arc<Verifications>,
    file: Arc<StoreFile>,
}

impl ClusterHost {
    pub fn new(node: Arc<SharedNode>, verifications: Arc<Verifications>, file: Arc<StoreFile>) -> Self {
        Self { node, verifications, file }
    }
}

impl Host for ClusterHost {
    fn propose(&self, decision: Body) -> Result<(), String> {
        let proposer = LogProposer::new(self.node.clone());
        proposer.run(decision).and_then(as_result).map(|_| ()).map_err(|error| error.message)
    }

    fn verified(&self, number: u64) -> Result<Option<String>, String> {
        self.verifications.get(number)
    }

    fn store_file(&self) -> Result<Arc<File>, String> {
        self.file.open()
    }
}
