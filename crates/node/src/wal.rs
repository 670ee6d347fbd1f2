//! What DuckDB's write-ahead log beside a store says.
//!
//! A node's changes never go there: its own log is the replicated one. DuckDB still makes the file for each checkpoint, with
//! a mark in it that tells an interrupted one from one that was written, so the file may be there after a crash. A program
//! other than the node's writes its changes there.
//!
//! The file begins with a record of the version, which ends with two bytes 0xFF. Each further record is its length (8 bytes,
//! little-endian), a checksum (8), and a body that begins with the number of its first field (100, 2 bytes) and its type.
//! Source: `src/storage/write_ahead_log.cpp` and `wal_type.hpp` of DuckDB 2.0, version 2 of the format.

/// The first field of each record.
const FIELD: [u8; 2] = [100, 0];
/// Types of records: those below it change something.
const VERSION: u8 = 98;
const END: [u8; 2] = [0xFF, 0xFF];
const HEAD_BYTES: usize = 16;

/// Whether the log holds changes. One that cannot be read so is DuckDB's to judge.
pub(crate) fn has_changes(log: &[u8]) -> bool {
    let Some(body) = log.strip_prefix(&FIELD).and_then(|rest| rest.strip_prefix(&[VERSION])) else {
        return false;
    };
    let Some(end) = body.windows(END.len()).position(|bytes| bytes == END) else { return false };
    let mut rest = &body[end + END.len()..];
    while let Some((head, behind)) = rest.split_at_checked(HEAD_BYTES) {
        let length = head[..8].iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let record = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
        let Some((record, next)) = record.filter(|(record, _)| !record.is_empty()) else { return false };
        if record.strip_prefix(&FIELD).and_then(|of| of.first()).is_some_and(|kind| *kind < VERSION) {
            return true;
        }
        rest = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As DuckDB 2.0.0 leaves it for a checkpoint: version, mark, end.
    const OF_A_CHECKPOINT: &str = "64006265000266001077ed01c5019a01b4011f7c68af018c016b7e3fda014b6b670000ffff\
        0c00000000000000e38edf040cf9be63640063650065 0008ffffffff\
        0500000000000000e7fe7d722fed3d5e640064ffff";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn the_mark_of_a_checkpoint_is_no_change_and_a_row_is_one() {
        let of_a_checkpoint = bytes(OF_A_CHECKPOINT);
        assert!(!has_changes(&of_a_checkpoint));
        let insertion = [100, 0, 26, 0xFF, 0xFF];
        let head = [&5_u64.to_le_bytes()[..], &[7; 8]].concat();
        let changed = [&of_a_checkpoint[..], &head, &insertion].concat();
        assert!(has_changes(&changed));
        // Torn at any byte it is the checkpoint's.
        assert!((0..changed.len()).all(|length| !has_changes(&changed[..length])));
        assert!(!has_changes(b"something else") && !has_changes(&[]));
    }
}
