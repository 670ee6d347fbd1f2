//! The node as the rest of the extension shares it, and the way of transactions to its log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quack_apply::store::ErrorKind;
use quack_apply::{Proposer, StoreError, entry};
use quack_node::{NodeHandle, NodeState, ProposeError, Waiter};
use quack_proto::log::v1::{Boot, Outcome, entry::Body};
use quack_types::ProposalId;

use crate::ffi::Interrupt;

/// Longest time to wait for an outcome. A statement that should end earlier is interrupted by its client.
const OUTCOME_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A node from before it starts until DuckDB has closed its file.
#[derive(Default)]
pub struct SharedNode {
    handle: OnceLock<Arc<NodeHandle>>,
    /// Sequences that have been drawn and not answered.
    outstanding: Mutex<BTreeSet<u64>>,
}

impl SharedNode {
    /// Tells of the node once it runs.
    pub fn started(&self, handle: Arc<NodeHandle>) {
        // A second start would be a second node, which nobody makes.
        let _ = self.handle.set(handle);
    }

    fn node(&self) -> Result<&Arc<NodeHandle>, StoreError> {
        self.handle
            .get()
            .ok_or_else(|| StoreError::new(ErrorKind::CONNECTION, "the node has not started yet"))
    }

    /// Why the node serves nobody any more, if it does not.
    pub fn degraded(&self) -> Option<String> {
        let status = self.handle.get()?.status();
        let latched = status.into_iter().find(|group| group.state == NodeState::Degraded)?;
        Some(latched.reason.unwrap_or_default())
    }

    fn settle(&self, id: ProposalId) {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.sequence);
    }

    /// Tells the log that this process has started: what its predecessor left unfinished is void.
    pub fn announce_boot(self: &Arc<Self>) -> Result<(), StoreError> {
        self.node()?;
        let proposer = LogProposer::new(self.clone());
        let (id, answered_through) = proposer.draw();
        let pending = proposer.propose(id, entry::encode(id, answered_through, Body::Boot(Boot {})))?;
        proposer.wait(pending).map(|_| ())
    }
}

/// Proposes for one statement.
pub struct LogProposer {
    node: Arc<SharedNode>,
    interrupt: Option<Interrupt>,
}

impl LogProposer {
    pub fn new(node: Arc<SharedNode>) -> Self {
        Self { node, interrupt: None }
    }

    /// From now on waiting ends when the statement is interrupted.
    pub fn watch(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    fn interrupted(&self) -> impl Fn() -> bool + use<> {
        let interrupt = self.interrupt;
        move || interrupt.is_some_and(|interrupt| interrupt.interrupted())
    }
}

fn as_store_error(error: &ProposeError) -> StoreError {
    let kind = match error {
        ProposeError::Interrupted => ErrorKind::INTERRUPT,
        ProposeError::Refused(_) | ProposeError::Duplicate => ErrorKind::INVALID_INPUT,
        _ => ErrorKind::CONNECTION,
    };
    StoreError::new(kind, error.to_string())
}

impl Proposer for LogProposer {
    type Pending = Waiter;
    type Error = StoreError;

    fn draw(&self) -> (ProposalId, u64) {
        let Some(node) = self.node.handle.get() else {
            // `propose` will say that there is no node yet.
            let nobody = ProposalId { origin: quack_types::RaftId(0), boot: 0, sequence: 0 };
            return (nobody, 0);
        };
        let mut outstanding = self.node.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        // Drawn under the lock, so that no smaller sequence can appear after this.
        let id = node.next_proposal_id();
        outstanding.insert(id.sequence);
        let oldest = outstanding.first().copied().unwrap_or(id.sequence);
        (id, oldest.saturating_sub(1))
    }

    fn propose(&self, id: ProposalId, data: Bytes) -> Result<Waiter, StoreError> {
        let proposed = self.node.node()?.propose(id, data, &self.interrupted());
        proposed.map_err(|error| {
            self.node.settle(id);
            as_store_error(&error)
        })
    }

    fn wait(&self, pending: Waiter) -> Result<Outcome, StoreError> {
        let id = pending.id();
        let waited = pending.wait(OUTCOME_WAIT, &self.interrupted());
        self.node.settle(id);
        let outcome = waited.map_err(|error| as_store_error(&error))?;
        Outcome::decode(outcome).map_err(|error| {
            StoreError::new(ErrorKind::INTERNAL, format!("an outcome cannot be read: {error}"))
        })
    }

    fn too_large(&self, bytes: usize, bytes_max: usize) -> StoreError {
        let message = format!(
            "a row or statement of {bytes} bytes is larger than an entry of the log may be ({bytes_max} bytes): \
             store large objects elsewhere and keep a reference in the table"
        );
        StoreError::new(ErrorKind::INVALID_INPUT, message)
    }

    fn give_up(&self, id: ProposalId) {
        self.node.settle(id);
    }
}
