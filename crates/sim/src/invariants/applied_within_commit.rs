//! Nothing is applied that is not committed, and nothing is left out or repeated
//! within one life of a node.
//!
//! An entry of a lane may be applied before its node has heard that it is committed: it is enough that a committed cut
//! has named it, or one behind it.
//!
//! Source: Raft paper, section 5.3 and figure 2 (commitIndex, lastApplied).

use std::collections::BTreeMap;

use quack_core::Cut;
use quack_types::{GroupId, LogIndex};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct AppliedWithinCommit {
    last: BTreeMap<(u64, GroupId), LogIndex>,
    /// Of each lane, the last entry that a committed cut has named.
    lanes: BTreeMap<GroupId, LogIndex>,
}

impl Invariant for AppliedWithinCommit {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        match seen {
            // A restarted node continues at its checkpoint.
            Seen::Crashed { node } => self.last.retain(|(other, _), _| other != node),
            Seen::Committed { group: GroupId::ROOT, entries, .. } => {
                for (lane, end) in
                    entries.iter().filter_map(|entry| Cut::of(entry).ok()?).flat_map(|cut| cut.lanes)
                {
                    let known = self.lanes.entry(lane).or_default();
                    *known = end.index.max(*known);
                }
            }
            Seen::Applied { node, group, entry, commit, .. } => {
                let broken = |what: String| Err(Failure::safety("applied within commit", what));
                let ordered = self.lanes.get(group).copied().unwrap_or_default();
                let commit = if *group == GroupId::ROOT { *commit } else { ordered };
                if entry.index > commit {
                    let index = entry.index;
                    return broken(format!(
                        "group {group}: n{node} applies {index}, but only {commit} is committed"
                    ));
                }
                let last = self.last.insert((*node, *group), entry.index);
                if last.is_some_and(|last| last.next() != entry.index) {
                    let index = entry.index;
                    return broken(format!("group {group}: n{node} applies {index} behind {last:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
