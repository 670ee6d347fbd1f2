//! What the log needs from a disk.
//!
//! [`crate::DiskOs`] is the real one; the simulator and the tests have others.
//!
//! The fault model that the log copes with:
//! - until [`DiskFile::sync`] returns, a crash keeps or loses each
//!   [`SECTOR_BYTES`]-aligned sector of what was written on its own, in any
//!   order; a sector may also keep a prefix of its new bytes;
//! - bytes that were never written read as zero, or lie beyond the file's end;
//! - a sector that is written again with the same leading bytes keeps those bytes
//!   in every crash (no disk tears bytes that do not change);
//! - until [`Disk::sync_directory`] returns, a crash may undo any creation,
//!   removal or rename on its own;
//! - a failed write or sync leaves the touched range in an unknown state;
//! - stored bits may flip at any time.

use std::io;

/// Smallest unit in bytes that a disk writes as a whole.
pub const SECTOR_BYTES: usize = 512;

/// One flat folder of files that belongs to one log.
pub trait Disk: Send + Sync + 'static {
    /// An open file. It stays readable when its name is removed meanwhile.
    type File: DiskFile;

    /// Names of the files in the folder, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates an empty file for reading and writing; fails if the name exists.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file, replacing `to` when it exists.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, removals and renames durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One open file of a [`Disk`].
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at `offset` until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes at `offset`, growing the file when needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes the data and the length durable.
    fn sync(&self) -> io::Result<()>;
}
