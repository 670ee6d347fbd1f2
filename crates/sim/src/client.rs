//! Clients: each has one operation at a time, asks any node, and asks again.
//!
//! An append is asked for again under the same id, at whatever node, until it is
//! acknowledged; now and then a client gives up, and then nobody knows what became of
//! it. A read that is asked again is a new read.

use bytes::Bytes;
use quack_types::{GroupId, ProposalId, RaftId};

use crate::model;
use crate::oracle::Begun;
use crate::random::Random;
use crate::scenario::Scenario;

/// What a client wants now.
#[derive(Debug, Clone)]
pub struct Operation {
    pub group: GroupId,
    pub kind: Kind,
    /// The node that was asked last; only its answer counts.
    pub node: u64,
    pub begun: Begun,
}

/// Kind of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Put the id at the end of the list.
    Append { id: ProposalId, data: Bytes },
    /// Show the list.
    Read { tag: u64 },
}

/// One client.
pub struct Client {
    number: u64,
    random: Random,
    sequence: u64,
    /// What it waits for.
    pub pending: Option<Operation>,
    /// Wake-ups of an earlier situation are void.
    pub generation: u64,
    /// Operations that were answered since the faults ended.
    pub answered_calm: u64,
}

impl Client {
    pub fn new(number: u64, random: &Random) -> Self {
        let random = random.fork(&format!("client {number}"));
        Self { number, random, sequence: 0, pending: None, generation: 0, answered_calm: 0 }
    }

    /// Draws the group of the next operation.
    pub fn draw_group(&mut self, scenario: &Scenario) -> GroupId {
        GroupId(self.random.between(1, scenario.groups))
    }

    /// Begins a new operation.
    pub fn begin(&mut self, scenario: &Scenario, group: GroupId, begun: Begun) {
        let kind = if self.random.chance(scenario.reads) {
            Kind::Read { tag: self.next_tag() }
        } else {
            self.sequence += 1;
            let id = ProposalId { origin: RaftId(100 + self.number), boot: 1, sequence: self.sequence };
            let padding = self.random.below(scenario.padding_bytes_max + 1) as usize;
            Kind::Append { id, data: model::encode(id, padding) }
        };
        let node = self.random.between(1, scenario.nodes);
        self.pending = Some(Operation { group, kind, node, begun });
    }

    /// Asks again, some node. `now` is what is known at this moment.
    pub fn ask_again(&mut self, scenario: &Scenario, now: Begun) {
        let (node, tag) = (self.random.between(1, scenario.nodes), self.next_tag());
        let Some(operation) = &mut self.pending else { return };
        operation.node = node;
        if let Kind::Read { tag: old } = &mut operation.kind {
            *old = tag;
            operation.begun = now;
        }
    }

    /// Whether it gives up at this point.
    pub fn gives_up(&mut self) -> bool {
        self.random.chance(50_000)
    }

    /// A pause before the next operation.
    pub fn think(&mut self, scenario: &Scenario) -> u64 {
        self.random.wait(scenario.think_us)
    }

    /// Tags are unique in the cluster.
    fn next_tag(&mut self) -> u64 {
        self.sequence += 1;
        self.number << 32 | self.sequence
    }
}
