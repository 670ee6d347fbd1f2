//! What each event does to a group.

use bytes::Bytes;
use protobuf::Message as _;
use quack_log::{Floor, LogRead};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{LogIndex, ProposalId, RaftId, Term};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Changer, StateRole, Storage as _};

use super::Group;
use crate::membership::joint_change;
use crate::{Answer, InvalidMessage, MemberChange, Note, Refusal, message};

impl<L: LogRead> Group<L> {
    /// A tick of the timer.
    pub(crate) fn on_tick(&mut self) {
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
    }

    /// A message of a peer.
    pub(crate) fn on_message(&mut self, from: RaftId, bytes: &Bytes) {
        let refused = match message::decode(from, self.node, bytes) {
            // A follower in raft-rs passes a read on in the name of the one who asked, which
            // the leader would have to refuse: a peer speaks for itself only. Whoever asked
            // hears of the new leader and asks again.
            Ok(message) if message.msg_type == MessageType::MsgReadIndex && !self.is_leader() => return,
            // The other errors of a step say that the message has no meaning any more,
            // such as an answer of a member that was removed.
            Ok(message) => match self.step(|raft| raft.step(message)) {
                Err(raft::Error::StepLocalMsg) => InvalidMessage::Kind { kind: "local".to_owned() },
                _ => return,
            },
            Err(reason) => reason,
        };
        self.outbox.notes.push(Note::MessageRefused { from, group: self.id, reason: refused });
    }

    /// A proposal. It waits for the end of the round.
    pub(crate) fn on_propose(&mut self, data: Bytes, tag: ProposalId) {
        let bytes = data.len();
        if data.is_empty() {
            self.refuse_proposal(tag, Refusal::Empty);
        } else if bytes > ENTRY_BYTES_MAX {
            self.refuse_proposal(tag, Refusal::TooLarge { bytes, max: ENTRY_BYTES_MAX });
        } else {
            self.proposals.push((data, tag));
        }
    }

    fn refuse_proposal(&mut self, tag: ProposalId, reason: Refusal) {
        self.outbox.answers.push(Answer::ProposalRefused { group: self.id, tag, reason });
    }

    /// Proposes what has come together in this round.
    pub(super) fn flush_proposals(&mut self) {
        let proposals = std::mem::take(&mut self.proposals);
        if proposals.is_empty() {
            return;
        }
        let all = proposals.iter().map(|(data, _)| data.clone()).collect();
        match self.append(EntryType::EntryNormal, all) {
            Ok(()) => {}
            // Raft takes all or none: there may be room for some.
            Err(Refusal::Busy) => {
                for (data, tag) in proposals {
                    if let Err(reason) = self.append(EntryType::EntryNormal, vec![data]) {
                        self.refuse_proposal(tag, reason);
                    }
                }
            }
            Err(reason) => {
                for (_, tag) in proposals {
                    self.refuse_proposal(tag, reason.clone());
                }
            }
        }
    }

    /// Appends to the leader's log; the data is shared with raft, not copied.
    fn append(&mut self, kind: EntryType, all: Vec<Bytes>) -> Result<(), Refusal> {
        if !self.is_leader() {
            return Err(Refusal::NotLeader { leader: self.leader() });
        }
        if self.raft.raft.lead_transferee.is_some() {
            return Err(Refusal::Transferring);
        }
        let entries = all.into_iter().map(|data| Entry { entry_type: kind, data, ..Entry::default() });
        let mut message =
            Message { msg_type: MessageType::MsgPropose, from: self.node.0, ..Message::default() };
        message.set_entries(entries.collect());
        // A leader that is not handing over drops a proposal for one of two reasons: it
        // is no member any more, or too much is uncommitted.
        let is_member = self.raft.raft.prs().get(self.node.0).is_some();
        let refusal = if is_member { Refusal::Busy } else { Refusal::NotLeader { leader: None } };
        self.step(|raft| raft.raft.step(message)).map_err(|_| refusal)
    }

    /// A membership change.
    pub(crate) fn on_propose_membership(&mut self, changes: &[MemberChange], tag: u64) {
        if let Err(reason) = self.try_propose_membership(changes) {
            self.outbox.answers.push(Answer::MembershipRefused { group: self.id, tag, reason });
        }
    }

    fn try_propose_membership(&mut self, changes: &[MemberChange]) -> Result<(), Refusal> {
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
        self.append(EntryType::EntryConfChangeV2, vec![Bytes::from(data)])
    }

    /// Leadership is to move.
    pub(crate) fn on_transfer_leader(&mut self, to: RaftId) {
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
        self.read_tags.push(tag);
    }

    /// Asks for the index of all reads of this round at once.
    pub(super) fn flush_reads(&mut self) {
        let tags = std::mem::take(&mut self.read_tags);
        if tags.is_empty() {
            return;
        }
        let refusal = if self.leader().is_none() {
            Refusal::NotLeader { leader: None }
        } else if self.is_leader() && !self.raft.raft.commit_to_current_term() {
            Refusal::LeaderNotReady
        } else {
            let context = self.reads.begin(tags);
            self.step(|raft| raft.read_index(context));
            return;
        };
        let refuse = |tag| Answer::ReadRefused { group: self.id, tag, reason: refusal.clone() };
        self.outbox.answers.extend(tags.into_iter().map(refuse));
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
        self.step(|raft| raft.report_unreachable(peer.0));
    }
}
