//! Small text files with a title, lines `key=value`, and a checksum of all lines above it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use quack_types::NodeId;

use crate::Error;

/// Such a file, as text without its checksum.
pub(crate) struct Sealed {
    path: PathBuf,
    text: String,
}

impl Sealed {
    /// One that is to be written.
    pub fn new(title: &str, version: u32) -> Self {
        Self { path: PathBuf::new(), text: format!("{title}{version}\n") }
    }

    /// Adds a line.
    pub fn put(&mut self, key: &str, value: impl Display) {
        self.text.push_str(&format!("{key}={value}\n"));
    }

    /// With its checksum.
    pub fn encode(&self) -> String {
        format!("{}crc32={:08x}\n", self.text, crc32fast::hash(self.text.as_bytes()))
    }

    /// Checks what was read from `path`.
    pub fn decode(path: &Path, text: &str, title: &str, version: u32) -> Result<Self, Error> {
        let damaged = |reason: &str| damaged(path, reason);
        let found = text.lines().next().and_then(|line| line.strip_prefix(title));
        let found: u32 = found
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| damaged("its first line is wrong"))?;
        if found > version {
            return Err(Error::FromTheFuture { path: path.to_owned(), found, supported: version });
        }
        let (covered, crc) = text.rsplit_once("crc32=").ok_or_else(|| damaged("it has no checksum"))?;
        if u32::from_str_radix(crc.trim_end(), 16) != Ok(crc32fast::hash(covered.as_bytes())) {
            return Err(damaged("its checksum does not match"));
        }
        Ok(Self { path: path.to_owned(), text: covered.to_owned() })
    }

    fn value(&self, key: &str) -> Result<&str, Error> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.ok_or_else(|| damaged(&self.path, &format!("'{key}' is missing")))
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, Error> {
        self.value(key)?.parse().map_err(|_| damaged(&self.path, &format!("'{key}' is not a number")))
    }

    /// The id of a cluster.
    pub fn id(&self, key: &str) -> Result<u128, Error> {
        u128::from_str_radix(self.value(key)?, 16)
            .map_err(|_| damaged(&self.path, &format!("'{key}' is not a number")))
    }

    /// The name of a node.
    pub fn node(&self, key: &str) -> Result<NodeId, Error> {
        NodeId::new(self.value(key)?).map_err(|error| damaged(&self.path, &error.to_string()))
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Identity { path: path.to_owned(), reason: reason.to_owned() }
}
