//! The lanes: which there are, and how far each of them is applied.
//!
//! A lane is there as long as a table is placed in it. Which tables are placed where is the catalog's to say; what it
//! says after a change becomes lanes here, so that every node creates and drops them at the same place of the order.
//!
//! Invariants:
//! - a group's number is given out once;
//! - the lanes are a function of the order up to the place that they are stored with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quack_proto::log::v1 as proto;
use quack_types::{GroupId, LogIndex};

/// What the catalog needs: a lane, and how many tables use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The lane's name.
    pub group: String,
    /// At least one.
    pub tables: u32,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub name: Arc<str>,
    /// Tables that use it.
    pub tables: u32,
    /// The entry of the root that created it.
    pub created: LogIndex,
    /// Its last entry that is applied.
    pub applied: LogIndex,
}

/// All lanes of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lanes {
    lanes: BTreeMap<GroupId, Lane>,
    last_group: u64,
}

impl Lanes {
    /// The lanes in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &Lane)> {
        self.lanes.iter().map(|(group, lane)| (*group, lane))
    }

    /// A lane that exists.
    pub fn get(&self, group: GroupId) -> Option<&Lane> {
        self.lanes.get(&group)
    }

    /// The last number that was ever given to a lane.
    pub fn last_group(&self) -> GroupId {
        GroupId(self.last_group)
    }

    /// How far each lane is applied.
    pub fn applied(&self) -> BTreeMap<GroupId, LogIndex> {
        self.iter().map(|(group, lane)| (group, lane.applied)).collect()
    }

    /// An entry of a lane has been applied.
    pub(crate) fn advance(&mut self, group: GroupId, index: LogIndex) {
        if let Some(lane) = self.lanes.get_mut(&group) {
            lane.applied = index;
        }
    }

    /// The entry `at` of the root has left the catalog with these placements: drops the lanes that no table uses, and
    /// creates those that are missing, in the order of their names.
    pub(crate) fn follow(&mut self, placements: &[Placement], at: LogIndex) {
        let tables: BTreeMap<&str, u32> = placements.iter().map(|p| (p.group.as_str(), p.tables)).collect();
        self.lanes.retain(|_, lane| tables.contains_key(&*lane.name));
        for lane in self.lanes.values_mut() {
            lane.tables = tables[&*lane.name];
        }
        let known: BTreeSet<Arc<str>> = self.lanes.values().map(|lane| lane.name.clone()).collect();
        for (name, tables) in tables.into_iter().filter(|(name, _)| !known.contains(*name)) {
            self.last_group = self.last_group.max(GroupId::ROOT.0) + 1;
            let lane = Lane { name: name.into(), tables, created: at, applied: LogIndex(0) };
            self.lanes.insert(GroupId(self.last_group), lane);
        }
    }

    /// As it is stored.
    pub(crate) fn encode(&self, state: &mut proto::ApplierState) {
        let stored = |(group, lane): (GroupId, &Lane)| proto::Lane {
            group: group.0,
            name: lane.name.to_string(),
            tables: lane.tables,
            created: lane.created.0,
            applied: lane.applied.0,
        };
        state.lanes = self.iter().map(stored).collect();
        state.last_group = self.last_group;
    }

    /// From what [`encode`](Self::encode) has stored.
    pub(crate) fn decode(state: &proto::ApplierState) -> Self {
        let lane = |stored: &proto::Lane| {
            let lane = Lane {
                name: stored.name.as_str().into(),
                tables: stored.tables,
                created: LogIndex(stored.created),
                applied: LogIndex(stored.applied),
            };
            (GroupId(stored.group), lane)
        };
        Self { lanes: state.lanes.iter().map(lane).collect(), last_group: state.last_group }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placements(names: &[&str]) -> Vec<Placement> {
        names.iter().map(|name| Placement { group: (*name).to_owned(), tables: 1 }).collect()
    }

    fn named(lanes: &Lanes) -> Vec<(u64, String)> {
        lanes.iter().map(|(group, lane)| (group.0, lane.name.to_string())).collect()
    }

    #[test]
    fn lanes_come_and_go_with_the_tables_that_use_them_and_numbers_are_given_once() {
        let mut lanes = Lanes::default();
        lanes.follow(&placements(&["b", "a"]), LogIndex(5));
        assert_eq!(named(&lanes), [(2, "a".to_owned()), (3, "b".to_owned())]);
        lanes.advance(GroupId(3), LogIndex(9));
        lanes.follow(&placements(&["b", "c"]), LogIndex(7));
        assert_eq!(named(&lanes), [(3, "b".to_owned()), (4, "c".to_owned())]);
        assert_eq!(lanes.get(GroupId(3)).unwrap().applied, LogIndex(9), "it is the same lane");
        assert_eq!(lanes.get(GroupId(4)).unwrap().created, LogIndex(7));
        lanes.follow(&placements(&["a"]), LogIndex(8));
        assert_eq!(named(&lanes), [(5, "a".to_owned())]);
        lanes.follow(&[], LogIndex(9));
        assert_eq!((named(&lanes).len(), lanes.last_group()), (0, GroupId(5)));
    }

    #[test]
    fn lanes_survive_being_stored() {
        let mut lanes = Lanes::default();
        lanes.follow(&placements(&["b", "a"]), LogIndex(5));
        lanes.advance(GroupId(2), LogIndex(3));
        let mut state = proto::ApplierState::default();
        lanes.encode(&mut state);
        assert_eq!(Lanes::decode(&state), lanes);
    }
}
