//! Files of a node that is to be rebuilt from its cluster.
//!
//! ```text
//! <data_dir>/rebuild        the node must not work with what it has: rebuild it at the next start
//! <data_dir>/superseded/    what it had; kept until its new store is its own
//! ```
//!
//! Nothing is deleted before the rebuilt node is complete: if the cluster is lost meanwhile, the files are still there.
//! The identity moves last. As long as it is in its place, the next start repeats an interrupted move.

use std::fs::File;
use std::path::Path;

use quack_types::folder::REBUILD;

use crate::Error;
use crate::identity::Identity;
use crate::private::{self, create_private};

pub(crate) const SUPERSEDED: &str = "superseded";

/// Says that the node is to be rebuilt at its next start.
pub(crate) fn mark(path: &Path) -> Result<(), Error> {
    let marker = path.join(REBUILD);
    let mark = || {
        create_private(&marker)?.sync_all()?;
        File::open(path)?.sync_all()
    };
    mark().map_err(Error::io("write", &marker))
}

/// Whether the node is to be rebuilt.
pub(crate) fn is_marked(path: &Path) -> Result<bool, Error> {
    let marker = path.join(REBUILD);
    marker.try_exists().map_err(Error::io("look for", &marker))
}

/// Moves the node's `files` and then its `identity` out of the way.
pub(crate) fn set_aside(path: &Path, files: &[&str], identity: &str) -> Result<(), Error> {
    let aside = path.join(SUPERSEDED);
    let move_all = || {
        if aside.join(identity).try_exists()? {
            // Of an earlier time: that one came to its end, or there would be no identity beside it.
            std::fs::remove_dir_all(&aside)?;
        }
        private::create_folder(&aside)?;
        for name in files {
            let file = path.join(name);
            if file.try_exists()? {
                std::fs::rename(file, aside.join(name))?;
            }
        }
        File::open(&aside)?.sync_all()?;
        std::fs::rename(path.join(identity), aside.join(identity))?;
        unmark(path)
    };
    move_all().map_err(Error::io("set the node's files aside in", &aside))
}

/// Takes the mark away, also one that a moved identity has left behind.
pub(crate) fn unmark(path: &Path) -> std::io::Result<()> {
    private::remove_if_there(&path.join(REBUILD))?;
    File::open(path)?.sync_all()
}

/// What the node was before its files were set aside.
pub(crate) fn former(path: &Path, identity: &str) -> Result<Option<Identity>, Error> {
    let file = path.join(SUPERSEDED).join(identity);
    if !file.try_exists().map_err(Error::io("look for", &file))? {
        return Ok(None);
    }
    let text = std::fs::read(&file).map_err(Error::io("read", &file))?;
    Identity::decode(&file, &String::from_utf8_lossy(&text)).map(Some)
}

/// Deletes what was set aside.
pub(crate) fn discard(path: &Path) -> Result<(), Error> {
    let aside = path.join(SUPERSEDED);
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &aside)(error)),
        _ => Ok(()),
    }
}
