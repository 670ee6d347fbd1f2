//! How a cluster is born, and what keeps a second one from being born over it.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use prost::Message as _;
use quack_cluster::{Settings, Shared};
use quack_node::Claim;
use quack_proto::peer::v1::{Found, Hello};

/// What an empty node with a world's peers says.
fn empty_hello(world: &World, name: &str) -> Hello {
    let mut peers: Vec<_> = world.peers.iter().map(ToString::to_string).collect();
    peers.sort();
    Hello {
        node_id: name.to_owned(),
        peers,
        entry_version: ENTRY_VERSION,
        duckdb_version: DUCKDB.to_owned(),
        shared: shared().to_proto(),
        ..Hello::default()
    }
}

fn found(world: &World, cluster_id: u128) -> Found {
    Found {
        cluster_id: cluster_id.to_be_bytes().to_vec().into(),
        peers: empty_hello(world, "").peers,
        shared: shared().to_proto(),
    }
}

#[test]
fn a_cluster_is_founded_when_all_first_peers_are_there_and_works() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:learner"]);
    let (n0, n1) = (world.start("n0"), world.start("n1"));
    n0.wait_until_waiting_for("node 'n2' cannot be reached");
    n1.wait_until_waiting_for("node 'n2' cannot be reached");
    assert_eq!((world.identity("n0"), world.identity("n1")), (None, None));
    let nodes = [n0, n1, world.start("n2")];
    nodes.iter().for_each(Node::ready);
    assert!(world.cluster_id("n0").is_some());
    for name in ["n1", "n2"] {
        assert_eq!(world.cluster_id(name), world.cluster_id("n0"));
    }
    nodes[2].set("key", "value");
    eventually("all have it", || nodes.iter().all(|node| node.get("key").as_deref() == Some("value")));
    assert!(!world.data("n0").join("founding").exists());
}

#[test]
fn nodes_that_were_started_differently_name_the_difference_and_found_nothing() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let n0 = world.start("n0");
    let mut other = world.settings("n1");
    other.peers.push(world.member("n2:voter"));
    let n1 = world.start_with(other);
    n0.wait_until_waiting_for("node 'n1' to agree: it was started with other peers; only it names n2:voter=");
    n1.wait_until_waiting_for("cannot be reached");
    n1.kill();
    let newer = quack_cluster::Settings { duckdb_version: "v9".to_owned(), ..world.settings("n1") };
    let n1 = world.start_with(newer);
    n0.wait_until_waiting_for("node 'n1' to agree: it runs DuckDB v9, this node v2.0.0");
    n1.wait_until_waiting_for("node 'n0' to agree: it runs DuckDB v2.0.0, this node v9");
    n1.kill();
    let newer = quack_cluster::Settings { entry_version: 9, ..world.settings("n1") };
    let n1 = world.start_with(newer);
    n0.wait_until_waiting_for("node 'n1' to agree: it writes format 9 of the log, this node format 5");
    drop(n1);
    assert_eq!((world.identity("n0"), world.identity("n1")), (None, None));
}

#[test]
fn nodes_with_another_catalog_or_token_name_the_difference_and_found_nothing() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let n0 = world.start("n0");
    for (other, difference) in [
        (
            Shared { catalog: "other".to_owned(), ..shared() },
            (
                "catalog := 'other', this node with catalog := 'cp'",
                "catalog := 'cp', this node with catalog := 'other'",
            ),
        ),
        (
            Shared { token: "another token".to_owned(), ..shared() },
            ("another token than this node", "another token than this node"),
        ),
    ] {
        let n1 = world.start_with(Settings { shared: other, ..world.settings("n1") });
        n0.wait_until_waiting_for(&format!("node 'n1' to agree: it was started with {}", difference.0));
        n1.wait_until_waiting_for(&format!("node 'n0' to agree: it was started with {}", difference.1));
        n1.kill();
    }
    assert_eq!((world.identity("n0"), world.identity("n1")), (None, None));
    // The name of a catalog is that of SQL, where capitals do not count.
    let n1 = world.start_with(Settings {
        shared: Shared { catalog: "CP".to_owned(), ..shared() },
        ..world.settings("n1")
    });
    [n0, n1].iter().for_each(Node::ready);
}

#[test]
fn a_token_is_never_sent_and_a_hash_of_it_fits_no_other_salt() {
    let (one, other) = (shared().to_proto().unwrap(), shared().to_proto().unwrap());
    assert!(one.salt != other.salt && one.token_digest != other.token_digest);
    let token = shared().token;
    assert!(!one.encode_to_vec().windows(token.len()).any(|bytes| bytes == token.as_bytes()));
    assert!(!format!("{:?}", shared()).contains(&token));
    let world = World::new(&["n0:voter", "n1:voter"]);
    let mut said = empty_hello(&world, "n1");
    said.shared.as_mut().unwrap().salt = other.salt;
    let said = said.encode_to_vec();
    let _mixed = world.puppet("n1", move |_, _| Ok(said.clone().into()));
    let n0 = world.start("n0");
    n0.wait_until_waiting_for("node 'n1' to agree: it was started with another token");
}

#[test]
fn a_founder_that_has_drawn_the_id_goes_on_with_it_after_a_crash() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let Claim::Empty(mut folder) = Claim::take(world.data("n0"), &id("n0")).unwrap() else { panic!() };
    let drawn = folder.promise().unwrap();
    drop(folder);
    let nodes = world.found();
    assert_eq!(nodes[1].handle().identity().cluster_id, drawn);
    assert_eq!(nodes[0].handle().identity().cluster_id, drawn);
}

#[test]
fn a_founding_is_finished_after_both_sides_have_crashed_in_the_middle() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let hello = empty_hello(&world, "n2").encode_to_vec();
    let reluctant = world.puppet("n2", move |method, _| match method {
        "hello" => Ok(hello.clone().into()),
        _ => Err("not yet".to_owned()),
    });
    let (n0, n1) = (world.start("n0"), world.start("n1"));
    n0.wait_until_waiting_for("the agreement of node 'n2': node 'n2' refuses: not yet");
    assert!(world.data("n0").join("founding").exists() && world.identity("n0").is_none());
    let agreed = world.cluster_id("n1").expect("n1 has agreed durably");
    // One crashes before it has an identity, the other one between its identity and its first start, or soon after.
    n0.kill();
    n1.kill();
    drop(reluctant);
    let (n1, n2) = (world.start("n1"), world.start("n2"));
    n2.wait_until_waiting_for("node 'n1' belongs to a cluster and knows no leader");
    let nodes = [world.start("n0"), n1, n2];
    nodes.iter().for_each(Node::ready);
    for name in ["n0", "n1", "n2"] {
        assert_eq!(world.cluster_id(name).as_ref(), Some(&agreed));
    }
    assert!(nodes.iter().all(|node| node.incarnation() == 0));
}

#[test]
fn two_emptied_nodes_never_found_over_the_third_not_even_while_it_starts() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let nodes = world.found();
    nodes[0].set("precious", "value");
    eventually("n2 has it", || nodes[2].get("precious").is_some());
    drop(nodes);
    world.wipe("n0");
    world.wipe("n1");
    // To open a large store and to read the log takes minutes, and the node listens meanwhile.
    let mut n2 = world.listen(world.settings("n2"));
    let (n0, n1) = (world.start("n0"), world.start("n1"));
    for node in [&n0, &n1] {
        node.wait_until_waiting_for("node 'n2' refuses: it belongs to a cluster and is just starting");
    }
    n2.go();
    for node in [&n0, &n1] {
        node.wait_until_waiting_for("admission to the cluster of its peers: node 'n2' belongs to a cluster");
    }
    assert_eq!((world.identity("n0"), world.identity("n1")), (None, None));
    assert_eq!(n2.get("precious").as_deref(), Some("value"));
}

#[test]
fn a_node_agrees_to_one_cluster_once_and_only_with_its_own_peers() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let hello = empty_hello(&world, "n0").encode_to_vec();
    let founder = world.puppet("n0", move |_, _| Ok(hello.clone().into()));
    let n1 = world.start("n1");
    n1.wait_until_waiting_for("node 'n0', to found the cluster");
    let ask = |found: Found| founder.call_stranger(&id("n1"), "found", found).map(drop);
    let refused = |found: Found, why: &str| {
        let error = ask(found).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(Found { peers: Vec::new(), ..found(&world, 7) }, "it was started with other peers");
    refused(Found { shared: None, ..found(&world, 7) }, "it does not say which catalog and token");
    let other = Shared { token: "another token".to_owned(), ..shared() };
    refused(Found { shared: other.to_proto(), ..found(&world, 7) }, "it was started with another token");
    refused(Found { cluster_id: vec![7; 15].into(), ..found(&world, 7) }, "the cluster id is not one");
    assert_eq!(world.identity("n1"), None);
    ask(found(&world, 7)).unwrap();
    assert_eq!(world.cluster_id("n1"), Some(format!("{:032x}", 7)));
    refused(found(&world, 8), "cluster");
    eventually("n1 runs", || n1.runs());
    refused(found(&world, 8), "it belongs to another cluster already");
    // The founder has not heard the answer and asks again.
    ask(found(&world, 7)).unwrap();
    n1.kill();
    let n1 = world.listen(world.settings("n1"));
    refused(found(&world, 8), "just starting");
    drop(n1);
    assert_eq!(world.cluster_id("n1"), Some(format!("{:032x}", 7)));
}

#[test]
fn a_node_that_cannot_write_its_agreement_has_not_agreed_and_says_why_it_stops() {
    let world = World::new(&["n0:voter", "n1:voter"]);
    let hello = empty_hello(&world, "n0").encode_to_vec();
    let founder = world.puppet("n0", move |_, _| Ok(hello.clone().into()));
    let n1 = world.start("n1");
    n1.wait_until_waiting_for("node 'n0', to found the cluster");
    // The log has no place.
    std::fs::create_dir(world.data("n1").join("log")).unwrap();
    for _ in 0..2 {
        let error = founder.call_stranger(&id("n1"), "found", found(&world, 7)).unwrap_err();
        assert!(error.contains("log"), "{error}");
    }
    assert_eq!(world.identity("n1"), None);
    eventually("n1 gives up", || n1.failed().is_some_and(|error| error.contains("log")));
}

#[test]
fn no_cluster_is_founded_with_a_node_that_is_to_be_rebuilt_from_its_own() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let nodes = world.found();
    nodes[0].set("precious", "value");
    eventually("n2 has it", || nodes[2].get("precious").is_some());
    nodes[2].handle().degrade_for_good("a test says so");
    drop(nodes);
    world.wipe("n0");
    world.wipe("n1");
    let nodes = ["n0", "n1", "n2"].map(|name| world.start(name));
    for node in &nodes[..2] {
        node.wait_until_waiting_for(
            "node 'n2' refuses: it belongs to a cluster, from which it is to be rebuilt",
        );
    }
    nodes[2].wait_until_waiting_for("a peer that belongs to its cluster, to be rebuilt from it");
    // Not even one of them has agreed to a cluster that can never come into being.
    for name in ["n0", "n1", "n2"] {
        assert_eq!(world.identity(name), None, "{name}");
    }
}
