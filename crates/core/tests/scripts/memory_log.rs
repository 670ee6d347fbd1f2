//! A log in memory, shared between the node that reads and the world that writes.
//!
//! It keeps everything it was given at once: losing unsynced writes is the
//! simulator's subject. Reads of a group can be made to fail.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quack_log::{Error, Floor, GroupWrite, HardState, LogEntry, LogRead};
use quack_types::{GroupId, LogIndex, Term};

#[derive(Default)]
struct Group {
    floor: Floor,
    hard_state: HardState,
    entries: BTreeMap<LogIndex, LogEntry>,
}

#[derive(Clone, Default)]
pub struct MemoryLog {
    groups: Rc<RefCell<BTreeMap<GroupId, Group>>>,
    broken: Rc<RefCell<BTreeSet<GroupId>>>,
}

impl MemoryLog {
    pub fn write(&self, writes: &[GroupWrite]) {
        for write in writes {
            let mut groups = self.groups.borrow_mut();
            if write.gone {
                groups.remove(&write.group);
                continue;
            }
            let group = groups.entry(write.group).or_default();
            if let Some(floor) = &write.floor {
                group.entries.retain(|index, _| *index > floor.index);
                group.floor = floor.clone();
            }
            if let Some(first) = write.entries.first() {
                group.entries.retain(|index, _| *index < first.index);
            }
            group.entries.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
            group.hard_state = write.hard_state.unwrap_or(group.hard_state);
        }
    }

    /// From now on entries of this group cannot be read.
    pub fn break_group(&self, group: GroupId) {
        self.broken.borrow_mut().insert(group);
    }

    /// Everything that the group's log holds.
    pub fn all(&self, group: GroupId) -> (Floor, HardState, Vec<LogEntry>) {
        self.ask(group, |group| {
            (group.floor.clone(), group.hard_state, group.entries.values().cloned().collect())
        })
    }

    fn ask<T>(&self, group: GroupId, question: impl FnOnce(&Group) -> T) -> T {
        match self.groups.borrow().get(&group) {
            Some(group) => question(group),
            None => question(&Group::default()),
        }
    }
}

impl LogRead for MemoryLog {
    fn groups(&self) -> Vec<GroupId> {
        self.groups.borrow().keys().copied().collect()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        self.ask(group, |group| group.hard_state)
    }

    fn floor(&self, group: GroupId) -> Floor {
        self.ask(group, |group| group.floor.clone())
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.ask(group, |group| group.entries.keys().last().copied().unwrap_or(group.floor.index))
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Option<Term> {
        self.ask(group, |group| {
            let of_entry = group.entries.get(&index).map(|entry| entry.term);
            of_entry.or((index == group.floor.index).then_some(group.floor.term))
        })
    }

    fn entries(
        &self,
        group: GroupId,
        low: LogIndex,
        high_exclusive: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, Error> {
        if self.broken.borrow().contains(&group) {
            return Err(Error::Corrupt {
                name: "segment".to_owned(),
                offset: 7,
                reason: "by the script".to_owned(),
            });
        }
        let mut bytes = 0;
        Ok(self.ask(group, |group| {
            let mut entries: Vec<LogEntry> = Vec::new();
            for entry in group.entries.range(low..high_exclusive).map(|(_, entry)| entry) {
                bytes += entry.size_bytes() as u64;
                if !entries.is_empty() && bytes > bytes_max {
                    break;
                }
                entries.push(entry.clone());
            }
            entries
        }))
    }
}
