//! What nodes put around everything that they send each other.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, now 1 |
//! | 1 | kind: 1 Raft message, 2 forwarded proposals, 3 refusal of forwarded proposals, 4 rest, 5 call, 6 gone, 7 forgotten |
//! | rest | by kind |
//!
//! - Raft message: the raft crate's protobuf message.
//! - Forwarded proposals: for each one boot (8), sequence (8), length of the data (4), data.
//! - Refusal: reason (1: not the leader, 2: busy, 3: handing over), then for each
//!   proposal boot (8), sequence (8).
//! - Rest: the leader's term (8) and last entry (8), behind which it has nothing and expects nothing.
//! - Call: nothing more. The sender wants to hear of the leader, or that the lane is gone.
//! - Gone: nothing more. The lane was dropped, and the sender needs nothing of it any more.
//! - Forgotten: nothing more. The same, and the sender has nothing of it any more.
//!
//! Numbers are big-endian. The origin of a proposal is not written: it is the sender,
//! whom the connection has proved, so no node can propose in another node's name.
//!
//! Invariants: what is decoded shares the memory of the message; sizes and counts are
//! bounded before anything is allocated for them.

use bytes::{Buf, BufMut, Bytes};
use protobuf::Message as _;
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{LogIndex, ProposalId, RaftId, Term};
use raft::eraftpb::Message;

use crate::InvalidMessage;

const VERSION: u8 = 1;
const RAFT: u8 = 1;
const PROPOSALS: u8 = 2;
const REFUSAL: u8 = 3;
const REST: u8 = 4;
const CALL: u8 = 5;
const GONE: u8 = 6;
const FORGOTTEN: u8 = 7;
const HEADER_BYTES: usize = 2;
const PROPOSAL_HEADER_BYTES: usize = 20;
const ID_BYTES: usize = 16;

/// Most proposals in one message. At some 100 bytes each they fill half a megabyte;
/// more would only make a refusal of them large.
pub(crate) const PROPOSALS_MAX: usize = 4096;

/// Why a node does not take forwarded proposals now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ForwardRefusal {
    NotLeader,
    Busy,
    Transferring,
}

/// A peer's message, opened.
#[derive(Debug, PartialEq)]
pub(crate) enum Envelope {
    /// To be decoded and checked by `message.rs`.
    Raft(Bytes),
    /// The sender is their origin.
    Proposals(Vec<(ProposalId, Bytes)>),
    /// The receiver was their origin.
    Refusal(ForwardRefusal, Vec<ProposalId>),
    /// The sender leads in this term, its log ends there, and it rests.
    Rest(Term, LogIndex),
    /// The sender wants to hear of the leader, or that the lane is gone.
    Call,
    /// The sender needs nothing of this lane, which was dropped.
    Gone,
    /// The sender has nothing of this lane, which was dropped.
    Forgotten,
}

fn header(kind: u8, body_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body_bytes);
    bytes.extend([VERSION, kind]);
    bytes
}

pub(crate) fn encode_raft(message: &Message) -> Result<Bytes, String> {
    let mut bytes = header(RAFT, message.compute_size() as usize);
    message.write_to_vec(&mut bytes).map_err(|error| format!("a message cannot be encoded: {error}"))?;
    Ok(Bytes::from(bytes))
}

pub(crate) fn encode_proposals(proposals: &[(ProposalId, Bytes)]) -> Bytes {
    let body_bytes = proposals.iter().map(|(_, data)| PROPOSAL_HEADER_BYTES + data.len()).sum();
    let mut bytes = header(PROPOSALS, body_bytes);
    for (id, data) in proposals {
        bytes.put_u64(id.boot);
        bytes.put_u64(id.sequence);
        // At most `ENTRY_BYTES_MAX`: larger ones were refused when they came in.
        bytes.put_u32(data.len() as u32);
        bytes.extend_from_slice(data);
    }
    Bytes::from(bytes)
}

pub(crate) fn encode_refusal(reason: ForwardRefusal, ids: &[ProposalId]) -> Bytes {
    let mut bytes = header(REFUSAL, 1 + ids.len() * ID_BYTES);
    bytes.push(match reason {
        ForwardRefusal::NotLeader => 1,
        ForwardRefusal::Busy => 2,
        ForwardRefusal::Transferring => 3,
    });
    for id in ids {
        bytes.put_u64(id.boot);
        bytes.put_u64(id.sequence);
    }
    Bytes::from(bytes)
}

pub(crate) fn encode_rest(term: Term, last: LogIndex) -> Bytes {
    let mut bytes = header(REST, 16);
    bytes.put_u64(term.0);
    bytes.put_u64(last.0);
    Bytes::from(bytes)
}

pub(crate) fn encode_call() -> Bytes {
    Bytes::from(header(CALL, 0))
}

pub(crate) fn encode_gone() -> Bytes {
    Bytes::from(header(GONE, 0))
}

pub(crate) fn encode_forgotten() -> Bytes {
    Bytes::from(header(FORGOTTEN, 0))
}

/// Whether a message says that its sender needs nothing of a lane.
pub(crate) fn is_of_the_end(bytes: &Bytes) -> bool {
    bytes.get(1).is_some_and(|kind| [GONE, FORGOTTEN].contains(kind))
}

/// Opens a message of `from` to `to`.
pub(crate) fn decode(from: RaftId, to: RaftId, bytes: &Bytes) -> Result<Envelope, InvalidMessage> {
    let malformed = |what| Err(InvalidMessage::Malformed(what));
    let [version, kind, ..] = **bytes else { return malformed("it has no header") };
    if version != VERSION {
        return Err(InvalidMessage::Version { found: version, known: VERSION });
    }
    if from == to {
        return malformed("it comes from the node itself");
    }
    let body = bytes.slice(HEADER_BYTES..);
    match kind {
        RAFT => Ok(Envelope::Raft(body)),
        PROPOSALS => decode_proposals(from, body),
        REFUSAL => decode_refusal(to, body),
        REST => decode_rest(body),
        CALL if body.is_empty() => Ok(Envelope::Call),
        GONE if body.is_empty() => Ok(Envelope::Gone),
        FORGOTTEN if body.is_empty() => Ok(Envelope::Forgotten),
        CALL | GONE | FORGOTTEN => malformed("a call, or a word of what is gone, has a body"),
        _ => malformed("its kind is unknown"),
    }
}

fn decode_rest(mut body: Bytes) -> Result<Envelope, InvalidMessage> {
    if body.remaining() != 16 {
        return Err(InvalidMessage::Malformed("a word of rest has another length"));
    }
    Ok(Envelope::Rest(Term(body.get_u64()), LogIndex(body.get_u64())))
}

fn decode_proposals(origin: RaftId, mut body: Bytes) -> Result<Envelope, InvalidMessage> {
    let malformed = |what| Err(InvalidMessage::Malformed(what));
    let (mut proposals, mut data_bytes) = (Vec::new(), 0);
    while body.has_remaining() {
        if body.remaining() < PROPOSAL_HEADER_BYTES {
            return malformed("a proposal is cut off");
        }
        let (boot, sequence, length) = (body.get_u64(), body.get_u64(), body.get_u32() as usize);
        if length == 0 || length > body.remaining() {
            return malformed("a proposal is empty or cut off");
        }
        data_bytes += length;
        if data_bytes > ENTRY_BYTES_MAX || proposals.len() == PROPOSALS_MAX {
            return malformed("it carries too many proposals");
        }
        proposals.push((ProposalId { origin, boot, sequence }, body.split_to(length)));
    }
    if proposals.is_empty() {
        return malformed("it carries no proposal");
    }
    Ok(Envelope::Proposals(proposals))
}

fn decode_refusal(origin: RaftId, mut body: Bytes) -> Result<Envelope, InvalidMessage> {
    let malformed = |what| Err(InvalidMessage::Malformed(what));
    if !body.has_remaining() {
        return malformed("a refusal has no reason");
    }
    let reason = match body.get_u8() {
        1 => ForwardRefusal::NotLeader,
        2 => ForwardRefusal::Busy,
        3 => ForwardRefusal::Transferring,
        _ => return malformed("the reason of a refusal is unknown"),
    };
    let count = body.remaining() / ID_BYTES;
    if !body.remaining().is_multiple_of(ID_BYTES) || count == 0 || count > PROPOSALS_MAX {
        return malformed("a refusal names no proposals, too many, or half of one");
    }
    let id = |_| ProposalId { origin, boot: body.get_u64(), sequence: body.get_u64() };
    Ok(Envelope::Refusal(reason, (0..count).map(id).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: RaftId = RaftId(1);
    const TO: RaftId = RaftId(2);

    fn id(origin: RaftId, sequence: u64) -> ProposalId {
        ProposalId { origin, boot: 3, sequence }
    }

    fn malformed(bytes: &[u8]) -> bool {
        let result = decode(FROM, TO, &Bytes::copy_from_slice(bytes));
        matches!(result, Err(InvalidMessage::Malformed(_)))
    }

    #[test]
    fn what_is_put_in_comes_out_and_shares_the_memory_of_the_message() {
        let proposals =
            vec![(id(FROM, 1), Bytes::from_static(b"one")), (id(FROM, 2), Bytes::from_static(b"two"))];
        let bytes = encode_proposals(&proposals);
        let Ok(Envelope::Proposals(opened)) = decode(FROM, TO, &bytes) else { panic!("not proposals") };
        assert_eq!(opened, proposals);
        assert!(bytes.as_ptr_range().contains(&opened[1].1.as_ptr()), "the data was copied");
        let ids = vec![id(TO, 4), id(TO, 5)];
        for reason in [ForwardRefusal::NotLeader, ForwardRefusal::Busy, ForwardRefusal::Transferring] {
            let opened = decode(FROM, TO, &encode_refusal(reason, &ids));
            assert_eq!(opened, Ok(Envelope::Refusal(reason, ids.clone())));
        }
        let rest = decode(FROM, TO, &encode_rest(Term(3), LogIndex(9)));
        assert_eq!(rest, Ok(Envelope::Rest(Term(3), LogIndex(9))));
        assert_eq!(decode(FROM, TO, &encode_call()), Ok(Envelope::Call));
        assert_eq!(decode(FROM, TO, &encode_gone()), Ok(Envelope::Gone));
        assert_eq!(decode(FROM, TO, &encode_forgotten()), Ok(Envelope::Forgotten));
        assert!(is_of_the_end(&encode_gone()) && is_of_the_end(&encode_forgotten()));
        assert!(!is_of_the_end(&encode_call()) && !is_of_the_end(&Bytes::new()));
        let message = Message { term: 7, ..Message::default() };
        let Ok(Envelope::Raft(body)) = decode(FROM, TO, &encode_raft(&message).unwrap()) else {
            panic!("not a Raft message")
        };
        assert_eq!(body, message.write_to_bytes().unwrap());
    }

    #[test]
    fn the_origin_of_a_proposal_is_its_sender() {
        let bytes = encode_proposals(&[(id(RaftId(9), 1), Bytes::from_static(b"x"))]);
        let Ok(Envelope::Proposals(opened)) = decode(FROM, TO, &bytes) else { panic!("not proposals") };
        assert_eq!(opened[0].0.origin, FROM);
    }

    #[test]
    fn every_cut_and_every_bad_header_is_refused() {
        let proposals = encode_proposals(&[(id(FROM, 1), Bytes::from_static(b"data"))]);
        let refusal = encode_refusal(ForwardRefusal::Busy, &[id(TO, 1)]);
        let rest = encode_rest(Term(3), LogIndex(9));
        for whole in [proposals, refusal, rest, encode_call(), encode_gone(), encode_forgotten()] {
            for length in 0..whole.len() {
                assert!(malformed(&whole[..length]), "{length} of {whole:?}");
            }
        }
        assert!(
            malformed(&[VERSION, 9, 0])
                && malformed(&[VERSION, CALL, 0])
                && malformed(&[VERSION, GONE, 0])
                && malformed(&[VERSION, FORGOTTEN, 0])
                && malformed(&[VERSION, REFUSAL, 9])
        );
        let newer = decode(FROM, TO, &Bytes::from_static(&[2, RAFT]));
        assert_eq!(newer, Err(InvalidMessage::Version { found: 2, known: 1 }));
        assert!(decode(TO, TO, &encode_proposals(&[(id(TO, 1), Bytes::from_static(b"x"))])).is_err());
    }

    #[test]
    fn more_than_a_message_may_carry_is_refused() {
        let one = |sequence| (id(FROM, sequence), Bytes::from_static(b"x"));
        let many: Vec<_> = (0..=PROPOSALS_MAX as u64).map(one).collect();
        assert!(malformed(&encode_proposals(&many)) && !malformed(&encode_proposals(&many[1..])));
        let ids: Vec<_> = many.iter().map(|(id, _)| *id).collect();
        assert!(malformed(&encode_refusal(ForwardRefusal::Busy, &ids)));
        let half = Bytes::from(vec![b'x'; ENTRY_BYTES_MAX / 2 + 1]);
        assert!(malformed(&encode_proposals(&[(id(FROM, 1), half.clone()), (id(FROM, 2), half)])));
    }
}
