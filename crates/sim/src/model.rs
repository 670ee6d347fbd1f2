//! The state machine of a node: one list of operations, each at most once, and the lanes.
//!
//! It stands for the store: it applies the entries of all groups in the one order, drops a proposal whose id it has
//! seen before, and answers it with its first outcome. It knows operations only by what is in the entries: that one
//! gets into the list once is what the checks look at. An operation of the root may also say how many lanes there are
//! from there on. Its hash covers every applied entry and what came of it, as a node's digest of outcomes does, so two
//! nodes with equal hashes at a place have the same history and have decided alike.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quack_core::proposal_id;
use quack_log::LogEntry;
use quack_types::{GroupId, LogIndex, Place, ProposalId};

use crate::sabotage::Sabotage;

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

/// What is in an entry that carries a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub id: ProposalId,
    pub operation: Operation,
    /// So many lanes there are to be from here on.
    pub reshard: Option<u64>,
}

/// A lane that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The entry of the root that created it.
    pub created: LogIndex,
    /// Its last entry that is applied.
    pub applied: LogIndex,
}

/// State of a node. A clone is a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// The last entry of the root that is applied, all that it orders included.
    pub root: LogIndex,
    pub lanes: BTreeMap<GroupId, Lane>,
    /// The last number that was ever given to a lane.
    pub last_group: GroupId,
    /// Entries of the one order that are applied.
    pub order: u64,
    /// Applied operations in order; the place in the list is the outcome.
    pub list: Vec<Operation>,
    outcomes: BTreeMap<ProposalId, u64>,
    /// Hash of everything applied so far.
    pub hash: u64,
    /// Lanes that were dropped, and how far they had been applied. In a sabotaged run they are followed on.
    pub dropped: BTreeMap<GroupId, LogIndex>,
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
    /// Where in the one order this is.
    pub fn place(&self) -> Place {
        let lanes = self.lanes.iter().map(|(group, lane)| (*group, lane.applied)).collect();
        Place { root: self.root, lanes }
    }

    /// How far a group is applied; `None` when it does not exist.
    pub fn applied(&self, group: GroupId) -> Option<LogIndex> {
        if group == GroupId::ROOT {
            return Some(self.root);
        }
        let dropped = || self.dropped.get(&group).copied();
        self.lanes.get(&group).map(|lane| lane.applied).or_else(dropped)
    }

    /// The entry is the next one of its group, and has been applied.
    fn advance(&mut self, group: GroupId, index: LogIndex) {
        self.order += 1;
        if group == GroupId::ROOT {
            self.root = index;
        } else if let Some(lane) = self.lanes.get_mut(&group) {
            lane.applied = index;
        } else {
            self.dropped.insert(group, index);
        }
        self.mix(group.0);
        self.mix(index.0);
    }

    /// Passes an entry over. Sabotage only.
    pub fn skip(&mut self, group: GroupId, index: LogIndex) {
        let hash = self.hash;
        self.advance(group, index);
        self.hash = hash;
    }

    /// Refuses an entry, and says so in the hash as a digest of outcomes does. Sabotage only.
    pub fn refuse(&mut self, group: GroupId, index: LogIndex) {
        self.advance(group, index);
        self.mix(u64::MAX);
    }

    /// Applies an entry. `None` for entries that carry no proposal.
    pub fn apply(&mut self, group: GroupId, entry: &LogEntry, sabotage: Option<Sabotage>) -> Option<Applied> {
        self.advance(group, entry.index);
        let Proposal { id, operation, reshard } = decode(entry)?;
        let known = self.outcomes.get(&id).copied();
        if let (Some(outcome), true) = (known, sabotage != Some(Sabotage::ApplyTwice)) {
            self.mix(outcome);
            return Some(Applied { id, outcome, is_first: false });
        }
        let outcome = self.list.len() as u64;
        self.list.push(operation);
        self.outcomes.insert(id, outcome);
        for part in [id.origin.0, id.boot, id.sequence, operation.client, operation.number] {
            self.mix(part);
        }
        if let Some(count) = reshard.filter(|_| group == GroupId::ROOT) {
            self.reshard(count, entry.index, sabotage);
        }
        Some(Applied { id, outcome, is_first: true })
    }

    /// From here on there are so many lanes: the last ones are dropped, or new ones created.
    fn reshard(&mut self, count: u64, at: LogIndex, sabotage: Option<Sabotage>) {
        while self.lanes.len() as u64 > count
            && let Some((group, lane)) = self.lanes.pop_last()
        {
            if sabotage == Some(Sabotage::HonourLateCut) {
                self.dropped.insert(group, lane.applied);
            }
        }
        while (self.lanes.len() as u64) < count {
            let last = match sabotage {
                Some(Sabotage::ReuseLaneNumber) => self.lanes.keys().last().copied().unwrap_or_default(),
                _ => self.last_group,
            };
            let group = GroupId(last.max(GroupId::ROOT).0 + 1);
            self.last_group = self.last_group.max(group);
            self.lanes.insert(group, Lane { created: at, applied: LogIndex(0) });
        }
        for group in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.mix(group.0);
        }
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

const HEADER_BYTES: usize = 48;

/// An entry's data: the proposal, then `padding` bytes.
pub fn encode(proposal: Proposal, padding: usize) -> Bytes {
    let Proposal { id, operation, reshard } = proposal;
    let mut data = BytesMut::with_capacity(HEADER_BYTES + padding);
    let reshard = reshard.map_or(0, |lanes| lanes + 1);
    for part in [id.origin.0, id.boot, id.sequence, operation.client, operation.number, reshard] {
        data.put_u64(part);
    }
    data.put_bytes(operation.number as u8, padding);
    data.freeze()
}

/// What is in an entry's data, if the entry is a proposal.
pub fn decode(entry: &LogEntry) -> Option<Proposal> {
    let id = proposal_id(entry)?;
    if entry.data.len() < HEADER_BYTES {
        return None;
    }
    let mut data = &entry.data[24..];
    let operation = Operation { client: data.get_u64(), number: data.get_u64() };
    Some(Proposal { id, operation, reshard: data.get_u64().checked_sub(1) })
}

/// An entry with a proposal, as the core would make it.
#[cfg(test)]
pub fn entry_of(index: u64, term: u64, proposal: Proposal) -> LogEntry {
    let data = encode(proposal, 3);
    LogEntry {
        term: quack_types::Term(term),
        index: LogIndex(index),
        kind: quack_log::EntryKind::Normal,
        context: data.slice(..24),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quack_types::RaftId;

    const ROOT: GroupId = GroupId::ROOT;

    fn entry(index: u64, sequence: u64, reshard: Option<u64>) -> LogEntry {
        let id = ProposalId { origin: RaftId(1), boot: 1, sequence };
        entry_of(index, 1, Proposal { id, operation: Operation { client: 1, number: sequence }, reshard })
    }

    #[test]
    fn a_repeated_proposal_gets_its_first_outcome_and_changes_nothing_on_any_road() {
        let mut model = Model::default();
        assert_eq!(model.apply(ROOT, &entry(1, 10, Some(1)), None).unwrap().outcome, 0);
        assert_eq!(model.apply(GroupId(2), &entry(1, 11, None), None).unwrap().outcome, 1);
        let again = model.apply(ROOT, &entry(2, 11, None), None).unwrap();
        assert_eq!((again.outcome, again.is_first, model.list.len()), (1, false, 2));
        assert_eq!(model.place(), Place { root: LogIndex(2), lanes: [(GroupId(2), LogIndex(1))].into() });
    }

    #[test]
    fn lanes_come_and_go_and_their_numbers_are_given_once() {
        let mut model = Model::default();
        let mut index = 0;
        let mut reshard = |count| {
            index += 1;
            model.apply(ROOT, &entry(index, index, Some(count)), None);
            model.lanes.keys().map(|group| group.0).collect::<Vec<_>>()
        };
        assert_eq!(reshard(2), [2, 3]);
        assert_eq!(reshard(1), [2]);
        assert_eq!(reshard(3), [2, 4, 5]);
        assert_eq!(reshard(0), []);
        assert_eq!(reshard(1), [6]);
        assert_eq!(model.lanes[&GroupId(6)].created, LogIndex(5));
    }

    #[test]
    fn the_hash_follows_order_and_content() {
        let hash = |entries: &[(u64, u64, u64)]| {
            let mut model = Model::default();
            model.apply(ROOT, &entry(1, 99, Some(2)), None);
            for (group, index, sequence) in entries {
                model.apply(GroupId(*group), &entry(*index, *sequence, None), None);
            }
            model.hash
        };
        assert_eq!(hash(&[(1, 2, 1), (1, 3, 2)]), hash(&[(1, 2, 1), (1, 3, 2)]));
        assert_ne!(hash(&[(1, 2, 1), (1, 3, 2)]), hash(&[(1, 2, 2), (1, 3, 1)]));
        assert_ne!(hash(&[(2, 1, 1), (3, 1, 2)]), hash(&[(3, 1, 2), (2, 1, 1)]));
        assert_ne!(hash(&[(1, 2, 1)]), hash(&[(1, 2, 1), (1, 3, 1)]));
    }
}
