//! A backup of a cluster: a copy of one node's store, in a folder that is no node's.
//!
//! ```text
//! <folder>/store.duckdb   the state machine's file, as its last checkpoint has left it
//! <folder>/backup         what it is of, with length and checksum of the copy; written last: without it, it is none
//! ```
//!
//! No log and no identity: nothing starts in it. A new cluster begins with the copy ([`crate::EmptyFolder::found_with`]).

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quack_types::NodeId;

use crate::Error;
use crate::folder::{self, STORE};
use crate::private;
use crate::sealed::Sealed;

const MANIFEST: &str = "backup";
const MANIFEST_NEW: &str = "backup.new";
/// The manifest's format.
const VERSION: u32 = 1;
const TITLE: &str = "quack backup ";
/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOrigin {
    /// The cluster.
    pub cluster_id: u128,
    /// The node whose store was copied.
    pub node_id: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
}

const GIVEN_UP: &str = "so much was written meanwhile that the copy was given up, because the log cannot be released before its \
                        end. Name a folder on a faster disk, or try again when less is written";

/// A complete backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    folder: PathBuf,
    /// What it is of.
    pub origin: BackupOrigin,
    /// Bytes of the store.
    pub length: u64,
    /// Of the store.
    crc32: u32,
}

impl Backup {
    /// Copies a store, the first `length` bytes of a file that does not change meanwhile, into a folder that is created, or
    /// is empty. All of it is durable on return; until then it is no backup. `is_over` says that the file may have changed.
    ///
    /// # Errors
    /// The folder holds something, or cannot be written; or the file may have changed.
    pub fn write(
        to: impl Into<PathBuf>,
        origin: BackupOrigin,
        store: &File,
        length: u64,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let to = to.into();
        folder::create_durable(&to)?;
        if let Some(item) = std::fs::read_dir(&to).map_err(Error::io("list", &to))?.next() {
            let found = item.map_err(Error::io("list", &to))?.file_name().to_string_lossy().into_owned();
            return Err(Error::NotEmpty { path: to, found });
        }
        let crc32 = copy(&mut At { file: store, offset: 0, end: length, is_over }, &to.join(STORE))?;
        let backup = Self { folder: to, origin, length, crc32 };
        folder::write_whole(&backup.folder, MANIFEST, MANIFEST_NEW, backup.manifest().encode().as_bytes())?;
        Ok(backup)
    }

    /// Opens a backup.
    ///
    /// # Errors
    /// The folder holds none, or one that is not complete, or of another release.
    pub fn open(from: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = from.into();
        let name = folder.join(MANIFEST);
        if !name.try_exists().map_err(Error::read(&name))? {
            return Err(Error::NoBackup { path: folder });
        }
        let text = std::fs::read(&name).map_err(Error::read(&name))?;
        Self::decode(folder, &name, &String::from_utf8_lossy(&text)).map_err(|error| match error {
            Error::Identity { path, .. } => Error::BackupDamaged { path },
            other => other,
        })
    }

    fn decode(folder: PathBuf, name: &Path, text: &str) -> Result<Self, Error> {
        let fields = Sealed::decode(name, text, TITLE, VERSION)?;
        let origin = BackupOrigin {
            cluster_id: fields.id("cluster_id")?,
            node_id: fields.node("node_id")?,
            incarnation: fields.number("incarnation")?,
        };
        let (length, crc32) = (fields.number("store_bytes")?, fields.number("store_crc32")?);
        Ok(Self { folder, origin, length, crc32 })
    }

    fn manifest(&self) -> Sealed {
        let BackupOrigin { cluster_id, node_id, incarnation } = &self.origin;
        let mut fields = Sealed::new(TITLE, VERSION);
        fields.put("cluster_id", format!("{cluster_id:032x}"));
        fields.put("node_id", node_id);
        fields.put("incarnation", incarnation);
        fields.put("store_bytes", self.length);
        fields.put("store_crc32", self.crc32);
        fields
    }

    /// Copies the store to `to`, durably, and checks it.
    ///
    /// # Errors
    /// The store is not what was backed up; or it cannot be read, or `to` not written.
    pub fn copy_store(&self, to: &Path) -> Result<(), Error> {
        let name = self.folder.join(STORE);
        let mut store = File::open(&name).map_err(Error::read(&name))?;
        let crc32 = copy(&mut store, to)?;
        let length = to.metadata().map_err(Error::read(to))?.len();
        if (length, crc32) == (self.length, self.crc32) {
            return Ok(());
        }
        Err(Error::BackupDamaged { path: name })
    }
}

/// A part of a file, read without moving its position, which others use.
struct At<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
    is_over: &'a dyn Fn() -> bool,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if (self.is_over)() {
            return Err(std::io::Error::other(GIVEN_UP));
        }
        self.offset += count as u64;
        Ok(count)
    }
}

/// Copies to a file, durably; returns the checksum of what was copied.
fn copy(from: &mut dyn Read, to: &Path) -> Result<u32, Error> {
    let mut copy_all = || {
        let mut file = private::create_private(to)?;
        let (mut crc, mut buffer) = (crc32fast::Hasher::new(), vec![0; COPY_BYTES]);
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            crc.update(&buffer[..count]);
            file.write_all(&buffer[..count])?;
        }
        file.sync_all()?;
        Ok(crc.finalize())
    };
    copy_all().map_err(Error::io("copy the store to", to))
}
