//! The durable log of all Raft groups of one node.
//!
//! One writer appends to a chain of segment files; any number of readers look
//! entries up. One call of [`Log::write`] stores what every group has to persist
//! in one batch: one buffer, one write, at most one fsync.
//!
//! The crate is synchronous. It starts no thread, reads no clock, and reaches
//! files only through [`Disk`], so a simulator can lie to it about the disk. The
//! meaning of entries, hard states and memberships is unknown here.
//!
//! Invariants:
//! - what was written with `sync` is there after any crash, in full, or
//!   [`Log::open`] refuses: no synced entry is ever lost silently;
//! - an entry that is read is the entry that was written: every record carries a
//!   checksum that is checked on every read from the disk;
//! - a log that refuses to open has not been changed.
//!
//! `docs/log-format.md` describes the bytes. Sources: Alagappan et al.,
//! "Protocol-Aware Recovery for Consensus-Based Storage" (FAST'18), for telling a
//! crash from corruption; Rebello et al., "Can Applications Recover from fsync
//! Failures?" (USENIX ATC'20), for the poisoned log.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod disk;
mod disk_os;
mod entry;
mod error;
mod format;
mod group;
mod index;
mod log;
mod reader;
mod recovery;

pub use config::LogConfig;
pub use disk::{Disk, DiskFile, SECTOR_BYTES};
pub use disk_os::{DiskOs, FileOs};
pub use entry::{EntryKind, Floor, GroupEntry, GroupWrite, HardState, LogEntry, LogIdentity};
pub use error::{Error, is_full};
pub use log::{ENTRY_BYTES_HARD_MAX, Log};
pub use reader::{LogRead, LogReader};
pub use recovery::Recovery;
