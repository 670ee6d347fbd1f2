//! The clients' side of the world: questions, answers, questions again.

use quack_types::{GroupId, LogIndex, ProposalId};

use super::{Due, World};
use crate::client::Kind;
use crate::failure::Failure;
use crate::invariants::Seen;
use crate::model::{Operation, Proposal};
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
        if let Some((id, node, life)) = client.taken()
            && self.goes_on_waiting(number, id, node, life)?
        {
            let generation = self.clients[number].generation;
            self.after(self.scenario.patience_us, Due::Client { client: number, generation });
            return Ok(());
        }
        let client = &mut self.clients[number];
        let now = self.oracle.begin();
        if client.pending.is_some() {
            client.ask_again(&self.scenario, now);
        } else if client.answered_calm >= CALM_OPERATIONS {
            return Ok(());
        } else {
            client.begin(&self.scenario, now);
        }
        self.ask(number)
    }

    /// A node has taken the client's append: whether the client still waits for it.
    fn goes_on_waiting(
        &mut self,
        number: usize,
        id: ProposalId,
        node: u64,
        life: u64,
    ) -> Result<bool, Failure> {
        let is_alive = self.server(node).life.is_some() && self.server(node).life_number == life;
        if is_alive && self.scenario.sabotage == Some(Sabotage::RetryUnderNewId) {
            self.ask(number)?;
            return Ok(self.clients[number].pending.is_some());
        }
        if is_alive && (self.is_calm || !self.clients[number].gives_up()) {
            return Ok(true);
        }
        // The client gives up: the outcome stays unknown to it.
        self.log.say(self.now_us, format_args!("c{number} does not wait for {id} any more"));
        self.clients[number].pending = None;
        if is_alive {
            let outputs = self.server(node).withdraw(id)?;
            self.follow(node, outputs)?;
        }
        Ok(false)
    }

    fn ask(&mut self, number: usize) -> Result<(), Failure> {
        let Some(wish) = self.clients[number].pending.clone() else { return Ok(()) };
        let generation = self.clients[number].generation;
        self.after(self.scenario.patience_us, Due::Client { client: number, generation });
        let node = wish.node;
        if self.server(node).life.is_none() || self.is_paused(node) {
            return Ok(());
        }
        match wish.kind {
            Kind::Append { operation, reshard, padding, .. } => {
                let lanes = if reshard.is_some() { Vec::new() } else { self.server(node).lanes() };
                let group = self.clients[number].choose_road(&self.scenario, &lanes);
                let Some(id) = self.server(node).next_proposal_id() else { return Ok(()) };
                let life = self.server(node).life_number;
                self.log.say(
                    self.now_us,
                    format_args!(
                        "c{number} asks n{node} to append {operation} by g{group} as {id}, lanes {reshard:?}"
                    ),
                );
                if let Some(Kind::Append { taken, .. }) =
                    self.clients[number].pending.as_mut().map(|wish| &mut wish.kind)
                {
                    *taken = Some((id, life));
                }
                let proposal = Proposal { id, operation, reshard };
                let outputs = self.server(node).propose(group, proposal, padding)?;
                self.follow(node, outputs)
            }
            Kind::Read { tag } => {
                self.log.say(self.now_us, format_args!("c{number} asks n{node} to read"));
                let outputs = self.server(node).read(tag)?;
                self.follow(node, outputs)
            }
        }
    }

    /// The client that waits for this append at this node, and what it is.
    fn waiting_append(&self, node: u64, id: ProposalId) -> Option<(usize, Operation)> {
        let life_number = self.servers[node as usize - 1].life_number;
        self.clients.iter().enumerate().find_map(|(number, client)| {
            let wish = client.pending.as_ref().filter(|wish| wish.node == node)?;
            match &wish.kind {
                Kind::Append { operation, taken, .. } if *taken == Some((id, life_number)) => {
                    Some((number, *operation))
                }
                _ => None,
            }
        })
    }

    fn waiting_read(&self, node: u64, tag: u64) -> Option<usize> {
        self.clients.iter().position(|client| {
            client.pending.as_ref().is_some_and(|wish| wish.kind == Kind::Read { tag } && wish.node == node)
        })
    }

    /// The node that was asked has applied the append. Without a place it only claims so.
    pub(super) fn on_answer(
        &mut self,
        node: u64,
        id: ProposalId,
        outcome: u64,
        place: Option<(GroupId, LogIndex)>,
    ) -> Result<(), Failure> {
        let Some((number, operation)) = self.waiting_append(node, id) else { return Ok(()) };
        let Some(wish) = self.clients[number].pending.take() else { return Ok(()) };
        self.log.say(self.now_us, format_args!("c{number} is told that {operation} is at {outcome}"));
        self.next_operation(number);
        if let Some((group, index)) = place {
            self.oracle.acknowledged(operation, outcome, wish.begun)?;
            self.invariants.observe(&Seen::Acknowledged { group, index })
        } else {
            self.oracle.claimed(operation);
            Ok(())
        }
    }

    pub(super) fn on_read(&mut self, node: u64, tag: u64, list: &[Operation]) -> Result<(), Failure> {
        let Some(number) = self.waiting_read(node, tag) else { return Ok(()) };
        let Some(wish) = self.clients[number].pending.take() else { return Ok(()) };
        self.log.say(self.now_us, format_args!("c{number} reads {} elements", list.len()));
        self.next_operation(number);
        self.oracle.read(list, wish.begun)
    }

    /// The proposal is in no log and never will be: the client may ask again under a new id.
    pub(super) fn on_refused(&mut self, node: u64, id: ProposalId) -> Result<(), Failure> {
        self.summary.refusals += 1;
        self.refused.insert(id);
        let Some((number, _)) = self.waiting_append(node, id) else { return Ok(()) };
        if let Some(Kind::Append { taken, .. }) =
            self.clients[number].pending.as_mut().map(|wish| &mut wish.kind)
        {
            *taken = None;
        }
        self.ask_later(Some(number));
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
