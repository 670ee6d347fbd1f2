//! A proposal takes effect at most once, however often it is proposed.
//!
//! The check does not trust the model's own memory of ids: it looks at the list.
//! Source: Raft thesis, section 6.3.

use std::collections::BTreeMap;

use quack_types::{GroupId, ProposalId};

use super::{Invariant, Seen};
use crate::failure::Failure;
use crate::model::decode;

#[derive(Default)]
pub struct ExactlyOnce {
    places: BTreeMap<(GroupId, ProposalId), usize>,
}

impl Invariant for ExactlyOnce {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Applied { node, group, entry, state, .. } = seen else { return Ok(()) };
        let Some(id) = decode(entry) else { return Ok(()) };
        let (Some(last), true) = (state.length.checked_sub(1), state.last == Some(id)) else { return Ok(()) };
        let first = *self.places.entry((*group, id)).or_insert(last);
        if first != last {
            let what = format!("group {group}: n{node} has proposal {id} at {first} and at {last}");
            return Err(Failure::safety("exactly once", what));
        }
        Ok(())
    }
}
