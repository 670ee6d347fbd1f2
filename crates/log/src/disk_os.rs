//! Real files below one folder. The only place of the crate that knows `std::fs`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::disk::{Disk, DiskFile};

/// Mode of a new file: entries of the log are rows, which are no matter of other users.
const FILE_MODE: u32 = 0o600;
/// The last of the descriptors with a meaning.
const STANDARD_ERROR: i32 = 2;

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub struct DiskOs {
    folder: PathBuf,
    /// Files are opened for reading only.
    is_read_only: bool,
    /// The folder, open since it was first synced: a file that is renamed must not lack a descriptor for that.
    directory: Arc<OnceLock<File>>,
}

impl DiskOs {
    /// Uses an existing folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), is_read_only: false, directory: Arc::default() }
    }

    /// Uses an existing folder whose files are read and not written, so that a medium that is mounted read-only will do.
    pub fn read_only(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), is_read_only: true, directory: Arc::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The file under a descriptor above those of the standard streams. A process that has closed its standard output
/// gives that number to the next file that it opens, and all code that prints would write into this file.
fn off_standard_streams(file: File) -> io::Result<File> {
    // `try_clone` never returns one of the three standard descriptors.
    if file.as_raw_fd() <= STANDARD_ERROR { file.try_clone() } else { Ok(file) }
}

impl Disk for DiskOs {
    type File = FileOs;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in std::fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours; its lossy form cannot match one of ours either.
            names.push(item?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<FileOs> {
        let path = self.folder.join(name);
        Ok(FileOs(off_standard_streams(
            OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?,
        )?))
    }

    fn open(&self, name: &str) -> io::Result<FileOs> {
        Ok(FileOs(off_standard_streams(
            OpenOptions::new().read(true).write(!self.is_read_only).open(self.folder.join(name))?,
        )?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        if let Some(directory) = self.directory.get() {
            return directory.sync_all();
        }
        let directory = off_standard_streams(File::open(&self.folder)?)?;
        directory.sync_all()?;
        // Of two that come at once one keeps its own.
        let _ = self.directory.set(directory);
        Ok(())
    }
}

/// An open file of the operating system.
#[derive(Debug)]
pub struct FileOs(File);

impl DiskFile for FileOs {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: the data, and of the metadata what is needed to read it back, such as the length.
        self.0.sync_data()
    }
}
