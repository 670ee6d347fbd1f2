//! Sizes that the log works with. Defaults exist here and nowhere else.

/// How a log lays out its files and how much it keeps in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment that has reached this many bytes is closed and a new one begun.
    ///
    /// Space comes back in whole segments, and beginning one costs four fsyncs.
    /// 32 MiB makes that rare (a few times a second at the speed of a disk)
    /// while an idle node keeps little more than that.
    pub segment_bytes: u64,
    /// Upper bound in bytes for the data of recent entries kept in memory.
    ///
    /// Followers and the apply thread read what was just written; 32 MiB is eight
    /// full parts of a bulk load, half of what a node lets be on its way.
    pub cache_bytes: usize,
    /// How far in bytes a small write fills the file with zeros ahead of itself.
    ///
    /// An fdatasync that need not change the file's length or allocate blocks was
    /// measured 1.4 to 2 times faster on ext4 (`cargo run --example fdatasync`).
    /// 0 turns it off.
    pub zero_ahead_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 32 << 20, cache_bytes: 32 << 20, zero_ahead_bytes: 512 << 10 }
    }
}
