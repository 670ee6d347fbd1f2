//! Keeps a node's files private to the user that it runs as, under any umask.
//!
//! A data folder holds everything that was ever written to the catalog, and the identity with which the node votes.
//! Files that this node creates have mode 0600, folders 0700. It tightens wider modes rather than refusing the files:
//! the owner may do so without loss, volumes are mounted with wide modes at each start, and earlier releases created
//! files with the mode of the umask.
//! A folder of another user is refused: that user could replace any file in it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::Error;

/// Mode of a file that only its owner uses.
pub const FILE_MODE: u32 = 0o600;
/// Mode of such a folder.
const FOLDER_MODE: u32 = 0o700;
/// What a mode permits to others.
const OTHERS: u32 = 0o077;

/// Creates a file, or empties it.
///
/// # Errors
/// The system refuses.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates a folder that is not there yet, in one that is.
pub(crate) fn create_new_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Creates a folder, unless it is there. Those above it get the system's usual mode.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    match create_new_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Refuses a folder of another user.
pub(crate) fn check_owner(path: &Path) -> Result<(), Error> {
    let metadata = path.metadata().map_err(Error::io("look at the data folder", path))?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(Error::Owner { path: path.to_owned(), owner, user })
}

/// Takes from others what they may do with the folder and with all that lies in it.
pub(crate) fn tighten(path: &Path) -> Result<(), Error> {
    let mut tightened = 0_u32;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        tightened += u32::from(tighten_one(&folder, FOLDER_MODE).map_err(Error::io("protect", &folder))?);
        for item in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let item = item.map_err(Error::io("list", &folder))?;
            let (path, kind) = (item.path(), item.file_type().map_err(Error::io("look at", item.path()))?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                tightened += u32::from(tighten_one(&path, FILE_MODE).map_err(Error::io("protect", &path))?);
            }
        }
    }
    if tightened > 0 {
        tracing::warn!(
            folder = %path.display(),
            tightened,
            "other users of this machine could use files of the data folder; they have modes 0600 and 0700 now"
        );
    }
    Ok(())
}

/// Whether there was something to take.
fn tighten_one(path: &Path, mode: u32) -> io::Result<bool> {
    if path.metadata()?.mode() & OTHERS == 0 {
        return Ok(false);
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(true)
}

/// Takes from others what they may do with a file that something else has created.
///
/// # Errors
/// The system refuses.
pub fn make_private(path: &Path) -> io::Result<()> {
    tighten_one(path, FILE_MODE).map(drop)
}
