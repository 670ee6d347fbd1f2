//! Entries as bytes.

use bytes::Bytes;
use prost::Message;
use quack_proto::log::v1::{self as proto, entry::Body, outcome::Kind, step};
use quack_types::{ProposalId, RaftId};

/// The newest format that this release reads. It writes the oldest that has what an entry carries.
pub const VERSION: u32 = 4;

/// The first format that knows tables by their numbers.
pub const TABLE_NUMBERS_VERSION: u32 = 4;

/// Larger entries are no verification: version, id, numbers.
const VERIFICATION_BYTES_MAX: usize = 96;

/// Why an entry of the log cannot be read. The node must not go on: it would miss what others apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not an entry.
    #[error("log entry {index} is damaged: {reason}")]
    Damaged { index: u64, reason: String },
    /// A newer release has written it.
    #[error(
        "log entry {index} has format {found}, this release reads up to {VERSION}: install the newer release"
    )]
    Future { index: u64, found: u32 },
}

/// The oldest format that has what `body` carries.
fn version_of(body: &Body) -> u32 {
    match body {
        Body::Transaction(transaction) if transaction.steps.iter().any(knows_tables) => TABLE_NUMBERS_VERSION,
        Body::Part(part) if part.write.as_ref().is_some_and(has_numbers) => TABLE_NUMBERS_VERSION,
        Body::Transaction(transaction) if transaction.steps.iter().any(draws) => 2,
        Body::Settings(_) => 3,
        _ => 1,
    }
}

/// Whether a step says which table is meant, or begins to number them.
fn knows_tables(step: &proto::Step) -> bool {
    match &step.kind {
        Some(step::Kind::Write(write)) => has_numbers(write),
        Some(step::Kind::Ddl(ddl)) => ddl.numbers_tables,
        _ => false,
    }
}

fn has_numbers(write: &proto::Write) -> bool {
    let mut rows = write.deleted.iter().chain(&write.inserted).chain(&write.updated);
    rows.any(|rows| rows.table_number != 0)
}

/// Whether a step draws from a sequence, or sets it.
pub(crate) fn draws(step: &proto::Step) -> bool {
    matches!(step.kind, Some(step::Kind::Draw(_) | step::Kind::Set(_)))
}

/// Encodes an entry.
pub fn encode(id: ProposalId, answered_through: u64, body: Body) -> Bytes {
    let version = version_of(&body);
    let id = proto::ProposalId { origin: id.origin.0, boot: id.boot, sequence: id.sequence };
    proto::Entry { version, id: Some(id), answered_through, body: Some(body) }.encode_to_vec().into()
}

/// A decoded entry with everything that it must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub id: ProposalId,
    pub answered_through: u64,
    pub body: Body,
}

/// Decodes the entry at `index` of the log.
pub fn decode(index: u64, data: &Bytes) -> Result<Decoded, Error> {
    let damaged = |reason: &str| Error::Damaged { index, reason: reason.to_owned() };
    let entry = proto::Entry::decode(data.clone()).map_err(|e| damaged(&e.to_string()))?;
    if entry.version > VERSION {
        return Err(Error::Future { index, found: entry.version });
    }
    if entry.version == 0 {
        return Err(damaged("it has no version"));
    }
    let id = entry.id.ok_or_else(|| damaged("it has no proposal id"))?;
    let body = entry.body.ok_or_else(|| damaged("it has no body"))?;
    let id = ProposalId { origin: RaftId(id.origin), boot: id.boot, sequence: id.sequence };
    Ok(Decoded { id, answered_through: entry.answered_through, body })
}

/// The number of a verification, when an entry is one. Cheap for all others.
pub fn verification(data: &Bytes) -> Option<u64> {
    if data.len() > VERIFICATION_BYTES_MAX {
        return None;
    }
    match proto::Entry::decode(data.clone()).ok()?.body? {
        Body::Verify(verify) => Some(verify.number),
        _ => None,
    }
}

/// The outcome of an entry that took effect.
pub fn applied() -> proto::Outcome {
    outcome(proto::Applied::default())
}

/// The outcome of an entry that took effect, with what came of it.
pub(crate) fn outcome(applied: proto::Applied) -> proto::Outcome {
    proto::Outcome { kind: Some(Kind::Applied(applied)) }
}

/// The outcome of an entry that had no effect.
pub fn refused(refused: proto::Refused) -> proto::Outcome {
    proto::Outcome { kind: Some(Kind::Refused(refused)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_entry_of_a_known_format_is_named() {
        let id = ProposalId { origin: RaftId(1), boot: 2, sequence: 3 };
        let data = encode(id, 1, Body::Boot(proto::Boot {}));
        let decoded = Decoded { id, answered_through: 1, body: Body::Boot(proto::Boot {}) };
        assert_eq!(decode(7, &data), Ok(decoded));
        let with = |change: fn(&mut proto::Entry)| {
            let mut entry = proto::Entry::decode(data.clone()).unwrap();
            change(&mut entry);
            decode(7, &entry.encode_to_vec().into()).unwrap_err()
        };
        assert_eq!(with(|entry| entry.version = VERSION + 1), Error::Future { index: 7, found: 5 });
        let damages: [fn(&mut proto::Entry); 3] =
            [|entry| entry.version = 0, |entry| entry.id = None, |entry| entry.body = None];
        for damage in damages {
            assert!(matches!(with(damage), Error::Damaged { index: 7, .. }));
        }
        assert!(matches!(decode(7, &data.slice(1..)), Err(Error::Damaged { .. })));
    }

    #[test]
    fn an_entry_says_the_oldest_format_that_has_all_of_it() {
        let id = ProposalId { origin: RaftId(1), boot: 2, sequence: 3 };
        let version = |kinds: Vec<step::Kind>| {
            let steps = kinds.into_iter().map(|kind| proto::Step { kind: Some(kind) }).collect();
            let body = Body::Transaction(proto::Transaction { parts: 0, steps });
            proto::Entry::decode(encode(id, 1, body)).unwrap().version
        };
        let old = || step::Kind::Sequence(proto::SequenceUsage::default());
        assert_eq!(version(vec![old()]), 1);
        assert_eq!(version(vec![step::Kind::Draw(proto::SequenceDraw::default())]), 2);
        assert_eq!(version(vec![old(), step::Kind::Set(proto::SequenceSet::default())]), 2);
        let rows = |table_number| vec![proto::Rows { table_number, ..Default::default() }];
        let writes = |table_number| {
            [
                proto::Write { deleted: rows(table_number), ..Default::default() },
                proto::Write { inserted: rows(table_number), ..Default::default() },
                proto::Write { updated: rows(table_number), ..Default::default() },
            ]
        };
        for (table_number, expected) in [(0, 1), (7, 4)] {
            for write in writes(table_number) {
                assert_eq!(version(vec![old(), step::Kind::Write(write.clone())]), expected);
                let part = proto::Part { write: Some(write), ..Default::default() };
                let found = proto::Entry::decode(encode(id, 1, Body::Part(part))).unwrap().version;
                assert_eq!(found, expected);
            }
        }
        for (numbers_tables, expected) in [(false, 1), (true, 4)] {
            let ddl = proto::Ddl { numbers_tables, ..Default::default() };
            assert_eq!(version(vec![step::Kind::Ddl(ddl), old()]), expected);
        }
    }
}
