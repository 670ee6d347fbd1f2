//! What clients were promised, and whether it holds.
//!
//! The root and all lanes share one list, and it only grows. That makes linearizability easy to check (Herlihy and
//! Wing, 1990), because every operation tells a position:
//!
//! - an acknowledged append is in the list for ever, at the place that was answered;
//! - it lies behind everything that any client knew before the append began;
//! - a read shows at least everything that any client knew before the read began;
//! - what one read shows, every later one shows too, in the same order.
//!
//! An append without an answer is *unknown*: it may be there or not, or come later.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::model::Operation;

/// An operation's knowledge at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Length of the list that some client knew then.
    known: u64,
}

/// The promises of one run.
#[derive(Default)]
pub struct Oracle {
    /// The list as the first node to apply each element has it.
    list: Vec<Operation>,
    /// Longest list that a client has seen the end of.
    known: u64,
    acknowledged: BTreeMap<Operation, u64>,
    /// Told to be done, place unknown.
    claimed: Vec<Operation>,
    /// Counts for the closing line.
    pub appends: u64,
    /// Answered reads.
    pub reads: u64,
}

impl Oracle {
    /// An operation begins.
    pub fn begin(&self) -> Begun {
        Begun { known: self.known }
    }

    /// A node has a list of this length with this last element now.
    pub fn applied(&mut self, length: usize, last: Option<Operation>) -> Result<(), Failure> {
        let known = &mut self.list;
        let (Some(place), Some(last)) = (length.checked_sub(1), last) else { return Ok(()) };
        if place == known.len() {
            known.push(last);
        }
        if known.get(place) != Some(&last) {
            let what = format!("place {place} holds {last} and {:?}", known.get(place));
            return Err(Failure::oracle("one list", what));
        }
        Ok(())
    }

    /// An append was acknowledged.
    pub fn acknowledged(&mut self, id: Operation, place: u64, begun: Begun) -> Result<(), Failure> {
        self.appends += 1;
        if self.list.get(place as usize) != Some(&id) {
            let found = self.list.get(place as usize);
            let what = format!("{id} was acknowledged at {place}, where {found:?} is");
            return Err(Failure::oracle("acknowledged means applied", what));
        }
        if place < begun.known {
            let what = format!("{id} lies at {place}, but {} were known before it began", begun.known);
            return Err(Failure::oracle("appends are linearizable", what));
        }
        self.known = self.known.max(place + 1);
        self.acknowledged.insert(id, place);
        Ok(())
    }

    /// A client was told that an append is done, without being told where. Only a
    /// sabotaged shell does so; the promise is the same.
    pub fn claimed(&mut self, id: Operation) {
        self.appends += 1;
        self.claimed.push(id);
    }

    /// A read was answered.
    pub fn read(&mut self, list: &[Operation], begun: Begun) -> Result<(), Failure> {
        self.reads += 1;
        if !self.list.starts_with(list) {
            let what = format!("a read shows {} elements in another order", list.len());
            return Err(Failure::oracle("one list", what));
        }
        let length = list.len() as u64;
        if length < begun.known {
            let what = format!("a read shows {length} elements, {} were known before it", begun.known);
            return Err(Failure::oracle("reads are linearizable", what));
        }
        self.known = self.known.max(length);
        Ok(())
    }

    /// The end: the list of a node that has everything must keep every promise.
    pub fn finish(&self, list: &[Operation]) -> Result<(), Failure> {
        for (id, place) in &self.acknowledged {
            let count = list.iter().filter(|other| *other == id).count();
            if list.get(*place as usize) != Some(id) || count != 1 {
                let what = format!("{id} was acknowledged at {place}, at the end it is there {count} times");
                return Err(Failure::oracle("acknowledged is never lost", what));
            }
        }
        if let Some(id) = self.claimed.iter().find(|id| !list.contains(id)) {
            let what = format!("{id} was acknowledged and is not there");
            return Err(Failure::oracle("acknowledged is never lost", what));
        }
        if (list.len() as u64) < self.known {
            let what = format!("{} elements are left of {} known ones", list.len(), self.known);
            return Err(Failure::oracle("acknowledged is never lost", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Operation {
        Operation { client: 1, number }
    }

    #[test]
    fn a_promise_that_is_broken_is_named() {
        let mut oracle = Oracle::default();
        let begun = oracle.begin();
        assert!(oracle.acknowledged(id(1), 0, begun).is_err(), "no node has applied it");
        oracle.applied(1, Some(id(1))).unwrap();
        oracle.acknowledged(id(1), 0, begun).unwrap();
        let later = oracle.begin();
        assert!(oracle.read(&[], later).is_err(), "stale");
        assert!(oracle.read(&[], begun).is_ok(), "it began before");
        assert!(oracle.read(&[id(2)], later).is_err(), "another order");
        assert!(oracle.applied(1, Some(id(2))).is_err(), "another list");
        assert!(oracle.finish(&[]).is_err(), "lost");
        assert!(oracle.finish(&[id(1), id(1)]).is_err(), "twice");
        assert!(oracle.finish(&[id(1), id(2)]).is_ok());
        oracle.applied(2, Some(id(2))).unwrap();
        oracle.acknowledged(id(2), 1, later).unwrap();
        let last = oracle.begin();
        assert!(oracle.acknowledged(id(1), 0, last).is_err(), "before what was known");
    }
}
