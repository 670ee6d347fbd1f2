//! How a node with an empty disk becomes a member, and what its earlier life may still say.

#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::*;
use prost::Message as _;
use quack_cluster::{Change, Settings, Shared};
use quack_proto::log::v1::Digest;
use quack_proto::peer::v1::{Admit, Admitted, Batch, Hello, Message};
use quack_types::{Mark, RaftId};

/// Kind of the only message that this test makes by hand: raft accepts it from any node, member or not.
const APPEND: i32 = 3;

#[derive(Clone, PartialEq, prost::Message)]
struct RaftMessage {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(uint64, tag = "3")]
    from: u64,
    #[prost(uint64, tag = "4")]
    term: u64,
}

/// A frame that lets its receiver know of a term, if it counts.
fn of_term(cluster_id: &Bytes, from: RaftId, to: RaftId, addressed_to: RaftId, term: u64) -> Bytes {
    let message = RaftMessage { kind: APPEND, to: to.0, from: from.0, term };
    // Version and kind of the envelope, see docs/peer-protocol.md.
    let data = Bytes::from([&[1, 1][..], &message.encode_to_vec()].concat());
    let messages = vec![Message { to: addressed_to.0, group: 1, data }];
    let cluster_id = cluster_id.clone();
    Batch { cluster_id, digest: None, from: from.0, messages, start: 0 }.encode_to_vec().into()
}

fn admit(name: &str) -> Admit {
    Admit {
        node_id: name.to_owned(),
        entry_version: ENTRY_VERSION,
        duckdb_version: DUCKDB.to_owned(),
        extensions: Vec::new(),
        shared: shared().to_proto(),
    }
}

fn ask(peer: &Puppet, of: &str, admit: Admit) -> Result<u64, String> {
    let answer = peer.call(&id(of), "admit", admit)?;
    Ok(Admitted::decode(answer).unwrap().incarnation)
}

/// The incarnation that a process is given, when the leader has noticed that the process before it has ended.
fn admitted(peer: &Puppet, by: &str, admit: Admit) -> u64 {
    let incarnation = Cell::new(0);
    eventually("it is admitted", || match ask(peer, by, admit.clone()) {
        Ok(given) => {
            incarnation.set(given);
            true
        }
        Err(error) => {
            assert!(error.contains("is at work already"), "{error}");
            false
        }
    });
    incarnation.get()
}

/// A cluster whose leader is n0, and a puppet in the place of its learner n1.
fn leader_and_puppet() -> (World, Node, Puppet) {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let puppet = world.puppet("n1", |_, _| Err("it is a puppet".to_owned()));
    (world, nodes.pop().unwrap(), puppet)
}

#[test]
fn a_node_that_does_not_fit_is_refused_and_one_that_fits_gets_a_new_incarnation_each_time() {
    let (_world, n0, n1) = leader_and_puppet();
    for (bad, why) in [
        (admit("n0"), "node 'n1' asks for 'n0'"),
        (Admit { duckdb_version: "v1.9.9".to_owned(), ..admit("n1") }, "it runs DuckDB v1.9.9"),
        (Admit { entry_version: ENTRY_VERSION - 1, ..admit("n1") }, "reads format 4 of the log"),
    ] {
        let error = ask(&n1, "n0", bad).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(n0.member("n1").unwrap().incarnation, 0);
    assert_eq!(admitted(&n1, "n0", admit("n1")), 1);
    // Its answer was lost: it asks again, and the first incarnation is void.
    let newer = Admit { entry_version: ENTRY_VERSION + 1, ..admit("n1") };
    assert_eq!(admitted(&n1, "n0", newer), 2);
    assert_eq!(n0.member("n1").unwrap().incarnation, 2);
    let membership = n0.handle().membership();
    assert_eq!(membership.voters, [id("n0").raft_id(0)]);
    assert_eq!(membership.learners, [id("n1").raft_id(2)]);
}

/// Its folder is not mounted, and a second process of its name finds an empty one.
#[test]
fn an_empty_twin_does_not_take_the_place_of_a_node_that_is_at_work() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    let twin = world.puppet_at(&world.member("n1:learner"), |_, _| Err("it is a puppet".to_owned()));
    for _ in 0..3 {
        eventually("it is refused", || match ask(&twin, "n0", admit("n1")) {
            Ok(incarnation) => panic!("admitted as incarnation {incarnation}"),
            // A server has one connection from each node: the two take it from each other.
            Err(error) => error.contains("node 'n1' is at work already, in another process"),
        });
        nodes[0].set("key", "value");
    }
    eventually("the node goes on", || nodes[1].get("key").as_deref() == Some("value"));
    assert_eq!((nodes[0].member("n1").unwrap().incarnation, nodes[1].handle().degraded()), (0, None));
    // When it has ended, an empty folder may be what it has.
    nodes.pop().unwrap().kill();
    assert_eq!(admitted(&twin, "n0", admit("n1")), 1);
}

#[test]
fn who_is_no_member_is_not_heard_until_it_is_added() {
    let mut world = World::new(&["n0:voter", "n1:learner"]);
    let nodes = world.found();
    let spec = world.member("n9:learner");
    world.peers.push(spec.clone());
    let stranger = world.puppet("n9", |_, _| Err("it is a puppet".to_owned()));
    let reason = || {
        let status = stranger.peers().status();
        let n0 = status.into_iter().find(|peer| peer.node == id("n0"));
        n0.and_then(|peer| peer.last_error).unwrap_or_default()
    };
    eventually("it is told why", || reason().contains("node 'n9' is no member of this cluster: add it"));
    nodes[0].change(&Change::Put(spec));
    assert_eq!(admitted(&stranger, "n0", admit("n9")), 1);
    nodes[0].change(&Change::Remove(id("n9")));
    eventually("it is not heard any more", || ask(&stranger, "n0", admit("n9")).is_err());
    assert_eq!(n9_votes(&nodes[0]), None);
}

fn n9_votes(node: &Node) -> Option<bool> {
    node.member("n9").map(|member| member.voter)
}

#[test]
fn only_the_leader_admits() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let puppet = world.puppet("n2", |_, _| Err("it is a puppet".to_owned()));
    hand_over(&nodes, 1);
    let error = ask(&puppet, "n0", admit("n2")).unwrap_err();
    assert!(error.contains("node 'n1' leads"), "{error}");
    assert_eq!(admitted(&puppet, "n1", admit("n2")), 1);
}

#[test]
fn a_node_that_has_lost_its_disk_comes_back_as_a_new_member_and_votes_again() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    nodes[0].set("key", "value");
    hand_over(&nodes, 0);
    for life in 1..=2 {
        nodes.pop().unwrap().kill();
        world.wipe("n2");
        nodes.push(world.start("n2"));
        nodes[2].ready();
        assert_eq!((nodes[2].incarnation(), nodes[2].get("key").as_deref()), (life, Some("value")));
        let voters = |node: &Node| {
            let membership = node.handle().membership();
            (membership.is_joint(), membership.voters.len(), membership.is_voter(id("n2").raft_id(life)))
        };
        eventually("it votes", || nodes.iter().all(|node| voters(node) == (false, 3, true)));
    }
    let view = nodes[1].view("n2").unwrap();
    assert_eq!((view.role, view.state, view.member.incarnation), ("voter", "ok", 2));
}

#[test]
fn a_process_keeps_its_admission_and_asks_again_for_one_whose_answer_was_lost() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let hello = Hello {
        node_id: "n0".to_owned(),
        leader: "n0".to_owned(),
        cluster_id: vec![7; 16].into(),
        shared: shared().to_proto(),
        ..Hello::default()
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let leader = world.puppet("n0", move |method, _| match method {
        "hello" => Ok(hello.encode_to_vec().into()),
        "admit" if counter.fetch_add(1, Ordering::Relaxed) < 2 => Err("there is no quorum now".to_owned()),
        "admit" => Ok(Admitted { cluster_id: vec![7; 16].into(), incarnation: 1 }.encode_to_vec().into()),
        _ => Err("it sends a snapshot to node 'n5': ask again later".to_owned()),
    });
    let n1 = world.start("n1");
    n1.wait_until_waiting_for("admission to the cluster of its peers: node 'n0' refuses: there is no quorum");
    n1.wait_until_waiting_for("node 'n0' refuses: it sends a snapshot to node 'n5'");
    eventually("it asks for the snapshot again and again", || leader.count("snapshot") > 2);
    assert_eq!(asked.load(Ordering::Relaxed), 3, "an admission that has arrived is kept");
    assert_eq!(world.identity("n1"), None);
}

#[test]
fn a_newer_node_finds_no_place_in_an_older_cluster_until_it_runs_the_same_release() {
    let (world, n0, puppet) = leader_and_puppet();
    drop(puppet);
    world.wipe("n1");
    let other = Settings { duckdb_version: "v9".to_owned(), ..world.settings("n1") };
    let n1 = world.start_with(other);
    n1.wait_until_waiting_for("it runs DuckDB v9 and reads format 5 of the log, the cluster DuckDB v2.0.0");
    assert_eq!(n0.member("n1").unwrap().incarnation, 0);
    n1.kill();
    let n1 = world.start("n1");
    n1.ready();
    assert_eq!(n1.incarnation(), 1);
}

#[test]
fn a_node_with_another_catalog_or_token_is_not_admitted_until_it_is_started_alike() {
    let (world, n0, puppet) = leader_and_puppet();
    let other = Shared { token: "another token".to_owned(), ..shared() };
    let refusal = ask(&puppet, "n0", Admit { shared: other.to_proto(), ..admit("n1") }).unwrap_err();
    assert!(refusal.contains("it was started with another token"), "{refusal}");
    drop(puppet);
    world.wipe("n1");
    for other in [other, Shared { catalog: "other".to_owned(), ..shared() }] {
        let n1 = world.start_with(Settings { shared: other, ..world.settings("n1") });
        n1.wait_until_waiting_for(
            "admission to the cluster of its peers: node 'n0' differs: it was started with",
        );
        assert_eq!(n0.member("n1").unwrap().incarnation, 0);
        n1.kill();
    }
    world.start("n1").ready();
}

#[test]
fn a_member_serves_when_a_quorum_is_started_alike_and_none_serves_that_is_not() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let nodes = world.found();
    for node in &nodes {
        assert!(node.cluster().require_agreement().is_ok());
        node.cluster().serves();
    }
    let other = Shared { catalog: "other".to_owned(), ..shared() };
    let mut nodes = nodes.into_iter();
    let (n0, n1, n2) = (nodes.next().unwrap(), nodes.next().unwrap(), nodes.next().unwrap());
    n0.kill();
    // One that differs finds those that serve, and they go on.
    let n0 = world.start_with(Settings { shared: other.clone(), ..world.settings("n0") });
    n0.ready();
    let refusal = n0.cluster().require_agreement().unwrap_err().to_string();
    assert!(refusal.contains("serves this cluster already: it was started with catalog := 'cp', this node with catalog := 'other'"), "{refusal}");
    n1.set("key", "value");
    // All of them are started with the new value, one after the other.
    n1.kill();
    let n1 = world.start_with(Settings { shared: other.clone(), ..world.settings("n1") });
    let refusal = n1.cluster().require_agreement().unwrap_err().to_string();
    assert!(refusal.contains("node 'n2' serves this cluster already"), "{refusal}");
    n2.kill();
    // A quorum is alike, and a node that is not does not serve.
    for node in [&n0, &n1] {
        eventually("agreement of a quorum", || node.cluster().require_agreement().is_ok());
    }
    // One alone is no quorum.
    n1.kill();
    let refusal = n0.cluster().require_agreement().unwrap_err().to_string();
    assert!(refusal.contains("a quorum that was started like this node"), "{refusal}");
}

#[test]
fn messages_of_an_earlier_life_or_for_one_and_of_another_cluster_are_dropped() {
    let (_world, n0, n1) = leader_and_puppet();
    assert_eq!(admitted(&n1, "n0", admit("n1")), 1);
    let (own, former, present) = (n0.handle().raft_id(), id("n1").raft_id(0), id("n1").raft_id(1));
    let (ours, other) = (&n1.cluster_id, &Bytes::from(vec![7; 16]));
    // Frames of a peer are taken one after the other: when the last one has had its effect, all have been seen.
    for frame in [
        of_term(ours, former, own, own, 3_000_000),
        of_term(ours, id("n0").raft_id(1), own, own, 3_000_000),
        of_term(ours, present, own, id("n0").raft_id(1), 3_000_000),
        of_term(other, present, own, own, 3_000_000),
        of_term(&Bytes::new(), present, own, own, 3_000_000),
        Bytes::from_static(b"\xff no frame"),
        of_term(ours, present, own, own, 1_000_000),
    ] {
        assert!(n1.peers().send(&id("n0"), frame));
    }
    eventually("the last one counts", || n0.term() >= 1_000_000);
    assert!(n0.term() < 2_000_000, "a message that this life of the node must not hear has counted");
}

#[test]
fn what_is_said_to_an_earlier_life_about_decisions_is_not_heard() {
    let world = World::new(&["n0:voter", "n1:learner"]);
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let n1 = world.puppet("n1", move |method, _| {
        counted.fetch_add(usize::from(method == "digest"), Ordering::SeqCst);
        Err("it is a puppet".to_owned())
    });
    let n0 = nodes.pop().unwrap();
    n0.set("key", "value");
    let (own, former, peer) = (n0.handle().raft_id(), id("n0").raft_id(1), id("n1").raft_id(0));
    let Mark { root, digest } = n0.handle().decided().unwrap();
    let ours = n1.cluster_id.clone();
    let otherwise = |addressed_to| {
        let batch = Batch::decode(of_term(&ours, peer, own, addressed_to, 1)).unwrap();
        let digest = Some(Digest { position: root.0, value: digest ^ 1 });
        Bytes::from(Batch { digest, ..batch }.encode_to_vec())
    };
    for frame in [otherwise(former), of_term(&ours, peer, own, own, 1_000_000)] {
        assert!(n1.peers().send(&id("n0"), frame));
    }
    eventually("the last one counts", || n0.term() >= 1_000_000);
    n0.set("later", "value");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing differs in this life's cluster");
    assert!(n1.peers().send(&id("n0"), otherwise(own)));
    eventually("the member is asked", || asked.load(Ordering::SeqCst) > 0);
}
