//! A running node, as its host sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_core::{MemberChange, Membership, Node, Refusal};
use quack_log::{DiskOs, Floor, Log, LogRead, LogReader};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{GroupId, LogIndex, ProposalId, RaftId};

use crate::apply_loop::ApplyLoop;
use crate::checkpoint_loop::{CheckpointLoop, KeptLog};
use crate::folder::DataFolder;
use crate::identity::Identity;
use crate::lanes::LaneTable;
use crate::machine::{Checkpointed, StateMachine};
use crate::metrics::Sample;
use crate::pending::{Proposal, Waiter};
use crate::raft_loop::RaftLoop;
use crate::shared::{Command, Shared};
use crate::status::{self, GroupInfo, NodeStatus};
use crate::threads::{self, Thread};
use crate::transport::Transport;
use crate::{Error, MemberError, NodeConfig, ProposeError, WaitError, random};

/// Commands on their way to the raft thread. It takes up to this many in one turn.
const COMMANDS_MAX: usize = 4096;
/// How often a waiting thread looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(20);

/// A node that runs in this process.
#[derive(Debug)]
pub struct NodeHandle {
    config: NodeConfig,
    identity: Identity,
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    sequence: AtomicU64,
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
    /// Starts the node of a folder. `first` are the members with which its cluster was founded; a log that knows its
    /// members keeps those.
    ///
    /// The machine's state must be the one that belongs to the folder's log. Entries
    /// behind it are applied in the background; see [`NodeHandle::wait_until_ready`].
    ///
    /// # Errors
    /// A log or a position that does not check, see [`Error`]; nothing was changed then.
    pub fn start(
        config: NodeConfig,
        folder: DataFolder,
        machine: Box<dyn StateMachine>,
        transport: Box<dyn Transport>,
        first: Membership,
    ) -> Result<Arc<Self>, Error> {
        config.validate()?;
        let identity = folder.identity().clone();
        let (log, recovery) = Log::open(folder.log_disk(), config.log.clone(), &folder.log_identity())?;
        tracing::info!(?recovery, boot = identity.boot, node = %identity.node_id, "log opened");
        let reader = log.reader();
        let (place, lanes) = (machine.place(), machine.lanes());
        let applied = place.root;
        // The store of a snapshot may be ahead of the log that came with it.
        let is_ahead = folder.has_foreign_store()?;
        let known = |(group, index): (GroupId, LogIndex)| {
            (group, if is_ahead { last_of(&reader, group).min(index) } else { index })
        };
        let known: Vec<(GroupId, LogIndex)> = place.groups().map(known).collect();
        let is_over = |group: &GroupId| {
            *group != GroupId::ROOT && *group <= lanes.last_group && !lanes.lanes.contains_key(group)
        };
        let retired: Vec<GroupId> = reader.groups().into_iter().filter(is_over).collect();
        let core = start_core(&identity, &known, &retired, lanes.last_group, &log, first)?;
        folder.count_boot()?;

        let shared = Arc::new(Shared::new(folder.path().to_owned()));
        let mut progress = shared.progress();
        (progress.committed, progress.applied) = (applied, applied);
        (progress.lanes_applied, progress.lanes) = (place.lanes.clone(), Arc::clone(&lanes));
        // It was read from the machine's own files.
        progress.checkpointed = Checkpointed { durable: place.clone(), needed: BTreeMap::new() };
        progress.checkpoint_due = config.checkpoint_log_bytes;
        progress.groups = core.statuses().into_iter().map(|status| (status.group, status)).collect();
        drop(progress);

        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        let (tick, apply_bytes_max) = (config.tick, config.apply_bytes_max);
        let checkpoints = CheckpointLoop {
            checkpointer: machine.checkpointer(),
            shared: Arc::clone(&shared),
            commands: commands.clone(),
            log_bytes: config.checkpoint_log_bytes,
            on_stop: config.checkpoint_on_stop,
            kept: KeptLog::new(config.keep_log_bytes, place.groups().collect(), log.bytes_on_disk()),
        };
        let groups = reader.groups();
        let missing = lanes.lanes.iter().filter(|(group, _)| !groups.contains(group));
        let missing = missing.map(|(group, lane)| (*group, lane.created)).collect();
        let applies = ApplyLoop {
            log: reader,
            shared: Arc::clone(&shared),
            commands: commands.clone(),
            apply_bytes_max,
            tick,
            lanes,
            lanes_applied: place.lanes,
            missing,
        };
        let raft = RaftLoop {
            core,
            log,
            transport,
            commands: receiver,
            shared: Arc::clone(&shared),
            tick,
            applied: known.first().map_or(LogIndex(0), |(_, root)| *root),
            leader_seen: None,
            retired: retired.into_iter().map(|group| (group, LogIndex(0))).collect(),
            created: Vec::new(),
        };
        let running = spawn_all(&shared, raft, applies, machine, checkpoints, folder)?;
        Ok(Arc::new(Self {
            config,
            identity,
            shared,
            commands,
            sequence: AtomicU64::new(0),
            read_tags: AtomicU64::new(0),
            member_tags: AtomicU64::new(0),
            process: std::process::id(),
            running: Mutex::new(Some(running)),
        }))
    }

    /// Whose node it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A new id for a proposal of this node. Never given twice, in any life of the node.
    pub fn next_proposal_id(&self) -> ProposalId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
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
        match &self.shared.progress().degraded {
            Some(reason) => ProposeError::Degraded { reason: reason.clone() },
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
    /// thesis, section 6.4). Returns the position.
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
            let gives_up = if self.shared.has_ended() {
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
        self.wait_applied(index, deadline.saturating_duration_since(Instant::now()), interrupted)?;
        Ok(index)
    }

    fn ended(&self) -> WaitError {
        match &self.shared.progress().degraded {
            Some(reason) => WaitError::Degraded { reason: reason.clone() },
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
        Ok(self.shared.progress().checkpointed.durable.root)
    }

    /// Latches the node degraded, for an error of this node that its host has found.
    pub fn fail(&self, error: &str) {
        self.shared.fail(error);
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
        samples
    }

    /// The leader of the root group, when one is known.
    pub fn leader(&self) -> Option<RaftId> {
        self.shared.progress().root()?.leader
    }

    /// Whether this node leads the root group.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.raft_id())
    }

    /// Under which this node is a member of its groups.
    pub fn raft_id(&self) -> RaftId {
        self.identity.raft_id()
    }

    /// The members of the root group.
    pub fn membership(&self) -> Membership {
        self.shared.progress().root().map(|root| root.membership.clone()).unwrap_or_default()
    }

    /// The last entry of the root group that this node knows to be committed.
    pub fn commit_index(&self) -> LogIndex {
        self.shared.progress().root().map_or(LogIndex(0), |root| root.commit_index)
    }

    /// Whether somebody has stopped the node.
    pub fn has_stopped(&self) -> bool {
        self.shared.progress().stopped
    }

    /// Whether no error has latched the node. Takes no lock.
    pub fn serves(&self) -> bool {
        !self.shared.is_degraded()
    }

    /// The error that has latched the node, if one has.
    pub fn degraded(&self) -> Option<String> {
        self.shared.progress().degraded.clone()
    }

    /// Changes the members of the root group, all at once, through joint consensus. Only the leader can. Returns
    /// when the change is committed.
    pub fn change_members(&self, changes: Vec<MemberChange>, timeout: Duration) -> Result<(), MemberError> {
        let reached = |membership: &Membership| {
            !membership.is_joint()
                && changes.iter().all(|change| match change {
                    MemberChange::Voter(id) => membership.voters.contains(id),
                    MemberChange::Learner(id) => membership.learners.contains(id),
                    MemberChange::Remove(id) => {
                        !membership.voters.contains(id) && !membership.learners.contains(id)
                    }
                })
        };
        let tag = self.member_tags.fetch_add(1, Ordering::Relaxed);
        let command = Command::Members { changes: changes.clone(), tag };
        self.commands.send(command).map_err(|_| MemberError::Waiting(self.ended()))?;
        let deadline = Instant::now() + timeout;
        while !reached(&self.membership()) {
            if let Some(reason) = self.shared.take_members_refusal(tag) {
                return Err(MemberError::Refused(reason));
            }
            if self.shared.has_ended() {
                return Err(MemberError::Waiting(self.ended()));
            }
            if Instant::now() >= deadline {
                return Err(MemberError::Waiting(WaitError::TimedOut { what: "the change of members" }));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whether all lanes have the root's members, as far as this node knows. Each follows by itself, and until then needs
    /// the members that it still has.
    pub fn lanes_follow(&self) -> bool {
        status::lanes_follow(&self.shared.progress())
    }

    /// Waits until all lanes have the root's members.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_for_lanes(&self, timeout: Duration) -> Result<(), WaitError> {
        let what = "every group to have the cluster's members";
        self.shared.wait_until(timeout, &|| false, what, status::lanes_follow)
    }

    /// For a node that has joined with a snapshot: the store of a snapshot may be ahead of the log that came with it;
    /// from when the log has reached it, both are the node's own. Asked for from time to time.
    pub fn settle_store(&self) -> Result<(), Error> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_ref() else { return Ok(()) };
        let caught_up = {
            let progress = self.shared.progress();
            progress.committed >= progress.applied
                && progress.root().is_some_and(|root| root.commit_index >= progress.applied)
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

    /// Asks this node to hand leadership to another voter.
    pub fn transfer_leader(&self, to: RaftId) {
        // A node that has stopped leads nobody.
        let _ = self.commands.send(Command::Transfer { to });
    }

    /// Keeps checkpoints away, so that the machine's files stay as the last one has left them, and says where a copy
    /// of them begins: entries up to the floor are in it; later ones may be.
    ///
    /// # Errors
    /// The log does not know the members at that position any more: make a checkpoint first.
    pub fn hold_checkpoints(self: &Arc<Self>, timeout: Duration) -> Result<CheckpointHold, WaitError> {
        let deadline = Instant::now() + timeout;
        let mut progress = self.shared.progress();
        while progress.checkpointing {
            if Instant::now() >= deadline {
                return Err(WaitError::TimedOut { what: "the end of a checkpoint" });
            }
            progress = self.shared.wait(&self.shared.moved, progress, POLL);
        }
        progress.checkpoint_holds += 1;
        let last = progress.checkpointed.releasable();
        drop(progress);
        let release = ReleaseCheckpoints(Arc::clone(self));
        let (sender, answer) = sync_channel(1);
        self.commands.send(Command::FloorsAt { last, answer: sender }).map_err(|_| self.ended())?;
        let left = deadline.saturating_duration_since(Instant::now());
        match answer.recv_timeout(left) {
            Ok(Some(floors)) => Ok(CheckpointHold { floors, _release: release }),
            Ok(None) | Err(RecvTimeoutError::Timeout) => {
                Err(WaitError::TimedOut { what: "the members at the last checkpoint" })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
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

/// Keeps checkpoints away until it is dropped.
#[derive(Debug)]
pub struct CheckpointHold {
    /// Where a copy of the machine's files begins in each group, the root first.
    pub floors: Vec<(GroupId, Floor)>,
    _release: ReleaseCheckpoints,
}

#[derive(Debug)]
struct ReleaseCheckpoints(Arc<NodeHandle>);

impl Drop for ReleaseCheckpoints {
    fn drop(&mut self) {
        self.0.shared.progress().checkpoint_holds -= 1;
        self.0.shared.checkpoint_wakes.notify_one();
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last position of a group's log.
fn last_of(log: &LogReader<DiskOs>, group: GroupId) -> LogIndex {
    log.last_index(group).max(log.floor(group).index)
}

fn start_core(
    identity: &Identity,
    applied: &[(GroupId, LogIndex)],
    retired: &[GroupId],
    last_lane: GroupId,
    log: &Log<DiskOs>,
    first: Membership,
) -> Result<Node<LogReader<DiskOs>>, Error> {
    let own = identity.raft_id();
    // Nodes that start together must not stand for election together.
    let seed = random::draw()? as u64;
    let config = quack_core::Config { boot: identity.boot, seed, last_lane, ..quack_core::Config::new(own) };
    Ok(Node::new(config, &[(GroupId::ROOT, first)], applied, retired, log.reader())?)
}

fn spawn_all(
    shared: &Arc<Shared>,
    mut raft: RaftLoop,
    mut applies: ApplyLoop,
    mut machine: Box<dyn StateMachine>,
    mut checkpoints: CheckpointLoop,
    folder: DataFolder,
) -> Result<Running, Error> {
    let apply_shared = Arc::clone(shared);
    let apply = threads::spawn("quack-apply", Arc::clone(shared), move || {
        threads::contain(&apply_shared, "quack-apply", || applies.run(machine.as_mut()));
        // Outside of the barrier above: a panic in its destructor must not meet another one.
        drop(machine);
    })?;
    let checkpoint = threads::spawn("quack-checkpoint", Arc::clone(shared), move || checkpoints.run());
    let raft = checkpoint.and_then(|checkpoint| {
        let raft = threads::spawn("quack-raft", Arc::clone(shared), move || raft.run())?;
        Ok((checkpoint, raft))
    });
    match raft {
        Ok((checkpoint, raft)) => Ok(Running { raft, apply, checkpoint, folder }),
        Err(error) => {
            // The threads that did start must not outlive the attempt.
            shared.degrade("the node did not start");
            Err(error)
        }
    }
}
