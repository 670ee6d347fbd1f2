//! Faults of the safety phase, and what operators do meanwhile.

use quack_core::{Event, MemberChange, Role};
use quack_log::HardState;
use quack_types::GroupId;

use super::{Due, World};
use crate::failure::Failure;
use crate::invariants::Seen;

/// A node whose fuse is lit dies after this time even when it does not touch its disk.
const FUSE_US: u64 = 300_000;

impl World {
    pub(super) fn plan_faults(&mut self) {
        self.plan(self.scenario.crash_us, Due::Crash);
        self.plan(self.scenario.partition_us, Due::Partition);
        self.plan(self.scenario.transfer_us, Due::Transfer);
        self.plan(self.scenario.membership_us, Due::Membership);
        self.plan(self.scenario.pause_us, Due::Pause);
        self.plan(self.scenario.disk_loss_us, Due::DiskLoss);
    }

    /// The next fault of a kind, if the scenario has it and the faults have not ended.
    pub(super) fn plan(&mut self, mean_us: u64, due: Due) {
        if mean_us > 0 && !self.is_calm {
            let wait = self.random.wait(mean_us);
            self.after(wait, due);
        }
    }

    pub(super) fn on_crash(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.crash_us, Due::Crash);
        if self.is_calm {
            return Ok(());
        }
        if self.random.chance(self.scenario.power_failures) {
            self.log.say(self.now_us, format_args!("power failure"));
            return (1..=self.scenario.nodes).try_for_each(|node| self.crash(node));
        }
        let node = self.random.between(1, self.scenario.nodes);
        if self.random.chance(300_000) {
            return self.crash(node);
        }
        // Somewhere within the next operations of its disk.
        let operations = self.random.below(10);
        let life_number = self.server(node).life_number;
        self.server(node).disk.burn_after(operations);
        self.after(FUSE_US, Due::PowerOff { node, life_number });
        Ok(())
    }

    /// A crash right after a vote finds out whether the vote is remembered.
    pub(super) fn tempt(&mut self, node: u64, state: Option<HardState>) {
        let has_voted = state.is_some_and(|state| {
            let who = self.server(node).raft_id();
            self.votes.insert((who, state.term, state.vote))
        });
        if has_voted && !self.is_calm && self.random.chance(self.scenario.vote_crashes) {
            let life_number = self.server(node).life_number;
            let delay_us = self.random.below(self.scenario.tick_us);
            self.after(delay_us, Due::PowerOff { node, life_number });
        }
    }

    pub(super) fn on_power_off(&mut self, node: u64, life_number: u64) -> Result<(), Failure> {
        if self.server(node).life_number == life_number { self.crash(node) } else { Ok(()) }
    }

    /// Takes the node down at once, in the middle of its work.
    pub(super) fn crash(&mut self, node: u64) -> Result<(), Failure> {
        if self.server(node).life.is_none() {
            return Ok(());
        }
        self.server(node).stop();
        self.on_down(node, "power off")
    }

    /// A node has gone down.
    pub(super) fn on_down(&mut self, node: u64, why: &str) -> Result<(), Failure> {
        self.log.say(self.now_us, format_args!("n{node} is down: {why}"));
        self.summary.crashes += 1;
        self.invariants.observe(&Seen::Crashed { node })?;
        let down = self.random.wait(self.scenario.down_us);
        self.after(down, Due::Restart { node });
        Ok(())
    }

    pub(super) fn on_restart(&mut self, node: u64) -> Result<(), Failure> {
        let is_lost = self.is_calm && self.scenario.lost_node == Some(node);
        if is_lost || self.server(node).life.is_some() {
            return Ok(());
        }
        if self.server(node).is_empty {
            return self.fetch_snapshot(node);
        }
        self.start(node)
    }

    pub(super) fn on_partition(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.partition_us, Due::Partition);
        if !self.is_calm {
            self.network.partition();
            self.summary.partitions += 1;
            self.log.say(self.now_us, format_args!("cut: {:?}", self.network.cuts()));
            let length = self.random.wait(self.scenario.partition_length_us);
            self.after(length, Due::Heal);
        }
        Ok(())
    }

    pub(super) fn on_heal(&mut self) -> Result<(), Failure> {
        self.log.say(self.now_us, format_args!("healed"));
        self.network.heal();
        Ok(())
    }

    /// A node stands still for a while: its process was stopped, or its machine slept.
    pub(super) fn on_pause(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.pause_us, Due::Pause);
        if !self.is_calm {
            let node = self.random.between(1, self.scenario.nodes);
            let pause_us = self.random.wait(self.scenario.pause_length_us);
            self.log.say(self.now_us, format_args!("n{node} stands still for {} ms", pause_us / 1000));
            self.paused_until_us[node as usize - 1] = self.now_us + pause_us;
            self.summary.pauses += 1;
        }
        Ok(())
    }

    pub(super) fn leader_of(&self, group: GroupId) -> Option<u64> {
        let leads = |node: &u64| {
            let life = self.servers[*node as usize - 1].life.as_ref();
            life.and_then(|life| life.node.status(group)).is_some_and(|status| status.role == Role::Leader)
        };
        (1..=self.scenario.nodes).find(leads)
    }

    pub(super) fn on_transfer(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.transfer_us, Due::Transfer);
        let groups: Vec<GroupId> = std::iter::once(GroupId::ROOT).chain(self.lanes.iter().copied()).collect();
        let group = groups[self.random.below(groups.len() as u64) as usize];
        let (Some(node), false) = (self.leader_of(group), self.is_calm) else { return Ok(()) };
        let to = self.random.between(1, self.scenario.nodes);
        let to = self.server(to).raft_id();
        self.log.say(self.now_us, format_args!("n{node} g{group} is to hand over to n{to}"));
        let outputs = self.server(node).handle(Event::TransferLeader { group, to })?;
        self.follow(node, outputs)
    }

    /// Makes a voter a learner or no member, or a node a voter; two voters stay. The lanes follow by themselves.
    pub(super) fn on_membership(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.membership_us, Due::Membership);
        let group = GroupId::ROOT;
        let (Some(node), false) = (self.leader_of(group), self.is_calm) else { return Ok(()) };
        let status = self.server(node).life.as_ref().and_then(|life| life.node.status(group));
        let Some(members) = status.map(|status| status.membership) else { return Ok(()) };
        // While a disk is lost, every voter that is left counts.
        if self.is_anyone_lost() || !self.repairs.is_whole(group, &self.servers) {
            return Ok(());
        }
        let member = self.random.between(1, self.scenario.nodes);
        let member = self.server(member).raft_id();
        let change = match self.random.below(3) {
            _ if members.voters.len() <= 2 || !members.voters.contains(&member) => {
                MemberChange::Voter(member)
            }
            0 => MemberChange::Remove(member),
            _ => MemberChange::Learner(member),
        };
        self.log.say(self.now_us, format_args!("n{node} g{group} is to change its members: {change:?}"));
        self.repairs.asked_us = self.now_us;
        let outputs =
            self.server(node).handle(Event::ProposeMembership { group, changes: vec![change], tag: 0 })?;
        self.follow(node, outputs)
    }
}
