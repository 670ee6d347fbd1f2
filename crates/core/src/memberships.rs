//! Which members a log tells of, read without a group that runs.
//!
//! The same code of the raft crate changes them as in life. Entries that are not known to be committed count, too: the
//! caller knows up to where they are.

use protobuf::Message as _;
use quack_log::{EntryKind, HardState, LogRead};
use quack_types::{GroupId, LogIndex, RaftId};
use raft::RawNode;
use raft::eraftpb::ConfChangeV2;

use crate::logger::Warnings;
use crate::storage::LogStorage;
use crate::{Config, Error, Membership};

/// Bytes of entries that are read at once.
const READ_BYTES: u64 = 8 << 20;

/// The memberships of a group in the order of the log: that of the floor, and that behind each entry which changes it. Empty
/// when the log knows no members.
///
/// # Errors
/// The log cannot be read, or holds a change that cannot be applied.
pub fn memberships<L: LogRead + Clone>(
    log: &L,
    group: GroupId,
) -> Result<Vec<(LogIndex, Membership)>, Error> {
    let inconsistent = |what: String| Error::LogInconsistent { group, what };
    let floor = log.floor(group);
    let first = Membership::decode(&floor.membership).map_err(|error| inconsistent(error.to_string()))?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    let state = HardState { term: floor.term, vote: RaftId(0), commit: floor.index };
    // Nothing is sent: any identity will do.
    let own = first.voters.first().copied().unwrap_or(RaftId(1));
    let storage = LogStorage::new(log.clone(), group, state, first.clone());
    let config = Config::new(own).raft(floor.index.0);
    let mut raft = RawNode::new(&config, storage, &Warnings::default().logger())
        .map_err(|error| inconsistent(error.to_string()))?;
    let mut since = vec![(floor.index, first)];
    let mut next = floor.index.next();
    let end = log.last_index(group).next();
    while next < end {
        let entries = log
            .entries(group, next, end, READ_BYTES)
            .map_err(|error| inconsistent(format!("the log cannot be read: {error}")))?;
        let Some(last) = entries.last().map(|entry| entry.index) else { break };
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::ConfChangeV2) {
            let change = ConfChangeV2::parse_from_carllerche_bytes(&entry.data);
            let state = change
                .map_err(|error| error.to_string())
                .and_then(|change| raft.apply_conf_change(&change).map_err(|error| error.to_string()));
            let state = state.map_err(|error| {
                inconsistent(format!(
                    "the membership change in entry {} cannot be applied: {error}",
                    entry.index
                ))
            })?;
            since.push((entry.index, Membership::from_raft(&state)));
        }
        next = last.next();
    }
    Ok(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quack_log::{Floor, LogEntry};
    use quack_types::Term;

    use crate::MemberChange;
    use crate::membership::joint_change;

    #[derive(Clone)]
    struct Held(Vec<LogEntry>);

    impl LogRead for Held {
        fn groups(&self) -> Vec<GroupId> {
            vec![GroupId::ROOT]
        }

        fn hard_state(&self, _group: GroupId) -> HardState {
            HardState::default()
        }

        fn floor(&self, _group: GroupId) -> Floor {
            let membership = Membership::new([RaftId(1), RaftId(2)], []).encode();
            Floor { index: LogIndex(4), term: Term(1), membership }
        }

        fn last_index(&self, _group: GroupId) -> LogIndex {
            LogIndex(4 + self.0.len() as u64)
        }

        fn term(&self, _group: GroupId, _index: LogIndex) -> Option<Term> {
            Some(Term(1))
        }

        fn entries(
            &self,
            _group: GroupId,
            low: LogIndex,
            high_exclusive: LogIndex,
            _bytes_max: u64,
        ) -> Result<Vec<LogEntry>, quack_log::Error> {
            let at = |index: LogIndex| (index.0 - 5) as usize;
            Ok(self.0[at(low)..at(high_exclusive)].to_vec())
        }
    }

    fn change(index: u64, change: &ConfChangeV2) -> LogEntry {
        LogEntry {
            term: Term(1),
            index: LogIndex(index),
            kind: EntryKind::ConfChangeV2,
            data: change.write_to_bytes().unwrap().into(),
            context: Bytes::new(),
        }
    }

    #[test]
    fn each_change_in_the_log_leaves_a_membership() {
        let replace = joint_change(&[MemberChange::Voter(RaftId(3)), MemberChange::Remove(RaftId(2))]);
        let log = Held(vec![change(5, &replace), change(6, &ConfChangeV2::default())]);
        let found = memberships(&log, GroupId::ROOT).unwrap();
        let joint = Membership {
            voters_outgoing: vec![RaftId(1), RaftId(2)],
            ..Membership::new([RaftId(1), RaftId(3)], [])
        };
        let left = Membership::new([RaftId(1), RaftId(3)], []);
        assert_eq!(found[0], (LogIndex(4), Membership::new([RaftId(1), RaftId(2)], [])));
        assert_eq!(found[1..], [(LogIndex(5), joint), (LogIndex(6), left)]);
    }

    #[test]
    fn a_change_that_cannot_be_read_is_an_error() {
        let damaged = LogEntry { data: Bytes::from_static(b"\xff"), ..change(5, &ConfChangeV2::default()) };
        assert!(memberships(&Held(vec![damaged]), GroupId::ROOT).is_err());
    }
}
