//! Checks a peer's message before Raft sees it.
//!
//! The raft crate trusts its messages and panics on some that no raft crate would
//! send. A broken or hostile peer must cost a dropped message, not the group.

use bytes::Bytes;
use protobuf::Message as _;
use quack_types::RaftId;
use quack_types::limits::ENTRY_BYTES_MAX;
use raft::eraftpb::{Message, MessageType};

/// Why a message was dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// There is no such group here.
    #[error("there is no such group on this node")]
    UnknownGroup,
    /// The group was stopped here.
    #[error("the group is stopped on this node")]
    Poisoned,
    /// A newer release sent it.
    #[error("the message has version {found}, this release reads {known}: install the newer release")]
    Version {
        /// What it says.
        found: u8,
        /// What this release writes and reads.
        known: u8,
    },
    /// What is around the Raft message, or in its place, is not well formed.
    #[error("the message is malformed: {0}")]
    Malformed(&'static str),
    /// The bytes are no Raft message.
    #[error("the bytes are not a Raft message: {0}")]
    Undecodable(String),
    /// The sender in the message is not the peer that sent it.
    #[error("the message says it is from {claimed}")]
    ForeignSender {
        /// What it says.
        claimed: RaftId,
    },
    /// It is for another node.
    #[error("the message is for {to}")]
    ForeignReceiver {
        /// What it says.
        to: RaftId,
    },
    /// Peers do not send this kind.
    #[error("peers do not send messages of kind {kind}")]
    Kind {
        /// Raft's name of the kind.
        kind: String,
    },
    /// Its parts do not fit together.
    #[error("the message contradicts itself: {0}")]
    Inconsistent(&'static str),
}

/// Decodes and checks.
pub(crate) fn decode(from: RaftId, to: RaftId, bytes: &Bytes) -> Result<Message, InvalidMessage> {
    let message = Message::parse_from_carllerche_bytes(bytes)
        .map_err(|error| InvalidMessage::Undecodable(error.to_string()))?;
    if message.from != from.0 {
        return Err(InvalidMessage::ForeignSender { claimed: RaftId(message.from) });
    }
    if message.to != to.0 || from == to {
        return Err(InvalidMessage::ForeignReceiver { to: RaftId(message.to) });
    }
    check_kind(&message)?;
    check_entries(&message)?;
    Ok(message)
}

fn check_kind(message: &Message) -> Result<(), InvalidMessage> {
    use MessageType as Kind;
    match message.msg_type {
        Kind::MsgAppend
        | Kind::MsgAppendResponse
        | Kind::MsgRequestVote
        | Kind::MsgRequestVoteResponse
        | Kind::MsgRequestPreVote
        | Kind::MsgRequestPreVoteResponse
        | Kind::MsgHeartbeat
        | Kind::MsgHeartbeatResponse
        | Kind::MsgTimeoutNow
        // Of the one who is to lead, who is the sender.
        | Kind::MsgTransferLeader => {
            if message.term == 0 {
                return Err(InvalidMessage::Inconsistent("it has no term"));
            }
        }
        // Reads are forwarded to the leader without a term; their answer has one.
        Kind::MsgReadIndex | Kind::MsgReadIndexResp => {
            if message.entries.len() != 1 {
                return Err(InvalidMessage::Inconsistent("a read carries exactly one context"));
            }
        }
        // Proposals are not forwarded as Raft messages, see `envelope.rs`. Snapshots do not
        // travel this way. The others are messages of a node to itself.
        Kind::MsgPropose
        | Kind::MsgSnapshot
        | Kind::MsgHup
        | Kind::MsgBeat
        | Kind::MsgUnreachable
        | Kind::MsgSnapStatus
        | Kind::MsgCheckQuorum => {
            return Err(InvalidMessage::Kind { kind: format!("{:?}", message.msg_type) });
        }
    }
    Ok(())
}

fn check_entries(message: &Message) -> Result<(), InvalidMessage> {
    if message.msg_type != MessageType::MsgAppend {
        return Ok(());
    }
    let mut before = (message.index, message.log_term);
    for entry in message.entries.iter() {
        if Some(entry.index) != before.0.checked_add(1) || entry.term < before.1 || entry.term > message.term
        {
            return Err(InvalidMessage::Inconsistent("its entries are not a piece of a log"));
        }
        if entry.data.len() > ENTRY_BYTES_MAX {
            return Err(InvalidMessage::Inconsistent("an entry is larger than an entry may be"));
        }
        before = (entry.index, entry.term);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn append(entries: &[(u64, u64)]) -> Message {
        let entry = |&(index, term): &(u64, u64)| Entry { index, term, ..Entry::default() };
        let mut message = Message { msg_type: MessageType::MsgAppend, ..Message::default() };
        (message.from, message.to, message.term, message.index, message.log_term) = (1, 2, 5, 3, 4);
        message.set_entries(entries.iter().map(entry).collect());
        message
    }

    fn check(message: &Message) -> Result<Message, InvalidMessage> {
        decode(RaftId(1), RaftId(2), &Bytes::from(message.write_to_bytes().unwrap()))
    }

    #[test]
    fn a_good_message_passes_unchanged() {
        let good = append(&[(4, 4), (5, 5)]);
        // The decoder remembers sizes that the original does not, so compare the bytes.
        assert_eq!(check(&good).unwrap().write_to_bytes().unwrap(), good.write_to_bytes().unwrap());
    }

    #[test]
    fn a_bad_message_is_refused_with_its_reason() {
        let changed = |change: fn(&mut Message)| {
            let mut message = append(&[]);
            change(&mut message);
            check(&message).unwrap_err()
        };
        assert_eq!(changed(|m| m.from = 9), InvalidMessage::ForeignSender { claimed: RaftId(9) });
        assert_eq!(changed(|m| m.to = 9), InvalidMessage::ForeignReceiver { to: RaftId(9) });
        assert!(matches!(changed(|m| m.term = 0), InvalidMessage::Inconsistent(_)));
        for kind in [MessageType::MsgPropose, MessageType::MsgHup, MessageType::MsgSnapshot] {
            let mut message = append(&[]);
            message.msg_type = kind;
            assert!(matches!(check(&message), Err(InvalidMessage::Kind { .. })), "{kind:?}");
        }
        assert!(matches!(
            changed(|m| m.msg_type = MessageType::MsgReadIndex),
            InvalidMessage::Inconsistent(_)
        ));
        for entries in [&[(5, 5)][..], &[(4, 4), (6, 4)], &[(4, 3)], &[(4, 6)], &[(4, 5), (5, 4)]] {
            assert!(matches!(check(&append(entries)), Err(InvalidMessage::Inconsistent(_))), "{entries:?}");
        }
        let noise = Bytes::from_static(b"\xff\xfe\xfd");
        assert!(matches!(decode(RaftId(1), RaftId(2), &noise), Err(InvalidMessage::Undecodable(_))));
    }

    #[test]
    fn a_message_to_oneself_is_refused() {
        let mut message = append(&[]);
        (message.from, message.to) = (2, 2);
        let bytes = Bytes::from(message.write_to_bytes().unwrap());
        assert!(decode(RaftId(2), RaftId(2), &bytes).is_err());
    }
}
