//! What a lane does besides Raft's own: it follows the root's members, moves its lead to where it belongs, and rests.
//!
//! **Rest.** A lane in which nothing happens needs no ticks and no heartbeats: no client waits for it. When all of its
//! entries are committed and known to all members, its leader tells them so, and all of them stop counting time. Each
//! event that concerns the lane wakes it: a message, a proposal, a change of the root's members, the loss of its
//! leader's connection, a cut that names entries that are not known to be committed here. A member that wakes and hears
//! nothing stands for election as usual, so that rest saves work and does not affect safety; a learner, which cannot
//! stand, calls the voters. (CockroachDB calls this quiescence, TiKV hibernation.)
//!
//! **The end.** The members need a dropped lane until all of them have applied the drop: a member that is behind still
//! has to apply what was ordered before the drop. Each member that has dropped the lane says so, and asks the others,
//! until all members of the root have said it. Then the lane is over, and its host can forget it. While only absent
//! members are missing, the lane rests, and asks from time to time; its host does not wait for them for ever, but
//! forgets the lane when the root's log does not reach back to the drop any more. A node that has forgotten a lane, or
//! came too late to have any entry of it, says so to each member that asks; a member that still needs entries of it may
//! have to start anew, with a snapshot.
//!
//! **Home.** Each lane has a voter where its lead belongs, by its number, so that the leaders of many lanes are spread
//! over all nodes. A leader elsewhere hands over when that voter is there and has everything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quack_log::LogRead;
use quack_types::{GroupId, LogIndex, RaftId, Term};
use raft::StateRole;

use super::Group;
use crate::cut::{Cut, LaneEnd};
use crate::envelope;
use crate::{MemberChange, Membership, Role};

/// What must stay as it is for a while before a group may rest.
type Stillness = (Role, Term, LogIndex, LogIndex);

/// A group's idea of rest.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Ticks since the group began.
    ticks: u64,
    /// When each peer was heard last, in ticks.
    heard: BTreeMap<RaftId, u64>,
    /// The members that need nothing of the lane any more, because they have dropped it.
    gone: BTreeSet<RaftId>,
    /// When this member has called others, in ticks.
    called: u64,
    still: Option<(Stillness, u64)>,
    pub(super) is_resting: bool,
    /// It was dropped, and no member needs it any more.
    pub(super) is_over: bool,
    /// It was not dropped here, and another member has forgotten it.
    pub(super) is_forgotten: bool,
    /// The lane takes no proposals any more: it was dropped, and only serves members that are behind.
    pub(super) is_retired: bool,
}

/// The voter where the lead of a lane belongs.
fn voter_for(lane: GroupId, voters: &[RaftId]) -> Option<RaftId> {
    let count = u64::try_from(voters.len()).ok().filter(|count| *count > 0)?;
    usize::try_from(lane.0 % count).ok().and_then(|at| voters.get(at).copied())
}

impl<L: LogRead> Group<L> {
    /// The members, when no change of them is under way.
    pub(crate) fn settled_membership(&self) -> Option<Membership> {
        Some(self.membership()).filter(|members| !members.is_joint())
    }

    /// Whether it needs no ticks.
    pub(crate) fn is_resting(&self) -> bool {
        self.rest.is_resting
    }

    /// Something concerns the group.
    pub(crate) fn wake(&mut self) {
        self.rest.is_resting = false;
        self.rest.still = None;
    }

    pub(super) fn heard(&mut self, from: RaftId) {
        self.rest.heard.insert(from, self.rest.ticks);
    }

    /// From now on it takes no proposals.
    pub(crate) fn retire(&mut self) {
        self.rest.is_retired = true;
        self.rest.is_forgotten = false;
        self.proposals.withdraw_all();
        self.wake();
        let members = self.membership();
        self.post_to(members.voters.into_iter().chain(members.learners), &envelope::encode_gone());
    }

    fn post_to(&mut self, members: impl IntoIterator<Item = RaftId>, bytes: &Bytes) {
        let node = self.node;
        for member in members.into_iter().filter(|member| *member != node) {
            self.post(member, bytes.clone());
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.rest.is_retired
    }

    /// The voter where the lead of this lane belongs.
    pub(crate) fn home(&self) -> Option<RaftId> {
        voter_for(self.id, &self.membership().voters)
    }

    /// The home of a new lane leads it at once: no other member can have been elected. The member that stands in for an
    /// absent home does the same.
    pub(crate) fn campaign_first(&mut self, stands_in: bool) -> Result<(), String> {
        if (self.home() != Some(self.node) && !stands_in) || self.leader().is_some() {
            return Ok(());
        }
        self.step(|raft| raft.campaign()).map_err(|error| format!("an election cannot begin: {error}"))
    }

    /// Whether this node leads, and has not heard of a member since some heartbeats.
    pub(crate) fn misses(&self, member: RaftId) -> bool {
        let progress = |member: RaftId| self.raft.raft.prs().get(member.0);
        self.is_leader() && progress(member).is_some_and(|progress| !progress.recent_active)
    }

    /// What a lane sees to with every tick; `root` are the members of the root.
    pub(crate) fn on_lane_tick(&mut self, root: &Membership) {
        self.rest.ticks += 1;
        let raft = &self.raft.raft;
        let (last, committed) = (raft.raft_log.last_index(), raft.raft_log.committed);
        let now = (self.role(), Term(raft.term), LogIndex(last), LogIndex(committed));
        let ticks = self.rest.ticks;
        let still_for = match &self.rest.still {
            Some((before, since)) if *before == now => ticks - since,
            _ => {
                self.rest.still = Some((now, ticks));
                0
            }
        };
        if self.rest.is_retired {
            self.see_whether_over(root);
        } else if self.role() == Role::Learner {
            self.call_if_unheard();
        }
        if !self.is_leader() {
            self.take_over_from_removed(root);
            return;
        }
        if self.is_handing_over() {
            return;
        }
        if !root.is_joint() && *root != self.membership() {
            self.follow(root);
        } else if still_for >= self.election_ticks && !self.rest.is_retired {
            match self.home().filter(|home| *home != self.node) {
                Some(home) if self.has_everything(home) && !self.is_silent(home) => {
                    self.step(|raft| raft.transfer_leader(home.0));
                    self.rest.still = None;
                }
                _ => self.rest_if_still(),
            }
        }
    }

    /// A learner cannot stand for election to find out who is there. All others may rest, and not know that it lacks
    /// something, or that it is there again.
    fn call_if_unheard(&mut self) {
        let heard = self.rest.heard.values().max().copied().unwrap_or(0);
        if self.rest.ticks - heard.max(self.rest.called) < self.election_ticks {
            return;
        }
        self.call();
    }

    fn call(&mut self) {
        self.rest.called = self.rest.ticks;
        self.post_to(self.membership().voters, &envelope::encode_call());
    }

    /// Who was removed from the root may never hear of it, and lead on as before. One of those who stay asks for the lead.
    fn take_over_from_removed(&mut self, root: &Membership) {
        let stays = |id: RaftId| root.voters.contains(&id) || root.learners.contains(&id);
        let is_mine = || voter_for(self.id, &root.voters) == Some(self.node);
        if self.rest.ticks.is_multiple_of(self.election_ticks)
            && self.leader().is_some_and(|leader| !stays(leader))
            && is_mine()
        {
            let node = self.node.0;
            self.step(|raft| raft.transfer_leader(node));
        }
    }

    /// Asks those who may still need something of this dropped lane; rests when none of them is there.
    fn see_whether_over(&mut self, root: &Membership) {
        let members = root.voters.iter().chain(&root.learners).copied();
        let (node, gone) = (self.node, &self.rest.gone);
        let waited_for: Vec<RaftId> =
            members.filter(|member| *member != node && !gone.contains(member)).collect();
        self.rest.is_over = waited_for.is_empty() && !root.is_empty();
        self.rest.is_resting = self.rest.is_over;
        if !self.rest.is_over && self.rest.ticks - self.rest.called >= self.election_ticks {
            self.rest.called = self.rest.ticks;
            self.rest.is_resting = waited_for.iter().all(|member| self.is_silent(*member));
            self.post_to(waited_for, &envelope::encode_call());
        }
    }

    /// Of a lane that was dropped: the members that have not said that they need nothing of it.
    pub(super) fn waits_for(&self) -> Vec<RaftId> {
        if !self.rest.is_retired || self.rest.is_over {
            return Vec::new();
        }
        let members = self.membership();
        let all = members.voters.into_iter().chain(members.learners);
        all.filter(|member| *member != self.node && !self.rest.gone.contains(member)).collect()
    }

    /// Whether it was dropped, and rests because those who may need it are not there.
    pub(crate) fn waits_for_absent(&self) -> bool {
        self.rest.is_retired && self.rest.is_resting && !self.rest.is_over
    }

    /// Asks the absent members again: they may be back.
    pub(crate) fn ask_again(&mut self) {
        self.wake();
        self.rest.called = 0;
    }

    /// A peer wants to hear of the leader, or of the end. One that is no member any more does not wake the lane.
    pub(super) fn on_call(&mut self, from: RaftId) {
        if self.rest.is_retired {
            self.post(from, envelope::encode_gone());
        }
        if self.raft.raft.prs().get(from.0).is_some() {
            self.wake();
            if self.is_leader() {
                // The answer says what it lacks.
                self.step(|raft| raft.ping());
            }
        }
    }

    /// A peer needs nothing of this lane any more.
    pub(super) fn on_gone(&mut self, from: RaftId) {
        if self.rest.gone.insert(from) && self.rest.is_retired {
            self.wake();
        }
    }

    /// A peer has nothing of this lane any more.
    pub(super) fn on_forgotten(&mut self, from: RaftId) {
        self.rest.is_forgotten |= !self.rest.is_retired;
        self.on_gone(from);
    }

    /// Whether a peer needs nothing of this lane any more.
    pub(super) fn is_gone(&self, peer: RaftId) -> bool {
        self.rest.gone.contains(&peer)
    }

    /// Whether it rests and does not know that this entry is committed.
    pub(crate) fn sleeps_through(&self, index: LogIndex) -> bool {
        self.rest.is_resting && self.raft.raft.raft_log.committed < index.0
    }

    /// The root has ordered what this member does not have: all that it applies waits for it.
    pub(crate) fn wake_and_call(&mut self) {
        self.wake();
        self.call();
    }

    /// Changes the members to those of the root, if nothing is under way.
    fn follow(&mut self, root: &Membership) {
        let mine = self.membership();
        let known = |id: &RaftId| root.voters.contains(id) || root.learners.contains(id);
        let voters =
            root.voters.iter().filter(|id| !mine.voters.contains(id)).map(|id| MemberChange::Voter(*id));
        let learners = root
            .learners
            .iter()
            .filter(|id| !mine.learners.contains(id))
            .map(|id| MemberChange::Learner(*id));
        let gone = mine
            .voters
            .iter()
            .chain(&mine.learners)
            .filter(|id| !known(id))
            .map(|id| MemberChange::Remove(*id));
        let changes: Vec<MemberChange> = voters.chain(learners).chain(gone).collect();
        // Refused while one is under way; there will be another tick.
        let _ = self.try_propose_membership(&changes);
    }

    fn has_everything(&self, member: RaftId) -> bool {
        let last = self.raft.raft.raft_log.last_index();
        self.raft.raft.prs().get(member.0).is_some_and(|progress| progress.matched == last)
    }

    fn is_silent(&self, member: RaftId) -> bool {
        let heard = self.rest.heard.get(&member).copied().unwrap_or(0);
        self.rest.ticks - heard > 2 * self.election_ticks
    }

    /// The leader rests, and tells the others to, when no reachable member lacks an entry.
    fn rest_if_still(&mut self) {
        let raft = &self.raft.raft;
        let log = &raft.raft_log;
        let last = log.last_index();
        let is_done = log.committed == last && log.applied == last && log.persisted == last;
        let is_asked = self.proposals.len() > 0
            || !self.forwarded.is_empty()
            || !self.read_tags.is_empty()
            || !self.early_reads.is_empty()
            || raft.has_pending_conf();
        let members = self.membership();
        let lacks = |member: &&RaftId| {
            **member != self.node && !self.has_everything(**member) && !self.is_silent(**member)
        };
        let someone_lacks = members.voters.iter().chain(&members.learners).find(lacks).is_some();
        if !is_done || is_asked || someone_lacks || members.is_joint() || !raft.commit_to_current_term() {
            return;
        }
        let note = envelope::encode_rest(Term(raft.term), LogIndex(last));
        self.post_to(members.voters.into_iter().chain(members.learners), &note);
        self.rest.is_resting = true;
    }

    /// The leader rests. A member that lacks entries stays awake, and its messages wake the leader.
    pub(super) fn on_rest(&mut self, from: RaftId, term: Term, last: LogIndex) {
        let raft = &self.raft.raft;
        let log = &raft.raft_log;
        let agrees = raft.state == StateRole::Follower
            && raft.term == term.0
            && raft.leader_id == from.0
            && [log.last_index(), log.committed, log.persisted] == [last.0; 3];
        // Of a lane that was dropped, rest means that it can be forgotten.
        if agrees && self.proposals.len() == 0 && !self.rest.is_retired {
            self.rest.is_resting = true;
        }
    }

    /// The last entry that is known to be committed, with its term.
    pub(crate) fn committed_end(&self) -> Option<LaneEnd> {
        let log = &self.raft.raft.raft_log;
        let index = log.committed;
        if index == 0 {
            return None;
        }
        Some(LaneEnd { index: LogIndex(index), term: Term(log.term(index).ok()?) })
    }

    /// Orders lanes, if this is the root's leader and its log takes anything now.
    pub(crate) fn append_cut(&mut self, cut: &Cut) -> bool {
        let (context, data) = cut.encode();
        let entry = raft::eraftpb::Entry {
            entry_type: raft::eraftpb::EntryType::EntryNormal,
            data,
            context,
            ..raft::eraftpb::Entry::default()
        };
        self.append(vec![entry]).is_ok()
    }

    /// The term in which this node leads; `None` when it does not.
    pub(crate) fn leads_in(&self) -> Option<Term> {
        self.is_leader().then_some(Term(self.raft.raft.term))
    }

    /// The members at an entry that took effect, if that is still known.
    pub(crate) fn members_at(&self, index: LogIndex) -> Option<Membership> {
        self.members.at(index).cloned()
    }
}
