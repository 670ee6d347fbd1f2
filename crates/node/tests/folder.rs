//! Data folders that must be refused, with a message that helps and nothing changed.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quack_node::{DataFolder, Error, NoTransport, NodeHandle};
use quack_types::NodeId;
use support::{Model, alone, config, node_id, start, write};

fn contents(folder: &Path) -> BTreeMap<PathBuf, (usize, u32)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for item in std::fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                all.insert(path, (bytes.len(), crc32fast::hash(&bytes)));
            }
        }
    }
    all
}

/// Starts a node, which must fail without changing anything; returns the error.
fn refused(folder: &Path, node: &str) -> Error {
    let before = contents(folder);
    let open = || {
        let folder = DataFolder::open(folder, &NodeId::new(node).unwrap())?;
        let (model, _) = Model::open(folder.path());
        NodeHandle::start(config(), folder, Box::new(model), Box::new(NoTransport), alone())
    };
    let error = open().unwrap_err();
    let mut after = contents(folder);
    // The lock's text names its last holder; it is no data.
    let lock = folder.join("lock");
    if let (Some(old), Some(new)) = (before.get(&lock), after.get_mut(&lock)) {
        new.clone_from(old);
    }
    assert_eq!(after, before, "{error}");
    error
}

fn used_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    for at in 0..20 {
        write(&node, &format!("row {at}")).unwrap();
    }
    node.stop();
    folder
}

#[test]
fn a_folder_is_created_with_its_parents_and_carries_a_cluster_id() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let folder = DataFolder::open(&path, &node_id()).unwrap();
    let cluster = folder.identity().cluster_id;
    assert_ne!(cluster, 0);
    assert_eq!(folder.store_path(), path.join("store.duckdb"));
    drop(folder);
    assert_eq!(DataFolder::open(&path, &node_id()).unwrap().identity().cluster_id, cluster);
    let other = DataFolder::open(parent.path().join("c"), &node_id()).unwrap();
    assert_ne!(other.identity().cluster_id, cluster);
}

#[test]
fn a_second_server_is_refused_while_the_first_one_works_and_not_after() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    let error = DataFolder::open(folder.path(), &node_id()).unwrap_err();
    assert!(matches!(&error, Error::InUse { holder, .. } if holder.contains("process")), "{error}");
    write(&node, "the first one is not disturbed").unwrap();
    node.stop();
    DataFolder::open(folder.path(), &node_id()).unwrap();
}

#[test]
fn the_folder_of_another_node_is_refused() {
    let folder = used_folder();
    let error = refused(folder.path(), "n1");
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("node_id 'n0'"), "{error}");
}

#[test]
fn a_folder_with_something_else_in_it_or_half_created_is_refused() {
    for name in ["photo.jpg", "store.duckdb", "identity.new", "log/0000000001.log"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "precious").unwrap();
        let error = refused(folder.path(), "n0");
        assert!(matches!(error, Error::NotANode { .. }), "{error}");
        assert!(!folder.path().join("lock").exists());
    }
}

#[test]
fn a_path_that_cannot_be_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/quack")] {
        let error = DataFolder::open(&path, &node_id()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_damaged_identity_is_refused() {
    let folder = used_folder();
    let path = folder.path().join("identity");
    let text = std::fs::read_to_string(&path).unwrap();
    for bad in [String::new(), text.replace("incarnation=0", "incarnation=1"), text[..40].to_owned()] {
        std::fs::write(&path, bad).unwrap();
        let error = refused(folder.path(), "n0");
        assert!(matches!(error, Error::Identity { .. }), "{error}");
    }
}

#[test]
fn lost_damaged_or_exchanged_logs_and_stores_are_refused() {
    let folder = used_folder();
    let log = folder.path().join("log/0000000001.log");
    let bytes = std::fs::read(&log).unwrap();

    let mut bad = bytes.clone();
    bad[700] ^= 1;
    std::fs::write(&log, bad).unwrap();
    let error = refused(folder.path(), "n0");
    assert!(error.to_string().contains("the log is corrupt"), "{error}");

    let other = used_folder();
    std::fs::copy(other.path().join("log/0000000001.log"), &log).unwrap();
    let error = refused(folder.path(), "n0");
    assert!(matches!(error, Error::Log(quack_log::Error::Foreign { .. })), "{error}");

    std::fs::remove_file(&log).unwrap();
    let error = refused(folder.path(), "n0");
    assert!(matches!(error, Error::Log(quack_log::Error::Missing)), "{error}");

    std::fs::write(&log, &bytes).unwrap();
    std::fs::remove_file(folder.path().join("model")).unwrap();
    let error = refused(folder.path(), "n0");
    assert!(matches!(error, Error::Core(quack_core::Error::StateBehindFloor { .. })), "{error}");
    std::fs::write(folder.path().join("model"), "9999\n").unwrap();
    let error = refused(folder.path(), "n0");
    assert!(matches!(error, Error::Core(quack_core::Error::LogBehindState { .. })), "{error}");
}
