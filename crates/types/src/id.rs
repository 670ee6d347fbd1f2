//! Identifiers. Each is its own type, so that a term is never passed for an index.

use std::fmt;

/// Name of a node: its certificate's name, 1 to 63 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(String);

/// Why a text is not a [`NodeId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node id '{0}' is not valid: use 1 to 63 characters out of A-Z, a-z, 0-9, '.', '_' and '-'")]
pub struct InvalidNodeId(String);

impl NodeId {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidNodeId> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
            return Err(InvalidNodeId(name));
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Raft identity of this node in its given incarnation.
    ///
    /// Raft knows its members by number. The number is the 64-bit FNV-1a hash
    /// (draft-eastlake-fnv) of the name and the incarnation: stable across
    /// machines and releases, and different after a node lost its disk and came
    /// back, so that it can never vote with a lost memory.
    pub fn raft_id(&self, incarnation: u64) -> RaftId {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.0.bytes().chain([0]).chain(incarnation.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // Zero means "no node" in Raft.
        RaftId(hash.max(1))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A Raft group. [`GroupId::ROOT`] always exists; the others are lanes.
    GroupId
}
number! {
    /// Index of an entry in one group's log. The first entry has index 1; 0 means "none".
    LogIndex
}
number! {
    /// Raft term (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", section 5.1).
    Term
}
number! {
    /// The id of a member of a Raft group in Raft; 0 means "no node". See [`NodeId::raft_id`].
    RaftId
}

impl GroupId {
    /// The root group, called `default` in SQL: it orders everything.
    pub const ROOT: GroupId = GroupId(1);
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Identifies one proposal for ever, so that it is applied at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId {
    /// Raft identity of the node that the statement ran on.
    pub origin: RaftId,
    /// How often that node has started, counted from 1.
    pub boot: u64,
    /// Counts the proposals of one boot, from 1, without gaps when they were drawn.
    pub sequence: u64,
}

impl fmt::Display for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{}", self.origin.0, self.boot, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_takes_host_like_names_only() {
        assert!(NodeId::new("n0").is_ok());
        assert!(NodeId::new("boilstream-0.example_a").is_ok());
        for bad in ["", "a b", "n/0", "ü", "../x", &"x".repeat(64)] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn raft_id_changes_with_name_and_incarnation_and_never_otherwise() {
        let n0 = NodeId::new("n0").unwrap();
        let n1 = NodeId::new("n1").unwrap();
        assert_eq!(n0.raft_id(0), n0.raft_id(0));
        assert_ne!(n0.raft_id(0), n0.raft_id(1));
        assert_ne!(n0.raft_id(0), n1.raft_id(0));
        // A released value: it is on disk everywhere.
        assert_eq!(n0.raft_id(0), RaftId(0x6514_2708_50d8_6c89));
    }
}
