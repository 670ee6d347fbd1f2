//! What clients and peers ask of a node, and the core's answers to it.

use bytes::Bytes;
use quack_core::{Answer, Event, PeerMessage};
use quack_types::{GroupId, ProposalId, RaftId};

use super::{Output, Outputs, Server};
use crate::failure::Failure;
use crate::network::Packet;
use crate::sabotage::Sabotage;

impl Server {
    /// A client's proposal: to the own core if it leads, otherwise to the leader.
    pub fn propose(&mut self, group: GroupId, id: ProposalId, data: Bytes) -> Result<Outputs, Failure> {
        let leader =
            self.life.as_ref().and_then(|life| life.node.status(group)).and_then(|status| status.leader);
        match leader {
            Some(RaftId(leader)) if leader == self.id => {
                let mut outputs = self.handle(Event::Propose { group, data, tag: id })?;
                let is_refused = outputs.iter().any(|output| matches!(output, Output::Refused { .. }));
                if self.is_sabotaged(Sabotage::AcknowledgeEarly) && !is_refused {
                    outputs.push(Output::Taken { group, id });
                }
                Ok(outputs)
            }
            Some(RaftId(leader)) => {
                Ok(vec![Output::Send { to: leader, packet: Packet::Forward { group, id, data } }])
            }
            None => Ok(vec![Output::Refused { group, id }]),
        }
    }

    /// A client's linearizable read.
    pub fn read(&mut self, group: GroupId, tag: u64) -> Result<Outputs, Failure> {
        if self.is_sabotaged(Sabotage::StaleRead) {
            let list = self.model(group).map(|model| model.list).unwrap_or_default();
            return Ok(vec![Output::Read { tag, list }]);
        }
        self.handle(Event::ReadIndex { group, tag })
    }

    /// A peer's packet.
    pub fn on_packet(&mut self, from: u64, packet: Packet) -> Result<Outputs, Failure> {
        match packet {
            Packet::Raft(PeerMessage { group, bytes, .. }) => {
                self.handle(Event::Message { from: RaftId(from), group, bytes })
            }
            // The origin hears of it when it is applied there, or tries again.
            Packet::Forward { group, id, data } => self.handle(Event::Propose { group, data, tag: id }),
            Packet::Replicated { group, index } => {
                self.on_replicated(group, index);
                Ok(Vec::new())
            }
        }
    }

    pub(super) fn send(&mut self, messages: Vec<PeerMessage>, outputs: &mut Outputs) {
        let send = |message: PeerMessage| Output::Send { to: message.to.0, packet: Packet::Raft(message) };
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
