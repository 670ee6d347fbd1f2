//! What the state machine says about the cluster's lanes, and what follows from it for this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use quack_types::{GroupId, LogIndex};

/// One lane, as the state machine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneInfo {
    /// Its name in SQL.
    pub name: Arc<str>,
    /// Tables that use it.
    pub tables: u32,
    /// The root's entry that created it.
    pub created: LogIndex,
}

/// The lanes at one place of the order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneTable {
    /// Whether SQL may place tables in groups.
    pub groups_enabled: bool,
    /// The last number that was ever given to a lane.
    pub last_group: GroupId,
    /// Those that exist.
    pub lanes: BTreeMap<GroupId, LaneInfo>,
}

impl LaneTable {
    /// A lane by its name.
    pub fn named(&self, name: &str) -> Option<GroupId> {
        self.lanes.iter().find(|(_, lane)| &*lane.name == name).map(|(group, _)| *group)
    }

    /// Lanes that are not in `before`, with the entry that created them.
    pub(crate) fn created_since(&self, before: &Self) -> Vec<(GroupId, LogIndex)> {
        let new = self.lanes.iter().filter(|(group, _)| !before.lanes.contains_key(group));
        new.map(|(group, lane)| (*group, lane.created)).collect()
    }

    /// Lanes of `before` that are not there any more.
    pub(crate) fn dropped_since(&self, before: &Self) -> Vec<GroupId> {
        before.lanes.keys().filter(|group| !self.lanes.contains_key(group)).copied().collect()
    }
}
