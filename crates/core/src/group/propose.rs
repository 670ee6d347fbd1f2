//! Proposals of this node and of others, on their way into the log.
//!
//! This node keeps its own ones (`proposals.rs`) and offers them to the leader. As the
//! leader it puts them into its log together with those that others have forwarded, all
//! of a round in one append. The proposal's id travels in the entry's context.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quack_log::{EntryKind, LogEntry, LogRead};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{ProposalId, RaftId};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::Group;
use crate::envelope::{self, ForwardRefusal};
use crate::{Answer, PeerMessage, Refusal};

/// Bytes of a proposal's id in an entry's context: origin, boot, sequence, big-endian.
const CONTEXT_BYTES: usize = 24;

/// The proposal that an entry carries. `None` for entries of the consensus itself.
pub fn proposal_id(entry: &LogEntry) -> Option<ProposalId> {
    if entry.kind != EntryKind::Normal || entry.context.len() != CONTEXT_BYTES {
        return None;
    }
    let mut context = &entry.context[..];
    let origin = RaftId(context.get_u64());
    Some(ProposalId { origin, boot: context.get_u64(), sequence: context.get_u64() })
}

fn context(id: ProposalId) -> Bytes {
    let mut context = BytesMut::with_capacity(CONTEXT_BYTES);
    for part in [id.origin.0, id.boot, id.sequence] {
        context.put_u64(part);
    }
    context.freeze()
}

/// An entry that is to be appended.
pub(super) fn proposal_entry(id: ProposalId, data: Bytes) -> Entry {
    Entry { entry_type: EntryType::EntryNormal, data, context: context(id), ..Entry::default() }
}

impl<L: LogRead> Group<L> {
    /// A proposal of this node. It is kept, and offered at the end of the round.
    pub(crate) fn on_propose(&mut self, data: Bytes, tag: ProposalId) {
        let bytes = data.len();
        self.wake();
        let taken = if self.rest.is_retired {
            Err(Refusal::UnknownGroup)
        } else if data.is_empty() {
            Err(Refusal::Empty)
        } else if bytes > ENTRY_BYTES_MAX {
            Err(Refusal::TooLarge { bytes, max: ENTRY_BYTES_MAX })
        } else if tag.origin != self.node {
            Err(Refusal::ForeignProposal { origin: tag.origin })
        } else {
            self.proposals.keep(tag, data)
        };
        if let Err(reason) = taken {
            self.outbox.answers.push(Answer::ProposalRefused { group: self.id, tag, reason });
        }
    }

    /// The shell gives the proposal up in this group.
    pub(crate) fn on_withdraw(&mut self, tag: ProposalId) {
        self.proposals.withdraw(tag);
    }

    /// A peer's proposals. They wait for the end of the round.
    pub(super) fn on_forwarded(&mut self, proposals: Vec<(ProposalId, Bytes)>) {
        self.forwarded.extend(proposals);
    }

    /// A peer does not take this node's proposals.
    pub(super) fn on_forward_refused(&mut self, from: RaftId, ids: &[ProposalId]) {
        self.proposals.refused(from, ids);
    }

    /// Whether there is a proposal that can get further now.
    pub(super) fn has_proposals(&self) -> bool {
        let can_offer = self.leader().is_some() && !self.is_handing_over();
        !self.forwarded.is_empty() || (can_offer && self.proposals.has_offer(self.is_leader()))
    }

    /// Raft takes nothing then. It ends with another leader, or after an election timeout.
    pub(super) fn is_handing_over(&self) -> bool {
        self.is_leader() && self.raft.raft.lead_transferee.is_some()
    }

    /// Moves all proposals of this round as far as they get.
    pub(super) fn flush_proposals(&mut self) {
        let forwarded = std::mem::take(&mut self.forwarded);
        if self.is_leader() {
            self.append_proposals(forwarded);
            return;
        }
        self.refuse_forwarded(forwarded.iter().map(|(id, _)| *id), ForwardRefusal::NotLeader);
        let Some(leader) = self.leader() else { return };
        loop {
            let offer = self.proposals.offer(leader, envelope::PROPOSALS_MAX, self.forward_message_bytes_max);
            if offer.is_empty() {
                return;
            }
            self.post(leader, envelope::encode_proposals(&offer));
        }
    }

    /// Puts own and forwarded proposals into the log, as many as there is room for.
    fn append_proposals(&mut self, forwarded: Vec<(ProposalId, Bytes)>) {
        if self.is_handing_over() {
            self.refuse_forwarded(forwarded.iter().map(|(id, _)| *id), ForwardRefusal::Transferring);
            return;
        }
        let mut all = self.proposals.for_own_log();
        all.extend(forwarded);
        let mut batch = BTreeSet::new();
        all.retain(|(id, _)| {
            if self.appended.contains(id) {
                // Withdrawn and proposed again, if it is this node's own.
                self.proposals.appended(*id, self.node);
                return false;
            }
            batch.insert(*id)
        });
        if all.is_empty() {
            return;
        }
        let count = self.room(&all);
        let rest = all.split_off(count);
        let ids: Vec<ProposalId> = all.iter().map(|(id, _)| *id).collect();
        let entries = all.into_iter().map(|(id, data)| proposal_entry(id, data)).collect();
        let refusal = match self.append(entries) {
            Ok(()) => {
                for id in &ids {
                    self.appended.insert(*id);
                    self.proposals.appended(*id, self.node);
                }
                self.refuse(&rest, ForwardRefusal::Busy);
                return;
            }
            Err(Refusal::Busy) => ForwardRefusal::Busy,
            Err(_) => ForwardRefusal::NotLeader,
        };
        let rest_ids = rest.iter().map(|(id, _)| *id);
        let (own, others): (Vec<_>, Vec<_>) =
            ids.into_iter().chain(rest_ids).partition(|id| id.origin == self.node);
        if !own.is_empty() {
            self.proposals.hold();
        }
        self.refuse_forwarded(others, refusal);
    }

    fn refuse(&mut self, rest: &[(ProposalId, Bytes)], reason: ForwardRefusal) {
        if rest.iter().any(|(id, _)| id.origin == self.node) {
            self.proposals.hold();
        }
        self.refuse_forwarded(rest.iter().map(|(id, _)| *id), reason);
    }

    /// How many of these the log takes now: raft takes all or none of a message, and
    /// anything when nothing is uncommitted.
    fn room(&self, all: &[(ProposalId, Bytes)]) -> usize {
        let uncommitted = self.raft.raft.uncommitted_size() as u64;
        if uncommitted == 0 {
            return all.len();
        }
        let mut room = self.uncommitted_bytes_max.saturating_sub(uncommitted);
        let fits = |(_, data): &&(ProposalId, Bytes)| {
            let fits = data.len() as u64 <= room;
            room = room.saturating_sub(data.len() as u64);
            fits
        };
        // At least one: raft says why it does not take it.
        all.iter().take_while(fits).count().max(1)
    }

    /// Tells the origins; each of them offers its proposals again, to this node or to another one.
    fn refuse_forwarded(&mut self, ids: impl IntoIterator<Item = ProposalId>, reason: ForwardRefusal) {
        let mut by_origin: BTreeMap<RaftId, Vec<ProposalId>> = BTreeMap::new();
        for id in ids.into_iter().filter(|id| id.origin != self.node) {
            by_origin.entry(id.origin).or_default().push(id);
        }
        for (origin, ids) in by_origin {
            for ids in ids.chunks(envelope::PROPOSALS_MAX) {
                self.post(origin, envelope::encode_refusal(reason, ids));
            }
        }
    }

    pub(super) fn post(&mut self, to: RaftId, bytes: Bytes) {
        self.outbox.send.push(PeerMessage { to, group: self.id, bytes });
    }

    /// Appends to the leader's log; the data is shared with raft, not copied.
    pub(super) fn append(&mut self, entries: Vec<Entry>) -> Result<(), Refusal> {
        if !self.is_leader() {
            return Err(Refusal::NotLeader { leader: self.leader() });
        }
        if self.is_handing_over() {
            return Err(Refusal::Transferring);
        }
        let mut message =
            Message { msg_type: MessageType::MsgPropose, from: self.node.0, ..Message::default() };
        message.set_entries(entries.into());
        // A leader that is not handing over drops a proposal for one of two reasons: it
        // is no member any more, or too much is uncommitted.
        let is_member = self.raft.raft.prs().get(self.node.0).is_some();
        let refusal = if is_member { Refusal::Busy } else { Refusal::NotLeader { leader: None } };
        self.step(|raft| raft.raft.step(message)).map_err(|_| refusal)
    }

    /// An entry is committed: its origin need not offer the proposal any more.
    pub(super) fn settle_proposal(&mut self, entry: &LogEntry) {
        let Some(id) = proposal_id(entry) else { return };
        self.appended.remove(&id);
        if id.origin == self.node {
            let leads = self.is_leader();
            self.proposals.committed(id, leads);
        }
    }
}
