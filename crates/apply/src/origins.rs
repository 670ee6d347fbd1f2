//! Which proposals have been applied, per origin, and what became of them.
//!
//! Follows the client sessions of Ongaro, "Consensus: Bridging Theory and Practice", section 6.3: an origin numbers
//! its proposals and says up to where it has heard the answers, so that only the outcomes above are kept.
//!
//! Invariants:
//! - of one origin only its latest boot is remembered: a process that has started again asks for nothing older;
//! - `applied` and `refused` hold sequences above `answered_through` only;
//! - everything here is a function of the log up to the position it is stored with.

use std::collections::BTreeMap;

use prost::Message;
use quack_proto::log::v1 as proto;
use quack_types::{LogIndex, ProposalId};

use crate::entry;

/// A part of an open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPart {
    pub index: LogIndex,
    /// The step of the transaction that it belongs to.
    pub step: u32,
}

/// A transaction whose parts have begun to arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    /// In order of their numbers.
    pub parts: Vec<OpenPart>,
    /// Whether any part deletes or updates rows.
    pub changes: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Origin {
    boot: u64,
    answered_through: u64,
    /// First to last sequence of each range, in ascending order, not touching.
    applied: BTreeMap<u64, u64>,
    refused: BTreeMap<u64, proto::Refused>,
    open: BTreeMap<u64, Open>,
}

impl Origin {
    fn has_applied(&self, sequence: u64) -> bool {
        self.applied.range(..=sequence).next_back().is_some_and(|(_, last)| *last >= sequence)
    }

    fn add(&mut self, sequence: u64) {
        let mut first = sequence;
        let mut last = sequence;
        if let Some((before, end)) = self.applied.range(..sequence).next_back().map(|(a, b)| (*a, *b))
            && end + 1 == sequence
        {
            self.applied.remove(&before);
            first = before;
        }
        if let Some(end) = self.applied.remove(&(sequence + 1)) {
            last = end;
        }
        self.applied.insert(first, last);
    }

    fn forget_through(&mut self, sequence: u64) {
        if sequence <= self.answered_through {
            return;
        }
        self.answered_through = sequence;
        self.refused = self.refused.split_off(&(sequence + 1));
        while let Some(range) = self.applied.first_entry() {
            let (first, last) = (*range.key(), *range.get());
            if first > sequence {
                break;
            }
            range.remove();
            if last > sequence {
                self.applied.insert(sequence + 1, last);
                break;
            }
        }
    }
}

/// Whether an entry is to be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Not seen before.
    New,
    /// Applied before, with this outcome, which the origin may still wait for.
    Repeated(proto::Outcome),
    /// Of an earlier boot, or answered and forgotten: nobody waits for it.
    Void,
}

/// The memory of all origins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origins {
    origins: BTreeMap<u64, Origin>,
}

impl Origins {
    /// Whether the entry `id` is new. An id of a later boot drops what is remembered of earlier ones.
    pub fn admit(&mut self, id: ProposalId, answered_through: u64) -> Admission {
        let origin = self.origins.entry(id.origin.0).or_default();
        if id.boot < origin.boot {
            return Admission::Void;
        }
        if id.boot > origin.boot {
            *origin = Origin { boot: id.boot, ..Origin::default() };
        }
        origin.forget_through(answered_through);
        if id.sequence <= origin.answered_through {
            return Admission::Void;
        }
        if !origin.has_applied(id.sequence) {
            return Admission::New;
        }
        match origin.refused.get(&id.sequence) {
            Some(refused) => Admission::Repeated(entry::refused(refused.clone())),
            None => Admission::Repeated(entry::applied()),
        }
    }

    /// Remembers the outcome of an admitted entry.
    pub fn record(&mut self, id: ProposalId, refused: Option<&proto::Refused>) {
        let origin = self.origins.entry(id.origin.0).or_default();
        origin.add(id.sequence);
        if let Some(refused) = refused {
            origin.refused.insert(id.sequence, refused.clone());
        }
    }

    /// The open transaction of an origin, to add a part to it.
    pub fn open_mut(&mut self, id: ProposalId, transaction: u64) -> &mut Open {
        self.origins.entry(id.origin.0).or_default().open.entry(transaction).or_default()
    }

    /// Ends an open transaction: it is being applied, or will never be.
    pub fn close(&mut self, id: ProposalId, transaction: u64) -> Option<Open> {
        self.origins.get_mut(&id.origin.0)?.open.remove(&transaction)
    }

    /// The first log index that an open transaction still needs.
    pub fn needed_from(&self) -> Option<LogIndex> {
        self.origins.values().flat_map(|origin| origin.open.values()).filter_map(|open| open.parts.first().map(|part| part.index)).min()
    }

    /// As bytes, to be stored with the position.
    pub fn encode(&self) -> Vec<u8> {
        let origins = self.origins.iter().map(|(id, origin)| proto::Origin {
            origin: *id,
            boot: origin.boot,
            answered_through: origin.answered_through,
            applied: origin.applied.iter().map(|(first, last)| proto::SequenceRange { first: *first, last: *last }).collect(),
            refused: origin.refused.clone(),
            open: origin
                .open
                .iter()
                .map(|(transaction, open)| {
                    let part = |part: &OpenPart| proto::OpenPart { index: part.index.0, step: part.step };
                    let parts = open.parts.iter().map(part).collect();
                    (*transaction, proto::OpenTransaction { parts, changes: open.changes })
                })
                .collect(),
        });
        proto::ApplierState { origins: origins.collect() }.encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) has written.
    pub fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let state = proto::ApplierState::decode(bytes)?;
        let origins = state.origins.into_iter().map(|origin| {
            let open = origin.open.into_iter().map(|(transaction, open)| {
                let part = |part: proto::OpenPart| OpenPart { index: LogIndex(part.index), step: part.step };
                (transaction, Open { parts: open.parts.into_iter().map(part).collect(), changes: open.changes })
            });
            let memory = Origin {
                boot: origin.boot,
                answered_through: origin.answered_through,
                applied: origin.applied.iter().map(|range| (range.first, range.last)).collect(),
                refused: origin.refused,
                open: open.collect(),
            };
            (origin.origin, memory)
        });
        Ok(Self { origins: origins.collect() })
    }
}

#[cfg(test)]
mod tests {
    use quack_types::RaftId;

    use super::*;

    fn id(boot: u64, sequence: u64) -> ProposalId {
        ProposalId { origin: RaftId(7), boot, sequence }
    }

    #[test]
    fn a_repeated_proposal_gets_its_first_outcome() {
        let mut origins = Origins::default();
        assert_eq!(origins.admit(id(1, 1), 0), Admission::New);
        origins.record(id(1, 1), None);
        let refused = proto::Refused { error_kind: 18, message: "no".into(), conflict: false };
        assert_eq!(origins.admit(id(1, 2), 0), Admission::New);
        origins.record(id(1, 2), Some(&refused));
        assert_eq!(origins.admit(id(1, 1), 0), Admission::Repeated(entry::applied()));
        assert_eq!(origins.admit(id(1, 2), 0), Admission::Repeated(entry::refused(refused)));
    }

    #[test]
    fn an_answered_proposal_is_void_and_takes_no_room() {
        let mut origins = Origins::default();
        for sequence in 1..=1000 {
            assert_eq!(origins.admit(id(1, sequence), sequence - 1), Admission::New);
            origins.record(id(1, sequence), None);
        }
        assert_eq!(origins.admit(id(1, 999), 999), Admission::Void);
        assert!(origins.encode().len() < 40, "{}", origins.encode().len());
    }

    #[test]
    fn gaps_stay_open_and_ranges_join() {
        let mut origins = Origins::default();
        for sequence in [1, 2, 5, 4, 9] {
            assert_eq!(origins.admit(id(1, sequence), 0), Admission::New);
            origins.record(id(1, sequence), None);
        }
        assert_eq!(origins.admit(id(1, 3), 0), Admission::New);
        origins.record(id(1, 3), None);
        for sequence in 1..=5 {
            assert_ne!(origins.admit(id(1, sequence), 0), Admission::New);
        }
        assert_eq!(origins.admit(id(1, 7), 4), Admission::New);
        assert_eq!(origins.admit(id(1, 5), 4), Admission::Repeated(entry::applied()));
        assert_eq!(Origins::decode(&origins.encode()).unwrap(), origins);
    }

    #[test]
    fn a_new_boot_voids_what_the_old_one_left() {
        let mut origins = Origins::default();
        assert_eq!(origins.admit(id(1, 5), 0), Admission::New);
        origins.open_mut(id(1, 5), 4).parts.push(OpenPart { index: LogIndex(10), step: 0 });
        origins.record(id(1, 5), None);
        assert_eq!(origins.needed_from(), Some(LogIndex(10)));
        assert_eq!(origins.admit(id(2, 1), 0), Admission::New);
        assert_eq!(origins.needed_from(), None);
        assert_eq!(origins.admit(id(1, 6), 0), Admission::Void);
    }
}
