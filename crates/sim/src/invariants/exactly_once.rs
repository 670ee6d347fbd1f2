//! An operation takes effect at most once, however often it is proposed.
//!
//! The check does not trust the model's own memory of ids: it looks at the list.
//! Source: Raft thesis, section 6.3.

use std::collections::BTreeMap;

use super::{Invariant, Seen};
use crate::failure::Failure;
use crate::model::{Operation, Proposal, decode};

#[derive(Default)]
pub struct ExactlyOnce {
    places: BTreeMap<Operation, usize>,
}

impl Invariant for ExactlyOnce {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Applied { node, entry, state, .. } = seen else { return Ok(()) };
        let Some(Proposal { operation, .. }) = decode(entry) else { return Ok(()) };
        let (Some(last), true) = (state.length.checked_sub(1), state.last == Some(operation)) else {
            return Ok(());
        };
        let first = *self.places.entry(operation).or_insert(last);
        if first != last {
            let what = format!("n{node} has {operation} at {first} and at {last}");
            return Err(Failure::safety("exactly once", what));
        }
        Ok(())
    }
}
