//! Two clusters with nodes of the same names at the same addresses, under certificates of one authority: what one of them
//! hears of the other means nothing to it.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::*;
use prost::Message as _;
use quack_proto::peer::v1::{Admit, Call, Hello, Introduction};

/// Three nodes of which the last one belongs to a cluster that was there before, as far as the others can see in its place.
fn old_node_beside_a_new_cluster() -> (World, Vec<Node>) {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let old = world.found();
    for number in 0..20 {
        old[0].set(&format!("old-{number}"), "x");
    }
    old.into_iter().for_each(Node::kill);
    std::fs::rename(world.data("n2"), world.data("aside")).unwrap();
    ["n0", "n1"].iter().for_each(|name| world.wipe(name));
    let mut new = world.found();
    new.pop().unwrap().kill();
    world.wipe("n2");
    std::fs::rename(world.data("aside"), world.data("n2")).unwrap();
    (world, new)
}

#[test]
fn a_node_of_an_old_cluster_takes_no_part_in_the_one_that_was_founded_in_its_place() {
    let (world, new) = old_node_beside_a_new_cluster();
    let stranger = world.start("n2");
    for number in 0..20 {
        new[number % 2].set(&format!("new-{number}"), "x");
    }
    let view = new[0].view("n2").unwrap();
    assert_eq!(view.state, "unreachable");
    let reason = view.reason.unwrap();
    assert!(
        reason.contains("node 'n2': it belongs to another cluster that has nodes of the same names"),
        "{reason}"
    );
    for node in &new {
        eventually("a node has all", || (0..20).all(|number| node.get(&format!("new-{number}")).is_some()));
        assert_eq!((node.get("old-0"), node.handle().degraded()), (None, None));
    }
    assert_eq!(stranger.get("new-0"), None);
    assert_eq!(stranger.get("old-19").as_deref(), Some("x"));
    stranger.wait_until_it_waits_for("does not belong to this cluster now");
    // It stays what it is, and an empty folder in its place joins.
    stranger.kill();
    world.wipe("n2");
    let n2 = world.start("n2");
    n2.ready();
    eventually("it has all", || (0..20).all(|number| n2.get(&format!("new-{number}")).is_some()));
}

#[test]
fn calls_of_a_node_of_another_cluster_are_refused_and_its_start_is_no_word_of_the_member() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let mut stranger = world.puppet("n1", |_, _| Err("it is a puppet".to_owned()));
    let ours = std::mem::replace(&mut stranger.cluster_id, Bytes::from(vec![7; 16]));
    for method in [
        "admit",
        "members",
        "snapshot",
        "snapshot-piece",
        "snapshot-end",
        "snapshot-needed",
        "verified",
        "digest",
        "diverged",
    ] {
        let error = stranger.call(&id("n0"), method, Admit::default()).unwrap_err();
        assert!(error.contains("it belongs to another cluster"), "{method}: {error}");
        let error = stranger.call_stranger(&id("n0"), method, Call::default()).unwrap_err();
        assert!(error.contains("it belongs to another cluster"), "{method}: {error}");
    }
    let moved = world.member("n1:learner");
    let hello = Hello {
        node_id: "n1".to_owned(),
        cluster_id: vec![7; 16].into(),
        peers: vec![moved.to_string()],
        introduction: Some(Introduction {
            previous_boot: 900,
            boot: 901,
            start: 5,
            begins: true,
            logs: Vec::new(),
        }),
        ..Hello::default()
    };
    let answer = stranger.call_stranger(&id("n0"), "hello", hello).unwrap();
    let answer = Hello::decode(answer).unwrap();
    assert_eq!((answer.cluster_id, answer.objection.as_str()), (ours, ""));
    assert!(nodes[0].cluster.roster().addresses().iter().all(|(_, endpoint)| *endpoint != moved.endpoint));
    drop(stranger);
    // The member's folder is not older than a start that was another node's.
    let n1 = world.start("n1");
    n1.ready();
    assert_eq!((n1.incarnation(), n1.handle().degraded()), (0, None));
}

#[test]
fn an_empty_node_does_not_choose_between_the_clusters_of_its_peers() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let hello = |name: &str, id: u8| Hello {
        node_id: name.to_owned(),
        leader: name.to_owned(),
        cluster_id: vec![id; 16].into(),
        shared: shared().to_proto(),
        ..Hello::default()
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let puppets = [("n0", 7), ("n1", 8)].map(|(name, id)| {
        let (said, asked) = (hello(name, id), asked.clone());
        world.puppet(name, move |method, _| match method {
            "hello" => Ok(said.encode_to_vec().into()),
            _ => {
                asked.fetch_add(1, Ordering::Relaxed);
                Err("it is a puppet".to_owned())
            }
        })
    });
    let n2 = world.start("n2");
    n2.wait_until_waiting_for(
        "its peers to belong to one cluster: node 'n0' and node 'n1' belong to different clusters. Stop the nodes",
    );
    assert_eq!(asked.load(Ordering::Relaxed), 0, "it asks none of them to admit it");
    drop(puppets);
}
