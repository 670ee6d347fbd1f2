//! Log Matching: if two logs have an entry with the same index and term, the logs are
//! identical up to it.
//!
//! By induction it is enough that such entries are equal and follow entries of equal
//! terms. Source: Raft paper, figure 3 and section 5.3.

use std::collections::BTreeMap;

use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen, fingerprint};
use crate::failure::Failure;

#[derive(Default)]
pub struct LogMatching {
    /// Content and, once known, the term of the entry before.
    entries: BTreeMap<(GroupId, LogIndex, Term), (u64, Option<Term>)>,
}

impl Invariant for LogMatching {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Written { node, write } = seen else { return Ok(()) };
        let mut before: Option<Term> = None;
        for entry in &write.entries {
            let content = fingerprint(entry);
            let key = (write.group, entry.index, entry.term);
            let known = self.entries.entry(key).or_insert((content, before));
            let terms_differ = before.is_some() && known.1.is_some() && before != known.1;
            if known.0 != content || terms_differ {
                let what = format!(
                    "group {}: the entry {} of term {} on n{node} is not the one that another log has",
                    write.group, entry.index, entry.term
                );
                return Err(Failure::safety("log matching", what));
            }
            known.1 = known.1.or(before);
            before = Some(entry.term);
        }
        Ok(())
    }
}
