//! Lanes on a cluster of one: what is proposed in them, ordered by cuts, and what becomes of it at every end.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quack_node::{Claim, DataFolder, NoTransport, NodeConfig, NodeHandle, ProposeError, Seed, Waiter};
use quack_types::{GroupId, LogIndex};
use support::{Control, LONG, Model, alone, config, encode, never, node_id, start_with, write};

fn lane(node: &NodeHandle, name: &str) -> GroupId {
    node.lanes().named(name).unwrap()
}

fn propose(node: &NodeHandle, group: GroupId, text: &str) -> Result<Waiter, ProposeError> {
    let id = node.next_proposal_id();
    node.propose(group, id, encode(id, text), &never)
}

fn write_in(node: &NodeHandle, group: GroupId, text: &str) -> String {
    let outcome = propose(node, group, text).unwrap().wait(LONG, &never).unwrap();
    String::from_utf8(outcome.to_vec()).unwrap()
}

fn texts(control: &Control) -> Vec<String> {
    control.state.lock().unwrap().texts.clone()
}

fn no_checkpoint_on_stop() -> NodeConfig {
    NodeConfig { checkpoint_on_stop: false, ..config() }
}

/// Kills the node, as far as its files are concerned.
fn restart(path: &Path, node: &Arc<NodeHandle>) -> (Arc<NodeHandle>, Arc<Control>) {
    node.stop();
    start_with(path, no_checkpoint_on_stop())
}

#[test]
fn what_is_proposed_in_a_lane_takes_its_place_in_the_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start_with(folder.path(), config());
    write(&node, "lanes a b").unwrap();
    let (a, b) = (lane(&node, "a"), lane(&node, "b"));
    assert!(a != b && a != GroupId::ROOT && b != GroupId::ROOT);
    assert_eq!(write_in(&node, a, "first"), "first at 2", "index 1 is the leader's own first entry");
    assert_eq!(write_in(&node, b, "second"), "second at 2");
    write(&node, "third").unwrap();
    assert_eq!(write_in(&node, a, "fourth"), "fourth at 3");
    assert_eq!(texts(&control), ["lanes a b", "first", "second", "third", "fourth"]);
    let status = node.status(|_| None);
    let names: Vec<(&str, u64)> =
        status.iter().map(|group| (group.group_name.as_str(), group.applied_index.0)).collect();
    assert_eq!(names[1..], [("a", 3), ("b", 2)]);
}

#[test]
fn a_restart_goes_on_where_the_last_checkpoint_was_in_every_group() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start_with(folder.path(), no_checkpoint_on_stop());
    write(&node, "lanes a b").unwrap();
    let (a, b) = (lane(&node, "a"), lane(&node, "b"));
    write_in(&node, a, "before");
    node.checkpoint(LONG, &never).unwrap();
    write_in(&node, b, "behind");
    write_in(&node, a, "behind, too");
    let (node, control) = restart(folder.path(), &node);
    assert_eq!(texts(&control), ["lanes a b", "before", "behind", "behind, too"]);
    assert_eq!((lane(&node, "a"), lane(&node, "b")), (a, b));
    write_in(&node, b, "again");
    let (_, control) = restart(folder.path(), &node);
    assert_eq!(texts(&control)[4..], ["again"]);
}

#[test]
fn lanes_that_no_checkpoint_holds_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start_with(folder.path(), no_checkpoint_on_stop());
    write(&node, "lanes a").unwrap();
    let a = lane(&node, "a");
    write_in(&node, a, "in a");
    write(&node, "lanes b").unwrap();
    write_in(&node, lane(&node, "b"), "in b");
    let (node, control) = restart(folder.path(), &node);
    assert_eq!(texts(&control), ["lanes a", "in a", "lanes b", "in b"]);
    assert_eq!(node.lanes().named("a"), None);
    assert!(lane(&node, "b") > a, "no number is given out twice");
}

#[test]
fn a_proposal_for_a_lane_that_is_gone_takes_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start_with(folder.path(), config());
    write(&node, "lanes a").unwrap();
    let a = lane(&node, "a");
    write(&node, "lanes").unwrap();
    write_in(&node, a, "late");
    write_in(&node, GroupId(77), "nowhere");
    assert_eq!(texts(&control)[2..], ["late", "nowhere"]);
}

#[test]
fn what_a_dropped_lane_had_not_ordered_is_proposed_again_and_applied_once() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start_with(folder.path(), config());
    for round in 0..20 {
        write(&node, "lanes a").unwrap();
        let a = lane(&node, "a");
        control.apply_slow.store(2, Ordering::Relaxed);
        let early: Vec<Waiter> =
            (0..5).map(|i| propose(&node, a, &format!("{round}/{i}")).unwrap()).collect();
        let drop = propose(&node, GroupId::ROOT, "lanes").unwrap();
        let late: Vec<Waiter> = (5..9).map(|i| propose(&node, a, &format!("{round}/{i}")).unwrap()).collect();
        for waiter in early.into_iter().chain([drop]).chain(late) {
            waiter.wait(LONG, &never).unwrap();
        }
        control.apply_slow.store(0, Ordering::Relaxed);
    }
    let mut seen: Vec<String> = texts(&control).into_iter().filter(|text| text.contains('/')).collect();
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!((seen.len(), count), (180, 180), "each once");
}

#[test]
fn a_dropped_lane_leaves_the_log_behind_a_checkpoint_once_it_rests() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start_with(folder.path(), config());
    write(&node, "lanes a").unwrap();
    write_in(&node, lane(&node, "a"), "in a");
    write(&node, "lanes").unwrap();
    let groups = || node.status(|_| None).len();
    assert_eq!(groups(), 2);
    let deadline = std::time::Instant::now() + LONG;
    while groups() > 1 {
        assert!(std::time::Instant::now() < deadline, "the lane stays for ever");
        write(&node, "something for a checkpoint").unwrap();
        node.checkpoint(LONG, &never).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let (node, _) = restart(folder.path(), &node);
    assert_eq!(node.status(|_| None).len(), 1);
    assert_eq!(node.applied(), node.commit_index());
    assert!(node.applied() > LogIndex(4));
}

#[test]
fn a_lane_that_a_checkpoint_holds_and_the_log_does_not_begins_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start_with(folder.path(), config());
    write(&node, "something").unwrap();
    node.stop();
    // As if the node had died after a checkpoint with the lane, and before the lane was in the log.
    let checkpoint = std::fs::read_to_string(folder.path().join("model")).unwrap();
    let (root, texts) = ("2", "something");
    assert_eq!(checkpoint, format!("{root}\n0\n\n{texts}\n"));
    std::fs::write(folder.path().join("model"), format!("{root}\n2\n2 a {root} 0\n{texts}\n")).unwrap();
    let (node, control) = start_with(folder.path(), no_checkpoint_on_stop());
    assert_eq!(write_in(&node, lane(&node, "a"), "in a"), "in a at 2");
    let (_, control) = (drop(control), restart(folder.path(), &node).1);
    assert_eq!(self::texts(&control), ["something", "in a"]);
}

/// A store that comes with a snapshot holds more than the snapshot says: of the root, and of lanes, whose entries arrive
/// by roads of their own.
#[test]
fn a_store_of_a_snapshot_is_not_the_nodes_own_before_the_log_of_each_lane_has_reached_it() {
    let peer = tempfile::tempdir().unwrap();
    let (node, _) = start_with(peer.path(), config());
    write(&node, "lanes a").unwrap();
    let a = lane(&node, "a");
    write_in(&node, a, "one");
    node.checkpoint(LONG, &never).unwrap();
    let floors = || node.hold_checkpoints("a test", LONG).unwrap().floors.clone();
    let earlier = floors();
    write_in(&node, a, "two");
    node.checkpoint(LONG, &never).unwrap();
    let floors = vec![floors()[0].clone(), earlier[1].clone()];
    assert!(floors[0].1.index > earlier[0].1.index && floors[1].0 == a);
    let path = tempfile::tempdir().unwrap();
    let Claim::Empty(empty) = Claim::take(path.path(), &node_id()).unwrap() else { panic!() };
    empty.begin_join().unwrap();
    std::fs::copy(peer.path().join("model"), path.path().join("model")).unwrap();
    // No member yet: it hears nothing.
    let seed = Seed { cluster_id: node.identity().cluster_id, incarnation: 7, floors };
    let mut folder = empty.join(&seed).unwrap();
    for _ in 0..2 {
        let (model, _) = Model::open(folder.path());
        let joined =
            NodeHandle::start(config(), folder, Box::new(model), Box::new(NoTransport), alone()).unwrap();
        assert_eq!(joined.degraded(), None);
        joined.settle_store().unwrap();
        joined.stop();
        // What it had not got of the lane it gets later, also after a restart.
        folder = DataFolder::open(path.path(), &node_id()).unwrap();
        assert!(folder.has_foreign_store().unwrap());
    }
}

/// A large statement has parts in a lane, which is dropped before its last entry has come.
#[test]
fn a_dropped_lane_stays_in_the_log_as_long_as_an_unfinished_statement_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start_with(folder.path(), no_checkpoint_on_stop());
    write(&node, "lanes a").unwrap();
    let a = lane(&node, "a");
    write_in(&node, a, "part");
    control.needed_in.store(a.0, Ordering::Relaxed);
    control.needed.store(2, Ordering::Relaxed);
    write(&node, "lanes").unwrap();
    let over = |node: &NodeHandle| {
        for _ in 0..20 {
            write(node, "something for a checkpoint").unwrap();
            node.checkpoint(LONG, &never).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    over(&node);
    let held = |node: &NodeHandle| {
        let status = node.status(|_| None).into_iter().find(|status| status.group_id == a);
        status.map(|status| status.log_held_by.join(", ")).unwrap_or_default()
    };
    assert!(held(&node).contains("an unfinished statement of node 'n0', from entry 2 on"), "{}", held(&node));
    assert_eq!(write(&node, &format!("read {a} 2")).unwrap(), "part");
    // Behind the last checkpoint it is read again.
    let (node, control) = restart(folder.path(), &node);
    assert_eq!(node.degraded(), None);
    control.needed_in.store(a.0, Ordering::Relaxed);
    control.needed.store(2, Ordering::Relaxed);
    over(&node);
    assert_eq!(write(&node, &format!("read {a} 2")).unwrap(), "part");
    // The statement is over.
    control.needed.store(0, Ordering::Relaxed);
    over(&node);
    assert_eq!(node.status(|_| None).len(), 1);
}
