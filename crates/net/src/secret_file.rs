//! Reads files that hold a secret: a private key, a token.
//!
//! Invariant: what others can read, or could have written, is no secret, and is refused in words. The rule is that of
//! PostgreSQL for its key: the file belongs to the user of this process and only that user may read it, or it belongs
//! to root and its group may read it, too, which is how orchestrators mount secrets.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest file. Bundles of all the world's authorities have a quarter of it.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a file of the process's own user may not permit: anything to others.
const FORBIDDEN: u32 = 0o077;
/// What a file of root may not permit: its group to write, anything to others.
const FORBIDDEN_OF_ROOT: u32 = 0o037;
const ROOT: u32 = 0;

fn process_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Why a file with a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file belongs to another user, who may change it.
    #[error(
        "{} belongs to user {owner}, and this process runs as user {user}: give it to this user with `chown {user} {0}`",
        path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Number of the user that owns it.
        owner: u32,
        /// Number of the user that this process runs as.
        user: u32,
    },
    /// Others may read or write it.
    #[error("{} holds a secret, and others may use it (mode {mode:04o}): run `chmod {advice} {0}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        advice: &'static str,
    },
    /// There is too much in it, or no text.
    #[error("{} is no text of at most {FILE_BYTES_MAX} bytes: check the path", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("{} is empty: write the token into it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file with a secret.
///
/// # Errors
/// It cannot be read, or others can.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let about = |source| SecretFileError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(about)?;
    // Of the open file: a path can lead to another one a moment later.
    check(path, &file.metadata().map_err(about)?)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(about)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(SecretFileError::NoText { path: path.to_path_buf() });
    }
    Ok(bytes)
}

/// Reads a token from a file. Blanks and line ends around it do not count.
///
/// # Errors
/// The file cannot be read, others can read it, or there is no token in it.
pub fn read_token(path: &Path) -> Result<String, SecretFileError> {
    let text = String::from_utf8(read_secret(path)?)
        .map_err(|_| SecretFileError::NoText { path: path.to_path_buf() })?;
    match text.trim() {
        "" => Err(SecretFileError::Empty { path: path.to_path_buf() }),
        token => Ok(token.to_owned()),
    }
}

/// Checks who may read and write an open file with a secret.
fn check(path: &Path, metadata: &Metadata) -> Result<(), SecretFileError> {
    let (owner, user, mode) = (metadata.uid(), process_user(), metadata.mode() & 0o7777);
    if owner != user && owner != ROOT {
        return Err(SecretFileError::Owner { path: path.to_path_buf(), owner, user });
    }
    let (forbidden, advice) = if owner == ROOT { (FORBIDDEN_OF_ROOT, "0640") } else { (FORBIDDEN, "0600") };
    if mode & forbidden != 0 {
        return Err(SecretFileError::Open { path: path.to_path_buf(), mode, advice });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn a_file_that_others_may_use_is_refused_with_what_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "  sixteen-characters\n").unwrap();
        let of_root = process_user() == ROOT;
        for mode in [0o600, 0o400, 0o640, 0o440, 0o644, 0o660, 0o604, 0o666, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let right = mode & 0o077 == 0 || (of_root && mode & 0o037 == 0);
            match read_token(&path) {
                Ok(token) => assert!(right && token == "sixteen-characters", "{mode:o}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!right && text.contains("run `chmod 06"), "{mode:o}: {text}");
                    assert!(!text.contains("sixteen"), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "sixteen-characters").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if chown(&path, Some(12345), None).is_ok() {
            let text = read_token(&path).unwrap_err().to_string();
            assert!(text.contains("belongs to user 12345") && text.contains("chown"), "{text}");
        }
    }

    #[test]
    fn a_file_without_a_token_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(read_token(&path), Err(SecretFileError::Io { .. })));
        for (bytes, text) in [(&b" \n"[..], "is empty"), (b"\xff\xfe", "is no text")] {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(read_token(&path).unwrap_err().to_string().contains(text));
        }
    }
}
