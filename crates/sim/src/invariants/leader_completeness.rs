//! Leader Completeness: an entry that was committed is in the log of every later leader.
//!
//! Source: Raft paper, figure 3 and section 5.4; raft.tla, `LeaderCompleteness`.

use std::collections::BTreeMap;

use quack_core::Role;
use quack_log::LogRead;
use quack_types::{GroupId, LogIndex, Term};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct LeaderCompleteness {
    /// Terms of the entries that some node knew to be committed.
    committed: BTreeMap<GroupId, BTreeMap<LogIndex, Term>>,
    /// Leaders that were checked already.
    checked: BTreeMap<GroupId, Term>,
}

impl LeaderCompleteness {
    fn check(&self, node: u64, group: GroupId, log: &dyn LogRead) -> Result<(), Failure> {
        let floor = log.floor(group).index;
        let Some(committed) = self.committed.get(&group) else { return Ok(()) };
        for (index, term) in committed.range(floor.next()..) {
            if log.term(group, *index) != Some(*term) {
                let what = format!(
                    "group {group}: n{node} leads without the committed entry {index} of term {term}, it has {:?}",
                    log.term(group, *index)
                );
                return Err(Failure::safety("leader completeness", what));
            }
        }
        Ok(())
    }
}

impl Invariant for LeaderCompleteness {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        match seen {
            Seen::Applied { group, entry, .. } => {
                self.committed.entry(*group).or_default().insert(entry.index, entry.term);
            }
            Seen::Committed { group, entries, .. } => {
                let entries = entries.iter().map(|entry| (entry.index, entry.term));
                self.committed.entry(*group).or_default().extend(entries);
            }
            Seen::Status { node, status, log } if status.role == Role::Leader => {
                let checked = self.checked.entry(status.group).or_default();
                if *checked < status.term {
                    *checked = status.term;
                    return self.check(*node, status.group, *log);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
