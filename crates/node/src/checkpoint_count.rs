//! How many checkpoints the file of the store has seen, written beside it.
//!
//! A store that another program has opened and closed holds one more, and what was put back from a copy holds fewer: it
//! is not what the node has left, and not what the cluster has agreed on. DuckDB counts the checkpoints in its file.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::folder::{read_if_there, write_whole};
use crate::sealed::Sealed;

pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const CHECKPOINTS_NEW: &str = "checkpoints.new";
const TITLE: &str = "quack checkpoints ";
const VERSION: u32 = 1;

/// The count of a node's folder.
#[derive(Debug)]
pub struct CheckpointCount {
    folder: PathBuf,
    noted: Option<Noted>,
}

/// Between these two the file's count is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    ended: u64,
    begun: u64,
}

impl CheckpointCount {
    /// Of the store in a folder that has seen `count` checkpoints. A folder that says nothing has a new store, or one that
    /// came with a snapshot.
    ///
    /// # Errors
    /// [`Error::OtherStore`]; or the folder cannot be read.
    pub fn open(folder: &Path, count: u64) -> Result<Self, Error> {
        let mut checkpoints = Self { folder: folder.to_owned(), noted: read(folder)? };
        match checkpoints.noted {
            // A new file is what the whole log makes it, as far as that reaches back.
            Some(Noted { ended, begun }) if count > 0 && !(ended..=begun).contains(&count) => {
                Err(Error::OtherStore { path: folder.to_owned(), count, expected: ended })
            }
            _ => {
                // Of a checkpoint that the process did not survive it is known now whether it was written.
                checkpoints.end(count);
                Ok(checkpoints)
            }
        }
    }

    /// A checkpoint begins in a store that has seen `count`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(&mut self, count: u64) -> Result<(), Error> {
        self.note(Noted { ended: count, begun: count + 1 })
    }

    /// A checkpoint was written, and is the one with number `count`. Where that cannot be noted, it counts as one that may
    /// have been written.
    pub fn end(&mut self, count: u64) {
        if let Err(error) = self.note(Noted { ended: count, begun: count }) {
            tracing::warn!(%error, "a checkpoint is not counted");
        }
    }

    /// Writes it durably, unless it is known.
    fn note(&mut self, noted: Noted) -> Result<(), Error> {
        if self.noted == Some(noted) {
            return Ok(());
        }
        let mut fields = Sealed::new(TITLE, VERSION);
        fields.put("ended", noted.ended);
        fields.put("begun", noted.begun);
        write_whole(&self.folder, CHECKPOINTS, CHECKPOINTS_NEW, fields.encode().as_bytes())?;
        self.noted = Some(noted);
        Ok(())
    }
}

/// A file that is damaged says nothing.
fn read(folder: &Path) -> Result<Option<Noted>, Error> {
    let path = folder.join(CHECKPOINTS);
    let Some(bytes) = read_if_there(folder, CHECKPOINTS)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let noted = Sealed::decode(&path, &text, TITLE, VERSION)
        .and_then(|fields| Ok(Noted { ended: fields.number("ended")?, begun: fields.number("begun")? }));
    if let Err(error) = &noted {
        tracing::warn!(%error, "whether the store is as the node has left it is not known");
    }
    Ok(noted.ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_other(folder: &Path, count: u64) -> bool {
        matches!(CheckpointCount::open(folder, count), Err(Error::OtherStore { .. }))
    }

    #[test]
    fn a_store_with_another_count_is_not_the_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut checkpoints = CheckpointCount::open(folder, 7).unwrap();
        assert!(is_other(folder, 6) && is_other(folder, 8));
        checkpoints.begin(7).unwrap();
        // The process ends within the checkpoint, or did not make it.
        assert!(is_other(folder, 6) && is_other(folder, 9));
        assert!(CheckpointCount::open(folder, 7).is_ok());
        checkpoints.begin(7).unwrap();
        assert!(is_other(folder, 8), "the start before has found that it was not written");
        let mut checkpoints = CheckpointCount::open(folder, 7).unwrap();
        checkpoints.begin(7).unwrap();
        assert!(CheckpointCount::open(folder, 8).is_ok());
        assert!(is_other(folder, 7));
        checkpoints.end(8);
        assert!(CheckpointCount::open(folder, 8).is_ok());
    }

    #[test]
    fn a_damaged_count_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        CheckpointCount::open(folder.path(), 7).unwrap();
        for text in ["", "quack checkpoints 1\nended=7\n", "quack checkpoints 9\nended=7\nbegun=7\ncrc32=0\n"]
        {
            std::fs::write(folder.path().join(CHECKPOINTS), text).unwrap();
            assert!(CheckpointCount::open(folder.path(), 3).is_ok());
            assert!(is_other(folder.path(), 4));
        }
    }
}
