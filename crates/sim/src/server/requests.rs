//! What clients and peers ask of a node, and the core's answers to it.

use quack_core::{Answer, Event, PeerMessage, Refusal, Role};
use quack_types::{GroupId, ProposalId, RaftId};

use super::{Output, Outputs, Server};
use crate::failure::Failure;
use crate::model::{self, Proposal};
use crate::network::Packet;
use crate::sabotage::Sabotage;

impl Server {
    /// A new id for a proposal, if the node is up.
    pub fn next_proposal_id(&mut self) -> Option<ProposalId> {
        let forgets = self.is_sabotaged(Sabotage::ForgetBoot);
        let (origin, boot) = (self.raft_id(), if forgets { 1 } else { self.boot });
        let life = self.life.as_mut()?;
        life.sequence += 1;
        Some(ProposalId { origin, boot, sequence: life.sequence })
    }

    /// A client's proposal, on one of the roads. The core brings it to the leader, wherever that is.
    pub fn propose(
        &mut self,
        group: GroupId,
        proposal: Proposal,
        padding: usize,
    ) -> Result<Outputs, Failure> {
        let data = model::encode(proposal, padding);
        let id = proposal.id;
        if let Some(life) = self.life.as_mut().filter(|_| group != GroupId::ROOT) {
            // It may have to be proposed again, when the lane is dropped.
            life.in_lanes.insert(id, (group, data.clone()));
        }
        let mut outputs = self.handle(Event::Propose { group, data, tag: id })?;
        if self.is_sabotaged(Sabotage::NeverRetry) {
            outputs.extend(self.handle(Event::Withdraw { group, tag: id })?);
        }
        let is_refused = outputs.iter().any(|output| matches!(output, Output::Refused { .. }));
        if self.is_sabotaged(Sabotage::AcknowledgeEarly) && !is_refused {
            outputs.push(Output::Taken { id });
        }
        Ok(outputs)
    }

    /// The client does not wait for the proposal any more.
    pub fn withdraw(&mut self, id: ProposalId) -> Result<Outputs, Failure> {
        let known = self.life.as_mut().and_then(|life| life.in_lanes.remove(&id));
        let group = known.map_or(GroupId::ROOT, |(lane, _)| lane);
        self.handle(Event::Withdraw { group, tag: id })
    }

    /// A client's linearizable read.
    pub fn read(&mut self, tag: u64) -> Result<Outputs, Failure> {
        let group = GroupId::ROOT;
        let status = self.life.as_ref().and_then(|life| life.node.status(group));
        let leads = status.is_some_and(|status| status.role == Role::Leader && status.linearizable_read_safe);
        if self.is_sabotaged(Sabotage::StaleRead) || (self.is_sabotaged(Sabotage::ReadByLease) && leads) {
            let list = self.model().map(|model| model.list.clone()).unwrap_or_default();
            return Ok(vec![Output::Read { tag, list }]);
        }
        self.handle(Event::ReadIndex { group, tag })
    }

    /// A peer's packet.
    pub fn on_packet(&mut self, from: RaftId, packet: Packet) -> Result<Outputs, Failure> {
        match packet {
            Packet::Raft(PeerMessage { group, bytes, .. }) => {
                self.handle(Event::Message { from, group, bytes })
            }
            Packet::Replicated { group, index } => {
                self.on_replicated(group, index);
                Ok(Vec::new())
            }
        }
    }

    pub(super) fn send(&mut self, messages: Vec<PeerMessage>, outputs: &mut Outputs) {
        let send = |message: PeerMessage| Output::Send { to: message.to, packet: Packet::Raft(message) };
        outputs.extend(messages.into_iter().map(send));
    }

    pub(super) fn answer(&mut self, answers: Vec<Answer>, outputs: &mut Outputs) -> Result<(), Failure> {
        for answer in answers {
            match answer {
                Answer::ProposalRefused { group, tag, reason } => {
                    self.on_proposal_refused(group, tag, &reason, outputs)?;
                }
                Answer::ReadReady { tag, index, .. } => {
                    if let Some(life) = &mut self.life {
                        life.reads.push((tag, index));
                    }
                }
                Answer::ReadRefused { tag, .. } => outputs.push(Output::ReadRefused { tag }),
                Answer::MembershipRefused { .. } | Answer::TransferRefused { .. } => {
                    outputs.push(Output::Said { line: format!("{answer:?}") });
                }
            }
        }
        self.finish_reads(outputs);
        Ok(())
    }

    fn on_proposal_refused(
        &mut self,
        group: GroupId,
        tag: ProposalId,
        reason: &Refusal,
        outputs: &mut Outputs,
    ) -> Result<(), Failure> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if group == GroupId::ROOT {
            outputs.push(Output::Refused { id: tag });
            return Ok(());
        }
        // A proposal that is not in the table was proposed again in the root, which decides its outcome, or its client
        // has stopped waiting.
        let Some((_, data)) = life.in_lanes.remove(&tag) else { return Ok(()) };
        if *reason == Refusal::UnknownGroup {
            // The lane was dropped between the choice and this moment: any road leads to the order.
            return life.handle(Event::Propose { group: GroupId::ROOT, data, tag });
        }
        outputs.push(Output::Refused { id: tag });
        Ok(())
    }

    /// Answers the reads whose index is applied.
    pub(super) fn finish_reads(&mut self, outputs: &mut Outputs) {
        let does_not_wait = self.is_sabotaged(Sabotage::ReadBeforeApplied);
        let Some(life) = &mut self.life else { return };
        let model = &life.model;
        life.reads.retain(|(tag, index)| {
            let is_ready = model.root >= *index || does_not_wait;
            if is_ready {
                outputs.push(Output::Read { tag: *tag, list: model.list.clone() });
            }
            !is_ready
        });
    }
}
