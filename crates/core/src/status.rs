//! What a group looks like from outside.

use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::Membership;

/// Role of this node in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election would succeed (thesis section 9.6).
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Receives the log and does not vote.
    Learner,
}

impl Role {
    /// Lower-case English name, as status tables show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Learner => "learner",
        }
    }
}

/// Whether a group works on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupState {
    /// It does.
    Ok,
    /// It was stopped by an internal error, until the next start.
    Poisoned {
        /// What happened.
        reason: String,
    },
}

/// Status of one group on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Role of this node.
    pub role: Role,
    /// The leader, when one is known.
    pub leader: Option<RaftId>,
    /// Current term.
    pub term: Term,
    /// Last entry of the log, durable or about to be.
    pub last_index: LogIndex,
    /// Last entry known to be committed.
    pub commit_index: LogIndex,
    /// Last entry that the state machine has reported as applied.
    pub applied_index: LogIndex,
    /// The log starts behind this entry.
    pub snapshot_index: LogIndex,
    /// Members.
    pub membership: Membership,
    /// On the leader: the highest committed index that every member, learners
    /// included, is known to hold durably. A compaction beyond it would leave a
    /// member in need of a snapshot. `None` on every other node.
    pub replicated_index: Option<LogIndex>,
    /// Last entry that has its place in the one order, as far as this node knows: for the root group what is committed,
    /// for a lane what a committed cut has named.
    pub ordered_index: LogIndex,
    /// Whether nothing happens in the group, so that its members do not even count time.
    pub is_resting: bool,
    /// Of a lane that was dropped: whether it can be forgotten, because no member needs it any more.
    pub is_over: bool,
    /// Of a lane that was dropped: the members that may still need it.
    pub waits_for: Vec<RaftId>,
    /// Of a lane that was not dropped here yet: whether another member has forgotten it. What this one lacks of it, it
    /// may never get.
    pub is_forgotten: bool,
    /// This node's own proposals that are not known to be committed.
    pub proposals: usize,
    /// Whether a linearizable read can be answered now, as far as this node knows:
    /// there is a leader, and if it is this node, it has committed in its term.
    pub linearizable_read_safe: bool,
    /// Whether the group works here.
    pub state: GroupState,
}

impl GroupStatus {
    /// Of a group about which nothing can be said any more.
    pub(crate) fn unknown(group: GroupId) -> Self {
        Self {
            group,
            role: Role::Follower,
            leader: None,
            term: Term::default(),
            last_index: LogIndex::default(),
            commit_index: LogIndex::default(),
            applied_index: LogIndex::default(),
            snapshot_index: LogIndex::default(),
            membership: Membership::default(),
            replicated_index: None,
            ordered_index: LogIndex::default(),
            is_resting: false,
            is_over: false,
            waits_for: Vec::new(),
            is_forgotten: false,
            proposals: 0,
            linearizable_read_safe: false,
            state: GroupState::Ok,
        }
    }
}
