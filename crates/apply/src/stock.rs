//! Values of sequences that a node has reserved and not given out yet.
//!
//! They belong to this node alone: no other node gets them, and they are lost when it stops. A sequence that was
//! replaced or set since then has none.

use std::collections::{HashMap, VecDeque};

use quack_proto::log::v1::SequenceRun;

use crate::sequence;

/// Most sequences that are remembered. Beyond that all are forgotten, which costs gaps.
const SEQUENCES_MAX: usize = 4096;

/// A sequence, as a statement means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    pub schema: String,
    pub name: String,
    /// Number of the entry in this node's catalog: another one after every CREATE.
    pub entry: u64,
    /// How often sequences of the catalog have been set: values from before are not given out after it.
    pub sets: u64,
}

#[derive(Debug, Default)]
struct Kept {
    entry: u64,
    sets: u64,
    /// Oldest first.
    runs: VecDeque<SequenceRun>,
    last: Option<i64>,
}

/// What a node keeps of all its sequences.
#[derive(Debug, Default)]
pub struct Stock {
    kept: HashMap<(String, String), Kept>,
}

impl Stock {
    fn kept(&mut self, meant: &Meant) -> Option<&mut Kept> {
        let kept = self.kept.get_mut(&(meant.schema.clone(), meant.name.clone()))?;
        (kept.entry == meant.entry && kept.sets == meant.sets).then_some(kept)
    }

    /// Fills values from what is kept; returns how many.
    pub fn take(&mut self, meant: &Meant, values: &mut [i64]) -> usize {
        let Some(kept) = self.kept(meant) else { return 0 };
        let mut taken = 0;
        while taken < values.len() {
            let Some(run) = kept.runs.front_mut() else { break };
            match sequence::take(run) {
                Some(value) => {
                    values[taken] = value;
                    taken += 1;
                }
                None => drop(kept.runs.pop_front()),
            }
        }
        if let Some(last) = values[..taken].last() {
            kept.last = Some(*last);
        }
        taken
    }

    /// Keeps the rest of a run whose values up to `last` were given out.
    pub fn put(&mut self, meant: &Meant, last: i64, rest: SequenceRun) {
        if self.kept(meant).is_none() {
            if self.kept.len() >= SEQUENCES_MAX {
                self.kept.clear();
            }
            let fresh = Kept { entry: meant.entry, sets: meant.sets, ..Kept::default() };
            self.kept.insert((meant.schema.clone(), meant.name.clone()), fresh);
        }
        let Some(kept) = self.kept(meant) else { return };
        kept.last = Some(last);
        if rest.count > 0 {
            kept.runs.push_back(rest);
        }
    }

    /// The value that this node has given out last, if it counts: while there are values left, or when the next ones
    /// are kept too.
    pub fn last(&mut self, meant: &Meant, keeps: bool) -> Option<i64> {
        let kept = self.kept(meant)?;
        let any_left = kept.runs.iter().any(|run| run.count > 0);
        kept.last.filter(|_| keeps || any_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(entry: u64, sets: u64) -> Meant {
        Meant { schema: "main".into(), name: "s".into(), entry, sets }
    }

    fn run(first: i64, count: u64) -> SequenceRun {
        SequenceRun { count, first, increment: 1, minimum: 1, maximum: 1000, cycle: false }
    }

    fn take(stock: &mut Stock, meant: &Meant, count: usize) -> Vec<i64> {
        let mut values = vec![0; count];
        let taken = stock.take(meant, &mut values);
        values.truncate(taken);
        values
    }

    #[test]
    fn values_are_given_out_once_in_the_order_in_which_they_came() {
        let mut stock = Stock::default();
        let s = meant(1, 0);
        assert_eq!(take(&mut stock, &s, 5), []);
        stock.put(&s, 1, run(2, 3));
        stock.put(&s, 10, run(11, 2));
        assert_eq!(take(&mut stock, &s, 2), [2, 3]);
        assert_eq!(take(&mut stock, &s, 2), [4, 11]);
        assert_eq!(take(&mut stock, &s, 2), [12]);
        assert_eq!(take(&mut stock, &s, 2), []);
    }

    #[test]
    fn another_sequence_of_the_name_and_one_that_was_set_have_none_of_it() {
        for other in [meant(2, 0), meant(1, 1), Meant { schema: "app".into(), ..meant(1, 0) }] {
            let mut stock = Stock::default();
            stock.put(&meant(1, 0), 1, run(2, 3));
            assert_eq!(take(&mut stock, &other, 1), [], "{other:?}");
            assert_eq!(stock.last(&other, true), None);
            stock.put(&other, 50, run(51, 1));
            assert_eq!(take(&mut stock, &other, 5), [51]);
            let is_same_name = other.schema == "main";
            assert_eq!(take(&mut stock, &meant(1, 0), 5).is_empty(), is_same_name);
        }
    }

    #[test]
    fn the_last_value_is_the_nodes_own_while_it_keeps_values() {
        let mut stock = Stock::default();
        let s = meant(1, 0);
        stock.put(&s, 1, run(2, 1));
        assert_eq!(stock.last(&s, false), Some(1));
        assert_eq!(take(&mut stock, &s, 1), [2]);
        assert_eq!((stock.last(&s, true), stock.last(&s, false)), (Some(2), None));
    }

    #[test]
    fn sequences_without_number_are_not_remembered_for_ever() {
        let mut stock = Stock::default();
        for number in 0..10_000 {
            stock.put(&Meant { name: format!("s{number}"), ..meant(1, 0) }, 1, run(2, 1));
        }
        assert!(stock.kept.len() <= SEQUENCES_MAX);
    }
}
