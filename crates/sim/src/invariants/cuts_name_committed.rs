//! A cut names only entries that are committed in their lanes: where a committed cut names an entry, no other one is
//! ever committed or applied.
//!
//! Source: this project's design of lanes, "a cut may name only indexes that are committed in the lane".

use std::collections::BTreeMap;

use quack_core::Cut;
use quack_log::LogEntry;
use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct CutsNameCommitted {
    /// Terms of lanes' entries that a cut has named, or that were committed.
    terms: BTreeMap<(GroupId, LogIndex), Term>,
}

impl CutsNameCommitted {
    fn note(&mut self, node: u64, group: GroupId, index: LogIndex, term: Term) -> Result<(), Failure> {
        let first = *self.terms.entry((group, index)).or_insert(term);
        if first != term {
            let what = format!(
                "lane {group}: n{node} knows entry {index} of term {term} to be ordered or committed, another \
                 node the one of term {first}"
            );
            return Err(Failure::safety("cuts name what is committed", what));
        }
        Ok(())
    }

    fn see(&mut self, node: u64, group: GroupId, entry: &LogEntry) -> Result<(), Failure> {
        if group != GroupId::ROOT {
            return self.note(node, group, entry.index, entry.term);
        }
        let Ok(Some(cut)) = Cut::of(entry) else { return Ok(()) };
        cut.lanes.into_iter().try_for_each(|(lane, end)| self.note(node, lane, end.index, end.term))
    }
}

impl Invariant for CutsNameCommitted {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        match seen {
            Seen::Committed { node, group, entries } => {
                entries.iter().try_for_each(|entry| self.see(*node, *group, entry))
            }
            Seen::Applied { node, group, entry, .. } => self.see(*node, *group, entry),
            _ => Ok(()),
        }
    }
}
