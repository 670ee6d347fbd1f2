//! Election Safety: at most one leader can be elected in a term.
//!
//! Source: Raft paper, figure 3; raft.tla, `ElectionSafety`.

use std::collections::BTreeMap;

use quack_core::Role;
use quack_types::{GroupId, Term};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<(GroupId, Term), u64>,
}

impl Invariant for ElectionSafety {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Status { node, status, .. } = seen else { return Ok(()) };
        if status.role != Role::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry((status.group, status.term)).or_insert(*node);
        if first != *node {
            let what = format!("group {} term {}: both n{first} and n{node} lead", status.group, status.term);
            return Err(Failure::safety("election safety", what));
        }
        Ok(())
    }
}
