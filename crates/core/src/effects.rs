//! What a node asks of its shell, in two stages that the types keep in order.
//!
//! [`Effects`] holds what may happen at once, and the [`Persist`] to be written.
//! [`Durable`] holds what may happen only after that write: it does not exist
//! before, because [`crate::Node::persisted`] consumes the [`Persist`] to make it.

use bytes::Bytes;
use quack_log::{GroupWrite, LogEntry};
use quack_types::{GroupId, LogIndex, RaftId};

use crate::{Answer, Note};

/// First stage: result of [`crate::Node::effects`].
#[derive(Debug)]
#[must_use = "write `persist` to the log and hand it to Node::persisted()"]
pub struct Effects {
    /// Messages of leaders, which may travel while the write is on its way.
    pub send_now: Vec<PeerMessage>,
    /// To be written now, also when it is empty (then there is nothing to write,
    /// but [`crate::Node::persisted`] is still owed).
    pub persist: Persist,
    /// Refusals and read indexes.
    pub answers: Vec<Answer>,
    /// For the log.
    pub notes: Vec<Note>,
}

/// The write that [`Durable`] waits for. Cannot be made or copied outside the core.
#[derive(Debug)]
#[must_use = "hand it to Node::persisted() when it is durable"]
pub struct Persist {
    /// One item per group at most, in group order; to be written in one piece.
    pub writes: Vec<GroupWrite>,
    /// Whether an fsync must follow before [`crate::Node::persisted`]. Without it
    /// only commit positions are written, which a crash may lose.
    pub must_sync: bool,
    /// Counts the requests of one node, so that only the last one is accepted.
    pub(crate) number: u64,
}

/// Second stage: result of [`crate::Node::persisted`].
#[derive(Debug, Default)]
#[must_use = "send the messages and apply the entries"]
pub struct Durable {
    /// Votes, acknowledgements and all other messages that promise that something is durable here.
    pub send: Vec<PeerMessage>,
    /// Committed entries, in order for each group.
    pub apply: Vec<Committed>,
    /// Peers that cannot be helped with the log alone.
    pub snapshots_needed: Vec<SnapshotNeeded>,
    /// Read indexes that became known.
    pub answers: Vec<Answer>,
    /// For the log.
    pub notes: Vec<Note>,
}

/// A Raft message to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMessage {
    /// To whom.
    pub to: RaftId,
    /// For which of its groups.
    pub group: GroupId,
    /// To be handed in there as [`crate::Event::Message`].
    pub bytes: Bytes,
}

/// Entries to apply. Every index comes, also those that carry nothing for the state
/// machine: entries with empty data (a new leader's first) and membership changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The group.
    pub group: GroupId,
    /// Contiguous; the first follows the last one handed out before.
    pub entries: Vec<LogEntry>,
}

/// A follower needs entries that this leader's log no longer holds.
///
/// It stays without progress until it gets a snapshot by other means; the need is
/// repeated as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotNeeded {
    /// The group.
    pub group: GroupId,
    /// Who needs it.
    pub peer: RaftId,
    /// The log of this node begins behind this entry.
    pub floor: LogIndex,
}
