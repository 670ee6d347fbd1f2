//! What each event does to a group.

use bytes::Bytes;
use protobuf::Message as _;
use quack_log::{Floor, LogRead};
use quack_types::{LogIndex, RaftId, Term};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Changer, StateRole, Storage as _};

use super::Group;
use crate::envelope::{self, Envelope};
use crate::membership::joint_change;
use crate::{Answer, InvalidMessage, MemberChange, Note, Refusal, message};

/// Questions of peers that wait until a new leader may answer. Each peer has one or two
/// at a time; more than this come from a peer that is broken.
const EARLY_READS_MAX: usize = 1024;

impl<L: LogRead> Group<L> {
    /// A tick of the timer.
    pub(crate) fn on_tick(&mut self) {
        self.proposals.tick();
        self.probed.clear();
        let expired = self.reads.tick();
        self.outbox.answers.extend(expired);
        // A lone voter wins its election within the tick, and raft asserts that its log
        // is durable by then. The tick can wait for the next round.
        let raft = &self.raft.raft;
        let is_alone = raft.prs().is_singleton() && raft.state != StateRole::Leader;
        if is_alone && !raft.raft_log.unstable_entries().is_empty() {
            return;
        }
        self.step(|raft| raft.tick());
        if self.timeout.hurries() {
            self.step(|raft| raft.tick());
        }
        self.forget_silent_leader();
    }

    /// A learner does not stand for election: raft lets it believe for ever in the leader that it heard last. Two election
    /// timeouts: by then the voters have replaced a leader that they do not hear either.
    fn forget_silent_leader(&mut self) {
        let raft = &self.raft.raft;
        let waits = raft.state == StateRole::Follower && !raft.promotable() && self.leader().is_some();
        if waits && raft.election_elapsed as u64 >= 2 * self.election_ticks {
            let term = raft.term;
            self.step(|raft| raft.raft.become_follower(term, 0));
        }
    }

    /// A message of a peer.
    pub(crate) fn on_message(&mut self, from: RaftId, bytes: &Bytes) {
        self.heard(from);
        let taken = match envelope::decode(from, self.node, bytes) {
            Ok(Envelope::Raft(body)) => self.on_raft_message(from, &body),
            Ok(Envelope::Proposals(proposals)) => {
                self.wake();
                self.on_forwarded(proposals);
                Ok(())
            }
            Ok(Envelope::Rest(term, last)) => {
                self.on_rest(from, term, last);
                Ok(())
            }
            Ok(Envelope::Gone) => {
                self.on_gone(from);
                Ok(())
            }
            Ok(Envelope::Forgotten) => {
                self.on_forgotten(from);
                Ok(())
            }
            Ok(Envelope::Call) => {
                self.on_call(from);
                Ok(())
            }
            Ok(Envelope::Refusal(_, ids)) => {
                self.on_forward_refused(from, &ids);
                Ok(())
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = taken {
            self.outbox.notes.push(Note::MessageRefused { from, group: self.id, reason });
        }
    }

    fn on_raft_message(&mut self, from: RaftId, body: &Bytes) -> Result<(), InvalidMessage> {
        let message = message::decode(from, self.node, body)?;
        self.note_promise(from, &message);
        self.note_floor(from, &message);
        // An answer to a heartbeat from before the lane came to rest does not wake it.
        if message.msg_type != MessageType::MsgHeartbeatResponse {
            self.wake();
        }
        if message.msg_type == MessageType::MsgReadIndex {
            if !self.is_leader() {
                // A follower in raft-rs forwards a read in the name of the member that asked, and
                // the leader would have to refuse it: a peer speaks for itself only. The member
                // that asked hears of the new leader and asks again.
                return Ok(());
            }
            if !self.raft.raft.commit_to_current_term() {
                // Raft would drop it, and the member that asked would wait in vain.
                if self.early_reads.len() < EARLY_READS_MAX {
                    self.early_reads.push(message);
                }
                return Ok(());
            }
        }
        // The other errors of a step say that the message has no meaning any more, such as
        // an answer of a member that was removed.
        match self.step(|raft| raft.step(message)) {
            Err(raft::Error::StepLocalMsg) => Err(InvalidMessage::Kind { kind: "local".to_owned() }),
            _ => Ok(()),
        }
    }

    /// Whether a follower has the entry at the floor, as it says. One that lacks an earlier one lacks this one.
    fn note_floor(&mut self, from: RaftId, message: &Message) {
        if message.msg_type != MessageType::MsgAppendResponse || message.term != self.raft.raft.term {
            return;
        }
        if !message.reject {
            self.lacks_floor.remove(&from);
        } else if message.index <= self.raft.store().floor().index.0 {
            self.lacks_floor.insert(from);
        }
    }

    /// A node that speaks in a term has it on its disk, unless it only asks what would be.
    fn note_promise(&mut self, from: RaftId, message: &Message) {
        let only_asks = matches!(
            message.msg_type,
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse
        );
        if !only_asks {
            let spoken = self.spoken.entry(from).or_default();
            spoken.term = Term(message.term).max(spoken.term);
            spoken.committed = LogIndex(message.commit).max(spoken.committed);
        }
    }

    /// A membership change.
    pub(crate) fn on_propose_membership(&mut self, changes: &[MemberChange], tag: u64) {
        self.wake();
        if let Err(reason) = self.try_propose_membership(changes) {
            self.outbox.answers.push(Answer::MembershipRefused { group: self.id, tag, reason });
        }
    }

    pub(super) fn try_propose_membership(&mut self, changes: &[MemberChange]) -> Result<(), Refusal> {
        if !self.is_leader() {
            return Err(Refusal::NotLeader { leader: self.leader() });
        }
        // Raft would turn a change that comes too early into an empty entry, silently.
        if self.raft.raft.has_pending_conf() || self.membership().is_joint() {
            return Err(Refusal::MembershipPending);
        }
        let invalid = |what: String| Refusal::MembershipInvalid { what };
        if changes.is_empty() {
            return Err(invalid("there is nothing to change".to_owned()));
        }
        let change = joint_change(changes);
        // A change that cannot be applied must not get into the log: try it first.
        Changer::new(self.raft.raft.prs())
            .enter_joint(true, change.get_changes())
            .map_err(|error| invalid(error.to_string()))?;
        let data = change.write_to_bytes().map_err(|error| invalid(error.to_string()))?;
        let data = Bytes::from(data);
        let entry = Entry { entry_type: EntryType::EntryConfChangeV2, data, ..Entry::default() };
        self.append(vec![entry])
    }

    /// Leadership is to move.
    pub(crate) fn on_transfer_leader(&mut self, to: RaftId) {
        self.wake();
        let reason = if !self.is_leader() {
            Refusal::NotLeader { leader: self.leader() }
        } else if !self.membership().voters.contains(&to) {
            Refusal::NotVoter
        } else {
            // To itself nothing needs to be done; raft ignores it.
            self.step(|raft| raft.transfer_leader(to.0));
            return;
        };
        self.outbox.answers.push(Answer::TransferRefused { group: self.id, to, reason });
    }

    /// A linearizable read. It waits for the end of the round.
    pub(crate) fn on_read_index(&mut self, tag: u64) {
        self.wake();
        self.read_tags.push(tag);
    }

    /// Asks for the index of all reads of this round at once.
    pub(super) fn flush_reads(&mut self) {
        let tags = std::mem::take(&mut self.read_tags);
        if tags.is_empty() {
            return;
        }
        if self.leader().is_none() {
            let reason = Refusal::NotLeader { leader: None };
            let refuse = |tag| Answer::ReadRefused { group: self.id, tag, reason: reason.clone() };
            self.outbox.answers.extend(tags.into_iter().map(refuse));
            return;
        }
        let question = Entry { data: Bytes::from(self.reads.begin(tags)), ..Entry::default() };
        let mut message = Message { msg_type: MessageType::MsgReadIndex, ..Message::default() };
        message.set_entries(vec![question].into());
        if self.is_leader() && !self.raft.raft.commit_to_current_term() {
            // At most one a round, and each ends with the term or by its own time.
            self.early_reads.push(message);
        } else {
            // It fails only when the group has no leader, and that was checked just now.
            let _ = self.step(|raft| raft.raft.step(message));
        }
    }

    /// Whether questions that came too early can be asked now.
    pub(super) fn has_early_reads(&self) -> bool {
        !self.early_reads.is_empty() && self.raft.raft.commit_to_current_term()
    }

    /// Asks what came before this leader had committed in its term: until then it does
    /// not know how far the group is (Ongaro's thesis, section 6.4).
    pub(super) fn flush_early_reads(&mut self) {
        if self.has_early_reads() {
            for message in std::mem::take(&mut self.early_reads) {
                let _ = self.step(|raft| raft.raft.step(message));
            }
        }
    }

    /// The state machine has applied.
    pub(crate) fn on_applied(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// The log up to `through` is no longer needed here. Clamped to what the state
    /// machine has applied; an index that is gone already is ignored.
    pub(crate) fn on_compact(&mut self, through: LogIndex) -> Result<(), String> {
        let log = &self.raft.raft.raft_log;
        let through = through.min(self.applied).min(LogIndex(log.applied)).min(LogIndex(log.persisted));
        let pending = self.floor_pending.as_ref().map(|floor| floor.index);
        if through <= self.raft.store().floor().index.max(pending.unwrap_or_default()) {
            return Ok(());
        }
        let term = self.raft.store().term(through.0);
        let term =
            term.map_err(|error| format!("the log cannot be compacted at entry {through}: {error}"))?;
        let membership = self.members.at(through).map(|membership| membership.encode()).unwrap_or_default();
        self.floor_pending = Some(Floor { index: through, term: Term(term), membership });
        Ok(())
    }

    /// Messages to a peer do not arrive.
    pub(crate) fn on_peer_unreachable(&mut self, peer: RaftId) {
        self.proposals.peer_unreachable(peer);
        if self.leader() == Some(peer) {
            self.wake();
        }
        self.step(|raft| raft.report_unreachable(peer.0));
    }
}
