//! One Raft group of this node: a `RawNode` and its driver.
//!
//! A step is one call of [`Group::step`]; a round is [`Group::collect`] followed, when
//! its write is durable, by [`Group::persisted`]. Raft forbids steps inside a round.
//! Everything that a step says goes into the group's own [`Outbox`].
//!
//! Raft's idea of "applied" is ours of "handed to the state machine": membership
//! takes effect at that moment, and Raft must not think that a change is pending
//! because the state machine is slow. What the state machine has really applied is
//! kept beside it.
//!
//! Source: the driver's manual of the raft crate 0.7, "Processing the Ready State".

mod propose;
mod rest;
mod start;
mod steps;

pub use propose::proposal_id;
use rest::Rest;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protobuf::Message as _;
use quack_log::{EntryKind, Floor, GroupWrite, LogRead};
use quack_types::{GroupId, LogIndex, ProposalId, RaftId, Term};
use raft::eraftpb::{ConfChangeV2, Entry, Message, MessageType};
use raft::{RawNode, Ready, StateRole};

use crate::election::ElectionTimeout;
use crate::envelope;
use crate::history::MembershipHistory;
use crate::logger::Warnings;
use crate::outbox::Outbox;
use crate::proposals::Proposals;
use crate::reads::PendingReads;
use crate::storage::LogStorage;
use crate::{GroupState, GroupStatus, Membership, Note, Promise, Refusal, Role, SnapshotNeeded, convert};

/// One group, owned by the node. Given up whole when a step fails.
pub(crate) struct Group<L: LogRead> {
    id: GroupId,
    node: RaftId,
    raft: RawNode<LogStorage<L>>,
    warnings: Warnings,
    timeout: ElectionTimeout,
    reads: PendingReads,
    members: MembershipHistory,
    /// What the state machine has applied.
    applied: LogIndex,
    /// Up to here entries are not handed out: the state machine had them when the node started.
    replayed: LogIndex,
    /// This node's own proposals, kept until they are seen committed.
    proposals: Proposals,
    /// Of peers, in this round. All proposals go to raft as one message, all reads as one
    /// question, so that a busy round costs each peer one message.
    forwarded: Vec<(ProposalId, Bytes)>,
    /// In the log of this leader since its election, and not committed: one that is
    /// offered again meanwhile is not appended again.
    appended: BTreeSet<ProposalId>,
    uncommitted_bytes_max: u64,
    forward_message_bytes_max: usize,
    read_tags: Vec<u64>,
    /// Questions that came before this leader had committed in its term.
    early_reads: Vec<Message>,
    /// Followers behind the floor that were asked in this tick whether they still are.
    probed: BTreeSet<RaftId>,
    /// Followers that do not have the entry at the floor, and have said so.
    lacks_floor: BTreeSet<RaftId>,
    /// What each peer has said of itself.
    spoken: BTreeMap<RaftId, Promise>,
    /// To be written with the next round.
    floor_pending: Option<Floor>,
    /// The round under way.
    ready: Option<Ready>,
    /// What the last note said.
    seen: (Role, Term, Option<RaftId>),
    rest: Rest,
    election_ticks: u64,
    outbox: Outbox,
}

impl<L: LogRead> Group<L> {
    /// Runs one call into raft and puts right what raft leaves to its driver.
    fn step<T>(&mut self, call: impl FnOnce(&mut RawNode<LogStorage<L>>) -> T) -> T {
        let result = call(&mut self.raft);
        self.put_progress_right();
        self.after_step();
        result
    }

    /// Two things that raft-rs 0.7 does not find out by itself about a follower for whom it
    /// wants a snapshot:
    ///
    /// - A rejection that arrives late, while it probes, takes the next index below what the
    ///   follower is known to have (etcd has corrected this since). If the log starts between
    ///   the two, it would want a snapshot for a follower that needs none, for ever.
    /// - A follower that got a snapshot by other means. As long as raft believes it behind
    ///   the floor it sends nothing, and would never hear of it.
    fn put_progress_right(&mut self) {
        let wanted = self.raft.store().take_snapshots_wanted();
        if wanted.is_empty() {
            return;
        }
        let floor = self.raft.store().floor().index;
        for peer in wanted {
            let progress = self.raft.raft.mut_prs().get_mut(peer.0);
            match progress {
                Some(progress) if progress.next_idx <= progress.matched && progress.matched >= floor.0 => {
                    progress.next_idx = progress.matched + 1;
                    self.raft.raft.send_append(peer.0);
                }
                Some(_) => {
                    self.raft.store().want_snapshot(peer);
                    // Once a tick: a follower that has nothing yet refuses it.
                    if self.probed.insert(peer) {
                        self.probe_at_floor(peer);
                    }
                }
                None => {}
            }
        }
    }

    /// Asks a follower whether it has the entry at the floor. If it has, its answer is one
    /// that raft understands; its refusal means nothing, because raft did not ask.
    fn probe_at_floor(&mut self, peer: RaftId) {
        let floor = self.raft.store().floor();
        let raft = &mut self.raft.raft;
        if raft.state != StateRole::Leader {
            return;
        }
        let mut message = Message { msg_type: MessageType::MsgAppend, ..Message::default() };
        (message.from, message.to, message.term) = (self.node.0, peer.0, raft.term);
        (message.index, message.log_term) = (floor.index.0, floor.term.0);
        message.commit = raft.raft_log.committed;
        raft.msgs.push(message);
    }

    fn after_step(&mut self) {
        let ticks = self.timeout.ticks(Term(self.raft.raft.term), self.raft.raft.state);
        self.raft.raft.set_randomized_election_timeout(ticks);
        let now = (self.role(), Term(self.raft.raft.term), self.leader());
        if now == self.seen {
            return;
        }
        let (_, term, leader) = self.seen;
        if (term, leader) != (now.1, now.2) {
            // Raft has dropped or will never answer what was asked of the old leader.
            self.outbox.answers.extend(self.reads.refuse_all(&Refusal::LeaderChanged));
            self.early_reads.clear();
            self.appended.clear();
            self.proposals.leader_changed();
        }
        self.seen = now;
        self.outbox.notes.push(Note::RoleChanged { group: self.id, role: now.0, term: now.1, leader: now.2 });
    }

    /// Whether [`Group::collect`] would have something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.floor_pending.is_some()
            || self.has_proposals()
            || !self.read_tags.is_empty()
            || self.has_early_reads()
            || self.raft.has_ready()
            || !self.outbox.send.is_empty()
            || !self.outbox.answers.is_empty()
            || !self.outbox.notes.is_empty()
    }

    /// Begins a round: what may be sent at once, and what is to be written.
    pub(crate) fn collect(&mut self) -> Result<Outbox, String> {
        debug_assert!(self.ready.is_none(), "a round begins after the last one has ended");
        self.flush_proposals();
        self.flush_early_reads();
        self.flush_reads();
        let mut write = GroupWrite::new(self.id);
        write.floor = self.floor_pending.clone();
        let mut has_write = write.floor.is_some();
        // A floor carries the first membership or frees space: neither is worth losing.
        self.outbox.must_sync |= has_write;
        if self.raft.has_ready() {
            let mut ready = self.raft.ready();
            self.outbox.must_sync |= ready.must_sync();
            for read in ready.take_read_states() {
                let answer = self.reads.finish(&read.request_ctx, LogIndex(read.index));
                self.outbox.answers.extend(answer);
            }
            if !ready.snapshot().is_empty() {
                return Err("raft wants to install a snapshot that no node sent".to_owned());
            }
            // A single voter can win an election within a step. Its new term must be
            // durable before a learner hears of it, or the same term could begin twice.
            let term_is_new = ready.hs().is_some_and(|state| self.vote_is_new(state));
            if !term_is_new {
                let messages = ready.take_messages();
                self.send(messages)?;
            }
            write.entries = ready.take_entries().into_iter().map(convert::entry_from_raft).collect();
            write.hard_state = ready.hs().map(convert::hard_state_from_raft);
            has_write |= !write.entries.is_empty() || write.hard_state.is_some();
            self.ready = Some(ready);
        }
        self.outbox.write = has_write.then_some(write);
        self.note_warnings();
        Ok(std::mem::take(&mut self.outbox))
    }

    fn vote_is_new(&self, state: &raft::eraftpb::HardState) -> bool {
        let durable = self.raft.store().hard_state();
        (Term(state.term), RaftId(state.vote)) != (durable.term, durable.vote)
    }

    /// Ends a round: what had to wait for the write.
    pub(crate) fn persisted(&mut self) -> Result<Outbox, String> {
        if let Some(floor) = self.floor_pending.take() {
            self.members.forget_below(floor.index);
            if floor.index > LogIndex(0) {
                self.outbox.notes.push(Note::Compacted { group: self.id, through: floor.index });
            }
        }
        if let Some(mut ready) = self.ready.take() {
            let mut committed = ready.take_committed_entries();
            let mut messages = ready.take_messages();
            messages.extend(ready.take_persisted_messages());
            let mut light = self.step(|raft| raft.advance_append(ready));
            committed.extend(light.take_committed_entries());
            messages.extend(light.take_messages());
            self.send(messages)?;
            self.hand_out(committed)?;
        }
        let wanted = self.raft.store().take_snapshots_wanted();
        // Raft wants one for a follower that it has not heard of, too. Only the follower knows.
        let wanted =
            wanted.into_iter().filter(|peer| !self.is_gone(*peer) && self.lacks_floor.contains(peer));
        let (group, floor) = (self.id, self.raft.store().floor().index);
        let needed: Vec<_> = wanted.map(|peer| SnapshotNeeded { group, peer, floor }).collect();
        self.outbox.snapshots_needed.extend(needed);
        self.note_warnings();
        Ok(std::mem::take(&mut self.outbox))
    }

    fn send(&mut self, messages: Vec<Message>) -> Result<(), String> {
        for message in messages {
            self.post(RaftId(message.to), envelope::encode_raft(&message)?);
        }
        Ok(())
    }

    /// Committed entries take effect: membership here and now, the rest in the state machine.
    fn hand_out(&mut self, committed: Vec<Entry>) -> Result<(), String> {
        let Some(last) = committed.last().map(|entry| entry.index) else {
            return Ok(());
        };
        for entry in committed {
            let entry = convert::entry_from_raft(entry);
            match entry.kind {
                EntryKind::Normal => self.settle_proposal(&entry),
                EntryKind::ConfChangeV2 => self.change_membership(entry.index, &entry.data)?,
                EntryKind::ConfChange => {
                    return Err(format!(
                        "entry {} is a membership change of a kind we never write",
                        entry.index
                    ));
                }
            }
            if entry.index > self.replayed {
                self.outbox.apply.push(entry);
            }
        }
        self.step(|raft| {
            let end = raft.raft.raft_log.last_index();
            raft.advance_apply_to(last);
            // A leader leaves a joint state by an entry that it appends here, but raft
            // sends it only with the next heartbeat.
            if raft.raft.raft_log.last_index() > end {
                raft.raft.bcast_append();
            }
        });
        Ok(())
    }

    fn change_membership(&mut self, index: LogIndex, data: &Bytes) -> Result<(), String> {
        let change = ConfChangeV2::parse_from_carllerche_bytes(data)
            .map_err(|error| format!("the membership change in entry {index} cannot be read: {error}"))?;
        let state = self
            .step(|raft| raft.apply_conf_change(&change))
            .map_err(|error| format!("the membership change in entry {index} cannot be applied: {error}"))?;
        let membership = Membership::from_raft(&state);
        self.members.push(index, membership.clone());
        self.outbox.notes.push(Note::MembershipChanged { group: self.id, index, membership });
        // The role follows from the membership too.
        self.after_step();
        if self.is_leader() && !self.membership().is_voter(self.node) {
            self.step_down();
        }
        Ok(())
    }

    /// A leader that has no vote any more would lead on for ever without taking
    /// proposals. It asks the voter that knows most to stand for election at once.
    fn step_down(&mut self) {
        let voters = self.membership().voters;
        let matched =
            |voter: &RaftId| self.raft.raft.prs().get(voter.0).map_or(0, |progress| progress.matched);
        let heir = voters.iter().copied().max_by_key(|voter| (matched(voter), voter.0));
        self.step(|raft| {
            if let Some(heir) = heir {
                raft.raft.send_timeout_now(heir.0);
            }
            let term = raft.raft.term;
            raft.raft.become_follower(term, 0);
        });
    }

    fn note_warnings(&mut self) {
        let notes = self.warnings.take().into_iter().map(|text| Note::Raft { group: self.id, text });
        self.outbox.notes.extend(notes);
    }

    /// The cause behind a panic of raft, when it was the log.
    pub(crate) fn take_fault(&self) -> Option<String> {
        self.raft.store().take_fault()
    }

    fn membership(&self) -> Membership {
        self.members.current().cloned().unwrap_or_default()
    }

    fn leader(&self) -> Option<RaftId> {
        Some(RaftId(self.raft.raft.leader_id)).filter(|leader| *leader != RaftId(0))
    }

    fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    fn role(&self) -> Role {
        match self.raft.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate => Role::Candidate,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Follower if self.members.current().is_some_and(|m| m.is_voter(self.node)) => {
                Role::Follower
            }
            StateRole::Follower => Role::Learner,
        }
    }

    /// What the group looks like now.
    pub(crate) fn status(&self) -> GroupStatus {
        let raft = &self.raft.raft;
        let leader = self.leader();
        GroupStatus {
            group: self.id,
            role: self.role(),
            leader,
            term: Term(raft.term),
            last_index: LogIndex(raft.raft_log.last_index()),
            commit_index: LogIndex(raft.raft_log.committed),
            applied_index: self.applied,
            snapshot_index: self.raft.store().floor().index,
            membership: self.membership(),
            replicated_index: self.is_leader().then(|| self.replicated()),
            // The node knows, which has the root.
            ordered_index: LogIndex(0),
            is_resting: self.rest.is_resting,
            is_over: self.rest.is_over,
            waits_for: self.waits_for(),
            is_forgotten: self.rest.is_forgotten,
            proposals: self.proposals.len(),
            linearizable_read_safe: leader.is_some() && (!self.is_leader() || raft.commit_to_current_term()),
            state: GroupState::Ok,
        }
    }

    /// Where another node's log may begin, if its state machine is at `index`.
    pub(crate) fn floor_at(&self, index: LogIndex) -> Option<Floor> {
        let log = &self.raft.raft.raft_log;
        if index < self.raft.store().floor().index || index > LogIndex(log.applied) {
            return None;
        }
        let term = Term(log.term(index.0).ok()?);
        Some(Floor { index, term, membership: self.members.at(index)?.encode() })
    }

    /// What each peer has promised in this group.
    pub(crate) fn promises(&self) -> BTreeMap<RaftId, Promise> {
        let mut promises = self.spoken.clone();
        if let Some(led) = self.leads_in() {
            for (peer, progress) in self.raft.raft.prs().iter() {
                let promise = promises.entry(RaftId(*peer)).or_default();
                (promise.held, promise.led) = (LogIndex(progress.matched), led);
            }
        }
        promises
    }

    fn replicated(&self) -> LogIndex {
        let raft = &self.raft.raft;
        let matched = raft.prs().iter().map(|(_, progress)| progress.matched).min().unwrap_or(0);
        LogIndex(matched.min(raft.raft_log.committed))
    }
}
