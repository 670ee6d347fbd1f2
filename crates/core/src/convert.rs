//! Between the log's values and the raft crate's. Data is shared, never copied.

use quack_log::{EntryKind, HardState, LogEntry};
use quack_types::{LogIndex, RaftId, Term};
use raft::eraftpb;

/// Raft's entry as the log stores it.
pub(crate) fn entry_from_raft(entry: eraftpb::Entry) -> LogEntry {
    let kind = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    LogEntry {
        term: Term(entry.term),
        index: LogIndex(entry.index),
        kind,
        data: entry.data,
        context: entry.context,
    }
}

/// The log's entry as Raft wants it.
pub(crate) fn entry_to_raft(entry: LogEntry) -> eraftpb::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    eraftpb::Entry {
        entry_type: kind,
        term: entry.term.0,
        index: entry.index.0,
        data: entry.data,
        context: entry.context,
        ..eraftpb::Entry::default()
    }
}

/// Raft's hard state as the log stores it.
pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: RaftId(state.vote), commit: LogIndex(state.commit) }
}

/// The log's hard state as Raft wants it.
pub(crate) fn hard_state_to_raft(state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.0,
        vote: state.vote.0,
        commit: state.commit.0,
        ..eraftpb::HardState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn every_kind_of_entry_survives_both_ways() {
        for kind in [EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2] {
            let entry = LogEntry {
                term: Term(3),
                index: LogIndex(9),
                kind,
                data: Bytes::from_static(b"data"),
                context: Bytes::from_static(b"context"),
            };
            assert_eq!(entry_from_raft(entry_to_raft(entry.clone())), entry);
        }
        let state = HardState { term: Term(4), vote: RaftId(2), commit: LogIndex(8) };
        assert_eq!(hard_state_from_raft(&hard_state_to_raft(state)), state);
    }
}
