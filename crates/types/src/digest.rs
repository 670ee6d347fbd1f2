//! The running digest of outcomes, as it travels between crates and nodes.

use std::fmt;

use crate::{LogIndex, RaftId};

/// What all that was decided up to a position of the root's log comes to, the lanes' entries that it orders included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The position.
    pub root: LogIndex,
    /// The digest there.
    pub digest: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} at entry {}", self.digest, self.root)
    }
}

/// What an entry says about the digest of its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who proposed the entry.
    pub origin: RaftId,
    /// As of when it was proposed.
    pub mark: Mark,
}

/// What applying entries adds to what can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests {
    /// The digests behind the entries of the root, in ascending order.
    pub marks: Vec<Mark>,
    /// What the entries claim.
    pub claims: Vec<Claim>,
}
