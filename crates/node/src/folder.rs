//! A node's data folder: who may use it, and how it comes into being.
//!
//! ```text
//! <data_dir>/lock           held (flock) as long as a server uses the folder
//! <data_dir>/identity       written last when the folder is created: without it, it is none
//! <data_dir>/log/           the replicated log
//! <data_dir>/store.duckdb   the state machine's; not touched here, but for a node that joins
//! <data_dir>/checkpoints    how many checkpoints the store has seen
//! <data_dir>/witnessed      what the node has heard of its peers
//! <data_dir>/founding       id of the cluster that this node is about to found
//! <data_dir>/creating       there from when the node of a new cluster gets its first files until it has an identity
//! <data_dir>/joining        there from when a node begins to join a cluster until its machine owns the store
//! ```
//!
//! and what `superseded.rs` names, for a node that is to be rebuilt, and `refounding.rs`, for one that becomes another
//! cluster's. `view.rs` looks at a folder without using it.
//!
//! In a folder without an identity, the files beside `joining` are an incomplete snapshot, and the files beside
//! `creating` are the first files of a node whose creation was interrupted: the next start deletes both.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use quack_log::{DiskOs, Floor, GroupWrite, Log, LogConfig, LogEntry, LogIdentity};
use quack_types::folder::{REBUILD, WITNESSED};
use quack_types::unshared::Unshared;
use quack_types::{GroupId, NodeId};

use crate::checkpoint_count::{CHECKPOINTS, CHECKPOINTS_NEW};
use crate::identity::Identity;
use crate::private::{self, FILE_MODE, create_private};
use crate::refounding;
use crate::superseded::{self, SUPERSEDED};
use crate::{Error, random, room, wal};

pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: &str = "identity";
const TEMPORARY: &str = "identity.new";
pub(crate) const LOG: &str = "log";
pub(crate) const STORE: &str = "store.duckdb";
pub(crate) const JOINING: &str = "joining";
const FOUNDING: &str = "founding";
const FOUNDING_NEW: &str = "founding.new";
const CREATING: &str = "creating";
const WITNESSED_NEW: &str = "witnessed.new";
/// Entries whose commit has broken off.
const BROKEN: &str = "broken";
const BROKEN_NEW: &str = "broken.new";
/// What is noted about entries of the log.
pub(crate) const OF_THE_LOG: [&str; 2] = [BROKEN, BROKEN_NEW];
/// What was heard of peers.
pub(crate) const OF_PEERS: [&str; 2] = [WITNESSED, WITNESSED_NEW];
/// What a node that is to be rebuilt must not work with; its identity goes last.
const OF_A_NODE: [&str; 9] =
    [LOG, STORE, CHECKPOINTS, CHECKPOINTS_NEW, JOINING, WITNESSED, WITNESSED_NEW, BROKEN, BROKEN_NEW];

/// A data folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    /// Ends with it.
    lock: Lock,
}

/// A folder that this process holds and that belongs to no cluster yet.
#[derive(Debug)]
pub struct EmptyFolder {
    path: PathBuf,
    node_id: NodeId,
    promised: Option<u128>,
    former: Option<u128>,
    lock: Lock,
}

/// What a folder is found to be.
#[derive(Debug)]
pub enum Claim {
    /// It belongs to a node.
    Member(DataFolder),
    /// It belongs to no node yet.
    Empty(EmptyFolder),
}

/// Where the log of a node that joins a cluster begins: behind a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The cluster.
    pub cluster_id: u128,
    /// The node's incarnation in it; a number that no earlier life of the node has had.
    pub incarnation: u64,
    /// Of each group, the last entry that the snapshot holds, and the members there.
    pub floors: Vec<(GroupId, Floor)>,
}

impl Claim {
    /// Takes the folder of a node; creates it when it does not exist.
    ///
    /// # Errors
    /// A folder that is in use, another node's, half created, damaged or not
    /// writable is refused and left as it is.
    pub fn take(path: impl Into<PathBuf>, node_id: &NodeId) -> Result<Self, Error> {
        let path = path.into();
        create_durable(&path)?;
        private::check_owner(&path)?;
        if !has_identity(&path)? {
            refuse_leftovers(&path)?;
        }
        let mut lock = take_lock(&path)?;
        room::make_room(&path);
        name_holder(&mut lock.file).map_err(Error::io("write", path.join(LOCK)))?;
        // Another server may have created the folder before the lock was ours.
        if !has_identity(&path)? {
            refuse_leftovers(&path)?;
            private::tighten(&path)?;
            return Self::empty(path, node_id, lock).map(Self::Empty);
        }
        let identity = read_identity(&path)?;
        if identity.node_id != *node_id {
            return Err(Error::Foreign { path, found: identity.node_id, expected: node_id.clone() });
        }
        if let Some(path) = foreign_wal(&path)? {
            return Err(Error::Written { path });
        }
        // Only now: a folder that is refused stays as it is.
        private::tighten(&path)?;
        discard_beginnings(&path)?;
        refounding::resume(&path)?;
        let identity = read_identity(&path)?;
        if superseded::is_marked(&path)? {
            superseded::set_aside(&path, &OF_A_NODE, IDENTITY)?;
            tracing::warn!(folder = %path.display(), "the node is rebuilt from its cluster; its files are set aside");
            return Self::empty(path, node_id, lock).map(Self::Empty);
        }
        Ok(Self::Member(DataFolder::new(path, identity, lock)))
    }

    fn empty(path: PathBuf, node_id: &NodeId, lock: Lock) -> Result<EmptyFolder, Error> {
        discard_snapshot(&path)?;
        discard_first_files(&path)?;
        superseded::unmark(&path).map_err(Error::io("remove", path.join(REBUILD)))?;
        let promised = read_promise(&path)?;
        let former = superseded::former(&path, IDENTITY)?.map(|identity| identity.cluster_id);
        Ok(EmptyFolder { path, node_id: node_id.clone(), promised, former, lock })
    }
}

impl EmptyFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster that this node is about to found.
    pub fn promised(&self) -> Option<u128> {
        self.promised
    }

    /// The cluster whose member this node was, and is to be again. It must not found or join another one.
    pub fn former(&self) -> Option<u128> {
        self.former
    }

    /// Draws the id of a cluster that this node is about to found, durably: after a restart it is the same.
    pub fn promise(&mut self) -> Result<u128, Error> {
        if let Some(id) = self.promised {
            return Ok(id);
        }
        let id = random::draw()?;
        write_whole(&self.path, FOUNDING, FOUNDING_NEW, format!("{id:032x}\n").as_bytes())?;
        self.promised = Some(id);
        Ok(id)
    }

    /// Makes it the folder of a member of a new cluster: its first incarnation, with an empty log.
    ///
    /// # Errors
    /// It was a member of a cluster, or the folder cannot be written.
    pub fn found(self, cluster_id: u128) -> Result<DataFolder, Error> {
        if self.former.is_some() {
            return Err(Error::Former { path: self.path });
        }
        // Of a cluster that it was about to join.
        discard_snapshot(&self.path)?;
        let identity = Identity { cluster_id, node_id: self.node_id, incarnation: 0, boot: 0 };
        mark(&self.path, CREATING)?;
        drop(create_log(&self.path, &identity)?);
        write_identity(&self.path, &identity)?;
        discard_beginnings(&self.path)?;
        Ok(DataFolder::new(self.path, identity, self.lock))
    }

    /// Makes it the folder of a cluster of one.
    pub fn found_alone(self) -> Result<DataFolder, Error> {
        self.found(random::draw()?)
    }

    /// Begins to join a cluster: returns where the snapshot's store is to be written. Until
    /// [`EmptyFolder::join`], a new start finds the folder empty again.
    pub fn begin_join(&self) -> Result<PathBuf, Error> {
        mark(&self.path, JOINING)?;
        Ok(self.path.join(STORE))
    }

    /// Makes it the folder of a node that has received a snapshot, whose store is durable already.
    pub fn join(self, seed: &Seed) -> Result<DataFolder, Error> {
        self.begin_with(seed, Vec::new())
    }

    /// Makes it the folder of a new cluster that begins with a store, which is durable already (see
    /// [`EmptyFolder::begin_join`]). The cluster's id is drawn here. `entries` follow the root's floor.
    ///
    /// # Errors
    /// It was a member of a cluster, or the folder cannot be written.
    pub fn found_with(
        self,
        incarnation: u64,
        floors: Vec<(GroupId, Floor)>,
        entries: Vec<LogEntry>,
    ) -> Result<DataFolder, Error> {
        if self.former.is_some() {
            return Err(Error::Former { path: self.path });
        }
        self.begin_with(&Seed { cluster_id: random::draw()?, incarnation, floors }, entries)
    }

    fn begin_with(self, seed: &Seed, entries: Vec<LogEntry>) -> Result<DataFolder, Error> {
        let identity = Identity {
            cluster_id: seed.cluster_id,
            node_id: self.node_id,
            incarnation: seed.incarnation,
            boot: 0,
        };
        let mut log = create_log(&self.path, &identity)?;
        let reader = log.reader();
        let begin = |(group, floor): &(GroupId, Floor)| {
            let behind = if *group == GroupId::ROOT { entries.clone() } else { Vec::new() };
            quack_core::reseed(&reader, *group, floor, behind)
        };
        let writes: Vec<GroupWrite> = seed.floors.iter().map(begin).collect::<Result<_, _>>()?;
        log.write(&writes, true)?;
        drop(log);
        write_identity(&self.path, &identity)?;
        Ok(DataFolder::new(self.path, identity, self.lock))
    }
}

impl DataFolder {
    /// Opens the folder of a node, or creates it, and with it a cluster of one, when
    /// it does not exist or is empty.
    ///
    /// # Errors
    /// Those of [`Claim::take`].
    pub fn open(path: impl Into<PathBuf>, node_id: &NodeId) -> Result<Self, Error> {
        match Claim::take(path, node_id)? {
            Claim::Member(folder) => Ok(folder),
            Claim::Empty(folder) => folder.found_alone(),
        }
    }

    fn new(path: PathBuf, identity: Identity, lock: Lock) -> Self {
        // The count is written when the node starts: until then the folder may still be refused.
        let identity = Identity { boot: identity.boot + 1, ..identity };
        Self { path, identity, lock }
    }

    /// Sets the node's files aside: it must not work with them, and is to be rebuilt from its cluster.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn set_aside(self) -> Result<EmptyFolder, Error> {
        superseded::mark(&self.path)?;
        superseded::set_aside(&self.path, &OF_A_NODE, IDENTITY)?;
        Claim::empty(self.path, &self.identity.node_id, self.lock)
    }

    /// Whether the store came with a snapshot and is not this node's own yet.
    pub fn has_foreign_store(&self) -> Result<bool, Error> {
        let marker = self.path.join(JOINING);
        marker.try_exists().map_err(Error::io("look for", marker))
    }

    /// Says that the store is this node's own from now on. What it had before is not needed any more.
    pub fn own_store(&self) -> Result<(), Error> {
        // The marker goes last: without it, no later start would finish the rest.
        superseded::discard(&self.path)?;
        let marker = self.path.join(JOINING);
        std::fs::remove_file(&marker).map_err(Error::io("remove", marker))
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

pub(crate) fn log_identity(identity: &Identity) -> LogIdentity {
    let (cluster_id, incarnation) = (identity.cluster_id, identity.incarnation);
    LogIdentity { cluster_id, node: identity.node_id.clone(), incarnation }
}

/// Creates a folder, durably, and those above it that do not exist.
pub(crate) fn create_durable(path: &Path) -> Result<(), Error> {
    create(path, &mut |folder| File::open(folder)?.sync_all()).map_err(Error::io("create the folder", path))
}

/// Creates a folder, and those above it that do not exist. `sync` makes durable what is in a folder: without the one above
/// it, a new data folder is gone after a loss of power, and with it all that was acknowledged. One that holds no node yet may
/// have been created just before such a loss.
fn create(path: &Path, sync: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let above = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let mut missing = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(folder) = next.filter(|folder| !folder.exists()) {
        next = above(&folder);
        missing.push(folder);
    }
    private::create_folder(path)?;
    if missing.is_empty() && !path.join(IDENTITY).exists() {
        missing.push(path.to_owned());
    }
    missing.iter().rev().filter_map(|folder| above(folder)).try_for_each(|folder| sync(&folder))
}

pub(crate) fn has_identity(path: &Path) -> Result<bool, Error> {
    let file = path.join(IDENTITY);
    file.try_exists().map_err(Error::io("look for", file))
}

/// A folder without an identity must hold nothing but a lock, a snapshot that did not arrive, or first files.
fn refuse_leftovers(path: &Path) -> Result<(), Error> {
    let is_there = |name: &str| path.join(name).try_exists().map_err(Error::io("look for", path));
    let (joining, creating) = (is_there(JOINING)?, is_there(CREATING)?);
    for item in std::fs::read_dir(path).map_err(Error::io("list", path))? {
        let name = item.map_err(Error::io("list", path))?.file_name();
        let of_snapshot = joining && [JOINING, LOG, STORE, TEMPORARY].iter().any(|known| name == *known);
        let of_node = [LOCK, FOUNDING, FOUNDING_NEW, REBUILD, SUPERSEDED, room::RESERVE, room::TRIAL]
            .iter()
            .any(|known| name == *known);
        let is_first = creating && [CREATING, LOG, TEMPORARY].iter().any(|known| name == *known);
        if !of_node && !of_snapshot && !is_first {
            let found = name.to_string_lossy().into_owned();
            return Err(Error::NotANode { path: path.to_owned(), found });
        }
    }
    Ok(())
}

/// A write-ahead log of the store with changes in it, which another program has left. DuckDB would replay them.
pub(crate) fn foreign_wal(path: &Path) -> Result<Option<PathBuf>, Error> {
    for item in std::fs::read_dir(path).map_err(Error::io("list", path))? {
        let name = item.map_err(Error::io("list", path))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(STORE) && name.ends_with(".wal") {
            let wal = path.join(&*name);
            if wal::has_changes(&std::fs::read(&wal).map_err(Error::read(&wal))?) {
                return Ok(Some(wal));
            }
        }
    }
    Ok(None)
}

/// Throws away what a node had of a snapshot when it was interrupted.
fn discard_snapshot(path: &Path) -> Result<(), Error> {
    discard_beside(path, JOINING, &[STORE, TEMPORARY])
        .map_err(Error::io("throw away the unfinished snapshot in", path))
}

/// Throws away the first files of a node that had no identity yet: it has said and promised nothing.
fn discard_first_files(path: &Path) -> Result<(), Error> {
    discard_beside(path, CREATING, &[TEMPORARY])
        .map_err(Error::io("throw away the unfinished files in", path))
}

/// Takes away what a member has no use for: how its folder began. A promise that is kept would have the node take members
/// of its own cluster for nodes without one, should it be rebuilt.
fn discard_beginnings(path: &Path) -> Result<(), Error> {
    for name in [FOUNDING, FOUNDING_NEW, CREATING] {
        let file = path.join(name);
        private::remove_if_there(&file).map_err(Error::io("remove", file))?;
    }
    Ok(())
}

/// Writes an empty file, durably.
fn mark(path: &Path, name: &str) -> Result<(), Error> {
    let marker = path.join(name);
    let write = || {
        create_private(&marker)?.sync_all()?;
        File::open(path)?.sync_all()
    };
    write().map_err(Error::io("write", &marker))
}

/// Throws away the log and these `files`, when a marker says that they are no node's.
fn discard_beside(path: &Path, marker: &str, files: &[&str]) -> std::io::Result<()> {
    if !path.join(marker).try_exists()? {
        return Ok(());
    }
    let log = path.join(LOG);
    if log.try_exists()? {
        std::fs::remove_dir_all(log)?;
    }
    // The marker goes last: it is what permits to throw the others away.
    for name in files.iter().chain([&marker]) {
        let file = path.join(name);
        if file.try_exists()? {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

pub(crate) fn read_promise(path: &Path) -> Result<Option<u128>, Error> {
    let name = path.join(FOUNDING);
    if !name.try_exists().map_err(Error::io("look for", &name))? {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&name).map_err(Error::io("read", &name))?;
    let damaged = || Error::Identity { path: name.clone(), reason: "it is not a cluster's id".to_owned() };
    u128::from_str_radix(text.trim_end(), 16).map(Some).map_err(|_| damaged())
}

/// The lock of a folder that this process holds; no child of it does.
#[derive(Debug)]
struct Lock {
    // Before the file, which it is dropped before.
    _unshared: Unshared,
    file: File,
}

fn take_lock(path: &Path) -> Result<Lock, Error> {
    let name = path.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&name)
        .map_err(Error::io("open", &name))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::InUse { path: path.to_owned(), holder: holder_of(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", name)(source)),
    }
    Ok(Lock { _unshared: Unshared::new(&file), file })
}

/// Who holds a lock, as far as its text says so, for a message.
pub(crate) fn holder_of(lock: &mut File) -> String {
    let mut holder = String::new();
    let known = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    if known { holder.trim().to_owned() } else { "another server".to_owned() }
}

/// Says in the lock who holds it, for the message to others.
fn name_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "process {}", std::process::id())
}

pub(crate) fn read_identity(path: &Path) -> Result<Identity, Error> {
    let name = path.join(IDENTITY);
    let text = std::fs::read(&name).map_err(Error::io("read", &name))?;
    Identity::decode(&name, &String::from_utf8_lossy(&text))
}

/// Creates an empty log.
pub(crate) fn create_log(path: &Path, identity: &Identity) -> Result<Log<DiskOs>, Error> {
    let log = path.join(LOG);
    private::create_new_folder(&log).map_err(Error::io("create", &log))?;
    Ok(Log::create(DiskOs::new(log), LogConfig::default(), &log_identity(identity))?)
}

pub(crate) fn write_identity(path: &Path, identity: &Identity) -> Result<(), Error> {
    write_whole(path, IDENTITY, TEMPORARY, identity.encode().as_bytes())
}

/// What a node keeps of what it has heard of its peers; nothing at first.
///
/// # Errors
/// The file cannot be read.
pub fn read_witnessed(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    read_if_there(path, WITNESSED)
}

/// Replaces it, durably.
///
/// # Errors
/// The file cannot be written.
pub fn write_witnessed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_whole(path, WITNESSED, WITNESSED_NEW, bytes)
}

/// What is kept in a folder about entries whose commit has broken off; empty when there is nothing.
///
/// # Errors
/// The file cannot be read.
pub fn read_broken(path: &Path) -> Result<String, Error> {
    let bytes = read_if_there(path, BROKEN)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces it, durably; nothing to keep removes it.
///
/// # Errors
/// The file cannot be written.
pub fn write_broken(path: &Path, text: &str) -> Result<(), Error> {
    if !text.is_empty() {
        return write_whole(path, BROKEN, BROKEN_NEW, text.as_bytes());
    }
    let name = path.join(BROKEN);
    private::remove_if_there(&name).map_err(Error::io("remove", name))
}

pub(crate) fn read_if_there(path: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let name = path.join(name);
    match std::fs::read(&name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", name)(error)),
    }
}

/// Replaces a small file as a whole, durably.
pub(crate) fn write_whole(path: &Path, name: &str, temporary: &str, bytes: &[u8]) -> Result<(), Error> {
    let (name, temporary) = (path.join(name), path.join(temporary));
    let write = || {
        let mut file = create_private(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &name)?;
        File::open(path)?.sync_all()
    };
    write().map_err(Error::io("write", &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(path: &Path) -> Vec<PathBuf> {
        let mut synced = Vec::new();
        create(path, &mut |folder| {
            synced.push(folder.to_owned());
            Ok(())
        })
        .unwrap();
        synced
    }

    #[test]
    fn every_folder_in_which_one_was_created_is_made_durable() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let data = root.join("a/b/data");
        assert_eq!(synced(&data), [root.to_owned(), root.join("a"), root.join("a/b")]);
        assert_eq!(synced(&data), [root.join("a/b")], "it may have been created just before a loss of power");
        std::fs::write(data.join(IDENTITY), "").unwrap();
        assert!(synced(&data).is_empty());
    }

    #[test]
    fn a_failed_sync_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let failed =
            create(&root.path().join("data"), &mut |_| Err(std::io::Error::other("the disk is gone")));
        assert!(failed.is_err());
    }
}
