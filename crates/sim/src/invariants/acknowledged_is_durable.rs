//! What a client was told to be applied is on the disks of a majority.
//!
//! It is looked at when a node wakes up from a crash and all nodes are up: then every
//! log shows what its disk has really kept. Runs that change the membership or
//! lose a disk are left to the other checks, because the majority there depends on the moment.
//! Source: Raft paper, section 5.4.2: an entry is committed once it is stored on a majority.

use std::collections::{BTreeMap, BTreeSet};

use quack_log::LogRead;
use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct AcknowledgedIsDurable {
    nodes: u64,
    /// The last acknowledged entry of each group, and its term.
    acknowledged: BTreeMap<GroupId, (LogIndex, Term)>,
    terms: BTreeMap<(GroupId, LogIndex), Term>,
    /// Per node, which acknowledged entries its disk had when it last woke up.
    missing: BTreeMap<(u64, GroupId), LogIndex>,
    /// Lanes that a node has forgotten because everything in them is in its checkpoint.
    forgotten: BTreeSet<(u64, GroupId)>,
    down: BTreeSet<u64>,
    has_membership_changes: bool,
}

impl AcknowledgedIsDurable {
    pub fn new(nodes: u64) -> Self {
        Self { nodes, ..Self::default() }
    }

    fn wake(&mut self, node: u64, log: &dyn LogRead) {
        self.down.remove(&node);
        for (group, (index, term)) in &self.acknowledged {
            let has = self.forgotten.contains(&(node, *group))
                || log.floor(*group).index >= *index
                || log.term(*group, *index) == Some(*term);
            if has {
                self.missing.remove(&(node, *group));
            } else {
                self.missing.insert((node, *group), *index);
            }
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let nodes = self.nodes;
        for (group, (index, _)) in &self.acknowledged {
            let missing =
                (1..=nodes).filter(|node| self.missing.get(&(*node, *group)) == Some(index)).count() as u64;
            if missing > nodes / 2 {
                let what = format!(
                    "group {group}: entry {index} was acknowledged, and {missing} of {nodes} disks lost it"
                );
                return Err(Failure::safety("acknowledged is durable", what));
            }
        }
        Ok(())
    }
}

impl Invariant for AcknowledgedIsDurable {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        match seen {
            Seen::Membership { .. } | Seen::DiskLost { .. } => self.has_membership_changes = true,
            Seen::Applied { group, entry, .. } => {
                self.terms.insert((*group, entry.index), entry.term);
            }
            Seen::Acknowledged { group, index } => {
                let term = self.terms.get(&(*group, *index)).copied().unwrap_or_default();
                let last = self.acknowledged.entry(*group).or_default();
                *last = (*last).max((*index, term));
            }
            Seen::Forgets { node, group } => {
                self.forgotten.insert((*node, *group));
            }
            Seen::Crashed { node } => {
                self.down.insert(*node);
            }
            Seen::Restarted { node, log } if !self.has_membership_changes => {
                self.wake(*node, *log);
                return self.check();
            }
            _ => {}
        }
        Ok(())
    }
}
