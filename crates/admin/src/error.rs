//! Why something could not be done. Each text says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::ExitCode;

/// A failure of this crate. Broken rules of a configuration or a certificate are not failures but
/// [`Finding`](crate::Finding)s, because all of them are wanted at once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("{} does not exist: check the path", .0.display())]
    NotFound(PathBuf),
    /// The operating system refuses.
    #[error("{} may not be read or written by this user: change its owner or its mode", .0.display())]
    Permission(PathBuf),
    /// Writing would destroy something.
    #[error("{} exists already: name another folder, or add --force to replace it", .0.display())]
    Exists(PathBuf),
    /// A file is larger than anything that belongs there.
    #[error("{} is larger than {limit} bytes, which no file of its kind is: check the path", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
    },
    /// Any other failure of a file.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An argument breaks a rule; the text says which and what to give instead.
    #[error("{0}")]
    Invalid(String),
    /// A certificate cannot be made.
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The machine gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The admin face cannot be opened.
    #[error("cannot listen at {address} for health and metrics: {source}; set metrics.host and metrics.port")]
    Listen {
        /// Host and port.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A node does not answer.
    #[error("{url} does not answer: {reason}; is the node running, and is this its admin address?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A node, or something before it, answers with a refusal.
    #[error("{url} answers with HTTP status {status}: {text}")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
}

impl Error {
    /// What the operating system says about `path`.
    pub fn of_file(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            _ => Self::Io { path, source },
        }
    }

    /// How a program that ends with this error ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotFound(_) => ExitCode::NotFound,
            Self::Permission(_) => ExitCode::Permission,
            Self::Exists(_) | Self::TooLarge { .. } | Self::Invalid(_) | Self::Certificate(_) => {
                ExitCode::Validation
            }
            Self::Io { .. } | Self::Random(_) | Self::Listen { .. } => ExitCode::Failed,
            Self::Unreachable { .. } => ExitCode::Network,
            Self::Refused { status, .. } => match status {
                401 => ExitCode::Authentication,
                403 => ExitCode::Permission,
                404 => ExitCode::NotFound,
                _ => ExitCode::Network,
            },
        }
    }
}
