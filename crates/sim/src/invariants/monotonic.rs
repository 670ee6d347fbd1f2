//! Terms never go back, not even over a crash; commit and applied positions and the
//! log's floor never go back within one life.
//!
//! Source: Raft paper, figure 2: currentTerm is persistent and "increases
//! monotonically", and so do commitIndex and lastApplied, which are volatile.

use std::collections::BTreeMap;

use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct Monotonic {
    /// Terms that were durable, by writes that were confirmed.
    terms: BTreeMap<(u64, GroupId), Term>,
    positions: BTreeMap<(u64, GroupId), [LogIndex; 3]>,
}

impl Invariant for Monotonic {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let broken = |what: String| Err(Failure::safety("nothing goes back", what));
        match seen {
            Seen::Crashed { node } => self.positions.retain(|(other, _), _| other != node),
            Seen::DiskLost { node } => self.terms.retain(|(other, _), _| other != node),
            Seen::Forgets { node, group } => {
                self.terms.remove(&(*node, *group));
                self.positions.remove(&(*node, *group));
            }
            Seen::Written { node, write } => {
                let Some(state) = write.hard_state else { return Ok(()) };
                let last = self.terms.insert((*node, write.group), state.term).unwrap_or_default();
                if state.term < last {
                    let group = write.group;
                    return broken(format!("group {group}: n{node} goes from term {last} to {}", state.term));
                }
            }
            Seen::Restarted { node, log } => {
                for ((_, group), term) in self.terms.iter().filter(|((other, _), _)| other == node) {
                    let now = log.hard_state(*group).term;
                    if now < *term {
                        return broken(format!(
                            "group {group}: n{node} had term {term} and wakes up in {now}"
                        ));
                    }
                }
            }
            Seen::Status { node, status, .. } => {
                let now = [status.commit_index, status.applied_index, status.snapshot_index];
                let last = self.positions.insert((*node, status.group), now).unwrap_or_default();
                if last.iter().zip(&now).any(|(last, now)| last > now) {
                    let group = status.group;
                    return broken(format!("group {group}: n{node} goes from {last:?} to {now:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
