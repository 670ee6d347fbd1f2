//! How things look in the outputs: short, and without anything that changes from run to run.

use bytes::{Buf as _, Bytes};
use protobuf::Message as _;
use quack_core::{Answer, Cut, GroupState, GroupStatus, LaneEnd, Membership, Note, Refusal};
use quack_log::{EntryKind, LogEntry};
use quack_types::{GroupId, LogIndex, RaftId};
use raft::eraftpb::Message;

pub fn entry(entry: &LogEntry) -> String {
    let data = match entry.kind {
        _ if matches!(Cut::of(entry), Ok(Some(_))) => cut(entry),
        EntryKind::Normal if entry.data.is_empty() => "-".to_owned(),
        EntryKind::Normal if entry.data.len() > 20 => format!("{} bytes", entry.data.len()),
        EntryKind::Normal => String::from_utf8_lossy(&entry.data).into_owned(),
        EntryKind::ConfChange | EntryKind::ConfChangeV2 => "members".to_owned(),
    };
    format!("{}/{}:{data}", entry.index, entry.term)
}

fn cut(entry: &LogEntry) -> String {
    let lanes = Cut::of(entry).ok().flatten().unwrap_or_default().lanes;
    let lane = |(group, end): (&GroupId, &LaneEnd)| format!("g{group}<={}/{}", end.index, end.term);
    format!("cut({})", lanes.iter().map(lane).collect::<Vec<_>>().join(","))
}

fn ids(ids: &[RaftId]) -> String {
    ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

fn node(id: Option<RaftId>) -> String {
    id.map_or("none".to_owned(), |id| format!("n{id}"))
}

pub fn membership(membership: &Membership) -> String {
    let mut text = format!("voters={}", ids(&membership.voters));
    let more = [
        ("outgoing", &membership.voters_outgoing),
        ("learners", &membership.learners),
        ("learners_next", &membership.learners_next),
    ];
    for (name, list) in more.into_iter().filter(|(_, list)| !list.is_empty()) {
        text.push_str(&format!(" {name}={}", ids(list)));
    }
    text
}

pub fn note(note: &Note) -> String {
    match note {
        Note::RoleChanged { group, role, term, leader } => {
            format!("g{group} {} term={term} leader={}", role.as_str(), node(*leader))
        }
        Note::MembershipChanged { group, index, membership: members } => {
            format!("g{group} members at {index}: {}", membership(members))
        }
        Note::Compacted { group, through } => format!("g{group} compacted through {through}"),
        Note::MessageRefused { from, group, reason } => {
            format!("g{group} message of n{from} refused: {reason}")
        }
        Note::Raft { group, text } => format!("g{group} raft: {text}"),
        Note::GroupPoisoned { group, reason } => format!("g{group} poisoned: {reason}"),
    }
}

fn refusal(reason: &Refusal) -> String {
    match reason {
        Refusal::NotLeader { leader } => format!("{reason}; leader={}", node(*leader)),
        _ => reason.to_string(),
    }
}

pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::ProposalRefused { group, tag, reason } => {
            format!("g{group} proposal {} refused: {}", tag.sequence, refusal(reason))
        }
        Answer::MembershipRefused { group, tag, reason } => {
            format!("g{group} membership {tag} refused: {}", refusal(reason))
        }
        Answer::TransferRefused { group, to, reason } => {
            format!("g{group} transfer to n{to} refused: {}", refusal(reason))
        }
        Answer::ReadReady { group, tag, index } => format!("g{group} read {tag} at {index}"),
        Answer::ReadRefused { group, tag, reason } => {
            format!("g{group} read {tag} refused: {}", refusal(reason))
        }
    }
}

/// The layout is the one that the header of `envelope.rs` gives.
pub fn message(bytes: &Bytes) -> String {
    assert_eq!(bytes[0], 1, "the version of the envelope");
    match bytes[1] {
        1 => raft_message(&bytes.slice(2..)),
        2 => forwarded(bytes.slice(2..)),
        4 => {
            let mut body = bytes.slice(2..);
            format!("rests term={} last={}", body.get_u64(), body.get_u64())
        }
        3 => format!("refuses proposals ({}): {}", bytes[2], sequences(bytes.slice(3..))),
        other => panic!("unknown kind {other}"),
    }
}

fn forwarded(mut body: Bytes) -> String {
    let mut proposals = Vec::new();
    while body.has_remaining() {
        let (_boot, sequence, length) = (body.get_u64(), body.get_u64(), body.get_u32() as usize);
        let data = body.split_to(length);
        proposals.push(match length {
            0..20 => format!("{sequence}:{}", String::from_utf8_lossy(&data)),
            _ => format!("{sequence}:{length} bytes"),
        });
    }
    format!("forwards {}", proposals.join(" "))
}

fn sequences(mut body: Bytes) -> String {
    let mut sequences = Vec::new();
    while body.has_remaining() {
        let (_boot, sequence) = (body.get_u64(), body.get_u64());
        sequences.push(sequence.to_string());
    }
    sequences.join(" ")
}

fn raft_message(bytes: &Bytes) -> String {
    let message = Message::parse_from_carllerche_bytes(bytes).unwrap();
    let mut text = format!("{:?} term={}", message.msg_type, message.term);
    if (message.index, message.log_term) != (0, 0) {
        text.push_str(&format!(" at={}/{}", message.index, message.log_term));
    }
    if message.commit != 0 {
        text.push_str(&format!(" commit={}", message.commit));
    }
    if message.reject {
        text.push_str(&format!(" reject hint={}", message.reject_hint));
    }
    if !message.entries.is_empty() {
        let entries: Vec<String> =
            message.entries.iter().map(|entry| format!("{}/{}", entry.index, entry.term)).collect();
        text.push_str(&format!(" entries=[{}]", entries.join(" ")));
    }
    text
}

fn rest_of(lane: &GroupStatus) -> String {
    let words = [(lane.is_resting, " resting"), (lane.is_over, " over"), (lane.is_forgotten, " forgotten")];
    words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect()
}

pub fn status(status: &GroupStatus) -> String {
    let replicated = status.replicated_index.map_or("-".to_owned(), |LogIndex(index)| index.to_string());
    let state = match &status.state {
        GroupState::Ok => "ok".to_owned(),
        GroupState::Poisoned { reason } => format!("poisoned ({reason})"),
    };
    let kept = match status.proposals {
        0 => String::new(),
        count => format!(" kept={count}"),
    };
    let order = match status.group {
        GroupId::ROOT => String::new(),
        _ => format!(" ordered={}{}", status.ordered_index, rest_of(status)),
    };
    format!(
        "g{} {} leader={} term={} last={} commit={} applied={} floor={} replicated={replicated} readable={}{kept}{order} {} {state}",
        status.group,
        status.role.as_str(),
        node(status.leader),
        status.term,
        status.last_index,
        status.commit_index,
        status.applied_index,
        status.snapshot_index,
        status.linearizable_read_safe,
        membership(&status.membership),
    )
}
