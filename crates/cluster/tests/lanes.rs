//! Lanes of a whole cluster: one order on all nodes, while nodes join, are gone, or come back.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::*;
use quack_cluster::Change;
use quack_types::GroupId;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three nodes with three lanes.
fn with_lanes() -> (World, Vec<Node>, Vec<GroupId>) {
    lanes_in(World::new(&["n0:voter", "n1:voter", "n2:voter"]))
}

fn lanes_in(world: World) -> (World, Vec<Node>, Vec<GroupId>) {
    let nodes = world.found();
    for name in NAMES {
        nodes[0].set(&format!("lane-{name}"), name);
    }
    let lanes = NAMES.map(|name| nodes[1].lane(name)).into();
    (world, nodes, lanes)
}

fn wait_equal<'a>(nodes: impl IntoIterator<Item = &'a Node> + Clone) {
    eventually("all nodes hold the same", || {
        let hashes: BTreeSet<String> = nodes.clone().into_iter().map(|node| node.values().hash()).collect();
        hashes.len() == 1
    });
}

#[test]
fn writes_of_all_nodes_in_all_lanes_come_to_the_same_everywhere() {
    let (_world, nodes, lanes) = with_lanes();
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            let lanes = &lanes;
            scope.spawn(move || {
                for round in 0..60 {
                    // All of them fight for one key: the last in the order wins, and it must be the same one everywhere.
                    node.set_in(lanes[(round + number) % 3], "fought-for", &format!("{number}/{round}"));
                    node.set_in(lanes[round % 3], &format!("{number}-{round}"), "x");
                }
            });
        }
    });
    wait_equal(&nodes);
    assert!((0..3).all(|number| (0..60).all(|round| nodes[0].get(&format!("{number}-{round}")).is_some())));
}

#[test]
fn the_leaders_of_lanes_are_spread_over_the_nodes() {
    let (_world, nodes, lanes) = with_lanes();
    eventually("each node leads one lane", || {
        nodes.iter().all(|node| {
            let leads = |lane: &&GroupId| node.group(**lane).is_some_and(|group| group.role == "leader");
            lanes.iter().filter(leads).count() == 1
        })
    });
}

#[test]
fn a_node_that_joins_is_a_member_of_every_lane() {
    let (world, nodes, lanes) = with_lanes();
    for (number, lane) in lanes.iter().enumerate() {
        nodes[number].set_in(*lane, &format!("before-{number}"), "x");
    }
    hand_over(&nodes, 0);
    let spec = world.member("n3:voter");
    nodes[0].change(&Change::Put(spec.clone()));
    let mut settings = world.settings("n0");
    settings.own = id("n3");
    settings.peers.push(spec);
    let n3 = world.start_with(settings);
    n3.ready();
    eventually("it votes in every lane", || {
        let votes = |lane: &GroupId| n3.group(*lane).is_some_and(|group| group.voters.len() == 4);
        lanes.iter().all(votes)
    });
    for (number, lane) in lanes.iter().enumerate() {
        n3.set_in(*lane, &format!("from-{number}"), "x");
    }
    wait_equal(nodes.iter().chain([&n3]));
    assert!(n3.get("before-2").is_some() && nodes[0].get("from-2").is_some());
}

#[test]
fn a_node_that_lost_its_disk_gets_every_lane_back() {
    let (world, mut nodes, lanes) = with_lanes();
    for round in 0..30 {
        nodes[round % 3].set_in(lanes[round % 3], &format!("before-{round}"), "x");
    }
    let gone = nodes.pop().unwrap();
    gone.kill();
    world.wipe("n2");
    for (round, lane) in lanes.iter().enumerate() {
        nodes[0].set_in(*lane, &format!("meanwhile-{round}"), "x");
    }
    let back = world.start("n2");
    back.ready();
    for (round, lane) in lanes.iter().enumerate() {
        back.set_in(*lane, &format!("after-{round}"), "x");
    }
    wait_equal(nodes.iter().chain([&back]));
    assert!(back.get("before-29").is_some() && back.get("meanwhile-2").is_some());
}

#[test]
fn a_lane_without_its_leader_holds_up_no_other_group_and_goes_on() {
    let (world, mut nodes, lanes) = with_lanes();
    hand_over(&nodes, 0);
    let leads = |node: &Node, lane: GroupId| node.group(lane).is_some_and(|group| group.role == "leader");
    eventually("n2 leads a lane", || lanes.iter().any(|lane| leads(&nodes[2], *lane)));
    let led: Vec<GroupId> = lanes.iter().copied().filter(|lane| leads(&nodes[2], *lane)).collect();
    nodes.pop().unwrap().kill();
    nodes[0].set("the-root", "on");
    for lane in lanes.iter().filter(|lane| !led.contains(lane)) {
        nodes[1].set_in(*lane, "another-lane", "on");
    }
    // The remaining members elect a leader.
    nodes[0].set_in(led[0], "the-lane", "on");
    let back = world.start("n2");
    back.ready();
    wait_equal(nodes.iter().chain([&back]));
    assert!(back.get("the-lane").is_some());
}

#[test]
fn lanes_come_and_go_under_load_and_nothing_is_lost_or_doubled() {
    let (_world, nodes, _) = with_lanes();
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate().skip(1) {
            scope.spawn(move || {
                for round in 0..150 {
                    let lane = node.handle().group_named(NAMES[round % 3]).unwrap_or(GroupId::ROOT);
                    node.set_in(lane, &format!("{number}-{round}"), "x");
                }
            });
        }
        for round in 0..40 {
            // A lane that is there goes, and one that was gone comes back under a new number.
            let name = NAMES[round % 3];
            let other = NAMES[(round + 1) % 3];
            nodes[0].set(&format!("lane-{name}"), other);
        }
    });
    wait_equal(&nodes);
    for number in 1..3 {
        assert!((0..150).all(|round| nodes[0].get(&format!("{number}-{round}")).is_some()));
    }
}

#[test]
fn a_node_that_was_removed_can_be_switched_off_at_once() {
    let (world, mut nodes, lanes) = with_lanes();
    hand_over(&nodes, 0);
    // Down to one: each step leaves a majority that includes whom it removes, until the groups have followed.
    for name in ["n2", "n1"] {
        eventually("it leads a group, and lets it go", || {
            let gone = nodes.last().unwrap();
            lanes.iter().any(|lane| gone.group(*lane).is_some_and(|group| group.role == "leader"))
        });
        nodes[0].change(&Change::Remove(id(name)));
        nodes.pop().unwrap().kill();
        for lane in &lanes {
            nodes[0].set_in(*lane, "without", name);
            nodes[0].set_in(*lane, &format!("without-{name}-{lane}"), "x");
        }
    }
    assert_eq!(nodes[0].get("without"), Some("n1".to_owned()));
    drop(world);
}

/// All groups of a node are in one log: what is kept of one lane keeps all that came later.
#[test]
fn a_dropped_lane_is_not_kept_for_ever_for_a_member_that_is_away() {
    let mut world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    world.keep_log_bytes = 200_000;
    let (world, mut nodes, lanes) = lanes_in(world);
    nodes[1].set_in(lanes[0], "in-the-lane", "x");
    wait_equal(&nodes);
    nodes.pop().unwrap().kill();
    nodes[0].set_in(lanes[0], "while-it-is-away", "x");
    nodes[0].set("lane-a", "b");
    let write = |bytes: usize| {
        nodes[0].set("large", &"x".repeat(bytes));
        nodes.iter().for_each(|node| drop(node.handle().checkpoint(LONG, &|| false)));
    };
    // As long as the log can tell it of the drop, it is waited for, and named.
    write(1000);
    write(1000);
    let held = || nodes[0].group(lanes[0]).map(|group| group.log_held_by.join(", "));
    eventually("it is named", || held().is_some_and(|held| held.contains("waits for 'n2'")));
    eventually("the lane goes", || {
        write(100_000);
        nodes.iter().all(|node| node.group(lanes[0]).is_none())
    });
    let files = || std::fs::read_dir(world.data("n0").join("log")).unwrap().count();
    assert!(files() < 20, "{}", files());
    // It is rebuilt, and gets what it has missed of the lane.
    let back = world.start("n2");
    eventually("it is to be rebuilt", || back.handle().degraded().is_some());
    back.kill();
    let back = world.start("n2");
    back.ready();
    wait_equal(nodes.iter().chain([&back]));
    assert!(back.get("while-it-is-away").is_some());
}
