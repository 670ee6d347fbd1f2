//! What lies in a data folder, for a process that does not use it: nothing is created, locked for longer than a look, or
//! changed.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use quack_log::{DiskOs, LogConfig, LogReader, Recovery};

use crate::Error;
use crate::folder::{self, IDENTITY, JOINING, LOCK, LOG, STORE};
use crate::identity::Identity;
use crate::private;
use crate::refounding;
use crate::superseded;

/// A data folder as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderView {
    /// The folder.
    pub path: PathBuf,
    /// Whose it is; `None` when it is no member's.
    pub identity: Option<Identity>,
    /// The node must not work with what it has, and is rebuilt from its cluster at the next start.
    pub is_to_be_rebuilt: bool,
    /// The store came with a snapshot, or is that of an earlier identity, and is not the node's own yet.
    pub has_foreign_store: bool,
    /// A write-ahead log beside the store: another program has written to it.
    pub foreign_wal: Option<PathBuf>,
    /// It is becoming another cluster's: the next start brings that to its end.
    pub is_being_refounded: bool,
    /// What the node was before its files were set aside.
    pub former: Option<Identity>,
    /// The cluster that the node is about to found.
    pub promised: Option<u128>,
}

impl FolderView {
    /// Looks at a folder.
    ///
    /// # Errors
    /// It cannot be read, or its identity is damaged.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if !path.metadata().map_err(Error::read(&path))?.is_dir() {
            return Err(Error::read(&path)(ErrorKind::NotADirectory.into()));
        }
        let is_there = |name: &str| {
            let file = path.join(name);
            file.try_exists().map_err(Error::read(&file))
        };
        let identity = is_there(IDENTITY)?.then(|| folder::read_identity(&path)).transpose()?;
        Ok(Self {
            identity,
            is_to_be_rebuilt: superseded::is_marked(&path)?,
            has_foreign_store: is_there(JOINING)?,
            foreign_wal: folder::foreign_wal(&path)?,
            is_being_refounded: refounding::is_decided(&path),
            former: superseded::former(&path, IDENTITY)?,
            promised: folder::read_promise(&path)?,
            path,
        })
    }

    /// Reads the node's log to its end.
    ///
    /// # Errors
    /// It is no member's, or its log is damaged or another one's.
    pub fn read_log(&self) -> Result<(LogReader<DiskOs>, Recovery), Error> {
        let Some(identity) = &self.identity else {
            return Err(Error::NoMember { path: self.path.clone() });
        };
        let disk = DiskOs::read_only(self.path.join(LOG));
        Ok(LogReader::inspect(&disk, &LogConfig::default(), &folder::log_identity(identity))?)
    }

    /// Copies what makes the folder a member's to a new folder: identity, log and store.
    ///
    /// # Errors
    /// It is no member's; or `to` is there already, or cannot be written.
    pub fn copy_to(&self, to: &Path) -> Result<(), Error> {
        if self.identity.is_none() {
            return Err(Error::NoMember { path: self.path.clone() });
        }
        private::create_new_folder(to).map_err(Error::io("create", to))?;
        let log = to.join(LOG);
        private::create_new_folder(&log).map_err(Error::io("create", &log))?;
        let segments = self.path.join(LOG);
        for item in std::fs::read_dir(&segments).map_err(Error::read(&segments))? {
            let name = item.map_err(Error::read(&segments))?.file_name();
            copy_private(&segments.join(&name), &log.join(&name))?;
        }
        for name in [STORE, JOINING, IDENTITY] {
            if self.path.join(name).exists() {
                copy_private(&self.path.join(name), &to.join(name))?;
            }
        }
        Ok(())
    }

    /// Where the state machine keeps its file.
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE)
    }
}

fn copy_private(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(Error::read(from))?;
    let mut copy = private::create_private(to).map_err(Error::io("write", to))?;
    std::io::copy(&mut source, &mut copy).map_err(Error::io("write", to))?;
    Ok(())
}

/// Refuses a folder in which a process works.
///
/// # Errors
/// [`Error::InUse`]; or the lock cannot be read.
pub fn require_unused(path: &Path) -> Result<(), Error> {
    let name = path.join(LOCK);
    let mut lock = match File::open(&name) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::read(&name)(error)),
    };
    // Shared, so that two that look do not see each other, and given back at once with the file.
    match lock.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::InUse { path: path.to_owned(), holder: folder::holder_of(&mut lock) })
        }
        Err(TryLockError::Error(error)) => Err(Error::read(&name)(error)),
    }
}
