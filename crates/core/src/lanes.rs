//! The lanes of a node: they are created, retired and removed as the state machine says, and the root's leader orders
//! them by cuts.
//!
//! Every node is a member of every lane, so the root's leader knows from its own log how far each lane is committed. A
//! cut names all lanes that have got further, and is proposed in the round in which that became known. It does not
//! matter when two leaders order the same, or one of them less than was ordered before: a cut counts only where it goes
//! further.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quack_log::{LogEntry, LogRead};
use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::cut::{Cut, LANES_MAX, LaneEnd};
use crate::envelope;
use crate::group::Group;
use crate::node::Node;
use crate::poison::contain;
use crate::{GroupStatus, Membership, Note, PeerMessage};

/// Messages of lanes that are kept for a moment: other nodes may have created a lane before this one has.
const EARLY_MAX: usize = 1024;
const EARLY_BYTES_MAX: usize = 4 << 20;
/// How often those are asked who may need something of a dropped lane and were not there, in election timeouts.
const ABSENT_TIMEOUTS: u64 = 64;

/// What the node knows about its lanes beside the groups themselves.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// How far each lane is ordered by committed cuts.
    ordered: BTreeMap<GroupId, LogIndex>,
    /// How far this node has ordered them as the root's leader of this term, committed or not.
    proposed: BTreeMap<GroupId, LogIndex>,
    leads_in: Option<Term>,
    /// Lanes that may have got further than what this node has proposed.
    moved: BTreeSet<GroupId>,
    /// The root's log did not take a cut; until the next tick there is no other attempt.
    pub(crate) is_held: bool,
    /// The root's members as the lanes know them.
    pub(crate) members: Option<Membership>,
    /// Ticks since those who are absent were asked.
    ticks: u64,
    /// The last lane that was ever created here.
    last: GroupId,
    /// Those up to it that are about to be created.
    unborn: BTreeSet<GroupId>,
    early: VecDeque<(GroupId, RaftId, Bytes)>,
    early_bytes: usize,
}

impl Lanes {
    /// `applied` is what was ordered at least; `last` the last lane that there has ever been.
    pub(crate) fn new(applied: &BTreeMap<GroupId, LogIndex>, last: GroupId, unborn: &[GroupId]) -> Self {
        let ordered = applied.iter().filter(|(group, _)| **group != GroupId::ROOT);
        let (ordered, unborn) =
            (ordered.map(|(group, index)| (*group, *index)).collect(), unborn.iter().copied().collect());
        Self { ordered, last, unborn, ..Self::default() }
    }

    /// Keeps a message for a lane that may be created in a moment. The oldest one gives way: Raft repeats itself.
    fn keep_early(&mut self, group: GroupId, from: RaftId, bytes: Bytes) {
        self.early_bytes += bytes.len();
        self.early.push_back((group, from, bytes));
        while self.early.len() > EARLY_MAX || self.early_bytes > EARLY_BYTES_MAX {
            let Some((_, _, bytes)) = self.early.pop_front() else { break };
            self.early_bytes -= bytes.len();
        }
    }

    fn take_early(&mut self, wanted: GroupId) -> Vec<(RaftId, Bytes)> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.early).into_iter().partition(|(group, ..)| *group == wanted);
        self.early = kept.into();
        self.early_bytes = self.early.iter().map(|(_, _, bytes)| bytes.len()).sum();
        taken.into_iter().map(|(_, from, bytes)| (from, bytes)).collect()
    }

    fn order(&mut self, cut: &Cut) {
        for (group, end) in &cut.lanes {
            let ordered = self.ordered.entry(*group).or_default();
            *ordered = end.index.max(*ordered);
        }
    }
}

impl<L: LogRead + Clone> Node<L> {
    /// A message for a lane that is not here: one that will be created in a moment, or one that was dropped.
    pub(crate) fn on_strange_lane(&mut self, group: GroupId, from: RaftId, bytes: Bytes) {
        // Numbers are given in ascending order.
        if group > self.lanes.last || self.lanes.unborn.contains(&group) {
            self.lanes.keep_early(group, from, bytes);
        } else if !envelope::is_of_the_end(&bytes) {
            self.posts.push(PeerMessage { to: from, group, bytes: envelope::encode_forgotten() });
        }
    }

    /// Entries of a group are committed and durable here.
    pub(crate) fn lanes_hear(&mut self, group: GroupId, entries: &[LogEntry]) {
        if group != GroupId::ROOT {
            self.lanes.moved.insert(group);
            return;
        }
        // A cut that cannot be read is skipped here; the state machine stops when it applies the entry.
        for cut in entries.iter().filter_map(|entry| Cut::of(entry).ok().flatten()) {
            self.lanes.order(&cut);
            for (lane, end) in cut.lanes {
                // The lane may rest without knowing that the entries that the cut names are committed.
                if self.groups.get(&lane).is_some_and(|group| group.sleeps_through(end.index)) {
                    self.step_infallible(lane, Group::wake_and_call);
                }
            }
        }
    }

    /// Whether a cut can be proposed.
    pub(crate) fn has_cut(&self) -> bool {
        !self.lanes.moved.is_empty() && !self.lanes.is_held && self.root_term().is_some()
    }

    fn root_term(&self) -> Option<Term> {
        self.groups.get(&GroupId::ROOT).and_then(Group::leads_in)
    }

    /// As the root's leader: orders all entries that have been committed in the lanes. Tries again with the next tick
    /// what the log does not take now.
    pub(crate) fn propose_cut(&mut self) {
        let term = self.root_term();
        if term != self.lanes.leads_in {
            // What an earlier leader has proposed may be lost.
            self.lanes.leads_in = term;
            self.lanes.proposed = self.lanes.ordered.clone();
            self.lanes.moved = self.groups.keys().copied().filter(|group| *group != GroupId::ROOT).collect();
            self.lanes.is_held = false;
        }
        if !self.has_cut() {
            return;
        }
        let moved: Vec<GroupId> = self.lanes.moved.iter().copied().take(LANES_MAX).collect();
        let lanes = moved.iter().filter_map(|group| Some((*group, self.unordered_end(*group)?)));
        let cut = Cut { lanes: lanes.collect() };
        if !cut.lanes.is_empty() {
            let taken = self.step_group(GroupId::ROOT, |root| Ok(root.append_cut(&cut)));
            if taken != Some(true) {
                self.lanes.is_held = true;
                return;
            }
            self.lanes.proposed.extend(cut.lanes.iter().map(|(group, end)| (*group, end.index)));
        }
        moved.iter().for_each(|group| {
            self.lanes.moved.remove(group);
        });
    }

    /// Asks the absent members again from time to time. Dropped lanes wait for them at rest, and would not notice a
    /// member that comes back without sending a message.
    pub(crate) fn ask_absent(&mut self) {
        self.lanes.ticks += 1;
        if self.lanes.ticks < ABSENT_TIMEOUTS * self.config.election_ticks as u64 {
            return;
        }
        self.lanes.ticks = 0;
        let waiting = self.groups.iter().filter(|(_, group)| group.waits_for_absent()).map(|(id, _)| *id);
        for id in waiting.collect::<Vec<_>>() {
            self.step_infallible(id, Group::ask_again);
        }
    }

    /// How far a lane is committed, when that is further than what this node has proposed.
    fn unordered_end(&self, lane: GroupId) -> Option<LaneEnd> {
        let end = self.groups.get(&lane).filter(|lane| !lane.is_retired())?.committed_end()?;
        self.lanes.proposed.get(&lane).is_none_or(|proposed| end.index > *proposed).then_some(end)
    }

    pub(crate) fn with_order(&self, status: GroupStatus) -> GroupStatus {
        let ordered_index = if status.group == GroupId::ROOT {
            status.commit_index
        } else {
            self.lanes.ordered.get(&status.group).copied().unwrap_or_default()
        };
        GroupStatus { ordered_index, ..status }
    }

    /// A lane that is led from another node than this one needs its members alone; what they said before is heard now.
    pub(crate) fn create_lane(&mut self, id: GroupId, at: LogIndex) {
        self.lanes.last = self.lanes.last.max(id);
        self.lanes.unborn.remove(&id);
        if id == GroupId::ROOT || self.groups.contains_key(&id) {
            return;
        }
        let members = self.groups.get(&GroupId::ROOT).and_then(|root| root.members_at(at));
        let config = self.config.clone();
        let log = self.log.clone();
        let started = contain(|| {
            let members = members.ok_or_else(|| {
                format!("the members at entry {at} of the root group are not known any more")
            })?;
            Group::start(&config, id, &members, LogIndex(0), log).map_err(|error| error.to_string())
        });
        match started {
            Ok(group) => {
                self.add_group(id, group);
                self.step_group(id, Group::campaign_if_alone);
                let home = self.groups.get(&id).and_then(Group::home);
                let root = self.groups.get(&GroupId::ROOT);
                let stands_in = home.zip(root).is_some_and(|(home, root)| root.misses(home));
                self.step_group(id, |group| group.campaign_first(stands_in));
                for (from, bytes) in self.lanes.take_early(id) {
                    self.step_infallible(id, |group| group.on_message(from, &bytes));
                }
                // Others were there before, and may rest by now with what has been ordered meanwhile.
                if self.lanes.ordered.get(&id).is_some_and(|ordered| *ordered > LogIndex(0)) {
                    self.step_infallible(id, Group::wake_and_call);
                }
            }
            Err(reason) => self.notes.push(Note::GroupPoisoned { group: id, reason }),
        }
    }

    /// Forgets a lane that was retired, with its log.
    pub(crate) fn remove_lane(&mut self, id: GroupId) {
        if self.groups.get(&id).is_some_and(Group::is_retired) && self.forget_group(id) {
            self.lanes.ordered.remove(&id);
            self.lanes.proposed.remove(&id);
            // One that was never written has nothing to forget.
            if self.log.groups().contains(&id) {
                self.gone.push(id);
            }
        }
    }
}
