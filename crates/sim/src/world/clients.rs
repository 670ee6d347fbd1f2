//! The clients' side of the world: questions, answers, questions again.

use quack_types::{GroupId, LogIndex, ProposalId};

use super::{Due, World};
use crate::client::Kind;
use crate::failure::Failure;
use crate::invariants::Seen;
use crate::sabotage::Sabotage;

/// Operations that every client must get answered after the faults have ended.
pub(super) const CALM_OPERATIONS: u64 = 2;

impl World {
    /// A client wakes up: to begin something, or because it has waited long enough.
    pub(super) fn on_client(&mut self, number: usize, generation: u64) -> Result<(), Failure> {
        let client = &mut self.clients[number];
        if client.generation != generation {
            return Ok(());
        }
        client.generation += 1;
        if client.pending.is_some() && !self.is_calm && client.gives_up() {
            self.log.say(self.now_us, format_args!("c{number} gives up"));
            client.pending = None;
        }
        match client.pending.as_ref().map(|operation| operation.group) {
            Some(_) if self.scenario.sabotage == Some(Sabotage::NeverRetry) => return Ok(()),
            Some(group) => {
                let now = self.oracle.begin(group);
                self.clients[number].ask_again(&self.scenario, now);
            }
            None if client.answered_calm >= CALM_OPERATIONS => return Ok(()),
            None => {
                let group = client.draw_group(&self.scenario);
                let begun = self.oracle.begin(group);
                self.clients[number].begin(&self.scenario, group, begun);
            }
        }
        self.ask(number)
    }

    fn ask(&mut self, number: usize) -> Result<(), Failure> {
        let Some(operation) = self.clients[number].pending.clone() else { return Ok(()) };
        let generation = self.clients[number].generation;
        self.after(self.scenario.patience_us, Due::Client { client: number, generation });
        let (node, group) = (operation.node, operation.group);
        if self.server(node).life.is_none() {
            return Ok(());
        }
        let outputs = match operation.kind {
            Kind::Append { id, data } => {
                self.log.say(self.now_us, format_args!("c{number} asks n{node} to append {id} to g{group}"));
                self.server(node).propose(group, id, data)?
            }
            Kind::Read { tag } => {
                self.log.say(self.now_us, format_args!("c{number} asks n{node} to read g{group}"));
                self.server(node).read(group, tag)?
            }
        };
        self.follow(node, outputs)
    }

    /// The client that waits for this append at this node.
    fn waiting_append(&self, node: u64, group: GroupId, id: ProposalId) -> Option<usize> {
        self.clients.iter().position(|client| {
            client.pending.as_ref().is_some_and(|operation| {
                let is_it = matches!(&operation.kind, Kind::Append { id: wanted, .. } if *wanted == id);
                is_it && operation.node == node && operation.group == group
            })
        })
    }

    fn waiting_read(&self, node: u64, tag: u64) -> Option<usize> {
        self.clients.iter().position(|client| {
            client
                .pending
                .as_ref()
                .is_some_and(|operation| operation.kind == Kind::Read { tag } && operation.node == node)
        })
    }

    /// The node that was asked has applied the append. Without an index it only claims so.
    pub(super) fn on_answer(
        &mut self,
        node: u64,
        group: GroupId,
        id: ProposalId,
        place: u64,
        index: Option<LogIndex>,
    ) -> Result<(), Failure> {
        let Some(number) = self.waiting_append(node, group, id) else { return Ok(()) };
        let Some(operation) = self.clients[number].pending.take() else { return Ok(()) };
        self.log.say(self.now_us, format_args!("c{number} is told that {id} is at {place}"));
        self.next_operation(number);
        if let Some(index) = index {
            self.oracle.acknowledged(group, id, place, operation.begun)?;
            self.invariants.observe(&Seen::Acknowledged { group, index })
        } else {
            self.oracle.claimed(group, id);
            Ok(())
        }
    }

    pub(super) fn on_read(&mut self, node: u64, tag: u64, list: &[ProposalId]) -> Result<(), Failure> {
        let Some(number) = self.waiting_read(node, tag) else { return Ok(()) };
        let Some(operation) = self.clients[number].pending.take() else { return Ok(()) };
        self.log.say(self.now_us, format_args!("c{number} reads {} elements", list.len()));
        self.next_operation(number);
        self.oracle.read(operation.group, list, operation.begun)
    }

    pub(super) fn on_refused(&mut self, node: u64, group: GroupId, id: ProposalId) -> Result<(), Failure> {
        let waiting = self.waiting_append(node, group, id);
        self.ask_later(waiting);
        Ok(())
    }

    pub(super) fn on_read_refused(&mut self, node: u64, tag: u64) -> Result<(), Failure> {
        let waiting = self.waiting_read(node, tag);
        self.ask_later(waiting);
        Ok(())
    }

    /// A refused client asks again after a short while instead of waiting out its patience.
    fn ask_later(&mut self, number: Option<usize>) {
        let Some(number) = number else { return };
        let pause = self.clients[number].think(&self.scenario);
        self.clients[number].generation += 1;
        let generation = self.clients[number].generation;
        self.after(pause, Due::Client { client: number, generation });
    }

    fn next_operation(&mut self, number: usize) {
        if self.is_calm {
            self.clients[number].answered_calm += 1;
        }
        self.ask_later(Some(number));
    }
}
