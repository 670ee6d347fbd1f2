//! What the node drives: a deterministic state machine, and its checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quack_log::{GroupEntry, LogEntry};
use quack_types::{Digests, GroupId, LogIndex, Place, ProposalId, RaftId};

use crate::lanes::LaneTable;

/// Reads an entry of a group's log again.
pub type ReadLog<'a> = dyn Fn(GroupId, LogIndex) -> Result<LogEntry, String> + 'a;

/// The replicated state.
///
/// What an implementation must guarantee, on every node alike:
/// - the outcome of an entry depends on the entries before it and on nothing else:
///   not on how they were cut into batches, not on time, place or chance;
/// - a failure that every node would meet (a constraint, a conflict, bytes that
///   cannot be read) is an outcome; only what is wrong with *this* node is a
///   [`LocalError`];
/// - an entry is applied in one piece with the record that it was applied.
///
/// All methods run on the apply thread.
pub trait StateMachine: Send + 'static {
    /// How far the state is in the one order. Asked once, at start: what lies behind
    /// it will be applied.
    fn place(&self) -> Place;

    /// The lanes as the state has them now. Asked for after every call of
    /// [`StateMachine::apply`]: the same `Arc` as long as nothing has changed.
    fn lanes(&self) -> Arc<LaneTable>;

    /// Applies entries in order and returns the outcomes of those that carry proposals,
    /// in the same order; an entry of a lane that does not exist has none.
    ///
    /// Entries of several groups come in the one order: a cut of the root comes, without
    /// its data, behind the entries that it orders. The indexes of a group ascend, but not
    /// always by one: entries that carry nothing for the state (a new leader's first
    /// entry, membership changes) are left out. `log` reads an earlier entry again, for statements that came in parts; what
    /// it may be asked for is bounded by [`Checkpointed::needed`].
    ///
    /// # Errors
    /// A [`LocalError`] latches the node: it applies nothing any more, and its
    /// files stay as they are. What the failed call did must not become durable.
    fn apply(&mut self, entries: &[GroupEntry], log: &ReadLog<'_>) -> Result<Vec<Applied>, LocalError>;

    /// What [`StateMachine::apply`] has come to since this was asked last, to be compared with other nodes, and with what
    /// this one has said before. The digests are part of the state: they depend on what it holds and on nothing else.
    fn digests(&mut self) -> Digests;

    /// The part of the machine that makes checkpoints. Asked once, at start.
    fn checkpointer(&self) -> Arc<dyn Checkpointer>;
}

/// Makes applied entries durable in the machine's own files.
///
/// It is called on a thread of its own while the apply thread goes on, so it must
/// hold up [`StateMachine::apply`] for a bounded moment at most. Calls do not overlap.
pub trait Checkpointer: Send + Sync + 'static {
    /// Writes a checkpoint and says what it guarantees. When something is in its way,
    /// it returns what the last one guarantees (before the first, what the machine
    /// was opened with), and is called again after some more log.
    ///
    /// `held_back_bytes` is how much log has been applied since the last call that
    /// moved [`Checkpointed::durable`]: when something of a client blocks the
    /// checkpoint, this says how long to be patient with it.
    ///
    /// # Errors
    /// A [`LocalError`] latches the node.
    fn checkpoint(&self, held_back_bytes: u64) -> Result<Checkpointed, LocalError>;
}

/// What a checkpoint guarantees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpointed {
    /// After a crash at any later time, [`StateMachine::place`] is at least this.
    /// Read it out of what was written, not out of what is being applied meanwhile.
    pub durable: Place,
    /// Of each group, the lowest entry that the machine may still ask for, after a restart
    /// from this checkpoint too: the first part of the oldest unfinished statement.
    pub needed: BTreeMap<GroupId, LogIndex>,
    /// Of each origin with unfinished statements, what they need: whose doing it is.
    pub unfinished: Vec<(RaftId, BTreeMap<GroupId, LogIndex>)>,
    /// What was in the way of a later one, when it was tried last.
    pub blocked: Option<String>,
}

impl Checkpointed {
    /// Whether an unfinished statement has parts in a lane that was dropped. A copy of the state has no log for them.
    pub(crate) fn needs_dropped_lane(&self) -> bool {
        self.needed.keys().any(|group| self.durable.of(*group).is_none())
    }

    /// For each group, the last entry that the state machine does not need any more.
    pub fn releasable(&self) -> BTreeMap<GroupId, LogIndex> {
        let before = |needed: &LogIndex| LogIndex(needed.0.saturating_sub(1));
        let last = |(group, durable): (GroupId, LogIndex)| {
            (group, self.needed.get(&group).map_or(durable, |needed| durable.min(before(needed))))
        };
        self.durable.groups().map(last).collect()
    }
}

/// What applying one entry decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The proposal that the entry carries, when it could be read.
    pub id: Option<ProposalId>,
    /// The outcome for the proposer. Opaque to the node.
    pub outcome: Bytes,
}

/// Something is wrong with this node alone: disk, memory, corruption, a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LocalError {
    /// What, in words for the operator.
    pub message: String,
}

impl LocalError {
    /// From a text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
