//! What must never happen, one property per file.
//!
//! | property | file | source |
//! |---|---|---|
//! | Election Safety | `election_safety.rs` | Raft paper, figure 3; raft.tla `ElectionSafety` |
//! | Log Matching | `log_matching.rs` | Raft paper, figure 3 |
//! | Leader Completeness | `leader_completeness.rs` | Raft paper, figure 3; raft.tla `LeaderCompleteness` |
//! | State Machine Safety | `state_machine_safety.rs` | Raft paper, figure 3 |
//! | Applied within commit | `applied_within_commit.rs` | Raft paper, section 5.3 |
//! | Nothing goes back | `monotonic.rs` | Raft paper, figure 2 (term, commitIndex, lastApplied) |
//! | Exactly once | `exactly_once.rs` | Raft thesis, section 6.3 |
//! | Acknowledged is durable | `acknowledged_is_durable.rs` | Raft paper, section 5.4: committed is on a majority |
//! | One order | `one_order.rs` | the design of lanes; Scalog, NSDI'20 |
//! | Cuts name what is committed | `cuts_name_committed.rs` | the design of lanes |
//! | Membership agreement | `membership_agreement.rs` | Raft thesis, section 4.3 |
//!
//! The client's side of it is in `oracle.rs`.

mod acknowledged_is_durable;
mod applied_within_commit;
mod cuts_name_committed;
mod election_safety;
mod exactly_once;
mod leader_completeness;
mod log_matching;
mod membership_agreement;
mod monotonic;
mod one_order;
mod state_machine_safety;
#[cfg(test)]
mod tests;

use quack_core::{GroupStatus, Membership};
use quack_log::{GroupWrite, LogEntry, LogRead};
use quack_types::{GroupId, LogIndex};

use crate::failure::Failure;
use crate::server::StateAfter;

/// Something that a check may want to see.
pub enum Seen<'a> {
    /// A node has taken a step in a group.
    Status { node: u64, status: &'a GroupStatus, log: &'a dyn LogRead },
    /// A node has handed this to its log.
    Written { node: u64, write: &'a GroupWrite },
    /// A node has applied an entry; `state` is the state after it.
    Applied { node: u64, group: GroupId, entry: &'a LogEntry, state: StateAfter, commit: LogIndex },
    /// A node knows these entries to be committed.
    Committed { node: u64, group: GroupId, entries: &'a [LogEntry] },
    /// A node has applied an entry of the root that changes the lanes, as number `order`.
    Lanes { node: u64, order: u64, created: &'a [GroupId], dropped: &'a [GroupId] },
    /// A node is about to forget a lane that was dropped.
    Forgets { node: u64, group: GroupId },
    /// A node is back; `log` is what its disk still holds.
    Restarted { node: u64, log: &'a dyn LogRead },
    /// A node is down.
    Crashed { node: u64 },
    /// A node has lost its disk, and with it what it knew.
    DiskLost { node: u64 },
    /// A client was told that its proposal is applied.
    Acknowledged { group: GroupId, index: LogIndex },
    /// A node's members of a group changed.
    Membership { node: u64, group: GroupId, index: LogIndex, membership: &'a Membership },
}

/// One property.
pub trait Invariant {
    /// Looks at what happened; `Err` when the property is broken.
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure>;
}

/// All properties.
pub struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    /// For a cluster of this many nodes.
    pub fn new(nodes: u64) -> Self {
        Self(vec![
            Box::new(election_safety::ElectionSafety::default()),
            Box::new(log_matching::LogMatching::default()),
            Box::new(leader_completeness::LeaderCompleteness::default()),
            Box::new(state_machine_safety::StateMachineSafety::default()),
            Box::new(applied_within_commit::AppliedWithinCommit::default()),
            Box::new(monotonic::Monotonic::default()),
            Box::new(exactly_once::ExactlyOnce::default()),
            Box::new(acknowledged_is_durable::AcknowledgedIsDurable::new(nodes)),
            Box::new(membership_agreement::MembershipAgreement::default()),
            Box::new(one_order::OneOrder::default()),
            Box::new(cuts_name_committed::CutsNameCommitted::default()),
        ])
    }

    /// Shows it to every check.
    pub fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(|invariant| invariant.observe(seen))
    }
}

/// A number that stands for an entry's content.
pub(crate) fn fingerprint(entry: &LogEntry) -> u64 {
    let kind = [entry.kind as u8];
    let bytes = kind.iter().chain(entry.data.iter()).chain(entry.context.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
