//! The file of an open store, for copies of it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Opened once: to close one descriptor of a file gives up every lock that the process has on it (POSIX, fcntl), and DuckDB
/// has one.
pub struct StoreFile {
    path: PathBuf,
    file: Mutex<Option<Arc<File>>>,
}

impl StoreFile {
    /// Of the store at `path`, which is open as long as this is there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: Mutex::default() }
    }

    /// The file, for reading at offsets.
    pub fn open(&self) -> Result<Arc<File>, String> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(file.clone());
        }
        let opened =
            File::open(&self.path).map_err(|error| format!("the store cannot be opened: {error}"))?;
        Ok(file.insert(Arc::new(opened)).clone())
    }
}
