//! Facts for the shell's log. The core itself logs nothing.

use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::{InvalidMessage, Membership, Role};

/// Something worth a line in the log. A person must look at
/// [`Note::GroupPoisoned`]; [`Note::Raft`] and [`Note::MessageRefused`] are unexpected
/// but survived; the others are ordinary changes of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Role, term or leader of this node in a group changed.
    RoleChanged {
        /// The group.
        group: GroupId,
        /// Role now.
        role: Role,
        /// Term now.
        term: Term,
        /// Leader now, when one is known.
        leader: Option<RaftId>,
    },
    /// A membership entry took effect.
    MembershipChanged {
        /// The group.
        group: GroupId,
        /// The entry's index.
        index: LogIndex,
        /// The members from here on.
        membership: Membership,
    },
    /// The log of a group now starts behind this index.
    Compacted {
        /// The group.
        group: GroupId,
        /// Last entry that is gone.
        through: LogIndex,
    },
    /// A peer's message was dropped.
    MessageRefused {
        /// Who sent it.
        from: RaftId,
        /// The group that it named.
        group: GroupId,
        /// What is wrong with it.
        reason: InvalidMessage,
    },
    /// A warning or error of the raft crate.
    Raft {
        /// The group.
        group: GroupId,
        /// Its text.
        text: String,
    },
    /// An internal error stopped the group on this node until the next start.
    GroupPoisoned {
        /// The group.
        group: GroupId,
        /// What happened.
        reason: String,
    },
}
