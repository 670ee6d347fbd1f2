//! Why a folder cannot be worked with, in words that say what to do.

use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] quack_node::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] quack_log::Error),
    /// What the log says of members.
    #[error(transparent)]
    Core(#[from] quack_core::Error),
    /// An entry of the log.
    #[error(transparent)]
    Entry(#[from] quack_apply::entry::Error),
    /// What the store holds beside the tables.
    #[error(transparent)]
    Store(#[from] quack_apply::StateError),
    /// The folder must not be worked with.
    #[error(
        "the node in '{}' was to be rebuilt from its cluster, because its state differs from the quorum's or lacks a part of \
         the log: it is no survivor. Use the folder of another node; if there is none, remove the file 'rebuild' in it, and \
         know that what it holds may differ from what was acknowledged",
        .0.display()
    )]
    ToBeRebuilt(PathBuf),
    /// What the folder holds cannot be read, or does not fit together.
    #[error(
        "the folder is damaged, and nothing was changed: {0}. Use the folder of another node, if there is one"
    )]
    Damaged(String),
    /// Others may still decide.
    #[error(
        "the cluster may still have a quorum, and nothing was changed: the folders of the voters {nodes} are not said to be \
         lost. Start the nodes whose folders are left: with a quorum the cluster goes on by itself, and nothing is lost. \
         Only when so many folders are gone for ever that no quorum is left, name the nodes that they belonged to: {flags}"
    )]
    QuorumPossible {
        /// Those that are not said to be lost, with their addresses.
        nodes: String,
        /// The arguments that name all.
        flags: String,
    },
    /// There is nothing to recover.
    #[error("node '{0}' is the only voter of its cluster: nothing needs to be recovered. Start the node")]
    OnlyVoter(String),
    /// A node was named that has no vote.
    #[error("'{node}' is no other voter of this node's cluster: the voters besides this node are {known}")]
    NoVoter {
        /// What was named.
        node: String,
        /// The voters besides this node.
        known: String,
    },
}
