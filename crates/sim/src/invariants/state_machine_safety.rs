//! State Machine Safety: no two nodes apply different entries at an index, and their
//! states are equal there. A node that replays after a crash is held to it too.
//!
//! Source: Raft paper, figure 3; the hash is the one that `verify` entries compare.

use std::collections::BTreeMap;

use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen, fingerprint};
use crate::failure::Failure;

#[derive(Default)]
pub struct StateMachineSafety {
    /// Term and content of the entry, hash of the state after it, and who was first.
    applied: BTreeMap<(GroupId, LogIndex), (Term, u64, u64, u64)>,
}

impl Invariant for StateMachineSafety {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Applied { node, group, entry, state, .. } = seen else { return Ok(()) };
        let now = (entry.term, fingerprint(entry), state.hash);
        let first = *self.applied.entry((*group, entry.index)).or_insert((now.0, now.1, now.2, *node));
        if (first.0, first.1) != (now.0, now.1) {
            let what =
                format!("group {group}: n{node} applies another entry {} than n{} did", entry.index, first.3);
            return Err(Failure::safety("state machine safety", what));
        }
        if first.2 != now.2 {
            let what =
                format!("group {group}: n{node} has another state at {} than n{} had", entry.index, first.3);
            return Err(Failure::safety("state machine safety", what));
        }
        Ok(())
    }
}
