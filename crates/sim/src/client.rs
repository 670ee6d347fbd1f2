//! Clients: each has one operation at a time, at a node that it chooses anew each time.
//!
//! As in production, an append belongs to the node that has taken it: that node's core
//! brings it into the log. When the node ends before its answer, the outcome stays unknown,
//! and the client goes on with another operation; the same when the client loses patience,
//! and then it tells the node. The client repeats a read, and an append that no node has taken.
//!
//! An append takes one of the roads that its node knows, the root or a lane, and all roads lead into the one list.
//! Some appends say how many lanes there are to be; those are the root's.

use quack_types::{GroupId, ProposalId};

use crate::model::Operation;
use crate::oracle::Begun;
use crate::random::Random;
use crate::scenario::Scenario;

/// Most lanes that a client asks for.
const LANES_MAX: u64 = 4;

/// What a client wants now.
#[derive(Debug, Clone)]
pub struct Wish {
    pub kind: Kind,
    /// The node that was asked last; only its answer counts.
    pub node: u64,
    pub begun: Begun,
}

/// Kind of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Put the operation at the end of the list.
    Append {
        operation: Operation,
        /// From it on there are to be so many lanes.
        reshard: Option<u64>,
        padding: usize,
        /// Under which id, in which life of the node: when the node has taken it.
        taken: Option<(ProposalId, u64)>,
    },
    /// Show the list.
    Read { tag: u64 },
}

/// One client.
pub struct Client {
    number: u64,
    random: Random,
    sequence: u64,
    /// What it waits for.
    pub pending: Option<Wish>,
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

    /// Begins a new operation.
    pub fn begin(&mut self, scenario: &Scenario, begun: Begun) {
        let kind = if self.random.chance(scenario.reads) {
            Kind::Read { tag: self.next_tag() }
        } else {
            self.sequence += 1;
            let operation = Operation { client: self.number, number: self.sequence };
            let padding = self.random.below(scenario.padding_bytes_max + 1) as usize;
            let reshard = self.random.chance(scenario.reshards).then(|| self.random.between(0, LANES_MAX));
            Kind::Append { operation, reshard, padding, taken: None }
        };
        let node = self.random.between(1, scenario.nodes);
        self.pending = Some(Wish { kind, node, begun });
    }

    /// Chooses one of the lanes that its node knows, or the root.
    pub fn choose_road(&mut self, scenario: &Scenario, lanes: &[GroupId]) -> GroupId {
        if lanes.is_empty() || !self.random.chance(scenario.lane_share) {
            return GroupId::ROOT;
        }
        lanes[self.random.below(lanes.len() as u64) as usize]
    }

    /// Asks again, some node. `now` is what is known at this moment.
    pub fn ask_again(&mut self, scenario: &Scenario, now: Begun) {
        let (node, tag) = (self.random.between(1, scenario.nodes), self.next_tag());
        let Some(wish) = &mut self.pending else { return };
        wish.node = node;
        match &mut wish.kind {
            Kind::Read { tag: old } => {
                *old = tag;
                wish.begun = now;
            }
            Kind::Append { taken, .. } => *taken = None,
        }
    }

    /// The append that a node has taken and not answered: id, node, its life.
    pub fn taken(&self) -> Option<(ProposalId, u64, u64)> {
        match self.pending.as_ref()? {
            Wish { kind: Kind::Append { taken: Some((id, life)), .. }, node, .. } => {
                Some((*id, *node, *life))
            }
            _ => None,
        }
    }

    /// Whether it gives up at this point.
    pub fn gives_up(&mut self) -> bool {
        self.random.chance(300_000)
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
