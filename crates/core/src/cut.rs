//! Cuts: how lanes join the one order.
//!
//! A cut is an entry of the root group. For some lanes it says "ordered up to this entry": all entries of the lane that
//! no cut before it has named take their place in the order there, lanes in the order of their numbers. It names only
//! entries that are committed in their lanes.
//!
//! It says the entry's term, too. By Raft's log matching property (Raft paper, section 5.3) a log that holds an entry of
//! that index and term holds the same entries before it. So a node needs no word of the lane's leader to know that its
//! own entries are the ones that were ordered.
//!
//! Bytes: for each lane group (8), index (8), term (8), big-endian, groups ascending. It is told from other entries by
//! its context.
//!
//! Source: Ding et al., "Scalog: Seamless Reconfiguration and Total Order in a Scalable Shared Log", NSDI'20.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quack_log::{EntryKind, LogEntry};
use quack_types::{GroupId, LogIndex, Term};

/// The context of a cut's entry.
const CONTEXT: &[u8] = b"cut1";
const LANE_BYTES: usize = 24;

/// Most lanes in one cut; the others are for the next one.
pub(crate) const LANES_MAX: usize = 4096;

/// The last entry of a lane that is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEnd {
    /// Its index in the lane's log.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// What an entry of the root says about lanes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// How far lanes are ordered.
    pub lanes: BTreeMap<GroupId, LaneEnd>,
}

/// Bytes that call themselves a cut and are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} of the root group is damaged: it is a cut that cannot be read")]
pub struct InvalidCut {
    /// Where it lies.
    pub index: LogIndex,
}

impl Cut {
    /// The cut that an entry of the root group is. `None` for all others.
    ///
    /// # Errors
    /// It is damaged. A node must not go on: it would order other entries than its peers.
    pub fn of(entry: &LogEntry) -> Result<Option<Self>, InvalidCut> {
        if entry.kind != EntryKind::Normal || entry.context != CONTEXT {
            return Ok(None);
        }
        let mut data = entry.data.clone();
        let (mut lanes, mut last) = (BTreeMap::new(), GroupId::ROOT);
        while data.remaining() >= LANE_BYTES {
            let group = GroupId(data.get_u64());
            let end = LaneEnd { index: LogIndex(data.get_u64()), term: Term(data.get_u64()) };
            if group <= last {
                return Err(InvalidCut { index: entry.index });
            }
            lanes.insert(group, end);
            last = group;
        }
        let is_whole = !data.has_remaining() && !lanes.is_empty();
        if is_whole { Ok(Some(Self { lanes })) } else { Err(InvalidCut { index: entry.index }) }
    }

    /// The context and data of its entry.
    pub(crate) fn encode(&self) -> (Bytes, Bytes) {
        let mut data = BytesMut::with_capacity(self.lanes.len() * LANE_BYTES);
        for (group, end) in &self.lanes {
            data.put_u64(group.0);
            data.put_u64(end.index.0);
            data.put_u64(end.term.0);
        }
        (Bytes::from_static(CONTEXT), data.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry((context, data): (Bytes, Bytes)) -> LogEntry {
        LogEntry { term: Term(1), index: LogIndex(9), kind: EntryKind::Normal, data, context }
    }

    fn cut() -> Cut {
        let end = |index| LaneEnd { index: LogIndex(index), term: Term(index + 1) };
        Cut { lanes: BTreeMap::from([(GroupId(2), end(5)), (GroupId(7), end(1))]) }
    }

    #[test]
    fn a_cut_comes_back_from_its_entry_and_other_entries_are_none() {
        assert_eq!(Cut::of(&entry(cut().encode())), Ok(Some(cut())));
        let other = LogEntry { context: Bytes::from_static(&[0; 24]), ..entry(cut().encode()) };
        assert_eq!(Cut::of(&other), Ok(None));
        let change = LogEntry { kind: EntryKind::ConfChangeV2, ..entry(cut().encode()) };
        assert_eq!(Cut::of(&change), Ok(None));
    }

    #[test]
    fn a_damaged_cut_is_refused() {
        let (context, data) = cut().encode();
        for length in (0..data.len()).filter(|length| *length != LANE_BYTES) {
            assert!(Cut::of(&entry((context.clone(), data.slice(..length)))).is_err(), "{length}");
        }
        let mut twice = data.to_vec();
        twice.extend_from_slice(&data);
        assert!(Cut::of(&entry((context, twice.into()))).is_err(), "a lane comes twice");
    }
}
