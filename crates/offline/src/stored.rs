//! What a store holds beside the tables.

use quack_apply::{State, StateError};
use quack_types::LogIndex;

/// What was read out of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Cluster, node and incarnation whose store it is.
    pub owner: String,
    /// The last entry of the root that it holds.
    pub position: u64,
    /// The applier's state there; empty before the first entry.
    pub state: Vec<u8>,
}

/// Where the store stands: it is written by checkpoints alone, so this is the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Cluster, node and incarnation whose store it is.
    pub owner: String,
    /// What the applier remembers there.
    pub state: State,
}

impl Stored {
    /// Reads the state.
    ///
    /// # Errors
    /// It is damaged, or of another release.
    pub fn checkpoint(&self) -> Result<Checkpoint, StateError> {
        let state = State::decode(LogIndex(self.position), &self.state)?;
        Ok(Checkpoint { owner: self.owner.clone(), state })
    }
}
