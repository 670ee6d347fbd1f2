//! What is known in memory about one group's log.

use std::collections::VecDeque;

use quack_types::{LogIndex, Term};

use crate::entry::{Floor, HardState, LogEntry};
use crate::format::batch;

/// Where an entry's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Segment number; [`Position::MISSING`] while the record was not met.
    pub segment: u32,
    /// Offset of the record in bytes.
    pub offset: u32,
    /// Length of the record in bytes, without the marks between them.
    pub length: u32,
    /// Term of the entry.
    pub term: Term,
}

impl Position {
    /// Segment number of a record that must exist in an older segment, see `recovery`.
    pub const MISSING: u32 = 0;

    /// Offset of the first byte after the record.
    pub fn end(&self) -> u32 {
        self.offset + batch::span_bytes(u64::from(self.offset), self.length as usize) as u32
    }
}

/// One group.
///
/// Invariants:
/// - `positions` holds exactly the indexes after the floor, without gaps;
/// - `cached` holds entries that are the last ones of `positions`, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Group {
    hard_state: HardState,
    floor: Floor,
    positions: VecDeque<Position>,
    cached: VecDeque<LogEntry>,
    cached_bytes: usize,
}

impl Group {
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    pub fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.floor.index.0 + self.positions.len() as u64)
    }

    /// Bytes of cached data.
    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// How many entries are cached.
    pub fn cached_count(&self) -> usize {
        self.cached.len()
    }

    /// The oldest segment that holds an entry of the group.
    pub fn oldest_segment(&self) -> Option<u32> {
        self.positions.front().map(|position| position.segment)
    }

    pub fn position(&self, index: LogIndex) -> Option<Position> {
        let at = index.0.checked_sub(self.floor.index.0 + 1)?;
        self.positions.get(at as usize).copied()
    }

    pub fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.floor.index {
            return Some(self.floor.term);
        }
        self.position(index).map(|position| position.term)
    }

    /// An entry, if it is still in memory.
    pub fn cached(&self, index: LogIndex) -> Option<&LogEntry> {
        let first = self.last_index().0 + 1 - self.cached.len() as u64;
        self.cached.get(index.0.checked_sub(first)? as usize)
    }

    /// Whether the entries after a new floor stay: the log holds its index with the same term.
    pub fn keeps_tail(&self, floor: &Floor) -> bool {
        self.term(floor.index) == Some(floor.term)
    }

    /// Moves the log's begin. The caller says whether the entries after it stay,
    /// because during recovery the term of an older entry may not be known yet.
    pub fn set_floor(&mut self, floor: Floor, keep_tail: bool) {
        if keep_tail {
            let gone = floor.index.0.saturating_sub(self.floor.index.0) as usize;
            self.positions.drain(..gone);
        } else {
            self.positions.clear();
        }
        self.floor = floor;
        while self.cached.len() > self.positions.len() {
            self.evict();
        }
    }

    /// Adds an entry's position; a tail from its index on is replaced.
    /// The index is at most one after the last, and above the floor.
    pub fn append(&mut self, index: LogIndex, position: Position) {
        let keep = (index.0 - self.floor.index.0 - 1) as usize;
        while self.positions.len() > keep {
            self.positions.pop_back();
            if let Some(entry) = self.cached.pop_back() {
                self.cached_bytes -= entry.size_bytes();
            }
        }
        self.positions.push_back(position);
    }

    /// Keeps the entry that was appended last in memory.
    pub fn cache(&mut self, entry: LogEntry) {
        debug_assert_eq!(entry.index, self.last_index());
        self.cached_bytes += entry.size_bytes();
        self.cached.push_back(entry);
    }

    /// Forgets the oldest cached entry.
    pub fn evict(&mut self) {
        if let Some(entry) = self.cached.pop_front() {
            self.cached_bytes -= entry.size_bytes();
        }
    }

    /// Index of the oldest cached entry.
    pub fn oldest_cached(&self) -> Option<LogIndex> {
        self.cached.front().map(|entry| entry.index)
    }

    /// Notes that entries up to `last` exist somewhere before the records that were read so far.
    pub fn expect_until(&mut self, last: LogIndex) {
        while self.last_index() < last {
            let segment = Position::MISSING;
            self.positions.push_back(Position { segment, offset: 0, length: 0, term: Term(0) });
        }
    }

    /// The first index whose record was never met.
    pub fn first_missing(&self) -> Option<LogIndex> {
        let at = self.positions.iter().position(|position| position.segment == Position::MISSING)?;
        Some(LogIndex(self.floor.index.0 + 1 + at as u64))
    }
}
