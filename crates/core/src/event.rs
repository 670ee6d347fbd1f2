//! Everything that can happen to a node. A closed set.

use bytes::Bytes;
use quack_types::{GroupId, LogIndex, ProposalId, RaftId};

use crate::MemberChange;

/// Input of [`crate::Node::handle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One tick of the shell's timer has passed, for all groups.
    Tick,
    /// A peer's Raft message. `from` is the identity that the connection proved.
    Message {
        /// Who sent it.
        from: RaftId,
        /// The group that it is for.
        group: GroupId,
        /// What [`crate::PeerMessage::bytes`] was at the sender.
        bytes: Bytes,
    },
    /// Propose an entry. Any member may, learners too: the leader gets it.
    ///
    /// The core keeps it, and offers it again to the current leader, until this node
    /// sees it committed: then it turns up in [`crate::Durable::apply`], with its id (see
    /// [`crate::proposal_id`]). It may turn up there more than once: the state machine must
    /// drop repetitions of an id that it has applied. The core answers it only when it
    /// refuses it at once, and then it is in no log. One that is kept already is kept once.
    /// It is forgotten when the node ends.
    Propose {
        /// The group whose log it is for.
        group: GroupId,
        /// Opaque to the core. At most [`quack_types::limits::ENTRY_BYTES_MAX`] bytes, not empty.
        data: Bytes,
        /// Its origin is this node. Comes back in a refusal and in the entry's context.
        tag: ProposalId,
    },
    /// The shell gives this proposal up in this group: it is not offered again. It may be in
    /// the log already, or get there from a message that is on its way.
    Withdraw {
        /// Of the proposal.
        group: GroupId,
        /// Of the proposal.
        tag: ProposalId,
    },
    /// Propose other members, through joint consensus, all changes at once.
    ProposeMembership {
        /// The group.
        group: GroupId,
        /// What changes. Empty is refused.
        changes: Vec<MemberChange>,
        /// Comes back in a refusal.
        tag: u64,
    },
    /// Hand leadership to another voter. Only the leader does so.
    TransferLeader {
        /// The group.
        group: GroupId,
        /// The voter that is to lead.
        to: RaftId,
    },
    /// Ask for an index such that a read at or behind it is linearizable.
    ReadIndex {
        /// The group.
        group: GroupId,
        /// Comes back in the answer.
        tag: u64,
    },
    /// The state machine has applied everything up to and including this index.
    Applied {
        /// The group.
        group: GroupId,
        /// Last applied entry.
        index: LogIndex,
    },
    /// The state machine is durable up to this index: the log before it may go.
    Compact {
        /// The group.
        group: GroupId,
        /// Last entry that is no longer needed.
        through: LogIndex,
    },
    /// The state machine has created a lane: it begins with the members that the root had at that entry. One that is
    /// there already stays as it is.
    CreateLane {
        /// The lane.
        group: GroupId,
        /// The root's entry that created it.
        at: LogIndex,
    },
    /// The state machine has dropped a lane. It takes no proposals any more, is ordered no further, and serves members
    /// that are behind until it is removed.
    RetireLane {
        /// The lane.
        group: GroupId,
    },
    /// No node needs a retired lane's log any more. Anything else is left alone.
    RemoveLane {
        /// The lane.
        group: GroupId,
    },
    /// Messages to this peer were lost or cannot be delivered now.
    PeerUnreachable {
        /// The peer.
        peer: RaftId,
    },
}
