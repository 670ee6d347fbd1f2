//! Nodes that do not hold the same: which are told, which stop, and when no node can tell which are right.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;

use common::*;
use prost::Message as _;
use quack_cluster::{Change, Verdict};
use quack_proto::peer::v1::{Diverged, VerificationHash, Verified, VerifiedRequest, diverged::Found};

/// All that verifications of these tests look at is there.
fn filled(members: &[&str]) -> (World, Vec<Node>) {
    let world = World::new(members);
    let nodes = world.found();
    nodes[0].set("key", "value");
    eventually("all have it", || nodes.iter().all(|node| node.get("key").is_some()));
    (world, nodes)
}

fn states(verdicts: &[Verdict]) -> Vec<&'static str> {
    verdicts.iter().map(|verdict| verdict.state).collect()
}

fn verify(asked: &Node) -> Vec<Verdict> {
    asked.cluster.verify().unwrap()
}

#[test]
fn equal_nodes_are_found_to_be_equal_from_every_one_of_them() {
    let (_world, nodes) = filled(&["n0:voter", "n1:voter", "n2:learner"]);
    for asked in &nodes {
        let verdicts = verify(asked);
        assert_eq!(states(&verdicts), ["equal"; 3]);
        assert!(verdicts.iter().all(|verdict| verdict.hash == verdicts[0].hash && verdict.hash.is_some()));
        assert!(verdicts.iter().all(|verdict| verdict.reason.is_none()));
    }
    assert!(nodes.iter().all(|node| node.handle().degraded().is_none()));
}

#[test]
fn a_node_that_differs_stops_and_the_majority_goes_on() {
    let (_world, nodes) = filled(&["n0:voter", "n1:voter", "n2:voter"]);
    hand_over(&nodes, 0);
    nodes[2].values().tamper("key", "rotten");
    assert_eq!(states(&verify(&nodes[1])), ["equal", "equal", "different"]);
    let reason = nodes[2].handle().degraded().expect("n2 has stopped");
    assert!(reason.contains("what it holds differs from the quorum"), "{reason}");
    nodes[1].set("later", "value");
    eventually("the others go on", || nodes[..2].iter().all(|node| node.get("later").is_some()));
    assert_eq!(nodes[2].get("later"), None, "n2 applies nothing any more");
    assert!(nodes[..2].iter().all(|node| node.handle().degraded().is_none()));
}

#[test]
fn a_node_that_has_stopped_says_at_once_that_it_will_never_know() {
    let (world, mut nodes) = filled(&["n0:voter", "n1:voter", "n2:voter"]);
    nodes.pop().unwrap().kill();
    let puppet = world.puppet("n2", |_, _| Err("it is a puppet".to_owned()));
    nodes[1].handle().fail("a test says so");
    let error = puppet.call(&id("n1"), "verified", VerifiedRequest { number: 7 }).unwrap_err();
    assert!(error.contains("it is degraded: a test says so"), "{error}");
    // One that works may come to it yet.
    let answer = puppet.call(&id("n0"), "verified", VerifiedRequest { number: 7 }).unwrap();
    assert!(!Verified::decode(answer).unwrap().done);
}

#[test]
fn a_leader_that_differs_stops_itself_and_the_others_choose_another_one() {
    let (_world, nodes) = filled(&["n0:voter", "n1:voter", "n2:voter"]);
    hand_over(&nodes, 0);
    nodes[0].values().tamper("key", "rotten");
    assert_eq!(states(&verify(&nodes[0])), ["different", "equal", "equal"]);
    assert!(nodes[0].handle().degraded().is_some());
    assert!(leader(&nodes[1..]) < 2);
    nodes[2].set("later", "value");
    eventually("the others go on", || nodes[1].get("later").is_some());
}

#[test]
fn without_a_majority_no_node_stops_and_it_is_said() {
    let (_world, nodes) = filled(&["n0:voter", "n1:voter", "n2:learner"]);
    nodes[0].values().tamper("key", "rotten");
    // The learner agrees with n1, and has no say.
    let verdicts = verify(&nodes[1]);
    assert_eq!(states(&verdicts), ["undecided"; 3]);
    assert_ne!(verdicts[0].hash, verdicts[1].hash);
    assert_eq!(verdicts[1].hash, verdicts[2].hash);
    for verdict in &verdicts {
        let reason = verdict.reason.as_ref().expect("a reason");
        assert!(reason.contains("no majority of the voters holds the same"), "{reason}");
    }
    assert!(nodes.iter().all(|node| node.handle().degraded().is_none()));
    nodes[2].set("later", "value");
    eventually("they go on", || nodes.iter().all(|node| node.get("later").is_some()));
}

#[test]
fn learners_are_no_quorum_and_stop_when_they_differ_from_the_voters() {
    let (_world, nodes) = filled(&["n0:voter", "n1:learner", "n2:learner"]);
    nodes[1].values().tamper("key", "rotten");
    nodes[2].values().tamper("key", "rotten");
    assert_eq!(states(&verify(&nodes[0])), ["equal", "different", "different"]);
    assert!(nodes[0].handle().degraded().is_none());
    assert!(nodes[1..].iter().all(|node| node.handle().degraded().is_some()));
}

#[test]
fn a_member_that_says_what_no_quorum_has_found_stops_no_other() {
    let (world, mut nodes) = filled(&["n0:voter", "n1:voter", "n2:voter"]);
    let hash = verify(&nodes[0])[0].hash.clone().unwrap();
    nodes.pop().unwrap().kill();
    // It lies to those who ask, too.
    let lie = Verified { done: true, hash: "other".to_owned() };
    let puppet = world.puppet("n2", move |method, _| match method {
        "verified" => Ok(prost::Message::encode_to_vec(&lie).into()),
        _ => Err("it is a puppet".to_owned()),
    });
    let number = nodes[0].values().verifications()[0];
    // One that it has not made, one in which it has found just this, and one in which it has found something else.
    for (number, hash) in [(number + 1, "other"), (number, &hash), (number, "other")] {
        let found = Found::Verification(VerificationHash { number, hash: hash.to_owned() });
        for name in ["n0", "n1"] {
            puppet.call(&id(name), "diverged", Diverged { found: Some(found.clone()) }).unwrap();
        }
        assert!(nodes.iter().all(|node| node.handle().degraded().is_none()));
    }
    nodes[0].set("later", "value");
    eventually("they go on", || nodes[1].get("later").is_some());
}

/// What the leader sees to meanwhile: learners that have caught up, snapshots whose receivers have gone.
#[test]
fn a_verification_that_takes_minutes_holds_up_nothing_else() {
    let world = World::new(&["n0:voter"]);
    let mut settings = world.settings("n0");
    settings.verify_entries = 20;
    let n0 = world.start_with(settings);
    n0.ready();
    eventually("what it runs is recorded", || n0.member("n0").is_some_and(|member| member.release.is_some()));
    n0.values().hashes_slowly.store(true, Ordering::Relaxed);
    let began = || n0.values().verifications_begun.load(Ordering::Relaxed) > 0;
    eventually("a verification has begun", || {
        n0.set("key", "value");
        began()
    });
    let spec = world.member("n1:voter");
    n0.change(&Change::Put(spec.clone()));
    let mut settings = world.settings("n0");
    settings.own = id("n1");
    settings.peers.push(spec);
    let n1 = world.start_with(settings);
    n1.ready();
    eventually("the learner votes", || n0.handle().membership().is_voter(id("n1").raft_id(1)));
}
