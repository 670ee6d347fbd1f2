//! What the threads of a node and its callers share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_core::{GroupStatus, MemberChange, Promise, Refusal};
use quack_log::Floor;
use quack_types::{GroupId, LogIndex, ProposalId, RaftId};

use crate::lanes::LaneTable;
use crate::metrics::Metrics;
use crate::outcomes::Outcomes;
use crate::pending::Pending;
use crate::room::GOES_ON;
use crate::superseded;
use crate::traffic::Traffic;
use crate::{Checkpointed, ProposeError, WaitError};

/// How often a waiting thread looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(20);
/// So much of an error is shown as the reason: DuckDB's may hold rows.
const REASON_CHARS: usize = 600;

/// What helps against a node's own errors.
const REMEDY: &str = "Mend its cause (room on the disk, the disk itself), then stop the server and start it again. When \
                      that does not help, start it with an empty folder: it is rebuilt from its cluster";

/// What to do with a node that must not work with what it has.
const REBUILT: &str = "stop the server and start it again with the same arguments: it is rebuilt from its cluster by \
                       itself, and what it has now is kept in the folder 'superseded' until then";
const NOT_MARKED: &str = "stop the server, move the files of its data folder elsewhere, and start it again with the \
                          same arguments: it is rebuilt from its cluster by itself";

/// What the raft thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    Propose {
        group: GroupId,
        id: ProposalId,
        data: Bytes,
    },
    Withdraw {
        group: GroupId,
        id: ProposalId,
    },
    Deliver {
        from: RaftId,
        group: GroupId,
        bytes: Bytes,
    },
    Unreachable {
        peer: RaftId,
    },
    /// Peers know nothing against this node: it may take part.
    Begin,
    /// What peers have promised.
    Promises {
        answer: SyncSender<Promises>,
    },
    ReadIndex {
        tag: u64,
    },
    Members {
        changes: Vec<MemberChange>,
        tag: u64,
    },
    Transfer {
        to: RaftId,
    },
    /// Floors for a copy of the state machine that is as far as this in each group.
    FloorsAt {
        last: BTreeMap<GroupId, LogIndex>,
        answer: SyncSender<Option<Vec<(GroupId, Floor)>>>,
    },
    /// The state machine is durable at `durable`, and of each group needs nothing up to an entry; of those `needed` it
    /// needs something, also when they are dropped.
    Compact {
        durable: LogIndex,
        through: BTreeMap<GroupId, LogIndex>,
        needed: BTreeSet<GroupId>,
        unfinished: Vec<(RaftId, BTreeMap<GroupId, LogIndex>)>,
    },
    /// The state machine has created lanes, each with an entry of the root; it goes on when they are durable.
    CreateLanes {
        lanes: Vec<(GroupId, LogIndex)>,
        done: SyncSender<()>,
    },
    /// It has dropped a lane, with this entry of the root.
    RetireLane {
        group: GroupId,
        at: LogIndex,
    },
    Stop,
}

/// What each peer has promised this node since it started, in each group.
pub type Promises = BTreeMap<RaftId, BTreeMap<GroupId, Promise>>;

/// How far the node is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Last entry of the root group that is durable and committed.
    pub committed: LogIndex,
    /// Last entry of the root group that is applied.
    pub applied: LogIndex,
    /// Last entry of each lane that is applied.
    pub lanes_applied: BTreeMap<GroupId, LogIndex>,
    /// The lanes at that place.
    pub lanes: Arc<LaneTable>,
    /// What has been applied of each group since the start.
    pub traffic: BTreeMap<GroupId, Traffic>,
    /// Bytes of entries applied since the last checkpoint began.
    pub log_bytes: u64,
    /// At how many of them the next checkpoint begins.
    pub checkpoint_due: u64,
    /// The last checkpoint.
    pub checkpointed: Checkpointed,
    /// A checkpoint is being made.
    pub checkpointing: bool,
    /// Those who keep the next checkpoint away, by their numbers.
    pub checkpoint_holds: BTreeMap<u64, Hold>,
    /// How many there have been.
    pub holds_begun: u64,
    /// Checkpoints that were asked for, and that have ended.
    pub checkpoints_asked: u64,
    pub checkpoints_ended: u64,
    /// The apply thread is to end.
    pub stop_apply: bool,
    /// The checkpoint thread is to end, after a last checkpoint.
    pub stop_checkpoint: bool,
    /// A caller has asked the node to stop.
    pub stopped: bool,
    /// The first local error.
    pub degraded: Option<String>,
    /// Who has no room on the disk, and why: the node serves again when there is some.
    pub full: BTreeMap<Writer, String>,
    /// Why the last checkpoint that was due was not made.
    pub postponed: Option<String>,
    /// For each group, who holds its log back longer than checkpoints need it, in words.
    pub held: Held,
    /// The groups as the raft thread saw them last.
    pub groups: BTreeMap<GroupId, GroupStatus>,
}

/// For each group, who holds its log back, in words.
pub(crate) type Held = BTreeMap<GroupId, BTreeSet<String>>;

/// What keeps checkpoints away, and with them the log.
#[derive(Debug)]
pub(crate) struct Hold {
    /// For people.
    pub owner: String,
    /// So many bytes of log may come meanwhile.
    pub log_bytes_max: u64,
    /// They have, and checkpoints are made again.
    pub is_over: Arc<AtomicBool>,
}

/// What of a node writes to its disk, and waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Writer {
    Log,
    Store,
    /// Not the disk: the store has no memory for the next entry.
    Memory,
}

impl Writer {
    /// What becomes of the node, and what helps, for people.
    fn goes_on(self) -> &'static str {
        match self {
            Self::Log | Self::Store => GOES_ON,
            Self::Memory => {
                "Nothing is lost: end what needs memory on this machine, and the node goes on by itself"
            }
        }
    }

    /// What a client is told that has waited too long.
    fn obstacle(self) -> &'static str {
        match self {
            Self::Log | Self::Store => {
                "the disk of the node's data folder is full, or the process may open no more files (ulimit -n): make room, and \
                 the node goes on by itself"
            }
            Self::Memory => {
                "the node has no memory to apply what is committed: end what needs memory there, and the node goes on by itself"
            }
        }
    }
}

impl Progress {
    /// Ends the holds that have lasted too long; says whether checkpoints may be made.
    pub fn may_checkpoint(&mut self) -> bool {
        let log_bytes = self.log_bytes;
        self.checkpoint_holds.retain(|_, hold| {
            let stays = log_bytes <= hold.log_bytes_max;
            if !stays {
                // Before any checkpoint: who copies looks behind each piece.
                hold.is_over.store(true, Ordering::Release);
                let owner = &hold.owner;
                tracing::warn!(
                    owner,
                    log_bytes,
                    "it has kept checkpoints away for too long, and is given up"
                );
            }
            stays
        });
        self.checkpoint_holds.is_empty()
    }

    /// Why the node does not serve: an error that has latched it, or a full disk.
    pub fn trouble(&self) -> Option<String> {
        let full =
            || self.full.iter().next().map(|(writer, reason)| format!("{reason}. {}", writer.goes_on()));
        self.degraded.clone().or_else(full)
    }

    /// The root group as the raft thread saw it last.
    pub fn root(&self) -> Option<&GroupStatus> {
        self.groups.get(&GroupId::ROOT)
    }
}

type ReadAnswer = Result<LogIndex, Refusal>;

/// Shared state. Every lock is held for a moment only, and never while foreign code runs.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The node's data folder.
    folder: PathBuf,
    progress: Mutex<Progress>,
    /// Set with `Progress::degraded`, for those who ask often.
    is_degraded: AtomicBool,
    /// Whether `Progress::full` says why.
    is_full: AtomicBool,
    /// There may be something to apply.
    pub apply_wakes: Condvar,
    /// There may be a checkpoint to make.
    pub checkpoint_wakes: Condvar,
    /// Something moved that callers wait for.
    pub moved: Condvar,
    pub pending: Arc<Pending>,
    pub metrics: Metrics,
    /// Digests of outcomes.
    pub outcomes: Arc<Outcomes>,
    /// The last number that was given to a proposal of this start.
    pub sequence: AtomicU64,
    reads: Mutex<HashMap<u64, SyncSender<ReadAnswer>>>,
    /// Membership changes that were refused, by tag; those who asked look here.
    members_refused: Mutex<HashMap<u64, Refusal>>,
}

impl Shared {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, ..Self::default() }
    }

    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        // Plain values: they stay usable after a panic of any thread that held the lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on a condition until it was signalled or some time has passed.
    pub fn wait<'a>(
        &self,
        condvar: &Condvar,
        progress: MutexGuard<'a, Progress>,
        timeout: Duration,
    ) -> MutexGuard<'a, Progress> {
        condvar.wait_timeout(progress, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Latches the node for an error of its own, and says what helps against most of them.
    pub fn fail(&self, error: &str) {
        let mut shown: String = error.chars().take(REASON_CHARS).collect();
        if shown.len() < error.len() {
            tracing::error!(error, "the whole error, of which the reason shows the beginning");
            shown.push_str(" ...");
        }
        self.degrade(&format!("{shown}. {REMEDY}"));
    }

    /// Latches the node for a reason that a restart does not mend: its next start has it rebuilt from its cluster.
    pub fn degrade_for_good(&self, reason: &str) {
        match superseded::mark(&self.folder) {
            Ok(()) => self.degrade(&format!("{reason}: {REBUILT}")),
            Err(error) => {
                tracing::error!(%error, "the node could not be marked to be rebuilt");
                self.degrade(&format!("{reason}: {NOT_MARKED}"));
            }
        }
    }

    /// Latches the node: it serves no more. The first reason stays.
    pub fn degrade(&self, reason: &str) {
        let mut progress = self.progress();
        if progress.degraded.is_some() {
            return;
        }
        tracing::error!(reason, "the node is degraded: it applies and accepts nothing until it is restarted");
        progress.degraded = Some(reason.to_owned());
        self.is_degraded.store(true, Ordering::Release);
        // Under the lock: a thread that sees the node degraded also finds it closed.
        let refusal = ProposeError::Degraded { reason: reason.to_owned() };
        self.pending.close(refusal, &format!("the node is degraded: {reason}"));
        drop(progress);
        self.wake_all();
        self.refuse_reads(&Refusal::Poisoned);
    }

    pub fn is_degraded(&self) -> bool {
        self.is_degraded.load(Ordering::Acquire)
    }

    /// Whether the node does not serve.
    pub fn is_out_of_service(&self) -> bool {
        let progress = self.progress();
        progress.stopped || progress.degraded.is_some() || !progress.full.is_empty()
    }

    /// The node does not serve until there is room on its disk.
    pub fn fill(&self, writer: Writer, reason: &str) {
        let mut progress = self.progress();
        if progress.full.insert(writer, reason.to_owned()).is_none() {
            tracing::error!(reason, "there is no room: the node waits for some");
        }
        self.is_full.store(true, Ordering::Release);
        drop(progress);
        self.pending.note_full(Some(writer.obstacle()));
        self.moved.notify_all();
        self.refuse_reads(&Refusal::Poisoned);
    }

    /// There is room, again or still. Called before each write; only a full disk takes the lock.
    pub fn find_room(&self, writer: Writer) {
        if !self.is_full() {
            return;
        }
        let mut progress = self.progress();
        let Some(reason) = progress.full.remove(&writer) else { return };
        tracing::info!(reason, "there is room again: the node goes on");
        let left = progress.full.keys().next().copied();
        self.is_full.store(left.is_some(), Ordering::Release);
        drop(progress);
        self.pending.note_full(left.map(Writer::obstacle));
        self.wake_all();
    }

    /// Answers a proposal that has reached no log: it was not taken.
    pub fn refuse_proposal(&self, id: ProposalId) {
        let reason = self.progress().trouble().unwrap_or_default();
        self.pending.complete([(id, Err(ProposeError::Degraded { reason }))]);
    }

    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    pub fn wake_all(&self) {
        self.apply_wakes.notify_all();
        self.checkpoint_wakes.notify_all();
        self.moved.notify_all();
    }

    /// Waits until `ready` says yes, and no longer than the node serves.
    pub fn wait_until(
        &self,
        timeout: Duration,
        interrupted: &dyn Fn() -> bool,
        what: &'static str,
        ready: impl Fn(&Progress) -> bool,
    ) -> Result<(), WaitError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let progress = self.progress();
            if ready(&progress) {
                return Ok(());
            }
            if let Some(reason) = progress.trouble() {
                return Err(WaitError::Degraded { reason });
            }
            if progress.stopped {
                return Err(WaitError::Stopped);
            }
            let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(WaitError::TimedOut { what });
            }
            drop(self.wait(&self.moved, progress, POLL.min(left)));
            if interrupted() {
                return Err(WaitError::Interrupted);
            }
        }
    }

    pub fn refuse_members(&self, tag: u64, reason: Refusal) {
        self.members_refused.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, reason);
        self.moved.notify_all();
    }

    pub fn take_members_refusal(&self, tag: u64) -> Option<Refusal> {
        self.members_refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag)
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<u64, SyncSender<ReadAnswer>>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a reader that waits for a read index.
    pub fn begin_read(&self, tag: u64) -> std::sync::mpsc::Receiver<ReadAnswer> {
        let (sender, receiver) = sync_channel(1);
        self.reads().insert(tag, sender);
        receiver
    }

    pub fn end_read(&self, tag: u64, answer: ReadAnswer) {
        if let Some(sender) = self.reads().remove(&tag) {
            // A waiter that gave up does not want it.
            let _ = sender.send(answer);
        }
    }

    pub fn refuse_reads(&self, reason: &Refusal) {
        for (_, sender) in self.reads().drain() {
            let _ = sender.send(Err(reason.clone()));
        }
    }
}
