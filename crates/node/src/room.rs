//! Room on the disk of the data folder.
//!
//! The log asks the disk: a write without room has no effect and is repeated (see [`quack_log::Error::Full`]). The state
//! machine's own files are DuckDB's, which does not survive every write that fails: here the node looks before it writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::private;

/// How often a node without room looks for it.
pub(crate) const ROOM_POLL: Duration = Duration::from_millis(200);

/// What becomes of a node without room, for people.
pub(crate) const GOES_ON: &str = "Nothing is lost, and nothing needs to be restarted: make room on the disk of the data \
                                  folder, and the node goes on by itself";

/// A file that occupies room from the beginning on, and is deleted when the disk is full: the log's write that met the
/// full disk, and a start on a full disk, need no more room than that.
pub(crate) const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 256 << 10;
/// The node takes the reserve when so many bytes are free.
const PLENTY_BYTES: u64 = 8 << 20;

/// Bytes that stay free when DuckDB writes rows: for the log, and for what DuckDB writes besides rows.
const LEFT_BYTES: u64 = 4 << 20;
/// Batches of fewer bytes are kept in memory until the next checkpoint.
const WRITTEN_BYTES_MIN: u64 = 16 << 10;
/// From so many bytes on, DuckDB may write rows when they are committed, and not only at the next checkpoint.
const FLUSHED_BYTES_MIN: u64 = 64 << 10;
/// A file that shows whether the system gives so much room. It is never there for longer than that takes.
pub(crate) const TRIAL: &str = "trial";
/// Files that a checkpoint opens at a time, and some more.
const CHECKPOINT_FILES: usize = 8;
/// A checkpoint rewrites the changed part of the store. Its size is not known; of a small store it may be all.
const REWRITTEN_BYTES_MAX: u64 = 256 << 20;

/// The room of one data folder.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    folder: PathBuf,
    /// The file that grows.
    store: PathBuf,
}

impl Room {
    pub fn new(folder: &Path, store: PathBuf) -> Self {
        Self { folder: folder.to_owned(), store }
    }

    /// Bytes by which the store can grow. A disk that does not say has room.
    fn bytes(&self) -> u64 {
        let on_disk =
            statvfs(&self.folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let of_file =
            getrlimit(Resource::Fsize).current.map_or(u64::MAX, |max| max.saturating_sub(self.stored()));
        on_disk.min(of_file)
    }

    /// Bytes of the store.
    pub fn stored(&self) -> u64 {
        std::fs::metadata(&self.store).map_or(0, |file| file.len())
    }

    /// # Errors
    /// Why a batch of entries with so many bytes is not applied now.
    pub fn for_batch(&self, bytes: u64) -> Result<(), String> {
        if bytes < WRITTEN_BYTES_MIN {
            return Ok(());
        }
        let needed = 2 * bytes + LEFT_BYTES;
        self.require(needed, "to apply the next entries")?;
        if bytes >= FLUSHED_BYTES_MIN {
            self.try_out(needed).map_err(|error| {
                format!(
                    "there is no room on the disk of the data folder to apply the next entries: {needed} bytes are needed, \
                     and the system refuses them ({error})"
                )
            })?;
        }
        Ok(())
    }

    /// Has the system give room and takes it back: a quota shows only then. A file system that gives none in advance says
    /// nothing.
    fn try_out(&self, bytes: u64) -> io::Result<()> {
        let path = self.folder.join(TRIAL);
        let given = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes)?;
            Ok(())
        };
        let given = given();
        forget_trial(&self.folder);
        let says_full = |error: &io::Error| {
            [Errno::NOSPC, Errno::DQUOT, Errno::FBIG]
                .map(Errno::raw_os_error)
                .map(Some)
                .contains(&error.raw_os_error())
        };
        given.or_else(|error| if says_full(&error) { Err(error) } else { Ok(()) })
    }

    /// # Errors
    /// Why no checkpoint is made now of what entries with so many bytes have changed.
    pub fn for_checkpoint(&self, bytes: u64) -> Result<(), String> {
        let opened: io::Result<Vec<File>> = (0..CHECKPOINT_FILES).map(|_| File::open(&self.folder)).collect();
        if let Err(error) = opened {
            return Err(format!(
                "a checkpoint cannot open its files: {error}. Nothing is lost: it is made when the process may open more \
                 (ulimit -n), or when clients have closed connections"
            ));
        }
        let rewritten = self.stored().min(REWRITTEN_BYTES_MAX);
        self.require(2 * bytes + rewritten + LEFT_BYTES, "for a checkpoint")
            .map_err(|reason| format!("{reason}. Nothing is lost: make room there"))
    }

    fn require(&self, needed: u64, what: &str) -> Result<(), String> {
        let left = self.bytes();
        if left >= needed {
            return Ok(());
        }
        Err(format!(
            "there is no room on the disk of the data folder {what}: {needed} bytes are needed, {left} are left"
        ))
    }

    /// Takes the reserve if there is plenty of room. Without one the node works as well.
    pub fn take_reserve(&self) {
        let path = self.folder.join(RESERVE);
        if path.exists() || self.bytes() < PLENTY_BYTES {
            return;
        }
        let taken = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
            Ok(())
        };
        if let Err(error) = taken() {
            tracing::debug!(%error, "no reserve was taken");
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Gives the reserve back; says whether there was one.
    pub fn give_reserve(&self) -> bool {
        std::fs::remove_file(self.folder.join(RESERVE)).is_ok()
    }
}

/// Takes away what a trial has left that was interrupted.
fn forget_trial(folder: &Path) {
    let path = folder.join(TRIAL);
    if let Err(error) = private::remove_if_there(&path) {
        tracing::warn!(%error, file = %path.display(), "a file that only occupies room is not removed");
    }
}

/// For a start: gives the reserve back if the disk has no room without it.
pub(crate) fn make_room(folder: &Path) {
    forget_trial(folder);
    let room = Room::new(folder, PathBuf::new());
    if room.bytes() < RESERVE_BYTES && room.give_reserve() {
        tracing::warn!(folder = %folder.display(), "the disk is full: the node starts with what it has kept in reserve");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_taken_once_and_given_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), folder.path().join("store"));
        assert!(!room.give_reserve());
        for _ in 0..2 {
            room.take_reserve();
            let reserve = std::fs::metadata(folder.path().join(RESERVE)).unwrap();
            assert_eq!(reserve.len(), RESERVE_BYTES);
        }
        // A start on a disk with room leaves it.
        make_room(folder.path());
        assert!(room.give_reserve());
        assert!(!room.give_reserve());
    }

    #[test]
    fn what_the_system_does_not_give_is_not_used_and_nothing_of_the_trial_stays() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), folder.path().join("store"));
        let trial = folder.path().join(TRIAL);
        assert_eq!(room.for_batch(FLUSHED_BYTES_MIN), Ok(()));
        assert!(!trial.exists());
        // More than any disk has: the system says so by itself.
        let error = room.try_out(1 << 60).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(number) if number != 0), "{error}");
        assert!(!trial.exists());
        std::fs::write(&trial, "of a process that was killed").unwrap();
        make_room(folder.path());
        assert!(!trial.exists());
    }

    #[test]
    fn what_is_small_is_taken_and_what_no_disk_holds_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), folder.path().join("store"));
        assert_eq!(room.for_batch(WRITTEN_BYTES_MIN - 1), Ok(()));
        assert_eq!(room.for_batch(WRITTEN_BYTES_MIN), Ok(()));
        assert_eq!(room.for_checkpoint(0), Ok(()));
        let bytes = u64::MAX / 4;
        for refused in [room.for_batch(bytes), room.for_checkpoint(bytes)] {
            let reason = refused.unwrap_err();
            assert!(reason.contains("there is no room on the disk of the data folder"), "{reason}");
            assert!(reason.contains(&(2 * bytes + LEFT_BYTES).to_string()), "{reason}");
        }
    }
}
