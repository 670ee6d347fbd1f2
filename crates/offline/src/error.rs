//! Why a folder cannot be worked with, in words that say what to do.

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
}
