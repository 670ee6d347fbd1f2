//! Data folders that must be refused, with a message that helps and nothing changed.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quack_node::{Claim, DataFolder, EmptyFolder, Error, FolderView, NoTransport, NodeHandle, Seed};
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
fn a_store_that_another_program_has_written_to_is_refused_until_its_log_is_gone() {
    for name in ["store.duckdb.wal", "store.duckdb.checkpoint.wal"] {
        let folder = used_folder();
        let wal = folder.path().join(name);
        // Version and one row, as DuckDB writes them.
        let version = [100, 0, 98, 101, 0, 2, 0xFF, 0xFF];
        let row = [&5_u64.to_le_bytes()[..], &[7; 8], &[100, 0, 26, 0xFF, 0xFF]].concat();
        std::fs::write(&wal, [&version[..], &row].concat()).unwrap();
        let error = refused(folder.path(), "n0");
        assert!(matches!(error, Error::Written { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(FolderView::read(folder.path()).unwrap().foreign_wal.as_ref(), Some(&wal));
        // Also when it is to be rebuilt: DuckDB would replay it into the new store.
        std::fs::write(folder.path().join("rebuild"), "").unwrap();
        assert!(matches!(refused(folder.path(), "n0"), Error::Written { .. }));
        std::fs::remove_file(&wal).unwrap();
        assert!(claim(folder.path()).former().is_some());
    }
}

/// What a crash leaves of a new node between any two of its first files.
#[test]
fn a_node_that_was_interrupted_at_its_first_files_begins_again() {
    let whole = tempfile::tempdir().unwrap();
    drop(DataFolder::open(whole.path(), &node_id()).unwrap());
    let cluster = member(whole.path()).identity().cluster_id;
    let steps: [&dyn Fn(&Path); 5] = [
        &|folder| std::fs::write(folder.join("lock"), "process 1").unwrap(),
        &|folder| std::fs::write(folder.join("creating"), "").unwrap(),
        &|folder| std::fs::create_dir(folder.join("log")).unwrap(),
        &|folder| copy(&whole.path().join("log"), &folder.join("log")),
        &|folder| std::fs::write(folder.join("identity.new"), "half").unwrap(),
    ];
    for count in 0..=steps.len() {
        let folder = tempfile::tempdir().unwrap();
        steps[..count].iter().for_each(|step| step(folder.path()));
        drop(claim(folder.path()));
        assert!(!folder.path().join("log").exists() && !folder.path().join("creating").exists(), "{count}");
        steps[..count].iter().for_each(|step| step(folder.path()));
        let (node, _) = start(folder.path());
        write(&node, "a row").unwrap();
        node.stop();
        assert_ne!(member(folder.path()).identity().cluster_id, cluster, "{count}");
        assert!(!folder.path().join("creating").exists(), "{count}");
    }
}

/// A founder that dies behind its identity has its promise still.
#[test]
fn a_member_has_no_promise_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut empty = claim(folder.path());
    let id = empty.promise().unwrap();
    let promise = std::fs::read(folder.path().join("founding")).unwrap();
    drop(empty.found(id).unwrap());
    for name in ["founding", "creating"] {
        std::fs::write(folder.path().join(name), &promise).unwrap();
    }
    // Rebuilt, it would take its own cluster for one that it is about to found.
    let empty = member(folder.path()).set_aside().unwrap();
    assert_eq!((empty.promised(), empty.former()), (None, Some(id)));
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
    assert!(error.to_string().contains("has applied entry 9999 of group 1, and the log ends at"), "{error}");
    assert_eq!(std::fs::read(&log).unwrap(), bytes, "it is refused before it is repaired");
}

/// A folder whose node was marked to be rebuilt.
fn marked_folder() -> tempfile::TempDir {
    let folder = used_folder();
    let (node, _) = start(folder.path());
    node.degrade_for_good("for the test");
    assert!(node.degraded().unwrap().starts_with("for the test: stop the server"));
    node.stop();
    std::fs::rename(folder.path().join("model"), folder.path().join("store.duckdb")).unwrap();
    folder
}

fn claim(folder: &Path) -> EmptyFolder {
    match Claim::take(folder, &node_id()).unwrap() {
        Claim::Empty(empty) => empty,
        Claim::Member(_) => panic!("the folder is a node's"),
    }
}

#[test]
fn a_node_to_be_rebuilt_keeps_what_it_had_until_its_new_store_is_its_own() {
    let peer = used_folder();
    let (node, _) = start(peer.path());
    write(&node, "a row").unwrap();
    let floors = node.hold_checkpoints("a test", Duration::from_secs(10)).unwrap().floors.clone();
    node.stop();
    let folder = marked_folder();
    let before = std::fs::read(folder.path().join("identity")).unwrap();
    let empty = claim(folder.path());
    assert!(empty.former().is_some());
    let aside = folder.path().join("superseded");
    assert_eq!(std::fs::read(aside.join("identity")).unwrap(), before);
    assert!(aside.join("log").is_dir());
    assert!(!folder.path().join("rebuild").exists());
    let cluster_id = empty.former().unwrap();
    std::fs::write(empty.begin_join().unwrap(), "a snapshot").unwrap();
    let joined = empty.join(&Seed { cluster_id, incarnation: 1, floors }).unwrap();
    assert!(aside.exists());
    joined.own_store().unwrap();
    assert!(!aside.exists());
}

#[test]
fn a_node_to_be_rebuilt_founds_no_cluster() {
    let folder = marked_folder();
    let error = claim(folder.path()).found_alone().unwrap_err();
    assert!(error.to_string().contains("is being rebuilt from its cluster"), "{error}");
    assert!(refused(folder.path(), "n0").to_string().contains("is being rebuilt from its cluster"));
}

#[test]
fn setting_files_aside_goes_on_where_it_was_interrupted() {
    for moved in [&[][..], &["log"], &["log", "store.duckdb"], &["log", "store.duckdb", "identity"]] {
        let folder = marked_folder();
        let aside = folder.path().join("superseded");
        std::fs::create_dir(&aside).unwrap();
        for name in moved {
            let from = folder.path().join(name);
            if from.exists() {
                std::fs::rename(from, aside.join(name)).unwrap();
            }
        }
        assert!(claim(folder.path()).former().is_some(), "{moved:?}");
        assert!(aside.join("log").is_dir(), "{moved:?}");
        assert!(aside.join("store.duckdb").is_file(), "{moved:?}");
        assert!(!folder.path().join("rebuild").exists(), "{moved:?}");
    }
}

fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        all.insert(next.clone(), next.metadata().unwrap().mode() & 0o777);
        for item in std::fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("model") {
                // The model's file is the tests' own, and written after the start.
                let mode = path.metadata().unwrap().mode() & 0o777;
                all.insert(path, mode);
            }
        }
    }
    all
}

#[test]
fn a_folder_and_what_a_node_creates_in_it_are_its_users_alone() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("made").join("n0");
    let (node, _) = start(&folder);
    write(&node, "a row").unwrap();
    node.stop();
    let all = modes(&folder);
    let wide: Vec<_> = all.iter().filter(|(_, mode)| **mode & 0o077 != 0).collect();
    assert!(all.len() > 4 && wide.is_empty(), "{wide:?}");
}

#[test]
fn a_folder_that_others_may_use_is_tightened_at_the_start() {
    let folder = used_folder();
    for (path, mode) in modes(folder.path()) {
        std::fs::set_permissions(path, Permissions::from_mode(mode | 0o066)).unwrap();
    }
    let (node, _) = start(folder.path());
    node.stop();
    let wide: Vec<_> = modes(folder.path()).into_iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(wide.is_empty(), "{wide:?}");
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let folder = used_folder();
    // Only root can give a folder away.
    if std::os::unix::fs::chown(folder.path(), Some(12345), None).is_ok() {
        let error = refused(folder.path(), "n0");
        assert!(matches!(error, Error::Owner { owner: 12345, .. }) && error.to_string().contains("chown -R"));
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn member(folder: &Path) -> DataFolder {
    match Claim::take(folder, &node_id()).unwrap() {
        Claim::Member(member) => member,
        Claim::Empty(_) => panic!("the folder is no member's"),
    }
}

#[test]
fn a_folder_becomes_another_clusters_whenever_that_is_interrupted_or_stays_what_it_is() {
    let before = used_folder();
    std::fs::write(before.path().join("witnessed"), "peers").unwrap();
    let former = member(before.path()).identity().clone();
    let after = tempfile::tempdir().unwrap();
    copy(before.path(), after.path());
    let identity = member(after.path()).refound().unwrap().commit().unwrap();
    assert_ne!(identity.cluster_id, former.cluster_id);
    assert_eq!((identity.incarnation, identity.boot), (former.incarnation + 1, 0));

    let dropped = tempfile::tempdir().unwrap();
    copy(before.path(), dropped.path());
    drop(member(dropped.path()).refound().unwrap());
    assert!(dropped.path().join("refounding/log").exists());
    assert_eq!(*member(dropped.path()).identity(), former, "nothing was decided");
    assert!(!dropped.path().join("refounding").exists());

    // What each step of the commit leaves on the disk, in their order.
    let steps: [&dyn Fn(&Path); 5] = [
        &|folder| {
            copy(&after.path().join("log"), &folder.join("refounding/log"));
            std::fs::copy(after.path().join("identity"), folder.join("refounding/identity")).unwrap();
        },
        &|folder| {
            std::fs::create_dir(folder.join("superseded")).unwrap();
            std::fs::rename(folder.join("log"), folder.join("superseded/log")).unwrap();
        },
        &|folder| std::fs::rename(folder.join("refounding/log"), folder.join("log")).unwrap(),
        &|folder| std::fs::write(folder.join("joining"), "").unwrap(),
        &|folder| std::fs::rename(folder.join("refounding/identity"), folder.join("identity")).unwrap(),
    ];
    for count in 1..=steps.len() {
        let folder = tempfile::tempdir().unwrap();
        copy(before.path(), folder.path());
        steps[..count].iter().for_each(|step| step(folder.path()));
        let is_complete = count == steps.len();
        assert_eq!(FolderView::read(folder.path()).unwrap().is_being_refounded, !is_complete);
        let taken = member(folder.path());
        assert_eq!((taken.identity().cluster_id, taken.identity().boot), (identity.cluster_id, 1), "{count}");
        assert!(taken.has_foreign_store().unwrap() && folder.path().join("superseded/log").exists());
        let view = FolderView::read(folder.path()).unwrap();
        assert!(view.read_log().is_ok(), "{count}: the log belongs to the identity");
        assert!(!folder.path().join("refounding").exists());
        assert_eq!(
            folder.path().join("witnessed").exists(),
            count == steps.len(),
            "heard in the old cluster"
        );
    }
}
