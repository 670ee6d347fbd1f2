//! A node whose log leads to something else than it has told its clients, or than another node says.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quack_node::{DataFolder, DigestAt, Membership, NoTransport, NodeConfig, NodeHandle};
use quack_types::{LogIndex, Mark};
use support::{Control, LONG, Model, alone, config, never, node_id, said, start, start_with, write};

fn without_checkpoints() -> NodeConfig {
    NodeConfig { checkpoint_on_stop: false, ..config() }
}

/// Starts a node that decides every entry differently than it did before.
fn start_differing(folder: &Path) -> (Arc<NodeHandle>, Arc<Control>) {
    let folder = DataFolder::open(folder, &node_id()).unwrap();
    let (model, control) = Model::open(folder.path());
    control.differs.store(true, Ordering::Relaxed);
    let config = without_checkpoints();
    let node = NodeHandle::start(config, folder, Box::new(model), Box::new(NoTransport), alone()).unwrap();
    (node, control)
}

/// A folder with entries that say what came of those before them.
fn used(folder: &Path) {
    let (node, _) = start_with(folder, without_checkpoints());
    write(&node, "a row").unwrap();
    let mark = node.decided().unwrap();
    write(&node, &said(mark, "self")).unwrap();
    write(&node, "another row").unwrap();
    assert_eq!(node.degraded(), None);
    node.stop();
}

#[test]
fn a_cluster_of_one_that_replays_to_something_else_stops_for_good_and_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path());
    // At every start again.
    for _ in 0..2 {
        let (node, control) = start_differing(folder.path());
        node.wait_until_ready(LONG, &never).unwrap_err();
        let reason = node.degraded().unwrap();
        assert!(reason.contains("differs from what clients were told: at entry 2 of the log"), "{reason}");
        assert!(reason.contains("restore a backup into an empty folder"), "{reason}");
        assert!(write(&node, "more").is_err());
        node.stop();
        assert_eq!(control.checkpoints.load(Ordering::Relaxed), 0, "it makes no checkpoint of that");
        // Nothing could rebuild it.
        assert!(!folder.path().join("rebuild").exists());
    }
    let (node, control) = start_with(folder.path(), without_checkpoints());
    assert_eq!(control.state.lock().unwrap().texts.len(), 3);
    assert_eq!(node.degraded(), None);
}

#[test]
fn the_same_replay_is_no_difference_also_behind_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path());
    let (node, _) = start_with(folder.path(), without_checkpoints());
    let before = node.decided().unwrap();
    assert_eq!(node.decided_at(before.root), DigestAt::Known(before.digest));
    node.checkpoint(LONG, &never).unwrap();
    write(&node, &said(before, "self")).unwrap();
    node.stop();
    let (node, _) = start_with(folder.path(), without_checkpoints());
    // What is said of a position before the start is not looked at: the state goes on from it.
    assert_eq!(node.decided_at(before.root), DigestAt::Forgotten);
    write(&node, "a row").unwrap();
    assert_eq!(node.degraded(), None);
}

#[test]
fn a_member_that_replays_to_something_else_is_to_be_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    // It votes alone, but there is a learner that it could be compared with.
    let first = Membership::new([node_id().raft_id(0)], [quack_types::RaftId(7)]);
    let run = |differs: bool| {
        let folder = DataFolder::open(folder.path(), &node_id()).unwrap();
        let (model, control) = Model::open(folder.path());
        control.differs.store(differs, Ordering::Relaxed);
        let transport = Box::new(NoTransport);
        NodeHandle::start(without_checkpoints(), folder, Box::new(model), transport, first.clone()).unwrap()
    };
    let node = run(false);
    node.wait_until_ready(LONG, &never).unwrap();
    write(&node, "a row").unwrap();
    let mark = node.decided().unwrap();
    write(&node, &said(mark, "self")).unwrap();
    node.stop();
    let node = run(true);
    node.wait_until_ready(LONG, &never).unwrap_err();
    let reason = node.degraded().unwrap();
    assert!(
        reason.contains("differs from what it told its clients before: at entry 2 of the log"),
        "{reason}"
    );
    assert!(folder.path().join("rebuild").exists());
}

#[test]
fn what_another_node_says_is_a_suspicion_and_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = Membership::new([node_id().raft_id(0)], [quack_types::RaftId(7)]);
    let claimed = DataFolder::open(folder.path(), &node_id()).unwrap();
    let (model, _) = Model::open(claimed.path());
    let node = NodeHandle::start(config(), claimed, Box::new(model), Box::new(NoTransport), first).unwrap();
    node.wait_until_ready(LONG, &never).unwrap();
    write(&node, "a row").unwrap();
    let Mark { root, digest } = node.decided().unwrap();
    let suspicions = node.suspicions();
    write(&node, &said(Mark { root, digest }, "7")).unwrap();
    assert_eq!(suspicions.wait(Duration::from_millis(1)), None);
    write(&node, &said(Mark { root, digest: digest ^ 1 }, "7")).unwrap();
    assert_eq!(suspicions.wait(LONG), Some(root));
    // A peer's word, too.
    node.hear_digest(quack_types::RaftId(7), Mark { root, digest });
    assert_eq!(suspicions.wait(Duration::from_millis(1)), None);
    let last = node.decided().unwrap();
    node.hear_digest(quack_types::RaftId(7), Mark { root: last.root.next(), digest: 1 });
    assert_eq!(suspicions.wait(Duration::from_millis(1)), None);
    write(&node, "more").unwrap();
    assert_eq!(suspicions.wait(LONG), Some(last.root.next()));
    assert_eq!(node.degraded(), None);
}

#[test]
fn a_node_that_has_applied_nothing_since_its_start_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    assert_eq!(node.decided(), None);
    assert_eq!(node.decided_at(LogIndex(1)), DigestAt::NotYet);
}
