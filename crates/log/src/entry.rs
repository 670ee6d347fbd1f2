//! What the log stores, as values. Contents are opaque.

use bytes::Bytes;
use quack_types::{GroupId, LogIndex, NodeId, RaftId, Term};

/// What an entry means to Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A proposal of the layer above.
    Normal,
    /// A membership change of one member.
    ConfChange,
    /// A membership change through joint consensus.
    ConfChangeV2,
}

/// One entry of one group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Term of the leader that created the entry.
    pub term: Term,
    /// Place in the group's log.
    pub index: LogIndex,
    /// What the entry means to Raft.
    pub kind: EntryKind,
    /// The proposal.
    pub data: Bytes,
    /// Bytes that travel with the entry for the proposer's use.
    pub context: Bytes,
}

impl LogEntry {
    /// Bytes of data and context.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.context.len()
    }
}

/// An entry with the group whose log it is in: what the one order is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// The group.
    pub group: GroupId,
    /// Its entry.
    pub entry: LogEntry,
}

/// What a member of a group must not forget (Raft, figure 2: current term, voted for; and the commit index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// Latest term that was seen.
    pub term: Term,
    /// The candidate that this member voted for in that term; 0 for none.
    pub vote: RaftId,
    /// Highest index known to be committed.
    pub commit: LogIndex,
}

/// Position up to which a group's log is gone, and the membership there.
///
/// A new group starts with a floor of index 0 that carries its first membership.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Floor {
    /// Last index that is no longer in the log; 0 when nothing was removed.
    pub index: LogIndex,
    /// Term of the entry at that index.
    pub term: Term,
    /// Membership at that index, opaque to the log.
    pub membership: Bytes,
}

/// What one group asks to have stored. Taken in the order floor, entries, hard state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWrite {
    /// The group.
    pub group: GroupId,
    /// Entries with ascending indexes. The first may lie at or below the last
    /// index of the log: then the log's tail from there is replaced (Raft's
    /// conflict rule).
    pub entries: Vec<LogEntry>,
    /// New hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// New floor. When the log holds its index with the same term, entries up to
    /// it are dropped (compaction); otherwise the whole log of the group is
    /// replaced by the floor (a snapshot was installed).
    pub floor: Option<Floor>,
    /// The group is forgotten with all that it has. Nothing else is asked for then.
    pub gone: bool,
}

impl GroupWrite {
    /// A write that asks for nothing yet.
    pub fn new(group: GroupId) -> Self {
        Self { group, entries: Vec::new(), hard_state: None, floor: None, gone: false }
    }
}

/// Whose log it is. A log never opens under another identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogIdentity {
    /// The cluster, a random number drawn when it was born.
    pub cluster_id: u128,
    /// The node.
    pub node: NodeId,
    /// Counts how often the node was rebuilt after it had lost its disk.
    pub incarnation: u64,
}
