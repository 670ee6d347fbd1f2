//! Nodes that decide an entry differently: which one stops, how soon, and what happens without a majority.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use quack_proto::log::v1::Digest;
use quack_proto::peer::v1::{DigestAnswer, DigestRequest, Diverged, diverged::Found};
use quack_types::{GroupId, LogIndex, Mark};

const OTHERWISE: &str = "it has decided differently than the quorum";

fn found(members: &[&str]) -> (World, Vec<Node>) {
    let world = World::new(members);
    let nodes = world.found();
    hand_over(&nodes, 0);
    (world, nodes)
}

fn degraded(node: &Node) -> Option<String> {
    node.handle().degraded()
}

/// Waits until a node has stopped; how long it took is printed, not judged.
fn wait_stopped(node: &Node) -> String {
    let began = Instant::now();
    eventually(&format!("{} stops", node.id), || degraded(node).is_some());
    println!("{} has stopped after {:?}", node.id, began.elapsed());
    degraded(node).unwrap()
}

fn require_going_on(nodes: &[&Node]) {
    nodes[0].set("later", "value");
    eventually("the others go on", || nodes.iter().all(|node| node.get("later").is_some()));
    assert!(nodes.iter().all(|node| degraded(node).is_none()));
}

#[test]
fn a_node_that_decides_differently_stops_at_once_and_is_rebuilt() {
    let (world, mut nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[2].values().refuse("key");
    // Nothing comes after it, and no statement asks.
    nodes[1].set("key", "value");
    let reason = wait_stopped(&nodes[2]);
    assert!(reason.contains(OTHERWISE) && reason.contains("its digest of outcomes is"), "{reason}");
    require_going_on(&[&nodes[0], &nodes[1]]);
    nodes.pop().unwrap().kill();
    nodes.push(world.start("n2"));
    nodes[2].ready();
    assert_eq!(nodes[2].incarnation(), 1);
    require_going_on(&[&nodes[2], &nodes[0], &nodes[1]]);
    assert_eq!(nodes[2].get("key").as_deref(), Some("value"));
}

#[test]
fn a_leader_that_decides_differently_stops_itself_and_the_others_choose_another_one() {
    let (_world, nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[0].values().refuse("key");
    nodes[1].set("key", "value");
    let reason = wait_stopped(&nodes[0]);
    assert!(reason.contains(OTHERWISE), "{reason}");
    assert!(leader(&nodes[1..]) < 2);
    require_going_on(&[&nodes[1], &nodes[2]]);
}

#[test]
fn a_node_that_proposes_what_it_then_decides_differently_stops() {
    let (_world, nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[2].values().refuse("key");
    let refused = nodes[2].host().propose_in(GroupId::ROOT, statement("key", "value"), LONG);
    assert!(refused.is_err(), "the others have taken it");
    wait_stopped(&nodes[2]);
    require_going_on(&[&nodes[0], &nodes[1]]);
    assert_eq!(nodes[0].get("key").as_deref(), Some("value"));
}

#[test]
fn learners_have_no_say() {
    let (_world, nodes) = found(&["n0:voter", "n1:learner", "n2:learner"]);
    nodes[1].values().refuse("key");
    nodes[2].values().refuse("key");
    nodes[0].set("key", "value");
    nodes[1..].iter().for_each(|node| assert!(wait_stopped(node).contains(OTHERWISE)));
    require_going_on(&[&nodes[0]]);
}

#[test]
fn without_a_majority_no_node_stops_until_there_is_one() {
    let (world, mut nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes.pop().unwrap().kill();
    nodes[1].values().refuse("key");
    nodes[0].set("key", "value");
    // Long enough for several attempts.
    std::thread::sleep(Duration::from_millis(1500));
    require_going_on(&[&nodes[0], &nodes[1]]);
    nodes.push(world.start("n2"));
    wait_stopped(&nodes[1]);
    require_going_on(&[&nodes[0], &nodes[2]]);
}

#[test]
fn a_claim_that_is_true_of_no_node_stops_none() {
    let (_world, nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[0].set("key", "value");
    let Mark { root, digest } = nodes[1].handle().decided().unwrap();
    eventually("all have come so far", || {
        nodes.iter().all(|node| node.handle().decided().is_some_and(|mark| mark.root >= root))
    });
    // As of a node that was rebuilt since: its entries are still in the log.
    let said = Some(Mark { root, digest: digest ^ 1 });
    let former = quack_types::ProposalId { origin: quack_types::RaftId(7), boot: 1, sequence: 1 };
    let data = quack_apply::entry::encode(former, 0, said, statement("other", "value"));
    let mut id = nodes[1].handle().next_proposal_id();
    (id.origin, id.boot, id.sequence) = (former.origin, former.boot, former.sequence);
    let waiting = nodes[1].handle().propose(GroupId::ROOT, id, data, &|| false);
    drop(waiting.map(|waiter| waiter.wait(Duration::from_millis(200), &|| false)));
    std::thread::sleep(Duration::from_millis(800));
    require_going_on(&[&nodes[0], &nodes[1], &nodes[2]]);
}

#[test]
fn a_node_whose_own_claim_is_not_true_stops_without_being_told() {
    let (_world, nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[1].set("key", "value");
    let Mark { root, digest } = nodes[1].handle().decided().unwrap();
    let said = Some(Mark { root, digest: digest ^ 1 });
    let _ = nodes[1].host().propose_saying(GroupId::ROOT, statement("other", "value"), LONG, said);
    let reason = wait_stopped(&nodes[1]);
    assert!(reason.contains("differs from what it told its clients before"), "{reason}");
    require_going_on(&[&nodes[0], &nodes[2]]);
}

#[test]
fn a_cluster_of_one_that_replays_to_something_else_stops() {
    let world = World::new(&["n0:voter"]);
    let mut nodes = world.found();
    nodes[0].set("key", "value");
    nodes[0].set("other", "value");
    nodes.pop().unwrap().kill();
    let refuses = world.data("n0").join(REFUSES);
    std::fs::write(&refuses, "key").unwrap();
    for _ in 0..2 {
        let node = world.start("n0");
        let reason = wait_stopped(&node);
        assert!(reason.contains("differs from what clients were told: at entry"), "{reason}");
        assert!(reason.contains("restore a backup into an empty folder"), "{reason}");
    }
    std::fs::remove_file(refuses).unwrap();
    let node = world.start("n0");
    node.ready();
    assert_eq!(node.get("other").as_deref(), Some("value"));
    require_going_on(&[&node]);
}

#[test]
fn a_member_that_says_what_no_quorum_has_decided_stops_no_other() {
    let (world, mut nodes) = found(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes[0].set("key", "value");
    eventually("n1 has it", || nodes[1].get("key").is_some());
    nodes.pop().unwrap().kill();
    let Mark { root, digest } = nodes[0].handle().decided().unwrap();
    // It lies to those who ask, too.
    let lie = DigestAnswer { value: Some(digest ^ 1) };
    let puppet = world.puppet("n2", move |method, _| match method {
        "digest" => Ok(prost::Message::encode_to_vec(&lie).into()),
        _ => Err("it is a puppet".to_owned()),
    });
    let ask = |position| puppet.call(&id("n0"), "digest", DigestRequest { position });
    let known = |position| <DigestAnswer as prost::Message>::decode(ask(position).unwrap()).unwrap().value;
    assert_eq!((known(root.0), known(root.0 + 1000)), (Some(digest), None));
    assert!(ask(0).unwrap_err().contains("remembers nothing of entry 0"));
    for (position, value) in [(root, digest), (LogIndex(root.0 + 1000), 1), (root, digest ^ 1)] {
        let found = Some(Found::Outcomes(Digest { position: position.0, value }));
        for name in ["n0", "n1"] {
            puppet.call(&id(name), "diverged", Diverged { found: found.clone() }).unwrap();
        }
        assert!(nodes.iter().all(|node| degraded(node).is_none()));
    }
    require_going_on(&[&nodes[0], &nodes[1]]);
}
