//! What the host of a node implements for its peers, and what it learns about them.

use std::time::Duration;

use bytes::Bytes;
use quack_types::NodeId;

use crate::Endpoint;

/// Takes what peers send. The identity of a peer is proved by its certificate before anything is called.
pub trait PeerHandler: Send + Sync + 'static {
    /// Whether this node may speak to us now; asked at every request, and so at least once for each connection, and
    /// whenever messages arrive. The text is the refusal that is sent to it. Must not block.
    fn admit(&self, peer: &NodeId) -> Result<(), String>;

    /// One frame of the message stream of a peer. All frames of a peer come one after the other, in the order in
    /// which they were sent; those of different peers at the same time. May block: the peer then stops sending.
    fn message(&self, peer: &NodeId, frame: Bytes);

    /// A call. May block, on one of [`PeerLimits::calls_max`](crate::PeerLimits::calls_max) threads; the caller
    /// waits until its own deadline and no longer. `Err` travels to it as text.
    fn call(&self, peer: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String>;

    /// The way to a peer is there (`true`), or broken (`false`): frames that were on their way may be lost. Called
    /// at every change. Must not block.
    fn reachable(&self, peer: &NodeId, reachable: bool) {
        let _ = (peer, reachable);
    }
}

/// Why a call has brought no answer. Only the last two leave open whether it was carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection. The call has not been made.
    #[error("node '{node}' cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// What the last attempt met.
        reason: String,
    },
    /// The node has answered, with a refusal.
    #[error("node '{node}' refuses: {text}")]
    Refused {
        /// The node.
        node: NodeId,
        /// Its words.
        text: String,
    },
    /// The deadline has passed. The outcome is unknown.
    #[error("node '{node}' has not answered within {} ms: the outcome is unknown", deadline.as_millis())]
    TimedOut {
        /// The node.
        node: NodeId,
        /// The deadline that was given.
        deadline: Duration,
    },
    /// The connection broke before the answer came. The outcome is unknown.
    #[error("the connection to node '{node}' broke during a call ({reason}): the outcome is unknown")]
    Broken {
        /// The node.
        node: NodeId,
        /// What happened.
        reason: String,
    },
}

impl CallError {
    /// Whether the call may have been carried out all the same.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, CallError::TimedOut { .. } | CallError::Broken { .. })
    }
}

/// How the way to a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Where it is looked for.
    pub endpoint: Endpoint,
    /// Whether a connection stands over which messages travel.
    pub connected: bool,
    /// Why the last connection ended, or the last attempt failed; `None` while connected.
    pub last_error: Option<String>,
    /// Bytes of frames that wait to be sent.
    pub queued_bytes: usize,
    /// The last measured time there and back, by a ping of the connection.
    pub round_trip: Option<Duration>,
}
