//! Everything that can go wrong with a log, and what to do about it.

use std::io;

use quack_types::{GroupId, LogIndex};
use rustix::io::Errno;

/// Why the log refused. Only [`Error::Invalid`], [`Error::Compacted`] and
/// [`Error::Unavailable`] are the caller's doing; after [`Error::Full`] the same write can be tried again; after any other
/// one of [`crate::Log::write`] the log is poisoned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed.
    #[error("the log could not {action} '{name}': {source}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file.
        name: String,
        /// The disk's answer.
        #[source]
        source: io::Error,
    },
    /// There is no room for a write (`is_full`). Nothing of it counts as written.
    #[error("the log could not {action} '{name}': {source}")]
    Full {
        /// What was tried.
        action: &'static str,
        /// The file.
        name: String,
        /// The disk's answer.
        #[source]
        source: io::Error,
    },
    /// A log is already there.
    #[error("the folder already holds a log ('{name}'): open it, or choose an empty folder for a new node")]
    Exists {
        /// A file of it.
        name: String,
    },
    /// There is no log.
    #[error(
        "the folder holds no log: its files are lost, or it was never created. Move what is left elsewhere, and start the node \
         with an empty folder: with peers it is rebuilt from its cluster"
    )]
    Missing,
    /// The log belongs to another node, another cluster, or another incarnation.
    #[error("'{name}' belongs to {found}, but this is {expected}: choose the right folder")]
    Foreign {
        /// The file.
        name: String,
        /// Owner of the file.
        found: String,
        /// Who asked.
        expected: String,
    },
    /// A newer release wrote it.
    #[error("'{name}' has log format {found}, this release reads up to {supported}: use the newer release")]
    FromTheFuture {
        /// The file.
        name: String,
        /// Its format version.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// Stored bytes are not what was written.
    #[error(
        "the log is corrupt: '{name}' at byte {offset}: {reason}. A crash does not explain this, so nothing \
         was changed. Check the disk, move the files of the node's folder elsewhere, and start it with an empty \
         folder: with peers it is rebuilt from its cluster. A copy of the folder from an earlier time is no help: \
         it does not know what the node has promised since"
    )]
    Corrupt {
        /// The file.
        name: String,
        /// Where in it.
        offset: u64,
        /// What does not check.
        reason: String,
    },
    /// An earlier write or sync failed: what the disk holds is unknown until the log is opened again.
    #[error("the log stopped after an earlier failure ({reason}): restart the node")]
    Poisoned {
        /// The earlier failure.
        reason: String,
    },
    /// The request makes no sense; nothing was written.
    #[error("group {group}: {reason}")]
    Invalid {
        /// The group.
        group: GroupId,
        /// What is wrong.
        reason: String,
    },
    /// The index is at or below the floor.
    #[error("group {group}: index {index} was compacted away, the log starts after {floor}")]
    Compacted {
        /// The group.
        group: GroupId,
        /// What was asked for.
        index: LogIndex,
        /// The floor.
        floor: LogIndex,
    },
    /// The index is beyond the end.
    #[error("group {group}: index {index} is beyond the last index {last}")]
    Unavailable {
        /// The group.
        group: GroupId,
        /// What was asked for.
        index: LogIndex,
        /// The last index.
        last: LogIndex,
    },
}

impl Error {
    pub(crate) fn disk(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Disk { action, name, source }
    }

    /// For what may be tried again: no sync of bytes that the log has.
    pub(crate) fn disk_or_full(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| {
            if is_full(&source) {
                Self::Full { action, name, source }
            } else {
                Self::Disk { action, name, source }
            }
        }
    }

    pub(crate) fn corrupt(name: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { name: name.to_owned(), offset, reason: reason.into() }
    }
}

/// Whether a write failed for want of room: on the disk, in the user's share of it, in the file, or among the files that the
/// process or the system may have open.
pub fn is_full(error: &io::Error) -> bool {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    is_full || matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
