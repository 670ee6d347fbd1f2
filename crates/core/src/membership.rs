//! Who belongs to a group, and how it is written into a floor.
//!
//! The bytes in a [`quack_log::Floor`] are the raft crate's protobuf message
//! `ConfState`, with sorted ids: an encoding that can grow and that is equal for
//! equal members.

use bytes::Bytes;
use protobuf::Message as _;
use quack_types::RaftId;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

/// Members of a group. All lists are sorted.
///
/// While a change is under way the group is in a joint state: a decision then needs
/// a majority of `voters` and one of `voters_outgoing` (Raft thesis section 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Those whose majority decides.
    pub voters: Vec<RaftId>,
    /// Those who receive the log and do not vote.
    pub learners: Vec<RaftId>,
    /// The voters before the change that is under way; empty otherwise.
    pub voters_outgoing: Vec<RaftId>,
    /// Voters that become learners when the change that is under way ends.
    pub learners_next: Vec<RaftId>,
}

/// One member's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// Make it a voter, also when it is a learner now.
    Voter(RaftId),
    /// Make it a learner, also when it is a voter now.
    Learner(RaftId),
    /// Remove it.
    Remove(RaftId),
}

/// Bytes in a floor that are no membership.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the membership in the log cannot be read: {reason}")]
pub struct InvalidMembership {
    /// What does not fit.
    pub reason: String,
}

impl Membership {
    /// A membership without a change under way.
    pub fn new(voters: impl Into<Vec<RaftId>>, learners: impl Into<Vec<RaftId>>) -> Self {
        let mut new = Self { voters: voters.into(), learners: learners.into(), ..Self::default() };
        new.voters.sort_unstable();
        new.learners.sort_unstable();
        new
    }

    /// Whether there is no member at all: this node does not know the group's members yet.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether this node has a vote, in either half of a joint state.
    pub fn is_voter(&self, node: RaftId) -> bool {
        self.voters.contains(&node) || self.voters_outgoing.contains(&node)
    }

    /// Whether this node gets what the group decides, with a vote or without.
    pub fn is_member(&self, node: RaftId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Whether this node's vote is the only one.
    pub fn is_only_voter(&self, node: RaftId) -> bool {
        self.voters == [node] && !self.is_joint()
    }

    /// For a floor.
    pub fn encode(&self) -> Bytes {
        // Writing into memory fails only for a message above 2 GiB.
        Bytes::from(self.to_raft().write_to_bytes().unwrap_or_default())
    }

    /// From a floor. Empty bytes are an empty membership.
    pub fn decode(bytes: &Bytes) -> Result<Self, InvalidMembership> {
        let state = ConfState::parse_from_carllerche_bytes(bytes)
            .map_err(|error| InvalidMembership { reason: error.to_string() })?;
        let new = Self::from_raft(&state);
        let all = [&new.voters, &new.learners, &new.voters_outgoing, &new.learners_next];
        if all.into_iter().flatten().any(|id| *id == RaftId(0)) {
            return Err(InvalidMembership { reason: "a member has the id 0".to_owned() });
        }
        Ok(new)
    }

    pub(crate) fn from_raft(state: &ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids: Vec<RaftId> = ids.iter().copied().map(RaftId).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            voters_outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
        }
    }

    pub(crate) fn to_raft(&self) -> ConfState {
        let numbers = |ids: &[RaftId]| ids.iter().map(|id| id.0).collect();
        ConfState {
            voters: numbers(&self.voters),
            learners: numbers(&self.learners),
            voters_outgoing: numbers(&self.voters_outgoing),
            learners_next: numbers(&self.learners_next),
            // Every joint state of ours is left by its leader without being asked.
            auto_leave: self.is_joint(),
            ..ConfState::default()
        }
    }
}

/// The raft crate's form of a change: into a joint state, and out of it by itself.
pub(crate) fn joint_change(changes: &[MemberChange]) -> ConfChangeV2 {
    let single = |change: &MemberChange| {
        let (kind, node) = match *change {
            MemberChange::Voter(node) => (ConfChangeType::AddNode, node),
            MemberChange::Learner(node) => (ConfChangeType::AddLearnerNode, node),
            MemberChange::Remove(node) => (ConfChangeType::RemoveNode, node),
        };
        ConfChangeSingle { change_type: kind, node_id: node.0, ..ConfChangeSingle::default() }
    };
    let mut change = ConfChangeV2::default();
    change.set_transition(ConfChangeTransition::Implicit);
    change.set_changes(changes.iter().map(single).collect());
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> Vec<RaftId> {
        numbers.iter().copied().map(RaftId).collect()
    }

    #[test]
    fn membership_survives_its_encoding_also_in_a_joint_state() {
        let plain = Membership::new(ids(&[3, 1, 2]), ids(&[5, 4]));
        assert_eq!(plain.voters, ids(&[1, 2, 3]), "lists are sorted");
        let joint =
            Membership { voters_outgoing: ids(&[1, 2, 9]), learners_next: ids(&[9]), ..plain.clone() };
        for membership in [Membership::default(), plain, joint] {
            assert_eq!(Membership::decode(&membership.encode()), Ok(membership));
        }
    }

    #[test]
    fn bytes_that_are_no_membership_are_refused() {
        for bad in [&b"\xff\xff\xff"[..], &[0x08, 0x00], &[0x0a]] {
            assert!(Membership::decode(&Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_voter_means_no_other_member_votes_in_either_half() {
        let node = RaftId(1);
        assert!(Membership::new([node], [RaftId(2)]).is_only_voter(node));
        assert!(!Membership::new([node, RaftId(2)], []).is_only_voter(node));
        let joint = Membership { voters_outgoing: ids(&[1, 2]), ..Membership::new([node], []) };
        assert!(!joint.is_only_voter(node));
    }
}
