//! Reading and writing small files: bounded, private where they are secret, and never over something that exists.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::Error;

/// Most bytes of a configuration, a certificate, a key or a token. A chain of four certificates has about 10 kB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;
/// Mode of a file that all users may read.
pub const PUBLIC: u32 = 0o644;

/// Reads a whole file of at most [`FILE_BYTES_MAX`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let about = |source| Error::of_file(path, source);
    let mut bytes = Vec::new();
    File::open(path).map_err(about)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(about)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_path_buf(), limit: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

/// Reads a whole file as text.
pub fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?)
        .map_err(|_| Error::Invalid(format!("{} is not UTF-8 text: check the path", path.display())))
}

/// A file that is to be written.
pub struct NewFile {
    /// Name inside the folder, with `/` for folders below it.
    pub name: String,
    /// What it holds.
    pub text: String,
    /// [`PRIVATE`] or [`PUBLIC`].
    pub mode: u32,
}

/// Writes all files below `folder`, which is made if absent. Unless `force` says so, nothing is written when one of
/// them exists.
pub fn write_all(folder: &Path, files: &[NewFile], force: bool) -> Result<(), Error> {
    if !force && let Some(file) = files.iter().find(|file| folder.join(&file.name).symlink_metadata().is_ok())
    {
        return Err(Error::Exists(folder.join(&file.name)));
    }
    for file in files {
        let path = folder.join(&file.name);
        let parent = path.parent().unwrap_or(folder);
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.map_err(|source| Error::of_file(parent, source))?;
        write(&path, file, force)?;
    }
    Ok(())
}

/// Replaces an existing file by rename, so that a reader sees the old one or the new one.
fn write(path: &Path, file: &NewFile, force: bool) -> Result<(), Error> {
    let target = if force { path.with_extension("new") } else { path.to_path_buf() };
    let about = |source| Error::of_file(&target, source);
    if force && target.symlink_metadata().is_ok() {
        fs::remove_file(&target).map_err(about)?;
    }
    let mut output =
        OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&target).map_err(about)?;
    output.write_all(file.text.as_bytes()).and_then(|()| output.sync_all()).map_err(about)?;
    if force {
        fs::rename(&target, path).map_err(|source| Error::of_file(path, source))?;
    }
    Ok(())
}
