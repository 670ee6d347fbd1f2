//! Who leads, who belongs to the cluster, and how that changes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quack_core::{MemberChange, Membership};
use quack_types::RaftId;

use super::{NodeHandle, POLL};
use crate::shared::Command;
use crate::{MemberError, WaitError, status};

impl NodeHandle {
    /// The leader of the root group, when one is known.
    pub fn leader(&self) -> Option<RaftId> {
        self.shared.progress().root()?.leader
    }

    /// Whether this node leads the root group.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.raft_id())
    }

    /// The members of the root group.
    pub fn membership(&self) -> Membership {
        self.shared.progress().root().map(|root| root.membership.clone()).unwrap_or_default()
    }

    /// Changes the members of the root group, all at once, through joint consensus. Only the leader can. Returns
    /// when the change is committed.
    pub fn change_members(&self, changes: Vec<MemberChange>, timeout: Duration) -> Result<(), MemberError> {
        let reached = |membership: &Membership| {
            !membership.is_joint()
                && changes.iter().all(|change| match change {
                    MemberChange::Voter(id) => membership.voters.contains(id),
                    MemberChange::Learner(id) => membership.learners.contains(id),
                    MemberChange::Remove(id) => {
                        !membership.voters.contains(id) && !membership.learners.contains(id)
                    }
                })
        };
        let tag = self.member_tags.fetch_add(1, Ordering::Relaxed);
        let command = Command::Members { changes: changes.clone(), tag };
        self.commands.send(command).map_err(|_| MemberError::Waiting(self.ended()))?;
        let deadline = Instant::now() + timeout;
        while !reached(&self.membership()) {
            if let Some(reason) = self.shared.take_members_refusal(tag) {
                return Err(MemberError::Refused(reason));
            }
            if self.shared.is_out_of_service() {
                return Err(MemberError::Waiting(self.ended()));
            }
            if Instant::now() >= deadline {
                return Err(MemberError::Waiting(WaitError::TimedOut { what: "the change of members" }));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Asks this node to hand leadership to another voter.
    pub fn transfer_leader(&self, to: RaftId) {
        // The send fails only when the node has stopped; then it leads no group.
        let _ = self.commands.send(Command::Transfer { to });
    }

    /// Whether all lanes have the root's members, as far as this node knows. Each follows by itself, and until then needs
    /// the members that it still has.
    pub fn lanes_follow(&self) -> bool {
        status::lanes_follow(&self.shared.progress())
    }

    /// Waits until all lanes have the root's members.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_for_lanes(&self, timeout: Duration) -> Result<(), WaitError> {
        let what = "every group to have the cluster's members";
        self.shared.wait_until(timeout, &|| false, what, status::lanes_follow)
    }
}
