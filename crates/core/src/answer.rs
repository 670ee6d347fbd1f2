//! What the core answers to the shell.

use quack_types::{GroupId, LogIndex, ProposalId, RaftId};

/// Answer to a tagged event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The proposal was not taken: it is in no log, and never was on its way to one. The
    /// reason is [`Refusal::Empty`], [`Refusal::TooLarge`], [`Refusal::ForeignProposal`],
    /// [`Refusal::UnknownGroup`], [`Refusal::Poisoned`], or [`Refusal::Busy`]: too much is
    /// kept, propose it again later.
    ProposalRefused {
        /// The group.
        group: GroupId,
        /// Of the event.
        tag: ProposalId,
        /// Why.
        reason: Refusal,
    },
    /// The membership change was not taken.
    MembershipRefused {
        /// The group.
        group: GroupId,
        /// Of the event.
        tag: u64,
        /// Why.
        reason: Refusal,
    },
    /// Leadership was not handed over.
    TransferRefused {
        /// The group.
        group: GroupId,
        /// The voter that was to lead.
        to: RaftId,
        /// Why.
        reason: Refusal,
    },
    /// A read is linearizable as soon as this index is applied here.
    ReadReady {
        /// The group.
        group: GroupId,
        /// Of the event.
        tag: u64,
        /// Wait until this is applied.
        index: LogIndex,
    },
    /// No index could be had; ask again.
    ReadRefused {
        /// The group.
        group: GroupId,
        /// Of the event.
        tag: u64,
        /// Why.
        reason: Refusal,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another node leads the group, or none does.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader, when one is known.
        leader: Option<RaftId>,
    },
    /// The leader changed before the answer was known.
    #[error("the leader changed")]
    LeaderChanged,
    /// No answer arrived within two election timeouts.
    #[error("no answer in time")]
    TimedOut,
    /// The proposal has an id of another node.
    #[error("the proposal has an id of node {origin}, not of this one")]
    ForeignProposal {
        /// Origin in the id.
        origin: RaftId,
    },
    /// Too much is proposed and not yet committed.
    #[error("too much is waiting to be committed")]
    Busy,
    /// Leadership is being handed over.
    #[error("leadership is being handed over")]
    Transferring,
    /// The entry is larger than an entry may be.
    #[error("the entry has {bytes} bytes, more than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An entry without data would be taken for a leader's own empty entry.
    #[error("the entry is empty")]
    Empty,
    /// An earlier membership change is not finished.
    #[error("an earlier membership change is not finished")]
    MembershipPending,
    /// The change does not lead to a valid membership.
    #[error("the membership change is not valid: {what}")]
    MembershipInvalid {
        /// What is wrong.
        what: String,
    },
    /// The node that is to lead is not a voter of the group.
    #[error("the node is not a voter of the group")]
    NotVoter,
    /// There is no such group here.
    #[error("there is no such group on this node")]
    UnknownGroup,
    /// The group was stopped on this node; see its status for the reason.
    #[error("the group is stopped on this node after an internal error")]
    Poisoned,
}
