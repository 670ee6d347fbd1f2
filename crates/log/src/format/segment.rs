//! The first sector of a segment file: whose it is and where it stands in the chain.

use quack_types::NodeId;

use super::{FORMAT_VERSION, read_u32, read_u64, read_u128};
use crate::disk::SECTOR_BYTES;
use crate::entry::LogIdentity;
use crate::error::Error;

/// Length of the header in bytes: one sector, which a disk writes as a whole.
pub(crate) const HEADER_BYTES: usize = SECTOR_BYTES;

const MAGIC: [u8; 8] = *b"QUACKLOG";
const NODE_BYTES_MAX: usize = 63;
const CRC_AT: usize = HEADER_BYTES - 4;

/// Header of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Version of the format in which the segment is written.
    pub version: u32,
    /// Whose log it is.
    pub identity: LogIdentity,
    /// Number of the segment, from 1, without gaps.
    pub number: u32,
    /// Sequence number of its first batch.
    pub first_sequence: u64,
    /// Where the previous segment's last ordinary batch ends; its seal begins there. 0 for the first.
    pub previous_end: u64,
}

impl SegmentHeader {
    /// Name of the segment's file.
    pub fn file_name(number: u32) -> String {
        format!("{number:010}.log")
    }

    /// Name under which the segment is built before it joins the chain.
    pub fn temporary_name(number: u32) -> String {
        format!("{number:010}.log.new")
    }

    /// The number in a segment's file name; `None` when it is not one.
    pub fn parse_name(name: &str) -> Option<u32> {
        let number = name.strip_suffix(".log")?.parse().ok()?;
        (Self::file_name(number) == name).then_some(number)
    }

    /// Whether the name is that of an unfinished segment.
    pub fn is_temporary(name: &str) -> bool {
        name.strip_suffix(".new").and_then(Self::parse_name).is_some()
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let node = self.identity.node.as_str().as_bytes();
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.identity.cluster_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.identity.incarnation.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        // A NodeId is at most 63 bytes long by its own rule.
        bytes[64] = node.len() as u8;
        bytes[65..65 + node.len()].copy_from_slice(node);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks and reads the first bytes of a file.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let corrupt = |reason: &str| Error::corrupt(name, 0, reason);
        if bytes.len() < HEADER_BYTES {
            return Err(corrupt("the file is shorter than a segment header"));
        }
        if bytes[0..8] != MAGIC {
            return Err(corrupt("the segment header does not begin with QUACKLOG"));
        }
        if crc32fast::hash(&bytes[..CRC_AT]) != read_u32(bytes, CRC_AT) {
            return Err(corrupt("the checksum of the segment header does not match"));
        }
        // Every version keeps magic, version and checksum where they are, so a newer one is told from damage.
        let version = read_u32(bytes, 8);
        if version > FORMAT_VERSION {
            let name = name.to_owned();
            return Err(Error::FromTheFuture { name, found: version, supported: FORMAT_VERSION });
        }
        let length = usize::from(bytes[64]).min(NODE_BYTES_MAX);
        let node = std::str::from_utf8(&bytes[65..65 + length]).ok().and_then(|text| NodeId::new(text).ok());
        Ok(Self {
            version,
            identity: LogIdentity {
                cluster_id: read_u128(bytes, 16),
                node: node.ok_or_else(|| corrupt("the node's name is not valid"))?,
                incarnation: read_u64(bytes, 32),
            },
            number: read_u32(bytes, 12),
            first_sequence: read_u64(bytes, 40),
            previous_end: read_u64(bytes, 48),
        })
    }

    /// A word that is mixed into the segment's batches, so that bytes of another
    /// segment or log never pass for its own. No byte of it is zero.
    pub fn salt(&self) -> u64 {
        let mut hash = crc32fast::Hasher::new();
        hash.update(self.identity.node.as_str().as_bytes());
        let seed = u64::from(hash.finalize())
            ^ self.identity.cluster_id as u64
            ^ (self.identity.cluster_id >> 64) as u64
            ^ self.identity.incarnation.rotate_left(32)
            ^ u64::from(self.number).rotate_left(48);
        // The finalizer of SplitMix64 (Steele et al., OOPSLA'14) spreads every input bit over the word.
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let salt = (mixed ^ (mixed >> 31)).to_le_bytes();
        u64::from_le_bytes(salt.map(|byte| if byte == 0 { 0x5a } else { byte }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            version: FORMAT_VERSION,
            identity: LogIdentity { cluster_id: 7 << 100, node: NodeId::new("n0").unwrap(), incarnation: 3 },
            number: 12,
            first_sequence: 99,
            previous_end: 4096,
        }
    }

    #[test]
    fn header_comes_back_as_it_was_written() {
        assert_eq!(SegmentHeader::decode("x", &header().encode()).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode("x", &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHeader::decode("x", &bytes).unwrap_err();
        assert!(matches!(error, Error::FromTheFuture { found: 9, supported: 2, .. }), "{error}");
    }

    #[test]
    fn only_names_in_the_canonical_form_are_segments() {
        assert_eq!(SegmentHeader::parse_name(&SegmentHeader::file_name(7)), Some(7));
        for name in ["7.log", "00000000007.log", "0000000007.log.new", "0000000007", "store.log"] {
            assert_eq!(SegmentHeader::parse_name(name), None, "{name}");
        }
        assert!(SegmentHeader::is_temporary(&SegmentHeader::temporary_name(7)));
        assert!(!SegmentHeader::is_temporary("precious.new"));
    }
}
