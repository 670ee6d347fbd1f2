//! The node as the rest of the extension shares it, and the way of transactions to its log.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use quack_apply::stock::Stock;
use quack_apply::store::ErrorKind;
use quack_apply::writer::DEFAULT_GROUP;
use quack_apply::{Answered, LAG, Proposer, StoreError, entry};
use quack_cluster::{Cluster, Feature};
use quack_node::{CheckpointCount, NodeHandle, ProposeError, Refusal, WaitError, Waiter};
use quack_proto::log::v1::{Boot, Outcome, entry::Body};
use quack_types::{GroupId, Mark, ProposalId};

use crate::ffi::Interrupt;

/// Longest time to wait for an outcome. A statement that should end earlier is interrupted by its client.
const OUTCOME_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long a linearizable read waits for the leader's word. An election takes less.
const LINEARIZE_WAIT: Duration = Duration::from_secs(3);
const LINEARIZE_POLL: Duration = Duration::from_millis(20);

/// A node from before it starts until DuckDB has closed its file.
#[derive(Default)]
pub struct SharedNode {
    handle: OnceLock<Arc<NodeHandle>>,
    /// `None` inside for a node that is alone.
    cluster: OnceLock<Option<Arc<Cluster>>>,
    /// Sequences that have been drawn and not answered.
    outstanding: Mutex<BTreeSet<u64>>,
    /// Values of sequences that are reserved for this node.
    stock: Mutex<Stock>,
    /// How many checkpoints the store has seen.
    checkpoint_count: Mutex<Option<CheckpointCount>>,
}

impl SharedNode {
    /// Tells of the node once it runs.
    pub fn started(&self, handle: Arc<NodeHandle>, cluster: Option<Arc<Cluster>>) {
        // A second start would be a second node, and there is none.
        let _ = self.cluster.set(cluster);
        let _ = self.handle.set(handle);
    }

    /// Returns when all members can apply something.
    pub fn require(&self, feature: &Feature) -> Result<(), StoreError> {
        self.require_of_members(|cluster| cluster.require(feature))
    }

    /// Returns when all members have one of DuckDB's extensions.
    pub fn require_extension(&self, name: &str) -> Result<(), StoreError> {
        self.require_of_members(|cluster| cluster.require_extension(name))
    }

    /// A node that is alone has no others to ask.
    fn require_of_members(
        &self,
        ask: impl FnOnce(&Cluster) -> Result<(), quack_cluster::Error>,
    ) -> Result<(), StoreError> {
        let Some(cluster) = self.cluster.get().and_then(Option::as_ref) else { return Ok(()) };
        ask(cluster).map_err(|error| StoreError::new(ErrorKind::NOT_IMPLEMENTED, error.to_string()))
    }

    /// The node, once it runs.
    pub fn node(&self) -> Result<&Arc<NodeHandle>, StoreError> {
        self.handle
            .get()
            .ok_or_else(|| StoreError::new(ErrorKind::CONNECTION, "the node has not started yet"))
    }

    /// Whether the node has met no error of its own, and has room on its disk. Asked for by every transaction.
    pub fn serves(&self) -> bool {
        self.handle.get().is_none_or(|node| node.serves())
    }

    /// Whether an error has latched the node.
    pub fn has_failed(&self) -> bool {
        self.handle.get().is_some_and(|node| node.has_failed())
    }

    /// An error when the disk has no room for a checkpoint.
    pub fn require_room(&self) -> Result<(), StoreError> {
        let Some(node) = self.handle.get() else { return Ok(()) };
        node.require_room().map_err(|error| StoreError::new(ErrorKind::IO, error.to_string()))
    }

    /// Says how many checkpoints the store has seen.
    pub fn count_checkpoints(&self, count: CheckpointCount) {
        *self.checkpoint_count() = Some(count);
    }

    fn checkpoint_count(&self) -> MutexGuard<'_, Option<CheckpointCount>> {
        // What it says was written as a whole, or not.
        self.checkpoint_count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A checkpoint begins in a store that has seen `count`. One that cannot be counted has to wait.
    pub fn begin_checkpoint(&self, count: u64) -> Result<(), StoreError> {
        let begun = self.checkpoint_count().as_mut().map_or(Ok(()), |noted| noted.begin(count));
        begun.map_err(|error| StoreError::new(ErrorKind::TRANSACTION, error.to_string()))
    }

    /// The checkpoint with number `count` was written.
    pub fn end_checkpoint(&self, count: u64) {
        if let Some(noted) = &mut *self.checkpoint_count() {
            noted.end(count);
        }
    }

    /// Tells the node of an error that its store does not survive.
    pub fn fail(&self, error: &str) {
        if let Some(node) = self.handle.get() {
            node.fail(error);
        }
    }

    /// A node that has met an error of its own must not go on answering: it may fall behind the others for ever.
    pub fn require_service(&self) -> Result<(), StoreError> {
        let Some(reason) = self.handle.get().and_then(|node| node.degraded()) else { return Ok(()) };
        let message =
            format!("this node is degraded and answers no client: {reason}. See FROM quack_raft_status()");
        Err(StoreError::new(ErrorKind::CONNECTION, message))
    }

    /// Waits until everything that was acknowledged anywhere before this call is applied here.
    pub fn linearize(&self, interrupt: Interrupt) -> Result<(), StoreError> {
        let deadline = Instant::now() + LINEARIZE_WAIT;
        let node = self.node()?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match node.linearize(left, &|| interrupt.interrupted()) {
                Ok(_) => return Ok(()),
                Err(WaitError::Interrupted) => {
                    return Err(StoreError::new(ErrorKind::INTERRUPT, "Interrupted!"));
                }
                Err(WaitError::Behind) => {
                    let message = "this node has not applied yet what was committed before this read: read again, on \
                                   another node, or with consistency 'session'";
                    return Err(StoreError::new(ErrorKind::CONNECTION, message));
                }
                Err(error) => error,
            };
            // A new leader may answer.
            let again =
                matches!(error, WaitError::Refused(Refusal::NotLeader { .. } | Refusal::LeaderChanged));
            if !again || Instant::now() >= deadline {
                let message = format!(
                    "a linearizable read needs the cluster's quorum, which this node cannot reach: {error}. See FROM \
                     quack_raft_status(); to read what this node has, attach with consistency 'local'"
                );
                return Err(StoreError::new(ErrorKind::CONNECTION, message));
            }
            std::thread::sleep(LINEARIZE_POLL);
        }
    }

    /// Values of sequences that are reserved for this node.
    pub fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: ProposalId) {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.sequence);
    }

    /// Tells the log that this process has started: what its predecessor left unfinished is void.
    pub fn announce_boot(self: &Arc<Self>) -> Result<(), StoreError> {
        self.node()?;
        let proposer = LogProposer::new(self.clone());
        proposer.run(Body::Boot(Boot {})).map(|_| ())
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

    /// Returns when all members can apply something.
    pub fn require(&self, feature: &Feature) -> Result<(), StoreError> {
        self.node.require(feature)
    }

    /// From now on waiting ends when the statement is interrupted.
    pub fn watch(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    /// Proposes one entry and waits for its outcome.
    pub fn run(&self, body: Body) -> Result<Outcome, StoreError> {
        let (id, answered) = self.draw();
        let data = entry::encode(id, answered, self.mark(), body);
        let pending = self.propose(DEFAULT_GROUP, id, data)?;
        self.wait(pending)
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

    fn draw(&self) -> (ProposalId, Answered) {
        let Some(node) = self.node.handle.get() else {
            // `propose` will say that there is no node yet.
            let no_proposal = ProposalId { origin: quack_types::RaftId(0), boot: 0, sequence: 0 };
            return (no_proposal, Answered::default());
        };
        let mut outstanding = self.node.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        // Drawn under the lock, so that no smaller sequence can appear after this.
        let id = node.next_proposal_id();
        outstanding.insert(id.sequence);
        (id, Answered::of(&outstanding, LAG))
    }

    fn mark(&self) -> Option<Mark> {
        self.node.handle.get()?.decided()
    }

    fn propose(&self, group: &str, id: ProposalId, data: Bytes) -> Result<Waiter, StoreError> {
        let node = self.node.node()?;
        let group = if group == DEFAULT_GROUP { None } else { node.group_named(group) };
        let proposed = node.propose(group.unwrap_or(GroupId::ROOT), id, data, &self.interrupted());
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
