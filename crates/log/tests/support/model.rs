//! What a log should hold, kept in the simplest way, and the comparison with a real one.

use std::collections::BTreeMap;

use bytes::Bytes;
use quack_log::{EntryKind, Floor, GroupWrite, HardState, LogEntry, LogRead};
use quack_types::{GroupId, LogIndex, RaftId, Term};

use super::Dice;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupModel {
    pub floor: Floor,
    pub hard_state: HardState,
    pub entries: Vec<LogEntry>,
}

impl GroupModel {
    pub fn last(&self) -> u64 {
        self.floor.index.0 + self.entries.len() as u64
    }

    fn term(&self, index: u64) -> Option<Term> {
        if index == self.floor.index.0 {
            return Some(self.floor.term);
        }
        let at = index.checked_sub(self.floor.index.0 + 1)?;
        self.entries.get(at as usize).map(|entry| entry.term)
    }
}

pub type Model = BTreeMap<GroupId, GroupModel>;

pub fn apply(model: &mut Model, writes: &[GroupWrite]) {
    for write in writes {
        if write.entries.is_empty() && write.floor.is_none() && write.hard_state.is_none() {
            continue;
        }
        let group = model.entry(write.group).or_default();
        if let Some(floor) = &write.floor {
            if group.term(floor.index.0) == Some(floor.term) {
                group.entries.drain(..(floor.index.0 - group.floor.index.0) as usize);
            } else {
                group.entries.clear();
            }
            group.floor = floor.clone();
        }
        for entry in &write.entries {
            group.entries.truncate((entry.index.0 - group.floor.index.0 - 1) as usize);
            group.entries.push(entry.clone());
        }
        if let Some(state) = write.hard_state {
            group.hard_state = state;
        }
    }
}

/// Reads everything out of a log.
pub fn read_all(log: &impl LogRead) -> Result<Model, quack_log::Error> {
    let mut model = Model::new();
    for id in log.groups() {
        let (floor, last) = (log.floor(id), log.last_index(id));
        let entries = read_entries(log, id, floor.index.next(), last.next())?;
        for entry in &entries {
            assert_eq!(log.term(id, entry.index), Some(entry.term));
        }
        model.insert(id, GroupModel { floor, hard_state: log.hard_state(id), entries });
    }
    Ok(model)
}

/// Reads a range in pieces.
pub fn read_entries(
    log: &impl LogRead,
    group: GroupId,
    low: LogIndex,
    high: LogIndex,
) -> Result<Vec<LogEntry>, quack_log::Error> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut at = low;
    while at < high {
        let piece = log.entries(group, at, high, 700)?;
        assert!(!piece.is_empty());
        at = LogIndex(at.0 + piece.len() as u64);
        entries.extend(piece);
    }
    Ok(entries)
}

/// A random request that fits to the model: appends, overwrites, hard states, compactions, snapshots.
pub fn random_writes(model: &Model, dice: &mut Dice, bytes_max: usize) -> Vec<GroupWrite> {
    let mut writes = Vec::new();
    for id in 1..=3 {
        if dice.below(3) == 0 {
            continue;
        }
        let empty = GroupModel::default();
        let group = model.get(&GroupId(id)).unwrap_or(&empty);
        let mut write = GroupWrite::new(GroupId(id));
        let term = Term(group.hard_state.term.0 + dice.below(2) as u64);
        let (mut floor, mut last) = (group.floor.index.0, group.last());
        match dice.below(12) {
            0 => {
                // A snapshot from elsewhere that lies beyond the end.
                floor = last + 1 + dice.below(3) as u64;
                last = floor;
                write.floor =
                    Some(Floor { index: LogIndex(floor), term, membership: Bytes::from_static(b"snapshot") });
            }
            1..=3 if last > floor => {
                let index = floor + 1 + dice.below((last - floor) as usize) as u64;
                let term = group.term(index).unwrap();
                floor = index;
                write.floor = Some(Floor {
                    index: LogIndex(index),
                    term,
                    membership: Bytes::from_static(b"compacted"),
                });
            }
            _ => {}
        }
        let first = match dice.below(5) {
            0 => floor + 1 + dice.below((last - floor + 1) as usize) as u64,
            _ => last + 1,
        };
        for index in first..first + dice.below(4) as u64 {
            write.entries.push(random_entry(term, index, dice, bytes_max));
        }
        if dice.below(2) == 0 {
            let vote = RaftId(dice.below(3) as u64);
            write.hard_state = Some(HardState { term, vote, commit: LogIndex(floor) });
        }
        writes.push(write);
    }
    writes
}

fn random_entry(term: Term, index: u64, dice: &mut Dice, bytes_max: usize) -> LogEntry {
    let kind = [EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2][dice.below(3)];
    let length = dice.below(bytes_max);
    // Zeros now and then: they must not be taken for what was never written.
    let fill = if dice.below(3) == 0 { 0 } else { dice.next() as u8 };
    let data = Bytes::from(vec![fill; length]);
    LogEntry { term, index: LogIndex(index), kind, data, context: Bytes::from(vec![fill; dice.below(9)]) }
}
