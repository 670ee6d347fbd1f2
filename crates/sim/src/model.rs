//! The state machine of one group: a list of operations, each at most once.
//!
//! It stands for the store: it applies entries in order, drops a proposal whose id it has
//! seen before, and answers it with its first outcome. It knows operations only by what
//! is in the entries: that one gets into the list once is what the checks look at. Its hash covers every applied
//! entry, so two nodes with equal hashes at an index have the same history.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quack_log::{EntryKind, LogEntry};
use quack_types::{LogIndex, ProposalId, RaftId};

/// What a client wanted: client and number. Unlike the proposal's id it stays the same
/// however often and wherever it is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    pub client: u64,
    pub number: u64,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}/{}", self.client, self.number)
    }
}

/// State of one group on one node. A clone is a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// Last applied entry.
    pub applied: LogIndex,
    /// Applied operations in order; the place in the list is the outcome.
    pub list: Vec<Operation>,
    outcomes: BTreeMap<ProposalId, u64>,
    /// Hash of everything applied so far.
    pub hash: u64,
}

/// What applying an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The proposal in the entry.
    pub id: ProposalId,
    /// Its place in the list.
    pub outcome: u64,
    /// False when it had been applied before.
    pub is_first: bool,
}

impl Model {
    /// Applies the entry behind `applied`. `None` for entries that carry no proposal.
    /// `deduplicates` is false only in a sabotaged run.
    pub fn apply(&mut self, entry: &LogEntry, deduplicates: bool) -> Option<Applied> {
        self.applied = entry.index;
        self.mix(entry.index.0);
        let (id, operation) = decode(entry)?;
        let known = self.outcomes.get(&id).copied();
        if let (Some(outcome), true) = (known, deduplicates) {
            self.mix(outcome);
            return Some(Applied { id, outcome, is_first: false });
        }
        let outcome = self.list.len() as u64;
        self.list.push(operation);
        self.outcomes.insert(id, outcome);
        for part in [id.origin.0, id.boot, id.sequence, operation.client, operation.number] {
            self.mix(part);
        }
        Some(Applied { id, outcome, is_first: true })
    }

    /// Forgets what has been applied. Sabotage only.
    pub fn forget_ids(&mut self) {
        self.outcomes.clear();
    }

    fn mix(&mut self, value: u64) {
        for byte in value.to_le_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

const HEADER_BYTES: usize = 40;

/// An entry's data: the id, the operation, then `padding` bytes.
pub fn encode(id: ProposalId, operation: Operation, padding: usize) -> Bytes {
    let mut data = BytesMut::with_capacity(HEADER_BYTES + padding);
    for part in [id.origin.0, id.boot, id.sequence, operation.client, operation.number] {
        data.put_u64(part);
    }
    data.put_bytes(operation.number as u8, padding);
    data.freeze()
}

/// What is in an entry's data, if the entry is a proposal.
pub fn decode(entry: &LogEntry) -> Option<(ProposalId, Operation)> {
    if entry.kind != EntryKind::Normal || entry.data.len() < HEADER_BYTES {
        return None;
    }
    let mut data = &entry.data[..];
    let (origin, boot, sequence) = (RaftId(data.get_u64()), data.get_u64(), data.get_u64());
    let operation = Operation { client: data.get_u64(), number: data.get_u64() };
    Some((ProposalId { origin, boot, sequence }, operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quack_types::Term;

    fn entry(index: u64, sequence: u64) -> LogEntry {
        let id = ProposalId { origin: RaftId(1), boot: 1, sequence };
        LogEntry {
            term: Term(1),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: encode(id, Operation { client: 1, number: sequence }, 3),
            context: Bytes::new(),
        }
    }

    #[test]
    fn a_repeated_proposal_gets_its_first_outcome_and_changes_nothing() {
        let mut model = Model::default();
        assert_eq!(model.apply(&entry(1, 10), true).unwrap().outcome, 0);
        assert_eq!(model.apply(&entry(2, 11), true).unwrap().outcome, 1);
        let again = model.apply(&entry(3, 10), true).unwrap();
        assert_eq!((again.outcome, again.is_first, model.list.len()), (0, false, 2));
    }

    #[test]
    fn the_hash_follows_order_and_content() {
        let hash = |sequences: &[u64]| {
            let mut model = Model::default();
            for (index, sequence) in sequences.iter().enumerate() {
                model.apply(&entry(index as u64 + 1, *sequence), true);
            }
            model.hash
        };
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 2, 2]));
    }
}
