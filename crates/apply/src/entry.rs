//! Entries as bytes.

use bytes::Bytes;
use prost::Message;
use quack_proto::log::v1::{self as proto, entry::Body, outcome::Kind, step};
use quack_types::{LogIndex, Mark, ProposalId, RaftId};

use crate::answered::Answered;

/// The format of entries, and of what the applier stores beside the tables. Every entry carries it, and no other is read.
pub const VERSION: u32 = 8;

/// What to do with what another release has left behind.
pub(crate) const OLDER: &str = "written by an older release: start with an empty folder";

/// Larger entries are no verification: version, id, numbers, digest.
const VERIFICATION_BYTES_MAX: usize = 128;

/// Why an entry of the log cannot be read. The node must not go on: it would miss what others apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not an entry.
    #[error("log entry {index} is damaged: {reason}")]
    Damaged { index: u64, reason: String },
    /// A newer release has written it.
    #[error(
        "log entry {index} has format {found}, this release reads format {VERSION}: install the newer release"
    )]
    Future { index: u64, found: u32 },
    /// An older release has written it.
    #[error("log entry {index} has format {found} and was {OLDER}")]
    Past { index: u64, found: u32 },
}

/// Whether a step draws from a sequence, or sets it.
pub(crate) fn draws(step: &proto::Step) -> bool {
    matches!(step.kind, Some(step::Kind::Draw(_) | step::Kind::Set(_)))
}

/// Whether a step changes rows that are named by their places.
pub(crate) fn names_places(step: &proto::Step) -> bool {
    let Some(step::Kind::Write(write)) = &step.kind else { return false };
    write.deleted.iter().chain(&write.updated).any(|rows| rows.places.is_some())
}

/// Whether a step changes the catalog.
pub(crate) fn is_ddl(step: &proto::Step) -> bool {
    matches!(step.kind, Some(step::Kind::Ddl(_)))
}

/// Encodes an entry; `mark` is the origin's digest now.
pub fn encode(id: ProposalId, answered: impl Into<Answered>, mark: Option<Mark>, body: Body) -> Bytes {
    let Answered { through, except } = answered.into();
    let id = proto::ProposalId { origin: id.origin.0, boot: id.boot, sequence: id.sequence };
    let digest = mark.map(|mark| proto::Digest { position: mark.root.0, value: mark.digest });
    let entry = proto::Entry {
        version: VERSION,
        id: Some(id),
        answered_through: through,
        unanswered: except,
        digest,
        body: Some(body),
    };
    entry.encode_to_vec().into()
}

/// A decoded entry with everything that it must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub id: ProposalId,
    pub answered: Answered,
    /// The origin's digest as of when it proposed the entry.
    pub mark: Option<Mark>,
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
    if entry.version < VERSION {
        return Err(Error::Past { index, found: entry.version });
    }
    let id = entry.id.ok_or_else(|| damaged("it has no proposal id"))?;
    let body = entry.body.ok_or_else(|| damaged("it has no body"))?;
    let id = ProposalId { origin: RaftId(id.origin), boot: id.boot, sequence: id.sequence };
    let mark = entry.digest.map(|said| Mark { root: LogIndex(said.position), digest: said.value });
    let answered = Answered { through: entry.answered_through, except: entry.unanswered };
    Ok(Decoded { id, answered, mark, body })
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
    fn what_is_not_an_entry_of_this_format_is_named() {
        let id = ProposalId { origin: RaftId(1), boot: 2, sequence: 3 };
        let (body, mark) = (Body::Boot(proto::Boot {}), Some(Mark { root: LogIndex(4), digest: 5 }));
        let data = encode(id, 1, mark, body.clone());
        let decoded = Decoded { id, answered: 1.into(), mark, body: body.clone() };
        assert_eq!(decode(7, &data), Ok(decoded));
        assert_eq!(decode(7, &encode(id, 1, None, body)).unwrap().mark, None);
        let with = |change: fn(&mut proto::Entry)| {
            let mut entry = proto::Entry::decode(data.clone()).unwrap();
            change(&mut entry);
            decode(7, &entry.encode_to_vec().into()).unwrap_err()
        };
        assert_eq!(with(|entry| entry.version = VERSION + 1), Error::Future { index: 7, found: VERSION + 1 });
        let older = with(|entry| entry.version = VERSION - 1);
        let text = "log entry 7 has format 7 and was written by an older release: start with an empty folder";
        assert_eq!(older.to_string(), text);
        let damages: [fn(&mut proto::Entry); 3] =
            [|entry| entry.version = 0, |entry| entry.id = None, |entry| entry.body = None];
        for damage in damages {
            assert!(matches!(with(damage), Error::Damaged { index: 7, .. }));
        }
        assert!(matches!(decode(7, &data.slice(1..)), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_verification_is_known_however_large_its_numbers_are() {
        let id = ProposalId { origin: RaftId(u64::MAX), boot: u64::MAX, sequence: u64::MAX };
        let mark = Some(Mark { root: LogIndex(u64::MAX), digest: u64::MAX });
        let verify = Body::Verify(proto::Verify { number: u64::MAX });
        assert_eq!(verification(&encode(id, u64::MAX, mark, verify)), Some(u64::MAX));
        assert_eq!(verification(&encode(id, 1, mark, Body::Boot(proto::Boot {}))), None);
    }
}
