//! Folders that were put back from a copy: their nodes have promised more than they remember.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::*;

/// Copies a folder as a backup of files does.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

fn put_back(world: &World, name: &str, from: &Path) {
    world.wipe(name);
    copy(from, &world.data(name));
}

fn has_value(node: &Node, key: &str) {
    eventually(&format!("{} has {key}", node.id), || node.get(key).is_some());
}

/// Starts a node, and starts it again when it says so, until it works as another life than the first.
fn rebuilt(world: &World, name: &str) -> Node {
    let mut node = world.start(name);
    eventually("it is recognised", || {
        node.runs() && (node.incarnation() > 0 || node.handle().degraded().is_some())
    });
    if node.incarnation() == 0 {
        node.kill();
        node = world.start(name);
    }
    node.ready();
    assert_eq!(node.incarnation(), 1);
    node
}

/// The other nodes of three, the last one in a start that comes behind a copy of its folder, and that copy.
fn with_a_copy(world: &World) -> (Vec<Node>, Node, PathBuf) {
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let backup = world.data("backup");
    copy(&world.data("n2"), &backup);
    let n2 = world.start("n2");
    n2.ready();
    (nodes, n2, backup)
}

#[test]
fn what_a_restored_node_acknowledges_is_kept() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let (nodes, n2, backup) = with_a_copy(&world);
    for number in 0..20 {
        n2.set(&format!("before-{number}"), "x");
    }
    n2.kill();
    put_back(&world, "n2", &backup);
    let n2 = rebuilt(&world, "n2");
    for number in 0..20 {
        n2.set(&format!("after-{number}"), "x");
    }
    for node in nodes.iter().chain([&n2]) {
        for number in 0..20 {
            has_value(node, &format!("before-{number}"));
            has_value(node, &format!("after-{number}"));
        }
    }
}

/// A machine was cloned while its node worked: the copy knows of no fewer starts and promises than its origin.
#[test]
fn a_copy_of_a_node_that_is_at_work_takes_no_part() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    hand_over(&nodes, 0);
    nodes[0].set("before", "x");
    has_value(&nodes[2], "before");
    copy(&world.data("n2"), &world.data("clone"));
    for number in 0..20 {
        nodes[2].set(&format!("of-the-original-{number}"), "x");
    }
    let clone = world.start_copy("n2", "clone");
    eventually("the copy is told", || clone.runs() && clone.handle().degraded().is_some());
    let reason = clone.handle().degraded().unwrap();
    assert!(reason.contains("it is at work in another process, and this folder is a copy"), "{reason}");
    clone.kill();
    // Nothing stands behind it any more: the original goes on, and the copy waits for a place.
    let clone = world.start_copy("n2", "clone");
    clone.wait_until_waiting_for("node 'n2' is at work already, in another process");
    for number in 20..40 {
        nodes[2].set(&format!("of-the-original-{number}"), "x");
    }
    clone.kill();
    assert_eq!(nodes[2].handle().degraded(), None);
    // The original starts again at once.
    nodes.pop().unwrap().kill();
    let n2 = world.start("n2");
    n2.ready();
    assert_eq!(n2.incarnation(), 0);
    for node in nodes.iter().chain([&n2]) {
        (0..40).for_each(|number| has_value(node, &format!("of-the-original-{number}")));
    }
}

/// Three nodes of which two were put back from copies of before these rows; all of them have stopped.
fn with_two_put_back(world: &World) {
    let mut nodes = world.found();
    nodes.drain(1..).for_each(Node::kill);
    let names = ["n1", "n2"];
    names.iter().for_each(|name| copy(&world.data(name), &world.data(&format!("backup-{name}"))));
    nodes.extend(names.map(|name| world.start(name)));
    nodes.iter().for_each(Node::ready);
    for node in &nodes {
        node.set(&format!("of-{}", node.id), "x");
    }
    // Alone, n0 shows what it knew to be committed when it wrote its last entry.
    nodes.iter().for_each(|node| has_value(&nodes[0], &format!("of-{}", node.id)));
    nodes[0].set("last", "x");
    has_value(&nodes[0], "last");
    nodes.into_iter().for_each(Node::kill);
    names.iter().for_each(|name| put_back(world, name, &world.data(&format!("backup-{name}"))));
}

#[test]
fn two_restored_nodes_do_not_outvote_the_third() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    with_two_put_back(&world);
    // They are first, and the third comes a moment later.
    let restored = ["n1", "n2"].map(|name| world.start(name));
    std::thread::sleep(std::time::Duration::from_millis(1000));
    let third = world.start("n0");
    eventually("both are recognised", || {
        restored.iter().all(|node| node.runs() && node.handle().degraded().is_some())
    });
    for node in &restored {
        let reason = node.handle().degraded().unwrap();
        assert!(reason.contains("node 'n0'"), "{reason}");
        assert!(world.data(node.id.as_str()).join("rebuild").exists());
    }
    for name in ["n0", "n1", "n2"] {
        has_value(&third, &format!("of-{name}"));
    }
    assert!(third.handle().leader().is_none());
}

#[test]
fn all_folders_that_are_put_back_together_are_a_cluster() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let names = ["n0", "n1", "n2"];
    let nodes = world.found();
    nodes[0].set("kept", "x");
    nodes.into_iter().for_each(Node::kill);
    names.iter().for_each(|name| copy(&world.data(name), &world.data(&format!("backup-{name}"))));
    let nodes = names.map(|name| world.start(name));
    nodes.iter().for_each(Node::ready);
    nodes[1].set("later", "x");
    nodes.into_iter().for_each(Node::kill);
    names.iter().for_each(|name| put_back(&world, name, &world.data(&format!("backup-{name}"))));
    let nodes = names.map(|name| world.start(name));
    nodes.iter().for_each(Node::ready);
    nodes[2].set("again", "x");
    for node in &nodes {
        has_value(node, "kept");
        has_value(node, "again");
        assert_eq!(node.get("later"), None);
    }
}

/// Copied while it ran, as a virtual machine's snapshot is: no start has been counted since.
#[test]
fn a_copy_of_the_present_start_is_recognised_by_what_the_node_has_acknowledged() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    nodes.iter().for_each(|node| node.set(&format!("of-{}", node.id), "x"));
    let n2 = nodes.pop().unwrap();
    let backup = world.data("backup");
    copy(&world.data("n2"), &backup);
    nodes[0].set("later", "x");
    has_value(&n2, "later");
    n2.kill();
    put_back(&world, "n2", &backup);
    let n2 = rebuilt(&world, "n2");
    n2.set("last", "x");
    for node in nodes.iter().chain([&n2]) {
        has_value(node, "later");
        has_value(node, "last");
    }
}

/// No peer has heard of its starts: the log itself has what a later one has proposed.
#[test]
fn a_restored_node_recognises_itself_in_the_log() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let (nodes, n2, backup) = with_a_copy(&world);
    n2.set("kept", "x");
    has_value(&nodes[0], "kept");
    n2.kill();
    put_back(&world, "n2", &backup);
    nodes.into_iter().for_each(Node::kill);
    ["n0", "n1"].iter().for_each(|name| std::fs::remove_file(world.data(name).join("witnessed")).unwrap());
    let nodes = ["n0", "n1"].map(|name| world.start(name));
    nodes.iter().for_each(Node::ready);
    let n2 = rebuilt(&world, "n2");
    n2.set("last", "x");
    for node in nodes.iter().chain([&n2]) {
        has_value(node, "kept");
        has_value(node, "last");
    }
}
