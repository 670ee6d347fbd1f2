//! A running node, as its host sees it.

mod begin;
mod hold;
mod members;
mod start;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_core::{GroupStatus, Refusal};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{GroupId, LogIndex, Mark, OutcomeRecord, ProposalId, RaftId};

pub use self::hold::CheckpointHold;
use crate::folder::DataFolder;
use crate::identity::Identity;
use crate::lanes::LaneTable;
use crate::metrics::Sample;
use crate::outcomes::{DigestAt, Suspicions};
use crate::pending::{Proposal, Waiter};
use crate::room::Room;
use crate::shared::{Command, Shared, Writer};
use crate::status::{self, GroupInfo, NodeStatus};
use crate::threads::Thread;
use crate::{Error, NodeConfig, ProposeError, WaitError};

/// How often a waiting thread looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(20);
/// How long a read waits for what was committed before it: the largest entries take some seconds, and more beside others.
const APPLY_PATIENCE: Duration = Duration::from_secs(60);

/// How often an entry is tried again for which there was no memory.
const MEMORY_POLL: Duration = Duration::from_millis(200);

/// A node that runs in this process.
#[derive(Debug)]
pub struct NodeHandle {
    config: NodeConfig,
    identity: Identity,
    shared: Arc<Shared>,
    room: Room,
    commands: SyncSender<Command>,
    read_tags: AtomicU64,
    member_tags: AtomicU64,
    /// The process that the threads live in; a fork has none of them.
    process: u32,
    running: Mutex<Option<Running>>,
}

/// What ends when the node stops.
#[derive(Debug)]
struct Running {
    raft: Thread,
    apply: Thread,
    checkpoint: Thread,
    /// Keeps other servers out of the folder.
    folder: DataFolder,
}

impl NodeHandle {
    /// Whose node it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A new id for a proposal of this node. Never given twice, in any life of the node.
    pub fn next_proposal_id(&self) -> ProposalId {
        let sequence = self.shared.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        ProposalId { origin: self.raft_id(), boot: self.identity.boot, sequence }
    }

    /// Proposes an entry in a group; a lane that is not there stands for the root. The waiter has the outcome once it is applied on this node.
    /// Waits for room when too much is on its way; `interrupted` is asked meanwhile.
    ///
    /// # Errors
    /// None of them leaves the outcome open: the entry is in no log.
    pub fn propose(
        &self,
        group: GroupId,
        id: ProposalId,
        data: Bytes,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Waiter, ProposeError> {
        let began = Instant::now();
        self.try_propose(group, id, data, interrupted)
            .inspect_err(|error| self.shared.pending.times.record(Err(error), began.elapsed()))
    }

    fn try_propose(
        &self,
        group: GroupId,
        id: ProposalId,
        data: Bytes,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Waiter, ProposeError> {
        if data.is_empty() {
            return Err(ProposeError::Refused(Refusal::Empty));
        }
        if data.len() > ENTRY_BYTES_MAX {
            let (bytes, max) = (data.len(), ENTRY_BYTES_MAX);
            return Err(ProposeError::Refused(Refusal::TooLarge { bytes, max }));
        }
        if self.shared.is_full() {
            return Err(self.refusal());
        }
        let (bytes_max, wait) = (self.config.proposed_bytes_max, self.config.proposed_wait);
        let pending = &self.shared.pending;
        let proposal = Proposal { group, id, data: &data };
        let waiter = pending.enter(&self.commands, proposal, bytes_max, wait, interrupted)?;
        match self.commands.send(Command::Propose { group, id, data }) {
            Ok(()) => Ok(waiter),
            Err(_) => {
                waiter.was_not_sent();
                Err(self.refusal())
            }
        }
    }

    fn refusal(&self) -> ProposeError {
        match self.shared.progress().trouble() {
            Some(reason) => ProposeError::Degraded { reason },
            None => ProposeError::Stopped,
        }
    }

    /// The lanes as this node has applied them.
    pub fn lanes(&self) -> Arc<LaneTable> {
        Arc::clone(&self.shared.progress().lanes)
    }

    /// Whether SQL may place tables in groups.
    pub fn groups_enabled(&self) -> bool {
        self.lanes().groups_enabled
    }

    /// A lane that exists, by its name.
    pub fn group_named(&self, name: &str) -> Option<GroupId> {
        self.lanes().named(name)
    }

    /// Waits until there is a leader and everything that it has committed is applied here.
    pub fn wait_until_ready(
        &self,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), WaitError> {
        self.shared.wait_until(timeout, interrupted, "a leader, and all that is committed", status::is_ready)
    }

    /// The last entry of the root group that is applied on this node.
    pub fn applied(&self) -> LogIndex {
        self.shared.progress().applied
    }

    /// Waits until an entry of the root group is applied on this node.
    pub fn wait_applied(
        &self,
        index: LogIndex,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), WaitError> {
        self.shared
            .wait_until(timeout, interrupted, "an applied position", |progress| progress.applied >= index)
    }

    /// Waits until everything that was acknowledged anywhere in the cluster before
    /// this call is applied here: reads that begin now are linearizable (Ongaro's
    /// thesis, section 6.4). Returns the position. `timeout` is for the leader's word; what has been committed is applied
    /// as fast as it can be, and one large entry may take longer than an election.
    pub fn linearize(
        &self,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<LogIndex, WaitError> {
        let deadline = Instant::now() + timeout;
        let tag = self.read_tags.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.begin_read(tag);
        if self.commands.send(Command::ReadIndex { tag }).is_err() {
            self.shared.end_read(tag, Err(Refusal::Poisoned));
            return Err(self.ended());
        }
        let index = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.recv_timeout(POLL.min(left)) {
                Ok(Ok(index)) => break index,
                Ok(Err(Refusal::Poisoned)) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Ok(Err(reason)) => return Err(WaitError::Refused(reason)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let gives_up = if self.shared.is_out_of_service() {
                Some(self.ended())
            } else if left.is_zero() {
                Some(WaitError::TimedOut { what: "the leader's word on what is committed" })
            } else {
                interrupted().then_some(WaitError::Interrupted)
            };
            if let Some(error) = gives_up {
                self.shared.end_read(tag, Err(Refusal::TimedOut));
                return Err(error);
            }
        };
        match self.wait_applied(index, APPLY_PATIENCE, interrupted) {
            Ok(()) => Ok(index),
            Err(WaitError::TimedOut { .. }) => Err(WaitError::Behind),
            Err(error) => Err(error),
        }
    }

    fn ended(&self) -> WaitError {
        match self.shared.progress().trouble() {
            Some(reason) => WaitError::Degraded { reason },
            None => WaitError::Stopped,
        }
    }

    /// Makes a checkpoint now and waits for it. Returns the position that is durable
    /// in the machine's own files.
    pub fn checkpoint(
        &self,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<LogIndex, WaitError> {
        let mut progress = self.shared.progress();
        progress.checkpoints_asked += 1;
        let number = progress.checkpoints_asked;
        drop(progress);
        self.shared.checkpoint_wakes.notify_one();
        self.shared.wait_until(timeout, interrupted, "a checkpoint", |progress| {
            progress.checkpoints_ended >= number
        })?;
        let progress = self.shared.progress();
        match &progress.postponed {
            Some(reason) => Err(WaitError::NoRoom { reason: reason.clone() }),
            None => Ok(progress.checkpointed.durable.root),
        }
    }

    /// # Errors
    /// [`WaitError::NoRoom`] when the disk has no room for a checkpoint of the machine.
    pub fn require_room(&self) -> Result<(), WaitError> {
        let bytes = self.shared.progress().log_bytes;
        self.room.for_checkpoint(bytes).map_err(|reason| WaitError::NoRoom { reason })
    }

    /// For the state machine, on its thread: it has no memory for the next entry, and has undone what it had of it. The node
    /// serves no client meanwhile. Waits a moment; false when the node ends, and the machine is to give up.
    pub fn wait_for_memory(&self, reason: &str) -> bool {
        self.shared.fill(Writer::Memory, reason);
        let until = Instant::now() + MEMORY_POLL;
        let mut progress = self.shared.progress();
        loop {
            if progress.stop_apply || progress.degraded.is_some() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            progress = self.shared.wait(&self.shared.apply_wakes, progress, left);
        }
    }

    /// Latches the node degraded, for an error of this node that its host has found.
    pub fn fail(&self, error: &str) {
        self.shared.fail(error);
    }

    /// This node's digest of outcomes at the last position of the root that it has applied; `None` while it has applied
    /// nothing since its start.
    pub fn decided(&self) -> Option<Mark> {
        self.shared.outcomes.last()
    }

    /// This node's digest of outcomes at a position of the root's log.
    pub fn decided_at(&self, root: LogIndex) -> DigestAt {
        self.shared.outcomes.at(root)
    }

    /// The last entries that this node has applied, and what became of them.
    pub fn outcome_records(&self) -> Vec<OutcomeRecord> {
        self.shared.outcomes.records()
    }

    /// A peer's digest of outcomes. `from` is the identity that its connection has proved.
    pub fn hear_digest(&self, from: RaftId, decided: Mark) {
        self.shared.outcomes.hear(from, decided);
    }

    /// What differs among nodes.
    pub fn suspicions(&self) -> Suspicions {
        Suspicions(Arc::clone(&self.shared.outcomes))
    }

    /// A peer's message. `from` is the identity that its connection has proved.
    pub fn deliver(&self, from: RaftId, group: GroupId, bytes: Bytes) {
        // A node that has stopped hears nothing.
        let _ = self.commands.send(Command::Deliver { from, group, bytes });
    }

    /// Messages to a peer do not arrive.
    pub fn peer_unreachable(&self, peer: RaftId) {
        let _ = self.commands.send(Command::Unreachable { peer });
    }

    /// One row for each group. `name` gives the name of another member.
    pub fn status(&self, name: impl Fn(RaftId) -> Option<String>) -> Vec<NodeStatus> {
        let name = |id| self.name_of(id, &name);
        status::rows(&self.shared.progress(), &self.identity.node_id, name)
    }

    /// The groups of the cluster as this node sees them. `name` gives the name of another member.
    pub fn group_infos(&self, name: impl Fn(RaftId) -> Option<String>) -> Vec<GroupInfo> {
        let name = |id| self.name_of(id, &name);
        status::groups(&self.shared.progress(), name)
    }

    fn name_of(&self, id: RaftId, name: impl Fn(RaftId) -> Option<String>) -> String {
        if id == self.raft_id() { Some(self.identity.node_id.to_string()) } else { name(id) }
            .unwrap_or_else(|| format!("{id:016x}", id = id.0))
    }

    /// What this node has measured since it was started.
    pub fn metrics(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.shared.pending.read(&mut samples);
        self.shared.metrics.read(&mut samples);
        self.shared.outcomes.read(&mut samples);
        samples
    }

    /// Under which this node is a member of its groups.
    pub fn raft_id(&self) -> RaftId {
        self.identity.raft_id()
    }

    /// A group as this node sees it; `None` where it has none of this number.
    pub fn group(&self, group: GroupId) -> Option<GroupStatus> {
        self.shared.progress().groups.get(&group).cloned()
    }

    /// The last entry of the root group that this node knows to be committed.
    pub fn commit_index(&self) -> LogIndex {
        self.shared.progress().root().map_or(LogIndex(0), |root| root.commit_index)
    }

    /// Whether a caller has stopped the node.
    pub fn has_stopped(&self) -> bool {
        self.shared.progress().stopped
    }

    /// Whether no error has latched the node, and its disk is not full. Takes no lock.
    pub fn serves(&self) -> bool {
        !self.shared.is_degraded() && !self.shared.is_full()
    }

    /// Why the node does not serve: an error has latched it, or its disk is full.
    pub fn degraded(&self) -> Option<String> {
        self.shared.progress().trouble()
    }

    /// What the disk has no room for.
    pub fn lacks_room(&self) -> Option<String> {
        self.shared.progress().full.values().next().cloned()
    }

    /// Whether an error has latched the node: it serves no more until it is started again.
    pub fn has_failed(&self) -> bool {
        self.shared.is_degraded()
    }

    /// For a node that has joined with a snapshot: the store of a snapshot may be ahead of the log that came with it;
    /// from when the log has reached it, both are the node's own. Asked for from time to time.
    pub fn settle_store(&self) -> Result<(), Error> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_ref() else { return Ok(()) };
        let caught_up = {
            let progress = self.shared.progress();
            let is_there = |(group, applied): (&GroupId, &LogIndex)| {
                progress.groups.get(group).is_some_and(|status| status.commit_index >= *applied)
            };
            // A lane's entries may come later than the cut that names them.
            progress.committed >= progress.applied
                && is_there((&GroupId::ROOT, &progress.applied))
                && progress.lanes_applied.iter().all(is_there)
        };
        if caught_up && running.folder.has_foreign_store()? { running.folder.own_store() } else { Ok(()) }
    }

    /// Latches the node degraded for a reason that a restart does not mend: its next start has it rebuilt from its
    /// cluster.
    pub fn degrade_for_good(&self, reason: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // The folder of a node that has stopped may be another's by now.
        if running.is_some() {
            self.shared.degrade_for_good(reason);
        }
    }

    /// Stops the node: takes no more proposals, ends the batch that is being applied,
    /// makes a last checkpoint, ends the threads, and lets go of the folder.
    ///
    /// Idempotent; callable from any thread, a destructor, at process exit, and in a
    /// forked child (where it does nothing). It waits [`NodeConfig::stop_wait`] at
    /// most; a thread that hangs in the state machine is left behind, and the folder
    /// stays locked then.
    pub fn stop(&self) {
        // The threads did not come along through a fork, and locks may be held for ever.
        if std::process::id() != self.process {
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { raft, apply, checkpoint, folder }) = running.take() else { return };
        let deadline = Instant::now() + self.config.stop_wait;
        self.shared.pending.close(ProposeError::Stopped, "the node was stopped");
        self.shared.progress().stop_apply = true;
        self.shared.wake_all();
        let mut ended = apply.join_until(deadline);
        self.shared.progress().stop_checkpoint = true;
        self.shared.wake_all();
        ended &= checkpoint.join_until(deadline);
        self.send_stop(deadline);
        ended &= raft.join_until(deadline);
        self.shared.progress().stopped = true;
        self.shared.wake_all();
        if ended {
            drop(folder);
        } else {
            tracing::error!(
                "the node did not stop in time: a thread is left behind, and the folder stays locked"
            );
            std::mem::forget(folder);
        }
    }
}

impl NodeHandle {
    /// Tells the raft thread to stop. It may be busy, but not for longer than we wait.
    fn send_stop(&self, deadline: Instant) {
        while let Err(TrySendError::Full(_)) = self.commands.try_send(Command::Stop) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
