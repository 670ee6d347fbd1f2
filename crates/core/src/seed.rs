//! How a node's log is put behind a snapshot that the node got by other means.
//!
//! The node is stopped meanwhile: the write is made into its log, with an fsync, and
//! then [`crate::Node::new`] is called with the snapshot's position as applied. The log
//! may begin earlier than that position, when the state machine still needs entries
//! before it; then they come with the snapshot.
//!
//! Invariants:
//! - what the node has promised under its Raft id stays: term and vote survive, the
//!   commit position does not go back. Under a new id there is nothing to keep;
//! - what follows in a log that holds the floor's entry stays: it may be acknowledged;
//! - repeating the write changes nothing, so a crash between the log's write and the
//!   state machine's is mended by doing all of it again. The shell must remember durably
//!   that a snapshot is being installed, and finish it before it takes another one.
//!
//! Source: Raft paper, section 7, InstallSnapshot RPC, steps 6 to 8.

use quack_log::{Floor, GroupWrite, HardState, LogEntry, LogRead};
use quack_types::{GroupId, RaftId};

use crate::{Error, Membership};

/// The write that lets a group's log begin behind `floor`, which
/// [`crate::Node::floor_at`] of another member has given, and hold `entries`, which
/// follow the floor. Many entries can be written in pieces: call it again with the same
/// floor and the next ones.
///
/// # Errors
/// [`Error::SeedBackwards`] when the log begins behind `floor` already;
/// [`Error::LogInconsistent`] when it holds another committed entry there, or the
/// membership cannot be read. Nothing must be written then.
pub fn reseed<L: LogRead>(
    log: &L,
    group: GroupId,
    floor: &Floor,
    mut entries: Vec<LogEntry>,
) -> Result<GroupWrite, Error> {
    let inconsistent = |what: String| Error::LogInconsistent { group, what };
    let members = Membership::decode(&floor.membership).map_err(|error| inconsistent(error.to_string()))?;
    if members.is_empty() {
        return Err(inconsistent("the snapshot names no members".to_owned()));
    }
    let known = log.floor(group).index;
    if floor.index < known {
        return Err(Error::SeedBackwards { group, floor: floor.index, known });
    }
    let stored = log.hard_state(group);
    // The highest term that the snapshot knows of.
    let term = entries.last().map_or(floor.term, |last| last.term);
    if log.term(group, floor.index) == Some(floor.term) {
        // To write an entry cuts off all that follow it, so only what is missing is written.
        let is_there = |entry: &LogEntry| log.term(group, entry.index) == Some(entry.term);
        let held = entries.iter().take_while(|entry| is_there(entry)).count();
        entries.drain(..held);
    } else if stored.commit >= floor.index && floor.index > known {
        let what = format!("entry {} is committed, and the snapshot has another one", floor.index);
        return Err(inconsistent(what));
    }
    if let Some(first) = entries.first().filter(|first| first.index <= stored.commit) {
        let what = format!("entry {} is committed, and the snapshot has another one", first.index);
        return Err(inconsistent(what));
    }
    // A term that this node has not seen yet is one in which it has not voted.
    let vote = if term > stored.term { RaftId(0) } else { stored.vote };
    let (term, commit) = (stored.term.max(term), stored.commit.max(floor.index));
    let hard_state = HardState { term, vote, commit };
    let floor = Some(floor.clone());
    Ok(GroupWrite { floor, entries, hard_state: Some(hard_state), ..GroupWrite::new(group) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quack_log::EntryKind;
    use quack_types::{LogIndex, Term};

    const G: GroupId = GroupId::ROOT;

    /// A log behind a floor at 10, of term 2.
    struct Held(HardState, Vec<LogEntry>);

    impl LogRead for Held {
        fn groups(&self) -> Vec<GroupId> {
            vec![G]
        }

        fn hard_state(&self, _group: GroupId) -> HardState {
            self.0
        }

        fn floor(&self, _group: GroupId) -> Floor {
            floor(10, 2)
        }

        fn last_index(&self, _group: GroupId) -> LogIndex {
            LogIndex(10 + self.1.len() as u64)
        }

        fn term(&self, _group: GroupId, index: LogIndex) -> Option<Term> {
            let found = self.1.iter().find(|entry| entry.index == index).map(|entry| entry.term);
            found.or((index == LogIndex(10)).then_some(Term(2)))
        }

        fn entries(
            &self,
            _group: GroupId,
            _low: LogIndex,
            _high_exclusive: LogIndex,
            _bytes_max: u64,
        ) -> Result<Vec<LogEntry>, quack_log::Error> {
            Ok(self.1.clone())
        }
    }

    fn floor(index: u64, term: u64) -> Floor {
        let membership = Membership::new([RaftId(1)], []).encode();
        Floor { index: LogIndex(index), term: Term(term), membership }
    }

    fn entries(terms: &[(u64, u64)]) -> Vec<LogEntry> {
        let entry = |&(index, term): &(u64, u64)| LogEntry {
            term: Term(term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: Bytes::new(),
            context: Bytes::new(),
        };
        terms.iter().map(entry).collect()
    }

    fn held(term: u64, commit: u64, terms: &[(u64, u64)]) -> Held {
        Held(HardState { term: Term(term), vote: RaftId(7), commit: LogIndex(commit) }, entries(terms))
    }

    #[test]
    fn promises_survive_and_a_term_that_is_new_has_no_vote() {
        let state = |write: GroupWrite| write.hard_state.map(|s| (s.term.0, s.vote.0, s.commit.0));
        let log = held(3, 11, &[(11, 3)]);
        assert_eq!(state(reseed(&log, G, &floor(20, 3), Vec::new()).unwrap()), Some((3, 7, 20)));
        assert_eq!(state(reseed(&log, G, &floor(20, 2), Vec::new()).unwrap()), Some((3, 7, 20)));
        assert_eq!(state(reseed(&log, G, &floor(20, 5), Vec::new()).unwrap()), Some((5, 0, 20)));
        let later = entries(&[(21, 5), (22, 6)]);
        assert_eq!(state(reseed(&log, G, &floor(20, 5), later).unwrap()), Some((6, 0, 20)));
        assert_eq!(state(reseed(&log, G, &floor(10, 2), Vec::new()).unwrap()), Some((3, 7, 11)));
    }

    #[test]
    fn only_what_the_log_does_not_hold_is_written() {
        let log = held(3, 11, &[(11, 3), (12, 3), (13, 3)]);
        let written = |given: &[(u64, u64)]| {
            let write = reseed(&log, G, &floor(10, 2), entries(given)).unwrap();
            write.entries.iter().map(|entry| entry.index.0).collect::<Vec<_>>()
        };
        assert_eq!(written(&[(11, 3), (12, 3)]), []);
        assert_eq!(written(&[(11, 3), (12, 3), (13, 3), (14, 3)]), [14]);
        assert_eq!(written(&[(11, 3), (12, 4)]), [12], "what was not committed gives way");
    }

    #[test]
    fn what_contradicts_the_log_is_refused() {
        let log = held(3, 12, &[(11, 3), (12, 3)]);
        let refused =
            |floor: Floor, given: &[(u64, u64)]| reseed(&log, G, &floor, entries(given)).unwrap_err();
        assert!(matches!(refused(floor(9, 2), &[]), Error::SeedBackwards { .. }));
        assert!(matches!(refused(floor(12, 2), &[]), Error::LogInconsistent { .. }));
        assert!(matches!(refused(floor(10, 2), &[(11, 3), (12, 2)]), Error::LogInconsistent { .. }));
        let nobody = Floor { membership: Bytes::new(), ..floor(20, 3) };
        assert!(matches!(refused(nobody, &[]), Error::LogInconsistent { .. }));
    }
}
