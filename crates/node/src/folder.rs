//! A node's data folder: who may use it, and how it comes into being.
//!
//! ```text
//! <data_dir>/lock           held (flock) as long as a server uses the folder
//! <data_dir>/identity       written last when the folder is created: without it, it is none
//! <data_dir>/log/           the replicated log
//! <data_dir>/store.duckdb   the state machine's; not touched here
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use quack_log::{DiskOs, Log, LogConfig, LogIdentity};
use quack_types::NodeId;

use crate::identity::Identity;
use crate::{Error, random};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const LOG: &str = "log";
const STORE: &str = "store.duckdb";

/// A data folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    /// Its lock ends with it.
    _lock: File,
}

impl DataFolder {
    /// Opens the folder of a node, or creates it, and with it a cluster of one, when
    /// it does not exist or is empty.
    ///
    /// # Errors
    /// A folder that is in use, another node's, half created, damaged or not
    /// writable is refused and left as it is.
    pub fn open(path: impl Into<PathBuf>, node_id: &NodeId) -> Result<Self, Error> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(Error::io("create the data folder", &path))?;
        if !has_identity(&path)? {
            refuse_leftovers(&path)?;
        }
        let mut lock = take_lock(&path)?;
        // Another server may have created the folder before the lock was ours.
        let identity = if has_identity(&path)? {
            let identity = read_identity(&path)?;
            if identity.node_id != *node_id {
                return Err(Error::Foreign { path, found: identity.node_id, expected: node_id.clone() });
            }
            identity
        } else {
            refuse_leftovers(&path)?;
            create(&path, node_id)?
        };
        // The count is written when the node starts: until then the folder may still be refused.
        let identity = Identity { boot: identity.boot + 1, ..identity };
        name_holder(&mut lock).map_err(Error::io("write", path.join(LOCK)))?;
        Ok(Self { path, identity, _lock: lock })
    }

    /// Counts the start, durably. Proposal ids of this start are new from here on.
    pub(crate) fn count_boot(&self) -> Result<(), Error> {
        write_identity(&self.path, &self.identity)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the state machine keeps its file.
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE)
    }

    pub(crate) fn log_disk(&self) -> DiskOs {
        DiskOs::new(self.path.join(LOG))
    }

    pub(crate) fn log_identity(&self) -> LogIdentity {
        log_identity(&self.identity)
    }
}

fn log_identity(identity: &Identity) -> LogIdentity {
    let (cluster_id, incarnation) = (identity.cluster_id, identity.incarnation);
    LogIdentity { cluster_id, node: identity.node_id.clone(), incarnation }
}

fn has_identity(path: &Path) -> Result<bool, Error> {
    let file = path.join(IDENTITY);
    file.try_exists().map_err(Error::io("look for", file))
}

/// A folder without an identity must hold nothing but a lock.
fn refuse_leftovers(path: &Path) -> Result<(), Error> {
    for item in std::fs::read_dir(path).map_err(Error::io("list", path))? {
        let name = item.map_err(Error::io("list", path))?.file_name();
        if name != LOCK {
            let found = name.to_string_lossy().into_owned();
            return Err(Error::NotANode { path: path.to_owned(), found });
        }
    }
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, Error> {
    let name = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(Error::io("open", &name))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "another server".to_owned() };
            return Err(Error::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", name)(source)),
    }
    Ok(file)
}

/// Says in the lock who holds it, for the message to others.
fn name_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "process {}", std::process::id())
}

fn read_identity(path: &Path) -> Result<Identity, Error> {
    let name = path.join(IDENTITY);
    let text = std::fs::read(&name).map_err(Error::io("read", &name))?;
    Identity::decode(&name, &String::from_utf8_lossy(&text))
}

/// Creates everything but the identity, which follows as the last step.
fn create(path: &Path, node_id: &NodeId) -> Result<Identity, Error> {
    let identity =
        Identity { cluster_id: random::draw()?, node_id: node_id.clone(), incarnation: 0, boot: 0 };
    let log = path.join(LOG);
    std::fs::create_dir(&log).map_err(Error::io("create", &log))?;
    drop(Log::create(DiskOs::new(log), LogConfig::default(), &log_identity(&identity))?);
    write_identity(path, &identity)?;
    Ok(identity)
}

/// Replaces the identity as a whole, durably.
fn write_identity(path: &Path, identity: &Identity) -> Result<(), Error> {
    let (name, temporary) = (path.join(IDENTITY), path.join("identity.new"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(identity.encode().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &name)?;
        File::open(path)?.sync_all()
    };
    write().map_err(Error::io("write", &name))
}
