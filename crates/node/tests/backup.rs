//! Backups on the disk: complete, or none.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use quack_node::{Backup, BackupOrigin, Claim, DataFolder, Error};
use support::{never, node_id};

fn origin() -> BackupOrigin {
    BackupOrigin { cluster_id: 0xabc, node_id: node_id(), incarnation: 3 }
}

/// A store of three megabytes and some bytes, and behind them what does not belong to the backup.
fn store(folder: &Path) -> (PathBuf, Vec<u8>) {
    let bytes: Vec<u8> = (0..3_000_007_u32).map(|at| (at % 251) as u8).collect();
    let path = folder.join("live.duckdb");
    std::fs::write(&path, [&bytes[..], b"written meanwhile"].concat()).unwrap();
    (path, bytes)
}

fn backed_up(folder: &Path) -> (PathBuf, Vec<u8>) {
    let (path, bytes) = store(folder);
    let to = folder.join("a/backup");
    let written =
        Backup::write(&to, origin(), &File::open(path).unwrap(), bytes.len() as u64, &never).unwrap();
    assert_eq!(Backup::open(&to).unwrap(), written);
    (to, bytes)
}

#[test]
fn a_store_comes_back_from_its_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, bytes) = backed_up(folder.path());
    for name in ["store.duckdb", "backup"] {
        assert_eq!(backup.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let opened = Backup::open(&backup).unwrap();
    assert_eq!((&opened.origin, opened.length), (&origin(), bytes.len() as u64));
    let copy = folder.path().join("copy");
    opened.copy_store(&copy).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), bytes);
}

#[test]
fn a_backup_is_written_over_nothing_and_one_without_its_last_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, _) = backed_up(folder.path());
    let source = File::open(folder.path().join("live.duckdb")).unwrap();
    let again = |to: &Path| Backup::write(to, origin(), &source, 10, &never).unwrap_err();
    assert!(matches!(again(&backup), Error::NotEmpty { .. }));
    std::fs::remove_file(backup.join("backup")).unwrap();
    assert!(matches!(Backup::open(&backup).unwrap_err(), Error::NoBackup { .. }), "as a crash leaves it");
    assert!(matches!(again(&backup), Error::NotEmpty { .. }));
    let node = folder.path().join("node");
    drop(DataFolder::open(&node, &node_id()).unwrap());
    assert!(matches!(again(&node), Error::NotEmpty { .. }));
    assert!(matches!(Backup::open(folder.path().join("absent")).unwrap_err(), Error::NoBackup { .. }));
}

#[test]
fn a_backup_that_is_not_as_it_was_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, bytes) = backed_up(folder.path());
    let copy = folder.path().join("copy");
    let mut flipped = bytes.clone();
    flipped[2_000_000] ^= 1;
    for bad in [&flipped[..], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
        std::fs::write(backup.join("store.duckdb"), bad).unwrap();
        let error = Backup::open(&backup).unwrap().copy_store(&copy).unwrap_err();
        assert!(matches!(error, Error::BackupDamaged { .. }), "{error}");
    }
    let manifest = std::fs::read_to_string(backup.join("backup")).unwrap();
    std::fs::write(backup.join("backup"), manifest.replace("incarnation=3", "incarnation=4")).unwrap();
    assert!(matches!(Backup::open(&backup).unwrap_err(), Error::BackupDamaged { .. }));
}

#[test]
fn a_node_does_not_start_in_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, _) = backed_up(folder.path());
    assert!(matches!(Claim::take(&backup, &node_id()).unwrap_err(), Error::NotANode { .. }));
}
