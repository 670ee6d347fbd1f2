//! The network between the nodes.
//!
//! # Fault model
//!
//! A packet is lost, delivered once or delivered twice; each delivery takes its own
//! time, so packets overtake each other; some are held up for longer than a restart takes.
//! A cut is of one direction: packets that are *sent* while it lasts are lost. Packets to
//! a node that is down, or that has another Raft identity now, are lost; packets sent
//! before a crash may arrive after the restart. Packets are not altered: TLS sees to that.

use std::collections::BTreeSet;

use quack_core::PeerMessage;
use quack_types::{GroupId, LogIndex};

use crate::random::Random;
use crate::scenario::Scenario;

/// What nodes send each other.
#[derive(Debug, Clone)]
pub enum Packet {
    /// The core's message.
    Raft(PeerMessage),
    /// The leader tells how far every member has the log.
    Replicated {
        /// The group.
        group: GroupId,
        /// Durable everywhere.
        index: LogIndex,
    },
}

/// Who can talk to whom, and how well.
pub struct Network {
    nodes: u64,
    random: Random,
    delay_us: (u64, u64),
    loss: u64,
    late: u64,
    late_us_max: u64,
    duplication: u64,
    reports: u64,
    cut: BTreeSet<(u64, u64)>,
    /// Counts for the closing line.
    pub sent: u64,
    /// Of these, lost.
    pub lost: u64,
}

impl Network {
    /// A whole network.
    pub fn new(scenario: &Scenario, random: Random) -> Self {
        Self {
            random,
            nodes: scenario.nodes,
            delay_us: scenario.delay_us,
            loss: scenario.loss,
            late: scenario.late,
            late_us_max: scenario.late_us_max,
            duplication: scenario.duplication,
            reports: scenario.reports,
            cut: BTreeSet::new(),
            sent: 0,
            lost: 0,
        }
    }

    /// The delays with which a packet arrives: none, one or two.
    pub fn send(&mut self, from: u64, to: u64) -> Vec<u64> {
        self.sent += 1;
        if self.cut.contains(&(from, to)) || self.random.chance(self.loss) {
            self.lost += 1;
            return Vec::new();
        }
        let copies = if self.random.chance(self.duplication) { 2 } else { 1 };
        (0..copies).map(|_| self.delay()).collect()
    }

    fn delay(&mut self) -> u64 {
        let delay_us = self.random.between(self.delay_us.0, self.delay_us.1);
        if self.random.chance(self.late) { delay_us + self.random.below(self.late_us_max) } else { delay_us }
    }

    /// Cuts some ways: one node off, one way of one link, or a random set.
    pub fn partition(&mut self) {
        self.cut.clear();
        let nodes = self.nodes;
        let node = self.random.between(1, nodes);
        match self.random.below(4) {
            // One node alone.
            0 | 1 => {
                let others = (1..=nodes).filter(|other| *other != node);
                self.cut = others.flat_map(|other| [(node, other), (other, node)]).collect();
            }
            // One node hears all others and no other node hears it, or the other way round.
            2 => {
                let is_deaf = self.random.chance(500_000);
                let others = (1..=nodes).filter(|other| *other != node);
                self.cut = others.map(|other| if is_deaf { (other, node) } else { (node, other) }).collect();
            }
            // Any ways.
            _ => {
                let ways = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
                let random = &mut self.random;
                self.cut = ways.filter(|_| random.chance(400_000)).collect();
            }
        }
    }

    /// All ways are whole again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Nothing is lost, doubled or late any more: the liveness phase begins.
    pub fn stop_faults(&mut self) {
        self.heal();
        self.loss = 0;
        self.late = 0;
        self.duplication = 0;
    }

    /// After which time the sender of a lost packet hears of the loss, if it does.
    pub fn report(&mut self) -> Option<u64> {
        self.random.chance(self.reports).then(|| self.delay())
    }

    /// Whether packets pass both ways now.
    pub fn is_open(&self, one: u64, other: u64) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    /// The ways that are cut, for the event log.
    pub fn cuts(&self) -> Vec<(u64, u64)> {
        self.cut.iter().copied().collect()
    }
}
