//! One group's log as the raft crate wants to see it.
//!
//! Raft-rs has no way to report a failed read: it panics. The real cause is kept in
//! [`LogStorage::fault`] so that the poisoned group can name it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use quack_log::{Floor, HardState, LogRead};
use quack_types::{GroupId, LogIndex, RaftId};
use raft::eraftpb::{Entry, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use crate::{Membership, convert};

/// Raft's view of one group's log.
#[derive(Debug)]
pub(crate) struct LogStorage<L> {
    log: L,
    group: GroupId,
    /// Where Raft starts: hard state, and the membership at the floor.
    start: (HardState, Membership),
    /// The first error of the log, in words.
    fault: RefCell<Option<String>>,
    /// Peers for whom Raft wanted a snapshot since this was last taken.
    snapshots_wanted: RefCell<BTreeSet<RaftId>>,
}

impl<L: LogRead> LogStorage<L> {
    pub(crate) fn new(log: L, group: GroupId, hard_state: HardState, membership: Membership) -> Self {
        Self {
            log,
            group,
            start: (hard_state, membership),
            fault: RefCell::default(),
            snapshots_wanted: RefCell::default(),
        }
    }

    pub(crate) fn floor(&self) -> Floor {
        self.log.floor(self.group)
    }

    /// What is durable, as far as `persisted` was called.
    pub(crate) fn hard_state(&self) -> HardState {
        self.log.hard_state(self.group)
    }

    pub(crate) fn take_fault(&self) -> Option<String> {
        self.fault.borrow_mut().take()
    }

    /// Puts a want back that is real.
    pub(crate) fn want_snapshot(&self, peer: RaftId) {
        self.snapshots_wanted.borrow_mut().insert(peer);
    }

    pub(crate) fn take_snapshots_wanted(&self) -> BTreeSet<RaftId> {
        self.snapshots_wanted.take()
    }

    fn fail(&self, what: String) -> Error {
        self.fault.borrow_mut().get_or_insert(what.clone());
        Error::Store(StorageError::Other(what.into()))
    }
}

impl<L: LogRead> Storage for LogStorage<L> {
    fn initial_state(&self) -> Result<RaftState> {
        let (hard_state, membership) = &self.start;
        Ok(RaftState::new(convert::hard_state_to_raft(*hard_state), membership.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.floor().index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        match self.log.entries(self.group, LogIndex(low), LogIndex(high), bytes_max) {
            Ok(entries) => Ok(entries.into_iter().map(convert::entry_to_raft).collect()),
            Err(error) => Err(self.fail(format!("entries {low} to {} of the log: {error}", high - 1))),
        }
    }

    fn term(&self, index: u64) -> Result<u64> {
        let floor = self.floor();
        if index < floor.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if index == floor.index.0 {
            return Ok(floor.term.0);
        }
        match self.log.term(self.group, LogIndex(index)) {
            Some(term) => Ok(term.0),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.floor().index.next().0)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.log.last_index(self.group).max(self.floor().index).0)
    }

    /// There is none: snapshots are of the node, not of one group, and travel by
    /// other means. The want is remembered and becomes [`crate::SnapshotNeeded`].
    fn snapshot(&self, _request_index: u64, to: u64) -> Result<Snapshot> {
        self.snapshots_wanted.borrow_mut().insert(RaftId(to));
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
