//! The way to peers.

use quack_core::{PeerMessage, SnapshotNeeded};
use quack_types::{Mark, RaftId};

/// Sends messages to peers. Called on the raft thread.
///
/// It must not block: what cannot be sent at once is queued within bounds or
/// dropped; Raft repeats what matters. Messages to one peer may be sent together.
/// What arrives goes to [`crate::NodeHandle::deliver`].
pub trait Transport: Send + 'static {
    /// Takes messages in the order in which they should travel. With them goes what this node has decided so far; at the
    /// other end it goes to [`crate::NodeHandle::hear_digest`].
    fn send(&mut self, messages: Vec<PeerMessage>, decided: Option<Mark>);

    /// The log no longer holds what a peer needs: it has to take a snapshot. Said again as long as it lasts.
    fn snapshot_needed(&mut self, need: SnapshotNeeded);

    /// What people call a node, this one among them.
    fn name(&self, _node: RaftId) -> Option<String> {
        None
    }

    /// Whether the node hears and says nothing until its host has called [`crate::NodeHandle::begin`], because peers may
    /// know that its folder is older than what it has promised.
    fn is_introduced(&self) -> bool {
        false
    }
}

/// For a cluster of one, which has no peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&mut self, messages: Vec<PeerMessage>, _decided: Option<Mark>) {
        for message in messages {
            tracing::warn!(to = %message.to, group = %message.group, "there is no way to this peer: message dropped");
        }
    }

    fn snapshot_needed(&mut self, _need: SnapshotNeeded) {}
}
