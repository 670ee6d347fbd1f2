//! What is known in memory about all groups and segments; shared by the writer and the readers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use quack_types::{GroupId, LogIndex};

use crate::entry::{GroupWrite, LogEntry};
use crate::error::Error;
use crate::format::segment::SegmentHeader;
use crate::group::{Group, Position};

/// One segment file that is open.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub number: u32,
    pub salt: u64,
    pub file: F,
}

impl<F> Segment<F> {
    pub fn name(&self) -> String {
        SegmentHeader::file_name(self.number)
    }
}

/// Groups and segments.
#[derive(Debug)]
pub(crate) struct Index<F> {
    pub groups: BTreeMap<GroupId, Group>,
    pub segments: BTreeMap<u32, Arc<Segment<F>>>,
    /// Cached entries of all groups, oldest first. An item whose entry is gone is skipped.
    cache_order: VecDeque<(GroupId, LogIndex)>,
    cache_bytes: usize,
    cache_count: usize,
    cache_bytes_max: usize,
}

impl<F> Index<F> {
    pub fn new(cache_bytes_max: usize) -> Self {
        let (groups, segments, cache_order) = Default::default();
        Self { groups, segments, cache_order, cache_bytes: 0, cache_count: 0, cache_bytes_max }
    }

    /// Checks that a write fits to what is there.
    pub fn check(&self, write: &GroupWrite) -> Result<(), Error> {
        let invalid = |reason: String| Error::Invalid { group: write.group, reason };
        if write.gone {
            let asks_for_more =
                !write.entries.is_empty() || write.hard_state.is_some() || write.floor.is_some();
            return match self.groups.contains_key(&write.group) {
                _ if asks_for_more => {
                    Err(invalid("a group that is to go asks for something else".to_owned()))
                }
                false => Err(invalid("a group is to go that is not there".to_owned())),
                true => Ok(()),
            };
        }
        let unknown = Group::default();
        let group = self.groups.get(&write.group).unwrap_or(&unknown);
        let (mut floor, mut last) = (group.floor().index, group.last_index());
        if let Some(new) = &write.floor {
            if new.index < floor {
                return Err(invalid(format!("the floor cannot move back from {floor} to {}", new.index)));
            }
            if new.index == floor && new.term != group.floor().term && new.index.0 != 0 {
                return Err(invalid(format!("the floor at {floor} has another term")));
            }
            last = if group.keeps_tail(new) { last } else { new.index };
            floor = new.index;
        }
        for entry in &write.entries {
            if entry.index <= floor || entry.index > last.next() {
                return Err(invalid(format!(
                    "entry {} does not fit to a log that starts after {floor} and ends at {last}",
                    entry.index
                )));
            }
            last = entry.index;
        }
        Ok(())
    }

    /// Takes over a write whose entries were stored at `positions`.
    pub fn apply(&mut self, write: &GroupWrite, positions: &[Position]) {
        if write.gone {
            if let Some(group) = self.groups.remove(&write.group) {
                self.cache_bytes -= group.cached_bytes();
                self.cache_count -= group.cached_count();
            }
            return;
        }
        let group = self.groups.entry(write.group).or_default();
        let (before, count) = (group.cached_bytes(), group.cached_count());
        if let Some(floor) = &write.floor {
            let keep_tail = group.keeps_tail(floor);
            group.set_floor(floor.clone(), keep_tail);
        }
        for (entry, position) in write.entries.iter().zip(positions) {
            group.append(entry.index, *position);
            group.cache(entry.clone());
            self.cache_order.push_back((write.group, entry.index));
        }
        if let Some(state) = write.hard_state {
            group.set_hard_state(state);
        }
        self.cache_bytes = self.cache_bytes - before + group.cached_bytes();
        self.cache_count = self.cache_count - count + group.cached_count();
    }

    /// Forgets the oldest cached entries until the rest fits. Called once per write.
    pub fn shrink_cache(&mut self) {
        while self.cache_bytes > self.cache_bytes_max {
            let Some((id, index)) = self.cache_order.pop_front() else { break };
            let Some(group) = self.groups.get_mut(&id) else { continue };
            if group.oldest_cached().is_some_and(|oldest| oldest <= index) {
                let before = group.cached_bytes();
                group.evict();
                self.cache_bytes = self.cache_bytes - before + group.cached_bytes();
                self.cache_count -= 1;
            }
        }
        // Entries that were compacted or replaced leave their item in the order.
        // Drop the stale items once most of them are, so that they stay bounded too.
        if self.cache_order.len() > 2 * self.cache_count + 1024 {
            let groups = &self.groups;
            self.cache_order.retain(|(id, index)| {
                groups.get(id).and_then(Group::oldest_cached).is_some_and(|oldest| oldest <= *index)
            });
        }
    }

    /// The oldest segment that some group still needs; `None` when no entry is left.
    pub fn oldest_needed(&self) -> Option<u32> {
        self.groups.values().filter_map(Group::oldest_segment).min()
    }
}

/// The index with its lock, and the reason why the log stopped, if it did.
#[derive(Debug)]
pub(crate) struct Shared<F> {
    index: RwLock<Index<F>>,
    poison: OnceLock<String>,
}

impl<F> Shared<F> {
    pub fn new(index: Index<F>) -> Self {
        Self { index: RwLock::new(index), poison: OnceLock::new() }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Index<F>> {
        // A writer that panicked left the index between two of its small steps;
        // the writer is poisoned then, and readers check that before they use the disk.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Index<F>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn check_poison(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Stops the log for ever and hands the error back.
    pub fn poison(&self, error: Error) -> Error {
        // The first reason stays.
        let _ = self.poison.set(error.to_string());
        error
    }
}

/// An entry that was found: in memory, or at a place on the disk.
pub(crate) enum Source<F> {
    Memory(LogEntry),
    Disk(LogIndex, Position, Arc<Segment<F>>),
}
