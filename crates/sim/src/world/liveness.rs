//! The liveness phase: the faults have ended, and the cluster must get well by itself.
//!
//! One node may stay lost for ever; a majority is left. Within the scenario's time every
//! group must have a leader, every waiting client must get its answer and two more, and
//! all nodes that are up must have applied the same and be in the same state.

use quack_core::Role;

use super::clients::CALM_OPERATIONS;
use super::{Due, World};
use crate::failure::Failure;

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

    /// What is not well yet.
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
        let groups: Vec<_> = self.servers.iter().take(1).flat_map(|server| server.groups()).collect();
        for group in groups {
            let up = || self.servers.iter().filter_map(|server| Some((server, server.life.as_ref()?)));
            let statuses: Vec<_> = up().filter_map(|(_, life)| life.node.status(group)).collect();
            let Some(leader) = statuses.iter().find(|status| status.role == Role::Leader) else {
                return Some(format!("group {group} has no leader"));
            };
            if let Some(status) = statuses.iter().find(|status| status.proposals > 0) {
                return Some(format!("{} proposals are kept in group {group}", status.proposals));
            }
            let members = &leader.membership;
            for (server, _) in up() {
                if !members.voters.contains(&server.raft_id()) {
                    return Some(format!("n{} does not vote in group {group}: {members:?}", server.id));
                }
                let applied = server.model(group).unwrap_or_default().applied;
                if applied != leader.last_index {
                    return Some(format!(
                        "n{} has applied {applied} of {} in group {group}",
                        server.id, leader.last_index
                    ));
                }
            }
        }
        None
    }

    /// Everyone has the same, and every promise holds in it.
    pub(super) fn check_end(&self) -> Result<(), Failure> {
        for server in &self.servers {
            for group in server.groups() {
                if let Some(model) = server.model(group) {
                    self.oracle.finish(group, &model.list)?;
                }
            }
        }
        Ok(())
    }
}
