//! Why a call into the core was refused.
//!
//! None of these leaves the node half changed: the call did nothing.

use quack_types::{GroupId, LogIndex};

/// Error of a call to [`crate::Node`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error("the consensus configuration is not valid: {what}")]
    Config {
        /// The field and what it must be.
        what: &'static str,
    },
    /// The log and the state machine's position do not belong together.
    #[error(
        "group {group}: the state machine has applied entry {applied}, but the log ends at {last}: \
         the log has lost entries. Move the files of the node's folder elsewhere, and start it with an empty folder: with \
         peers it is rebuilt from its cluster"
    )]
    LogBehindState {
        /// The group.
        group: GroupId,
        /// What the state machine has applied.
        applied: LogIndex,
        /// Last entry of the log.
        last: LogIndex,
    },
    /// The state machine is older than the start of the log.
    #[error(
        "group {group}: the state machine has applied up to entry {applied} only, but the log starts \
         behind {floor}: the entries between are gone. Move the files of the node's folder \
         elsewhere, and start it with an empty folder: with peers it is rebuilt from its cluster"
    )]
    StateBehindFloor {
        /// The group.
        group: GroupId,
        /// What the state machine has applied.
        applied: LogIndex,
        /// Index up to which the log was compacted.
        floor: LogIndex,
    },
    /// The durable Raft state of a group contradicts itself.
    #[error(
        "group {group}: the log is not consistent: {what}. Move the files of the node's folder elsewhere, and start it with \
         an empty folder: with peers it is rebuilt from its cluster"
    )]
    LogInconsistent {
        /// The group.
        group: GroupId,
        /// What does not fit.
        what: String,
    },
    /// A snapshot is older than what the log still has.
    #[error(
        "group {group}: the snapshot begins behind entry {floor}, but the log of this node begins behind \
         {known} already: ask for a newer snapshot"
    )]
    SeedBackwards {
        /// The group.
        group: GroupId,
        /// Where the snapshot begins.
        floor: LogIndex,
        /// Where the log begins.
        known: LogIndex,
    },
    /// Too many events at a time.
    #[error("more than {max} events are queued: take the effects before handing in more")]
    QueueFull {
        /// The limit.
        max: usize,
    },
    /// [`crate::Node::effects`] while its last result is not yet durable.
    #[error("the last effects are not durable yet: call persisted() first")]
    PersistOutstanding,
    /// [`crate::Node::persisted`] with something that is not the last request.
    #[error("this write is not the one that was asked for last")]
    PersistUnknown,
}
