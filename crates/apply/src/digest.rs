//! The running digest of outcomes: one number for everything that was decided, compared among nodes at every position.
//!
//! It follows from the order of entries and from what each of them has led to on this node: accepted, refused with which
//! class, void or repeated; the tables and counts of rows that a transaction has written; how far the catalog has come,
//! and what lanes it needs; the values that a sequence has given. Never from texts, batches, restarts, time or place.
//!
//! For one value the step is a permutation of the digests: two digests that differ stay different for as long as the same
//! values are mixed in. So a node that has decided differently once is found at every later position, too.

use quack_proto::log::v1::{self as proto, entry::Body, outcome::Kind, step::Kind as StepKind};
use quack_types::{GroupId, LogIndex, ProposalId};

use crate::lanes::Lanes;

/// What became of an entry, as a number.
const VOID: u64 = 1;
const APPLIED: u64 = 2;
const REFUSED: u64 = 3;
const REPEATED: u64 = 4;

/// The digest of all outcomes up to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub u64);

impl Digest {
    /// One step of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators").
    fn mix(&mut self, value: u64) {
        let mut z = (self.0 ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 31);
    }

    /// An entry that carries a proposal has been decided.
    pub(crate) fn decided(
        &mut self,
        (group, index): (GroupId, LogIndex),
        id: ProposalId,
        outcome: Option<&proto::Outcome>,
        is_repeated: bool,
        changes_catalog: bool,
    ) {
        for value in [group.0, index.0, id.origin.0, id.boot, id.sequence, u64::from(is_repeated) * REPEATED]
        {
            self.mix(value);
        }
        match outcome.and_then(|outcome| outcome.kind.as_ref()) {
            None => self.mix(VOID),
            Some(Kind::Applied(applied)) => {
                self.mix(APPLIED);
                if let Some(drawn) = &applied.drawn {
                    self.drawn(drawn);
                }
            }
            Some(Kind::Refused(refused)) => {
                self.mix(REFUSED);
                // A definition that looks at rows may meet another one of several errors first, by where rows are on
                // this node and how many threads look.
                let error_kind = if changes_catalog { 0 } else { refused.error_kind };
                self.mix(u64::from(error_kind) << 1 | u64::from(refused.conflict));
            }
        }
    }

    /// An entry has taken effect: what it has written.
    pub(crate) fn wrote(&mut self, body: &Body) {
        match body {
            Body::Part(part) => part.write.iter().for_each(|write| self.write(write)),
            Body::Transaction(transaction) => {
                for step in &transaction.steps {
                    match &step.kind {
                        Some(StepKind::Write(write)) => self.write(write),
                        Some(StepKind::Set(set)) => {
                            self.mix(set.value as u64);
                            self.mix(u64::from(set.is_called));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, write: &proto::Write) {
        for rows in [&write.deleted, &write.updated, &write.inserted] {
            self.mix(rows.len() as u64);
            for rows in rows {
                self.mix(rows.table_number);
                self.mix(u64::from(rows.count));
            }
        }
    }

    fn drawn(&mut self, run: &proto::SequenceRun) {
        self.mix(run.count);
        for value in [run.first, run.increment, run.minimum, run.maximum] {
            self.mix(value as u64);
        }
        self.mix(u64::from(run.cycle));
    }

    /// A transaction has changed the catalog.
    pub(crate) fn changed_catalog(&mut self, version: u64, lanes: &Lanes) {
        self.mix(version);
        for (group, lane) in lanes.iter() {
            self.mix(group.0);
            self.mix(u64::from(lane.tables));
        }
    }
}

#[cfg(test)]
mod tests {
    use quack_types::RaftId;

    use super::*;
    use crate::entry;

    const AT: (GroupId, LogIndex) = (GroupId::ROOT, LogIndex(7));

    fn id(sequence: u64) -> ProposalId {
        ProposalId { origin: RaftId(1), boot: 1, sequence }
    }

    fn decided(
        at: (GroupId, LogIndex),
        id: ProposalId,
        outcome: Option<proto::Outcome>,
        is_repeated: bool,
    ) -> u64 {
        let mut digest = Digest::default();
        digest.decided(at, id, outcome.as_ref(), is_repeated, false);
        digest.0
    }

    fn refused(error_kind: u32, message: &str, conflict: bool) -> Option<proto::Outcome> {
        Some(entry::refused(proto::Refused { error_kind, message: message.into(), conflict }))
    }

    fn drew(count: u64, first: i64) -> Option<proto::Outcome> {
        let run = proto::SequenceRun { count, first, increment: 1, minimum: 1, maximum: 9, cycle: false };
        Some(entry::outcome(proto::Applied { drawn: Some(run) }))
    }

    #[test]
    fn it_differs_with_everything_that_is_decided_and_with_no_text() {
        let all = [
            decided(AT, id(1), None, false),
            decided((GroupId(2), AT.1), id(1), None, false),
            decided((AT.0, LogIndex(8)), id(1), None, false),
            decided(AT, id(2), None, false),
            decided(AT, id(1), Some(entry::applied()), false),
            decided(AT, id(1), Some(entry::applied()), true),
            decided(AT, id(1), refused(10, "", false), false),
            decided(AT, id(1), refused(10, "", true), false),
            decided(AT, id(1), refused(11, "", false), false),
            decided(AT, id(1), drew(1, 1), false),
            decided(AT, id(1), drew(2, 1), false),
            decided(AT, id(1), drew(1, 2), false),
        ];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        let with = |text| decided(AT, id(1), refused(10, text, false), false);
        assert_eq!(with("a text"), with("another one"));
    }

    #[test]
    fn it_differs_with_tables_and_counts_of_rows() {
        let digest = |change: fn(&mut proto::Write)| {
            let rows = proto::Rows { table_number: 5, count: 2, ..Default::default() };
            let mut write = proto::Write { inserted: vec![rows], ..Default::default() };
            change(&mut write);
            let step = proto::Step { kind: Some(StepKind::Write(write)) };
            let mut digest = Digest::default();
            digest.wrote(&Body::Transaction(proto::Transaction { parts: 0, steps: vec![step] }));
            digest.0
        };
        let all = [
            digest(|_| {}),
            digest(|write| write.inserted[0].count = 3),
            digest(|write| write.inserted[0].table_number = 6),
            digest(|write| write.deleted = std::mem::take(&mut write.inserted)),
            digest(|write| write.updated = std::mem::take(&mut write.inserted)),
            digest(|write| write.inserted.push(proto::Rows::default())),
        ];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(digest(|_| {}), digest(|write| write.inserted[0].chunk = vec![1].into()));
    }

    #[test]
    fn what_has_differed_once_differs_for_ever() {
        let (mut one, mut other) = (Digest::default(), Digest::default());
        one.mix(1);
        other.mix(2);
        for value in 0..10_000 {
            one.mix(value % 7);
            other.mix(value % 7);
            assert_ne!(one, other);
        }
    }
}
