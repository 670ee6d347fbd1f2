//! The liveness phase: the faults have ended, and the cluster must recover by itself.
//!
//! One node may stay lost for ever; a majority is left. Within the scenario's time the root
//! must have a leader, every lane must have one or rest with one and have the root's
//! members, every waiting client must get its answer and two more, and all nodes that are
//! up must have ordered and applied everything and be in the same state.

use quack_core::{Membership, Role};
use quack_types::GroupId;

use super::clients::CALM_OPERATIONS;
use super::{Due, World};
use crate::failure::Failure;
use crate::server::{Life, Server};

/// How often recovery is looked for.
const LOOK_US: u64 = 50_000;

impl World {
    pub(super) fn on_calm(&mut self) -> Result<(), Failure> {
        self.log
            .say(self.now_us, format_args!("the faults end; lost for ever: {:?}", self.scenario.lost_node));
        self.is_calm = true;
        self.network.stop_faults();
        for node in 1..=self.scenario.nodes {
            self.server(node).disk.fail_syncs(0);
            self.server(node).stalls = 0;
            self.paused_until_us[node as usize - 1] = 0;
            if self.scenario.lost_node == Some(node) {
                self.crash(node)?;
            } else {
                self.on_restart(node)?;
            }
        }
        self.after(LOOK_US, Due::LookForRecovery);
        Ok(())
    }

    pub(super) fn look_for_recovery(&mut self) -> Result<(), Failure> {
        let Some(missing) = self.missing() else {
            self.summary.recovery_us = self.now_us - self.scenario.safety_us;
            self.is_recovered = true;
            return Ok(());
        };
        if self.now_us > self.scenario.safety_us + self.scenario.liveness_us {
            return Err(Failure::liveness("the cluster recovers when the faults have ended", missing));
        }
        self.after(LOOK_US, Due::LookForRecovery);
        Ok(())
    }

    /// What has not recovered yet.
    fn missing(&self) -> Option<String> {
        for (number, client) in self.clients.iter().enumerate() {
            if client.pending.is_some() || client.answered_calm < CALM_OPERATIONS {
                return Some(format!("client {number} waits for {:?}", client.pending));
            }
        }
        for server in &self.servers {
            if server.life.is_none() && self.scenario.lost_node != Some(server.id) {
                return Some(format!("n{} is down", server.id));
            }
        }
        let members = match self.missing_in_root() {
            Ok(members) => members,
            Err(missing) => return Some(missing),
        };
        let kept = || if self.scenario.lost_node.is_none() { self.kept() } else { self.kept_in_vain() };
        self.lanes.iter().find_map(|lane| self.missing_in_lane(*lane, &members)).or_else(kept)
    }

    /// A lane that was dropped and is still there, although all members are.
    fn kept(&self) -> Option<String> {
        let (server, lane) = self.up().find_map(|(server, life)| Some((server, life.first_retired()?)))?;
        let seen = self.up().map(|(server, life)| (server.raft_id(), life.node.status(lane)));
        Some(format!("n{} does not forget lane {lane}: {:?}", server.id, seen.collect::<Vec<_>>()))
    }

    /// A lane that is kept for the node that does not come back.
    fn kept_in_vain(&self) -> Option<String> {
        let (server, lane) =
            self.up().find_map(|(server, life)| Some((server, life.first_kept_in_vain()?)))?;
        Some(format!("n{} keeps lane {lane} for a node that needs a snapshot", server.id))
    }

    fn up(&self) -> impl Iterator<Item = (&Server, &Life)> {
        self.servers.iter().filter_map(|server| Some((server, server.life.as_ref()?)))
    }

    /// The members of the root, when it is well.
    fn missing_in_root(&self) -> Result<Membership, String> {
        let group = GroupId::ROOT;
        let statuses: Vec<_> = self.up().filter_map(|(_, life)| life.node.status(group)).collect();
        let Some(leader) = statuses.iter().find(|status| status.role == Role::Leader) else {
            return Err("the root has no leader".to_owned());
        };
        if let Some(status) = statuses.iter().find(|status| status.proposals > 0) {
            return Err(format!("{} proposals are kept in the root", status.proposals));
        }
        for (server, _) in self.up() {
            let (id, members) = (server.id, &leader.membership);
            if !members.voters.contains(&server.raft_id()) {
                return Err(format!("n{id} does not vote in the root: {members:?}"));
            }
            let applied = server.applied(group);
            if applied != leader.last_index {
                return Err(format!("n{id} has applied {applied} of {} in the root", leader.last_index));
            }
        }
        Ok(leader.membership.clone())
    }

    /// A lane has a leader, or rests with one; all nodes have applied its entries.
    fn missing_in_lane(&self, lane: GroupId, members: &Membership) -> Option<String> {
        let mut statuses = Vec::new();
        for (server, life) in self.up() {
            let Some(status) = life.node.status(lane) else {
                return Some(format!("n{} does not have lane {lane}", server.id));
            };
            statuses.push((server, status));
        }
        let is_led = statuses.iter().any(|(_, status)| status.role == Role::Leader);
        if !is_led && !statuses.iter().all(|(_, status)| status.is_resting && status.leader.is_some()) {
            return Some(format!("lane {lane} has no leader and does not rest"));
        }
        let last = statuses.iter().map(|(_, status)| status.last_index).max().unwrap_or_default();
        statuses.iter().find_map(|(server, status)| {
            let applied = server.applied(lane);
            let is_well = status.proposals == 0
                && status.membership == *members
                && [status.commit_index, status.ordered_index, applied] == [last; 3];
            (!is_well).then(|| format!("n{} has applied {applied} of {last}: {status:?}", server.id))
        })
    }

    /// All nodes hold the same list, and every promise holds in it.
    pub(super) fn check_end(&self) -> Result<(), Failure> {
        for server in &self.servers {
            if let Some(model) = server.model() {
                self.oracle.finish(&model.list)?;
            }
        }
        Ok(())
    }
}
