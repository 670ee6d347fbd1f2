//! One batch: everything that one call of `write` stored.
//!
//! A batch is a header of 32 bytes and a body of records and padding. Inside a
//! batch the last byte of every sector of the file is a mark, and so is the
//! batch's own last byte. The marks make the one question decidable that recovery
//! has to answer about a batch that does not check: was it never written
//! completely, or was it damaged later? A sector that was not written to its end
//! has a zero where its mark should be, and no flip of one bit makes a mark zero.
//!
//! Records are "clean" bytes: they do not know about the marks between them.

use super::{ALIGNMENT, align_up, read_u32, read_u64};
use crate::disk::SECTOR_BYTES;

/// Length of a batch header in bytes. A multiple of it divides a sector.
pub(crate) const HEADER_BYTES: usize = ALIGNMENT;
/// Largest body in bytes; see `Log::write`.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"qbat");
/// Ends a header. Its last byte is a mark, since a header may end where a sector does.
const HEADER_END: u32 = u32::from_le_bytes([b't', b'a', b'b', MARK]);
/// What the last byte of a sector in a batch is. It has several bits set, so that no
/// flip of one bit turns it into the zero of a byte that was never written.
const MARK: u8 = 0xb5;
/// Offset of the mark in a sector.
const MARK_AT: u64 = SECTOR_BYTES as u64 - 1;

/// Header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Length of the body in bytes, a multiple of [`ALIGNMENT`].
    pub body_bytes: u32,
    /// Counts the batches of the log, from 1.
    pub sequence: u64,
    /// How many batches directly before this one were not yet known to be durable when it was written.
    pub unsynced: u32,
    /// Checksum of the body as it is on the disk.
    pub body_crc: u32,
}

impl BatchHeader {
    /// Whether the batch `sequence` was durable before this one was written.
    pub fn proves_durable(&self, sequence: u64) -> bool {
        sequence + u64::from(self.unsynced) < self.sequence
    }

    /// Bytes from the batch's begin to its end.
    pub fn total_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes as usize
    }

    fn encode(&self, salt: u64, offset: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.unsynced.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = header_crc(&bytes, salt, offset);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes[28..32].copy_from_slice(&HEADER_END.to_le_bytes());
        bytes
    }

    /// Reads the header at the begin of `bytes`; `None` when it does not check for this segment and offset.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        if bytes.len() < HEADER_BYTES || read_u32(bytes, 0) != MAGIC || read_u32(bytes, 28) != HEADER_END {
            return None;
        }
        if header_crc(bytes, salt, offset) != read_u32(bytes, 24) {
            return None;
        }
        let header = Self {
            body_bytes: read_u32(bytes, 4),
            sequence: read_u64(bytes, 8),
            unsynced: read_u32(bytes, 16),
            body_crc: read_u32(bytes, 20),
        };
        let length = header.body_bytes as usize;
        ((ALIGNMENT..=BODY_BYTES_MAX).contains(&length) && length.is_multiple_of(ALIGNMENT)).then_some(header)
    }
}

fn header_crc(bytes: &[u8], salt: u64, offset: u64) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&bytes[..24]);
    hash.update(&salt.to_le_bytes());
    hash.update(&offset.to_le_bytes());
    hash.finalize()
}

/// Number of clean bytes before a place of the file, which is not that of a mark.
fn clean_of(offset: u64) -> u64 {
    offset - offset / SECTOR_BYTES as u64
}

/// The place in the file of a clean byte.
fn offset_of(clean: u64) -> u64 {
    clean + clean / MARK_AT
}

/// Where in the file the record begins that is at `at` in the clean bytes of the batch at `batch_offset`.
pub(crate) fn record_offset(batch_offset: u64, at: usize) -> u64 {
    offset_of(clean_of(batch_offset + HEADER_BYTES as u64) + at as u64)
}

/// How many bytes of the file a record of `length` clean bytes takes that begins at `offset`.
pub(crate) fn span_bytes(offset: u64, length: usize) -> usize {
    match length {
        0 => 0,
        _ => (offset_of(clean_of(offset) + length as u64 - 1) + 1 - offset) as usize,
    }
}

/// The clean bytes in a part of the file that begins at `offset`, inside a batch's body.
pub(crate) fn clean(bytes: &[u8], offset: u64) -> Vec<u8> {
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut room = (MARK_AT - offset % SECTOR_BYTES as u64) as usize;
    while rest.len() > room {
        clean.extend_from_slice(&rest[..room]);
        rest = &rest[room + 1..];
        room = MARK_AT as usize;
    }
    clean.extend_from_slice(rest);
    clean
}

/// Puts the batch with these records, for the aligned place `offset` of a segment, into `buffer`.
pub(crate) fn build(buffer: &mut Vec<u8>, records: &[u8], place: &Place) {
    let begin = place.offset + HEADER_BYTES as u64;
    let end = align_up(record_offset(place.offset, records.len()) as usize + 1) as u64;
    buffer.clear();
    buffer.reserve((end - place.offset) as usize);
    buffer.resize(HEADER_BYTES, 0);
    let mut rest = records;
    let mut room = (MARK_AT - begin % SECTOR_BYTES as u64) as usize;
    while rest.len() >= room {
        buffer.extend_from_slice(&rest[..room]);
        buffer.push(MARK);
        rest = &rest[room..];
        room = MARK_AT as usize;
    }
    buffer.extend_from_slice(rest);
    buffer.resize((end - place.offset) as usize, 0);
    for at in mark_places(place.offset, end) {
        buffer[(at - place.offset) as usize] = MARK;
    }
    let body_bytes = (end - begin) as u32;
    let body_crc = crc32fast::hash(&buffer[HEADER_BYTES..]);
    let header = BatchHeader { body_bytes, sequence: place.sequence, unsynced: place.unsynced, body_crc };
    buffer[..HEADER_BYTES].copy_from_slice(&header.encode(place.salt, place.offset));
}

/// Where a batch goes, and what stands before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The segment's salt.
    pub salt: u64,
    /// Offset in the segment, aligned.
    pub offset: u64,
    /// See [`BatchHeader::sequence`].
    pub sequence: u64,
    /// See [`BatchHeader::unsynced`].
    pub unsynced: u32,
}

/// The places of the marks in a batch from `begin` to `end`.
fn mark_places(begin: u64, end: u64) -> impl Iterator<Item = u64> {
    let first = begin - begin % SECTOR_BYTES as u64 + MARK_AT;
    (first..end).step_by(SECTOR_BYTES).chain([end - 1])
}

/// What lies at the place where a batch should begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch that checks.
    Whole(BatchHeader),
    /// Nothing, or a batch that was not written completely.
    Torn,
    /// Bytes that no crash leaves behind.
    Damaged(&'static str),
}

/// Looks at the place `offset` of a segment's bytes.
pub(crate) fn inspect(file: &[u8], offset: usize, salt: u64) -> Found {
    let bytes = &file[offset.min(file.len())..];
    let Some(header) = BatchHeader::decode(bytes, salt, offset as u64) else {
        let head = &bytes[..bytes.len().min(HEADER_BYTES)];
        // Without its last byte the header was never completed.
        let completed = head.len() == HEADER_BYTES && head[HEADER_BYTES - 1] != 0;
        let empty = head.iter().all(|byte| *byte == 0);
        return if empty || !completed {
            Found::Torn
        } else {
            Found::Damaged("a batch header does not check")
        };
    };
    let end = header.total_bytes();
    if bytes.len() < end {
        return Found::Torn;
    }
    if crc32fast::hash(&bytes[HEADER_BYTES..end]) == header.body_crc {
        return Found::Whole(header);
    }
    if is_incomplete(&bytes[..end], offset) {
        return Found::Torn;
    }
    Found::Damaged("a batch was written completely, but its checksum does not match")
}

/// Whether some sector of a batch was not written to its end.
fn is_incomplete(batch: &[u8], offset: usize) -> bool {
    let (begin, end) = (offset as u64, (offset + batch.len()) as u64);
    mark_places(begin, end).any(|at| batch[(at - begin) as usize] == 0)
}

/// The first batch header after `offset` that proves the batch `sequence` durable.
pub(crate) fn find_witness(file: &[u8], offset: usize, salt: u64, sequence: u64) -> Option<u64> {
    let mut at = align_up(offset + 1);
    while at + HEADER_BYTES <= file.len() {
        let header = BatchHeader::decode(&file[at..], salt, at as u64);
        if header.is_some_and(|header| header.proves_durable(sequence)) {
            return Some(at as u64);
        }
        at += ALIGNMENT;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x0102_0304_0506_0708;

    fn batch_at(offset: usize, payload: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        build(&mut buffer, payload, &Place { salt: SALT, offset: offset as u64, sequence: 9, unsynced: 0 });
        let mut file = vec![0; offset];
        file.extend_from_slice(&buffer);
        file
    }

    #[test]
    fn records_of_every_length_at_every_place_come_back_clean() {
        for offset in (512..1024).step_by(ALIGNMENT) {
            for length in (0..1200).step_by(7) {
                let payload: Vec<u8> = (0..length).map(|at| at as u8 | 1).collect();
                let file = batch_at(offset, &payload);
                let Found::Whole(header) = inspect(&file, offset, SALT) else { panic!("{offset} {length}") };
                assert_eq!(offset + header.total_bytes(), file.len());
                let body = clean(&file[offset + HEADER_BYTES..], (offset + HEADER_BYTES) as u64);
                assert_eq!(body[..length], payload);
                for at in (0..length).step_by(97) {
                    let begin = record_offset(offset as u64, at);
                    let span = span_bytes(begin, length - at);
                    assert_eq!(clean(&file[begin as usize..begin as usize + span], begin), payload[at..]);
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_complete_batch_is_damage_and_not_a_crash() {
        // Zeros are the hard case: without marks they look like what was never written.
        let file = batch_at(512 + 96, &[0; 1500]);
        assert!(matches!(inspect(&file, 608, SALT), Found::Whole(_)));
        for bit in 608 * 8..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(inspect(&bad, 608, SALT), Found::Damaged(_)), "bit {bit}");
        }
    }

    #[test]
    fn every_prefix_of_a_batch_is_a_crash_whether_zeros_follow_or_the_file_ends() {
        let file = batch_at(512 + 96, &[0xff; 1500]);
        for keep in 608..file.len() {
            assert_eq!(inspect(&file[..keep], 608, SALT), Found::Torn, "cut to {keep}");
            let mut zeroed = file.clone();
            zeroed[keep..].fill(0);
            assert_eq!(inspect(&zeroed, 608, SALT), Found::Torn, "zeroed from {keep}");
        }
    }

    #[test]
    fn every_lost_or_torn_sector_of_a_batch_is_a_crash() {
        let file = batch_at(512 + 96, &[0; 5000]);
        for start in 608..file.len() {
            let end = (start + 1).next_multiple_of(SECTOR_BYTES).min(file.len());
            let mut bad = file.clone();
            bad[start..end].fill(0);
            assert_eq!(inspect(&bad, 608, SALT), Found::Torn, "sector torn at {start}");
        }
    }

    #[test]
    fn a_batch_at_another_place_or_of_another_segment_is_not_recognised() {
        let file = batch_at(512, b"payload");
        assert!(BatchHeader::decode(&file[512..], SALT, 512).is_some());
        assert!(BatchHeader::decode(&file[512..], SALT, 544).is_none());
        assert!(BatchHeader::decode(&file[512..], SALT + 1, 512).is_none());
    }

    #[test]
    fn a_batch_proves_durable_only_what_was_synced_before_it() {
        let header = BatchHeader { body_bytes: 32, sequence: 10, unsynced: 2, body_crc: 0 };
        assert!(header.proves_durable(7));
        assert!(!header.proves_durable(8));
        assert!(!header.proves_durable(10));
    }
}
