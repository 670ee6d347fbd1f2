//! What can go wrong, in words that say what to do.

/// Why something about the cluster was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder.
    #[error(transparent)]
    Node(#[from] quack_node::Error),
    /// The server was stopped meanwhile.
    #[error("the server was stopped while it waited: {waiting}")]
    Stopped {
        /// For what.
        waiting: String,
    },
    /// A change of members, as the leader sees it.
    #[error("{0}")]
    Change(String),
    /// The node was started otherwise than its cluster.
    #[error("{0}")]
    Disagreement(String),
    /// A member could not apply it.
    #[error("the cluster cannot do this now: {0}. See FROM quack_multiraft_sql_contract_status()")]
    Fenced(String),
    /// A peer.
    #[error(transparent)]
    Call(#[from] quack_net::CallError),
}
