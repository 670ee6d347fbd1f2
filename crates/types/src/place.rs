//! A place in the one order.

use std::collections::BTreeMap;

use crate::{GroupId, LogIndex};

/// How far something has come in the one order: through `root` in the root's log, with every lane as far as the cuts in
/// it say; and, while the cut behind `root` is being followed, some lanes further.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Last entry of the root group. Of a cut, all that it orders is included.
    pub root: LogIndex,
    /// Last entry of every lane that exists at this place.
    pub lanes: BTreeMap<GroupId, LogIndex>,
}

impl Place {
    /// Of a cluster without lanes.
    pub fn of_root(root: LogIndex) -> Self {
        Self { root, lanes: BTreeMap::new() }
    }

    /// Last entry of a group; `None` when there is no such lane here.
    pub fn of(&self, group: GroupId) -> Option<LogIndex> {
        if group == GroupId::ROOT { Some(self.root) } else { self.lanes.get(&group).copied() }
    }

    /// All groups with their last entries, the root first.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, LogIndex)> {
        std::iter::once((GroupId::ROOT, self.root)).chain(self.lanes.iter().map(|(id, index)| (*id, *index)))
    }
}
