//! The running digest of outcomes, as it travels between crates and nodes.

use std::fmt;

use crate::{GroupId, LogIndex, ProposalId, RaftId};

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

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOutcome {
    /// Its origin does not wait for it any more.
    Void,
    /// It took effect.
    Applied,
    /// It left no trace.
    Refused {
        /// DuckDB's number of the error's type.
        error_kind: u32,
        /// Another transaction came first.
        conflict: bool,
        /// For people: it may differ among nodes.
        message: String,
    },
}

/// An entry and what became of it, for people who look for the first entry that two nodes have decided differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// The entry's log.
    pub group: GroupId,
    /// Its index there.
    pub index: LogIndex,
    /// The proposal that it carries.
    pub id: ProposalId,
    /// What became of it.
    pub outcome: EntryOutcome,
    /// It had been decided before, and was decided again.
    pub repeated: bool,
    /// The digest behind it.
    pub digest: u64,
    /// The statements that change the catalog, as they were written.
    pub statements: String,
}

/// What applying entries adds to what can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests {
    /// The digests behind the entries of the root, in ascending order.
    pub marks: Vec<Mark>,
    /// What the entries claim.
    pub claims: Vec<Claim>,
    /// What became of each entry.
    pub records: Vec<OutcomeRecord>,
}
