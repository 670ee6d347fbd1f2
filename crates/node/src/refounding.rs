//! How the folder of a member becomes that of the only voter of a new cluster, with what it holds.
//!
//! ```text
//! <data_dir>/refounding/log        the node's log under its new identity
//! <data_dir>/refounding/identity   written last: without it, nothing has happened yet
//! ```
//!
//! The durable new identity is the commit point. When the process ends after it, the next start completes the change;
//! when the process ends before it, the next start deletes the prepared files. The former log moves to where
//! `superseded.rs` keeps the files of a node that is to be rebuilt, until the store belongs to the new identity.

use std::fs::File;
use std::path::Path;

use quack_log::{DiskOs, Log};

use crate::folder::{self, DataFolder, IDENTITY, JOINING, LOG, OF_PEERS, OF_THE_LOG};
use crate::identity::Identity;
use crate::private::{self, create_private};
use crate::superseded::SUPERSEDED;
use crate::{Error, random};

/// The folder in which the new identity is prepared.
const REFOUNDING: &str = "refounding";

/// A folder that is about to be another cluster's. Dropped, it is what it was.
#[derive(Debug)]
pub struct Refounding {
    folder: DataFolder,
    identity: Identity,
    /// Empty, for the caller to write; it is made durable by [`Refounding::commit`].
    pub log: Log<DiskOs>,
}

impl DataFolder {
    /// Prepares to make the node, under its next incarnation, a member of a new cluster, whose id is drawn here.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn refound(self) -> Result<Refounding, Error> {
        let former = self.identity();
        let (cluster_id, incarnation) = (random::draw()?, former.incarnation + 1);
        let identity = Identity { cluster_id, node_id: former.node_id.clone(), incarnation, boot: 0 };
        discard(self.path())?;
        let new = self.path().join(REFOUNDING);
        private::create_new_folder(&new).map_err(Error::io("create", &new))?;
        let log = folder::create_log(&new, &identity)?;
        Ok(Refounding { folder: self, identity, log })
    }
}

impl Refounding {
    /// Who the node will be.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Makes it so.
    ///
    /// # Errors
    /// The folder cannot be written. When [`DataFolder::refound`] has begun anew after that, nothing has happened; otherwise
    /// the next start goes on.
    pub fn commit(self) -> Result<Identity, Error> {
        let Self { folder, identity, mut log } = self;
        log.write(&[], true)?;
        drop(log);
        folder::write_identity(&folder.path().join(REFOUNDING), &identity)?;
        // The name of the folder must be as durable as what is in it.
        File::open(folder.path())
            .and_then(|above| above.sync_all())
            .map_err(Error::io("sync", folder.path()))?;
        complete(folder.path())?;
        Ok(identity)
    }
}

/// Whether the node is another one already, and some of its files are not in their places yet.
pub(crate) fn is_decided(path: &Path) -> bool {
    path.join(REFOUNDING).join(IDENTITY).exists()
}

/// Brings to its end what was interrupted, forwards when the new identity is there, and back otherwise.
pub(crate) fn resume(path: &Path) -> Result<(), Error> {
    if is_decided(path) { complete(path) } else { discard(path) }
}

fn discard(path: &Path) -> Result<(), Error> {
    let new = path.join(REFOUNDING);
    match std::fs::remove_dir_all(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &new)(error)),
        _ => Ok(()),
    }
}

/// Puts the new log and then the new identity in their places.
fn complete(path: &Path) -> Result<(), Error> {
    let (new, aside) = (path.join(REFOUNDING), path.join(SUPERSEDED));
    let move_all = || {
        if new.join(LOG).try_exists()? {
            if path.join(LOG).try_exists()? {
                if aside.try_exists()? {
                    std::fs::remove_dir_all(&aside)?;
                }
                private::create_new_folder(&aside)?;
                std::fs::rename(path.join(LOG), aside.join(LOG))?;
                File::open(&aside)?.sync_all()?;
            }
            std::fs::rename(new.join(LOG), path.join(LOG))?;
        }
        create_private(&path.join(JOINING))?.sync_all()?;
        for name in OF_PEERS.iter().chain(&OF_THE_LOG) {
            let file = path.join(name);
            if file.try_exists()? {
                std::fs::remove_file(file)?;
            }
        }
        File::open(path)?.sync_all()?;
        std::fs::rename(new.join(IDENTITY), path.join(IDENTITY))?;
        File::open(path)?.sync_all()?;
        std::fs::remove_dir_all(&new)
    };
    move_all().map_err(Error::io("make a new cluster's of the files in", path))
}
