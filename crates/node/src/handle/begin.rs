//! How a node with peers begins to take part, and what it knows of theirs.
//!
//! Its folder may be older than what it has promised: put back from a copy, or from a virtual machine's. Nothing in the
//! folder says so; peers do. Until they have spoken the node is silent, and its start is not counted.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use quack_types::{GroupId, LogIndex, Term};

use super::NodeHandle;
use crate::Error;
use crate::shared::{Command, Promises};

/// How long the raft thread may take to say what it knows: one write of the log.
const PROMISES_TIME: Duration = Duration::from_secs(1);

impl NodeHandle {
    /// Where the logs end, with the last term that each knows of. Nothing moves them before the node begins.
    pub fn log_ends(&self) -> Vec<(GroupId, Term, LogIndex)> {
        let progress = self.shared.progress();
        progress.groups.values().map(|status| (status.group, status.term, status.last_index)).collect()
    }

    /// Counts the start, durably. The peers are told of it before the node begins.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn count_start(&self) -> Result<(), Error> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map_or(Ok(()), |running| running.folder.count_boot())
    }

    /// Takes part from now on.
    pub fn begin(&self) {
        // A node that has stopped takes part in nothing.
        let _ = self.commands.send(Command::Begin);
    }

    /// What each peer has promised since this node has begun; `None` when it does not know, because it is ending.
    pub fn promises(&self) -> Option<Promises> {
        let (sender, answer) = sync_channel(1);
        self.commands.send(Command::Promises { answer: sender }).ok()?;
        answer.recv_timeout(PROMISES_TIME).ok()
    }

    /// The node's data folder, as long as it is the node's.
    pub fn folder(&self) -> Option<PathBuf> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.folder.path().to_owned())
    }
}
