//! The bytes of a segment file, as `docs/log-format.md` draws them.
//!
//! Pure functions over byte slices; no file is touched here. A change of any
//! layout needs a new [`FORMAT_VERSION`] and an entry in that document.

pub(crate) mod batch;
pub(crate) mod record;
pub(crate) mod segment;

/// Version of the format, in every segment's header. 2 added the record of a group that is gone.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// Batches begin at multiples of this many bytes, so that a batch header never
/// crosses a sector: it is there as a whole, or not at all.
pub(crate) const ALIGNMENT: usize = 32;

/// Rounds up to [`ALIGNMENT`].
pub(crate) fn align_up(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Reads a little-endian number at a fixed place. The caller has checked the length.
macro_rules! read_number {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(bytes: &[u8], at: usize) -> $type {
            let mut raw = [0; size_of::<$type>()];
            raw.copy_from_slice(&bytes[at..at + size_of::<$type>()]);
            <$type>::from_le_bytes(raw)
        }
    };
}
read_number!(read_u32, u32);
read_number!(read_u64, u64);
read_number!(read_u128, u128);
