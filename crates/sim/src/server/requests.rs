//! What clients and peers ask of a node, and the core's answers to it.

use quack_core::{Answer, Event, PeerMessage, Role};
use quack_types::{GroupId, ProposalId, RaftId};

use super::{Output, Outputs, Server};
use crate::failure::Failure;
use crate::model::{self, Operation};
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

    /// A client's proposal. The core brings it to the leader, wherever that is.
    pub fn propose(
        &mut self,
        group: GroupId,
        id: ProposalId,
        operation: Operation,
        padding: usize,
    ) -> Result<Outputs, Failure> {
        let data = model::encode(id, operation, padding);
        let mut outputs = self.handle(Event::Propose { group, data, tag: id })?;
        if self.is_sabotaged(Sabotage::NeverRetry) {
            outputs.extend(self.handle(Event::Withdraw { group, tag: id })?);
        }
        let is_refused = outputs.iter().any(|output| matches!(output, Output::Refused { .. }));
        if self.is_sabotaged(Sabotage::AcknowledgeEarly) && !is_refused {
            outputs.push(Output::Taken { group, id });
        }
        Ok(outputs)
    }

    /// A client's linearizable read.
    pub fn read(&mut self, group: GroupId, tag: u64) -> Result<Outputs, Failure> {
        let status = self.life.as_ref().and_then(|life| life.node.status(group));
        let leads = status.is_some_and(|status| status.role == Role::Leader && status.linearizable_read_safe);
        if self.is_sabotaged(Sabotage::StaleRead) || (self.is_sabotaged(Sabotage::ReadByLease) && leads) {
            let list = self.model(group).map(|model| model.list).unwrap_or_default();
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

    pub(super) fn answer(&mut self, answers: Vec<Answer>, outputs: &mut Outputs) {
        for answer in answers {
            match answer {
                Answer::ProposalRefused { group, tag, .. } => {
                    outputs.push(Output::Refused { group, id: tag })
                }
                Answer::ReadReady { group, tag, index } => {
                    if let Some(life) = &mut self.life {
                        life.reads.push((tag, group, index));
                    }
                }
                Answer::ReadRefused { tag, .. } => outputs.push(Output::ReadRefused { tag }),
                Answer::MembershipRefused { .. } | Answer::TransferRefused { .. } => {
                    outputs.push(Output::Said { line: format!("{answer:?}") });
                }
            }
        }
        self.finish_reads(outputs);
    }

    /// Answers the reads whose index is applied.
    pub(super) fn finish_reads(&mut self, outputs: &mut Outputs) {
        let does_not_wait = self.is_sabotaged(Sabotage::ReadBeforeApplied);
        let Some(life) = &mut self.life else { return };
        let models = &life.models;
        life.reads.retain(|(tag, group, index)| {
            let model = models.get(group);
            let is_applied = model.map(|model| model.applied).unwrap_or_default() >= *index;
            if is_applied || does_not_wait {
                let list = model.map(|model| model.list.clone()).unwrap_or_default();
                outputs.push(Output::Read { tag: *tag, list });
                return false;
            }
            true
        });
    }
}
