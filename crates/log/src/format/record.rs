//! The records inside a batch's body.
//!
//! Each has its own checksum, because an entry is read on its own later, without
//! the rest of its batch.

use bytes::Bytes;
use quack_types::{GroupId, LogIndex, RaftId, Term};

use super::{read_u32, read_u64};
use crate::entry::{EntryKind, Floor, HardState, LogEntry};

/// Bytes before a record's own fields.
pub(crate) const HEADER_BYTES: usize = 20;
/// Bytes of an entry record besides context and data.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = HEADER_BYTES + 20;

const KIND_ENTRY: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_FLOOR: u8 = 3;
const KIND_TAIL: u8 = 4;
const KIND_SEAL: u8 = 5;
const KIND_GONE: u8 = 6;

/// One record, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// An entry was appended.
    Entry(GroupId, LogEntry),
    /// A hard state was stored.
    HardState(GroupId, HardState),
    /// The log's begin was moved; whether the entries after it stayed.
    Floor(GroupId, Floor, bool),
    /// In a segment's first batch: where the group's log ended when the segment began.
    Tail(GroupId, LogIndex),
    /// The group was forgotten.
    Gone(GroupId),
    /// The segment ends here and goes on in the one with this number.
    Seal(u32),
}

/// Where a record lies and how long it is.
pub(crate) struct Located {
    /// The record.
    pub record: Record,
    /// Offset from the begin of the parsed bytes.
    pub at: usize,
    /// Length in bytes.
    pub length: usize,
}

fn begin(buffer: &mut Vec<u8>, kind: u8, variant: u8, group: GroupId) -> usize {
    let at = buffer.len();
    buffer.extend_from_slice(&[kind, variant, 0, 0]);
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&group.0.to_le_bytes());
    at
}

fn finish(buffer: &mut [u8], at: usize) {
    let length = (buffer.len() - at) as u32;
    buffer[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
    let crc = crc_of(&buffer[at..]);
    buffer[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
}

fn crc_of(record: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&record[..8]);
    hash.update(&record[12..]);
    hash.finalize()
}

/// Appends an entry record.
pub(crate) fn put_entry(buffer: &mut Vec<u8>, group: GroupId, entry: &LogEntry) {
    let variant = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
        EntryKind::ConfChangeV2 => 2,
    };
    let at = begin(buffer, KIND_ENTRY, variant, group);
    buffer.extend_from_slice(&entry.term.0.to_le_bytes());
    buffer.extend_from_slice(&entry.index.0.to_le_bytes());
    buffer.extend_from_slice(&(entry.context.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&entry.context);
    buffer.extend_from_slice(&entry.data);
    finish(buffer, at);
}

/// Appends a hard state record.
pub(crate) fn put_hard_state(buffer: &mut Vec<u8>, group: GroupId, state: &HardState) {
    let at = begin(buffer, KIND_HARD_STATE, 0, group);
    for number in [state.term.0, state.vote.0, state.commit.0] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    finish(buffer, at);
}

/// Appends a floor record.
pub(crate) fn put_floor(buffer: &mut Vec<u8>, group: GroupId, floor: &Floor, keep_tail: bool) {
    let at = begin(buffer, KIND_FLOOR, u8::from(keep_tail), group);
    buffer.extend_from_slice(&floor.index.0.to_le_bytes());
    buffer.extend_from_slice(&floor.term.0.to_le_bytes());
    buffer.extend_from_slice(&floor.membership);
    finish(buffer, at);
}

/// Appends a tail record.
pub(crate) fn put_tail(buffer: &mut Vec<u8>, group: GroupId, last: LogIndex) {
    let at = begin(buffer, KIND_TAIL, 0, group);
    buffer.extend_from_slice(&last.0.to_le_bytes());
    finish(buffer, at);
}

/// Appends a record that says that a group is gone.
pub(crate) fn put_gone(buffer: &mut Vec<u8>, group: GroupId) {
    let at = begin(buffer, KIND_GONE, 0, group);
    finish(buffer, at);
}

/// Appends a seal record.
pub(crate) fn put_seal(buffer: &mut Vec<u8>, next: u32) {
    let at = begin(buffer, KIND_SEAL, 0, GroupId(0));
    buffer.extend_from_slice(&next.to_le_bytes());
    finish(buffer, at);
}

/// Reads the record at the begin of `bytes`. `Ok(None)` where padding begins.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Record, usize)>, &'static str> {
    if bytes.is_empty() || bytes[0] == 0 {
        return Ok(None);
    }
    if bytes.len() < HEADER_BYTES {
        return Err("a record is cut short");
    }
    let length = read_u32(bytes, 4) as usize;
    if length < HEADER_BYTES || length > bytes.len() {
        return Err("a record's length is impossible");
    }
    let bytes = &bytes[..length];
    if crc_of(bytes) != read_u32(bytes, 8) {
        return Err("the checksum of a record does not match");
    }
    let group = GroupId(read_u64(bytes, 12));
    let fields = &bytes[HEADER_BYTES..];
    let number = |at: usize| {
        if fields.len() >= at + 8 { Ok(read_u64(fields, at)) } else { Err("a record is too short") }
    };
    let record = match bytes[0] {
        KIND_ENTRY => Record::Entry(group, parse_entry(bytes[1], fields)?),
        KIND_HARD_STATE => {
            let (term, vote, commit) = (Term(number(0)?), RaftId(number(8)?), LogIndex(number(16)?));
            Record::HardState(group, HardState { term, vote, commit })
        }
        KIND_FLOOR => {
            let (index, term) = (LogIndex(number(0)?), Term(number(8)?));
            let floor = Floor { index, term, membership: Bytes::copy_from_slice(&fields[16..]) };
            Record::Floor(group, floor, bytes[1] == 1)
        }
        KIND_TAIL => Record::Tail(group, LogIndex(number(0)?)),
        KIND_GONE if fields.is_empty() => Record::Gone(group),
        KIND_SEAL if fields.len() == 4 => Record::Seal(read_u32(fields, 0)),
        _ => return Err("a record is of no known kind"),
    };
    Ok(Some((record, length)))
}

fn parse_entry(variant: u8, fields: &[u8]) -> Result<LogEntry, &'static str> {
    let kind = match variant {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        _ => return Err("an entry is of no known kind"),
    };
    if fields.len() < 20 || fields.len() - 20 < read_u32(fields, 16) as usize {
        return Err("an entry is too short");
    }
    let (context, data) = fields[20..].split_at(read_u32(fields, 16) as usize);
    Ok(LogEntry {
        term: Term(read_u64(fields, 0)),
        index: LogIndex(read_u64(fields, 8)),
        kind,
        data: Bytes::copy_from_slice(data),
        context: Bytes::copy_from_slice(context),
    })
}

/// Reads all records of a batch's records and padding.
pub(crate) fn parse_all(bytes: &[u8]) -> Result<Vec<Located>, &'static str> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((record, length)) = parse(&bytes[at..])? {
        records.push(Located { record, at, length });
        at += length;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let group = GroupId(3);
        let entry = LogEntry {
            term: Term(4),
            index: LogIndex(5),
            kind: EntryKind::ConfChangeV2,
            data: Bytes::from_static(b"data"),
            context: Bytes::from_static(b"context"),
        };
        let hard_state = HardState { term: Term(1), vote: RaftId(2), commit: LogIndex(3) };
        let floor = Floor { index: LogIndex(8), term: Term(9), membership: Bytes::from_static(b"abc") };
        let mut buffer = Vec::new();
        put_entry(&mut buffer, group, &entry);
        assert_eq!(buffer.len(), ENTRY_OVERHEAD_BYTES + entry.size_bytes());
        put_hard_state(&mut buffer, group, &hard_state);
        put_floor(&mut buffer, group, &floor, true);
        put_tail(&mut buffer, group, LogIndex(77));
        put_gone(&mut buffer, group);
        put_seal(&mut buffer, 12);
        buffer.resize(buffer.len() + 24, 0);
        let records: Vec<Record> =
            parse_all(&buffer).unwrap().into_iter().map(|located| located.record).collect();
        let expected = [
            Record::Entry(group, entry),
            Record::HardState(group, hard_state),
            Record::Floor(group, floor, true),
            Record::Tail(group, LogIndex(77)),
            Record::Gone(group),
            Record::Seal(12),
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let mut buffer = Vec::new();
        put_hard_state(&mut buffer, GroupId(1), &HardState::default());
        for bit in 0..buffer.len() * 8 {
            let mut bad = buffer.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // The kind may flip to the zero of padding; the batch's checksum covers that.
            assert!(!matches!(parse(&bad), Ok(Some(_))), "bit {bit}");
        }
    }
}
