//! What one step of one group has produced so far.
//!
//! It belongs to the group until the step is over, so that a panic in the middle
//! of a step leaves nothing half said in the node's shared effects.

use quack_log::{GroupWrite, LogEntry};

use crate::{Answer, Note, PeerMessage, SnapshotNeeded};

/// Collected by a group, merged by the node after the step.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) send: Vec<PeerMessage>,
    pub(crate) write: Option<GroupWrite>,
    pub(crate) must_sync: bool,
    pub(crate) apply: Vec<LogEntry>,
    pub(crate) snapshots_needed: Vec<SnapshotNeeded>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) notes: Vec<Note>,
}
