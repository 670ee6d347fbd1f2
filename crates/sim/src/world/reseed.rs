//! Lost disks, snapshots, and the operator who brings nodes back.
//!
//! A node that has lost its disk comes back under a new Raft identity. The operator tells
//! the leader to put that identity in the place of the old one as a learner, in one change,
//! and to make it a voter when it has caught up. A node whose log ends before the logs of
//! the others begin is restarted from a snapshot as itself.
//!
//! A disk is lost only when the cluster can bear it: Raft promises nothing when a
//! majority forgets. So at most one node is lost at a time, never while a change of
//! members is under way, and only while three voters or more are left. Raft-rs lets a
//! change take effect where it is known to be committed; a change is therefore under way
//! until every voter knows that durably (else two voters of whom one is lost could be
//! asked for a majority of the old ones for ever).

use std::collections::BTreeMap;

use quack_core::{Event, MemberChange, Membership};
use quack_log::{EntryKind, GroupWrite};
use quack_types::{GroupId, LogIndex, RaftId};

use super::{Due, World};
use crate::failure::Failure;
use crate::invariants::Seen;
use crate::server::{Server, Snapshot, node_of, raft_id};

/// How often the operator looks.
pub(super) const REPAIR_US: u64 = 400_000;
/// A change of members that was asked for is in the log, or will never be, after this
/// time: longer than any fsync takes.
const ASKED_US: u64 = 4_000_000;
/// A node is not restarted from a snapshot again before this time.
const RESEED_US: u64 = 1_000_000;
/// Entries that a learner may be behind when it is made a voter.
const CAUGHT_UP_ENTRIES: u64 = 20;

/// What is known about the members, from all that was ever written and applied.
pub(super) struct Repairs {
    /// The last index at which a change of members was written into any log.
    written: BTreeMap<GroupId, LogIndex>,
    /// The last index that any node has applied.
    applied: BTreeMap<GroupId, LogIndex>,
    members: BTreeMap<GroupId, (LogIndex, Membership)>,
    /// When a change was last asked for.
    pub asked_us: u64,
    /// When each node was last restarted from a snapshot.
    reseeded_us: Vec<u64>,
}

impl Repairs {
    pub fn new(nodes: u64) -> Self {
        Self {
            written: BTreeMap::new(),
            applied: BTreeMap::new(),
            members: BTreeMap::new(),
            asked_us: 0,
            reseeded_us: vec![0; nodes as usize],
        }
    }

    pub fn note_written(&mut self, write: &GroupWrite) {
        let changes = write.entries.iter().filter(|entry| entry.kind != EntryKind::Normal);
        let last = self.written.entry(write.group).or_default();
        *last = changes.map(|entry| entry.index).max().unwrap_or_default().max(*last);
    }

    pub fn note_applied(&mut self, group: GroupId, index: LogIndex) {
        let last = self.applied.entry(group).or_default();
        *last = index.max(*last);
    }

    pub fn note_members(&mut self, group: GroupId, index: LogIndex, members: &Membership) {
        let known = self.members.entry(group).or_default();
        if known.0 < index {
            *known = (index, members.clone());
        }
    }

    /// Whether no change is under way and all voters have what they ever had.
    pub fn is_whole(&self, group: GroupId, servers: &[Server]) -> bool {
        let last = |positions: &BTreeMap<_, LogIndex>| positions.get(&group).copied().unwrap_or_default();
        if last(&self.written) > last(&self.applied) {
            return false;
        }
        let Some((index, members)) = self.members.get(&group) else { return true };
        let is_now = |voter: &RaftId| {
            let server = &servers[node_of(*voter) as usize - 1];
            server.raft_id() == *voter && server.durable(group) >= *index
        };
        !members.is_joint() && members.voters.iter().all(is_now)
    }
}

impl World {
    /// Whether a node that has lost its disk is not a voter again everywhere.
    pub(super) fn is_anyone_lost(&self) -> bool {
        let is_back = |server: &Server| {
            let root = self.repairs.members.get(&GroupId::ROOT);
            root.is_some_and(|(_, members)| members.voters.contains(&server.raft_id()))
                && self.lanes.iter().all(|lane| self.lane_has(*lane, server.raft_id()))
        };
        self.servers.iter().any(|server| server.is_empty || (server.incarnation > 0 && !is_back(server)))
    }

    /// Whether all nodes that are up, and there is one, count on a voter in a lane. A lane follows the root's members
    /// only when it has a leader: until then it may not bear what the root bears.
    fn lane_has(&self, lane: GroupId, voter: RaftId) -> bool {
        let statuses = self.servers.iter().filter_map(|server| server.life.as_ref()?.node.status(lane));
        let has: Vec<bool> = statuses.map(|status| status.membership.voters.contains(&voter)).collect();
        !has.is_empty() && has.into_iter().all(|has| has)
    }

    /// A disk breaks for good.
    pub(super) fn on_disk_loss(&mut self) -> Result<(), Failure> {
        self.plan(self.scenario.disk_loss_us, Due::DiskLoss);
        let nodes = self.scenario.nodes;
        let root = self.repairs.members.get(&GroupId::ROOT);
        let voters = root.map(|(_, members)| members.voters.clone()).unwrap_or_default();
        let is_whole = |group: GroupId| self.repairs.is_whole(group, &self.servers);
        let follows =
            |lane: &GroupId| is_whole(*lane) && voters.iter().all(|voter| self.lane_has(*lane, *voter));
        let can_bear = is_whole(GroupId::ROOT)
            && (root.is_none() || voters.len() >= 3)
            && self.lanes.iter().all(follows)
            && !self.is_anyone_lost()
            && self.now_us > self.repairs.asked_us + ASKED_US;
        if self.is_calm || !can_bear {
            return Ok(());
        }
        let node = self.random.between(1, nodes);
        self.log.say(self.now_us, format_args!("n{node} loses its disk"));
        let was_up = self.server(node).life.is_some();
        self.server(node).lose_disk();
        self.summary.disk_losses += 1;
        self.invariants.observe(&Seen::DiskLost { node })?;
        if was_up { self.on_down(node, "its disk is lost") } else { Ok(()) }
    }

    /// A leader's log does not reach back to where the peer's log ends.
    pub(super) fn on_snapshot_needed(
        &mut self,
        node: u64,
        group: GroupId,
        peer: RaftId,
    ) -> Result<(), Failure> {
        let needy = node_of(peer);
        let is_it = self.server(needy).raft_id() == peer && !self.server(needy).is_empty;
        let last_us = self.repairs.reseeded_us[needy as usize - 1];
        let is_lost = self.is_calm && self.scenario.lost_node == Some(needy);
        if !is_it || is_lost || self.now_us < last_us + RESEED_US {
            return Ok(());
        }
        self.log.say(self.now_us, format_args!("n{node} g{group} says that n{needy} needs a snapshot"));
        self.repairs.reseeded_us[needy as usize - 1] = self.now_us;
        self.fetch_snapshot(needy)
    }

    /// Asks some other node for a snapshot; what it gives arrives after a while.
    pub(super) fn fetch_snapshot(&mut self, node: u64) -> Result<(), Failure> {
        let donor = self.random.between(1, self.scenario.nodes);
        let entries_max = [0, 0, 3, 20][self.random.below(4) as usize];
        let can_give = donor != node && !self.is_paused(donor) && self.network.is_open(donor, node);
        let snapshot = if can_give { self.server(donor).snapshot(entries_max) } else { None };
        let delay_us = self.random.wait(self.scenario.snapshot_us);
        match snapshot {
            Some(snapshot) => {
                self.log.say(self.now_us, format_args!("n{donor} sends n{node} a snapshot"));
                self.after(delay_us, Due::Snapshot { node, snapshot });
            }
            // A node that has something goes on with it and is asked for again.
            None if self.server(node).is_empty => self.after(delay_us, Due::Restart { node }),
            None => {}
        }
        Ok(())
    }

    /// The node goes down, if it was up, to come back from the snapshot.
    pub(super) fn on_snapshot(&mut self, node: u64, snapshot: Snapshot) -> Result<(), Failure> {
        if self.is_calm && self.scenario.lost_node == Some(node) {
            return Ok(());
        }
        self.summary.snapshots += 1;
        if self.server(node).life.is_some() {
            self.server(node).stop();
            self.invariants.observe(&Seen::Crashed { node })?;
        }
        self.server(node).receive(snapshot);
        if self.scenario.crash_us > 0 && !self.is_calm && self.random.chance(300_000) {
            // Between the log and the state machine, if it comes to that.
            let operations = self.random.below(16);
            self.server(node).disk.burn_after(operations);
        }
        self.start(node)
    }

    /// Brings the members of the root to what they should be, step by step. The lanes follow by themselves.
    pub(super) fn on_repair(&mut self) -> Result<(), Failure> {
        self.after(REPAIR_US, Due::Repair);
        let group = GroupId::ROOT;
        let Some(leader) = self.leader_of(group) else { return Ok(()) };
        let changes = self.wanted_changes(leader, group);
        if changes.is_empty() {
            return Ok(());
        }
        self.log.say(self.now_us, format_args!("n{leader} is told: {changes:?}"));
        self.repairs.asked_us = self.now_us;
        let event = Event::ProposeMembership { group, changes, tag: 1 };
        let outputs = self.server(leader).handle(event)?;
        self.follow(leader, outputs)
    }

    /// What should change first, as the leader sees the members.
    fn wanted_changes(&self, leader: u64, group: GroupId) -> Vec<MemberChange> {
        let life = self.servers[leader as usize - 1].life.as_ref();
        let Some(status) = life.and_then(|life| life.node.status(group)) else { return Vec::new() };
        let members = status.membership;
        let is_known = |id: &RaftId| members.voters.contains(id) || members.learners.contains(id);
        for server in &self.servers {
            let now = server.raft_id();
            let old: Vec<RaftId> =
                (0..server.incarnation).map(|number| raft_id(server.id, number)).filter(is_known).collect();
            if !old.is_empty() {
                let mut changes: Vec<MemberChange> = old.into_iter().map(MemberChange::Remove).collect();
                changes.extend((!is_known(&now)).then_some(MemberChange::Learner(now)));
                return changes;
            }
            // Who left in the safety phase by the operator's will comes back when the faults end.
            let is_lost = self.scenario.lost_node == Some(server.id);
            if members.voters.contains(&now) || is_lost || (!self.is_calm && server.incarnation == 0) {
                continue;
            }
            if !is_known(&now) {
                return vec![MemberChange::Learner(now)];
            }
            let applied = server.model().map(|model| model.root.0 + CAUGHT_UP_ENTRIES);
            if applied.is_some_and(|applied| applied >= status.commit_index.0) {
                return vec![MemberChange::Voter(now)];
            }
        }
        Vec::new()
    }
}
