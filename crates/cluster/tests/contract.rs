//! Members of different releases: what one of them might not be able to apply is refused on all of them.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use quack_cluster::{Feature, Fence};

fn fence(node: &Node, feature: &Feature) -> Option<Fence> {
    node.cluster.contract().permits(feature).err()
}

#[test]
fn a_member_of_another_release_fences_text_until_all_run_the_same() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    eventually("all releases are recorded", || {
        nodes.iter().all(|node| fence(node, &Feature::SCHEMA).is_none())
    });
    // One comes back with a newer DuckDB.
    nodes.pop().unwrap().kill();
    let mut settings = world.settings("n2");
    settings.duckdb_version = "v2.0.1".to_owned();
    nodes.push(world.start_with(settings));
    eventually("all know of it", || {
        nodes.iter().all(|node| matches!(fence(node, &Feature::SCHEMA), Some(Fence::Refused(_))))
    });
    let error = nodes[1].cluster.require(&Feature::SCHEMA).unwrap_err().to_string();
    assert!(error.contains("'n2' runs v2.0.1"), "{error}");
    assert!(nodes[1].cluster.verify().unwrap_err().to_string().contains("'n2' runs v2.0.1"));
    // Rows are values, which every release stores.
    assert!(nodes.iter().all(|node| fence(node, &Feature::ROWS).is_none()));
    nodes[0].set("key", "value");
    // What a member runs is known also while it is dead.
    nodes.pop().unwrap().kill();
    assert!(nodes[0].cluster.require(&Feature::SCHEMA).is_err());
    nodes.push(world.start("n2"));
    eventually("all are of one release again", || {
        nodes.iter().all(|node| fence(node, &Feature::SCHEMA).is_none())
    });
}

#[test]
fn an_older_member_keeps_the_cluster_from_what_it_cannot_read() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    let nobody_fences = |nodes: &[Node]| nodes.iter().all(|node| fence(node, &Feature::SEQUENCES).is_none());
    eventually("all releases are recorded", || nobody_fences(&nodes));
    // One comes back with the release before.
    nodes.pop().unwrap().kill();
    let mut settings = world.settings("n2");
    settings.entry_version = ENTRY_VERSION - 1;
    nodes.push(world.start_with(settings));
    eventually("all know of it", || nodes.iter().all(|node| fence(node, &Feature::SEQUENCES).is_some()));
    let error = nodes[0].cluster.require(&Feature::SEQUENCES).unwrap_err().to_string();
    assert!(
        error.contains("node 'n2' reads the log up to format 4, and 'sequences' needs format 5"),
        "{error}"
    );
    // Hashes of two releases are not to be compared.
    assert!(nodes[0].cluster.verify().unwrap_err().to_string().contains("needs format 5"));
    // What it can read goes on.
    nodes[0].set("key", "value");
    nodes.pop().unwrap().kill();
    nodes.push(world.start("n2"));
    eventually("all are of one release again", || nobody_fences(&nodes));
}

#[test]
fn an_extension_may_be_used_when_all_members_have_declared_it() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let with_icu = |name: &str| {
        let mut settings = world.settings(name);
        settings.extensions = vec!["icu v2".to_owned()];
        settings
    };
    let mut nodes = world.found();
    let error = |node: &Node| node.cluster.require_extension("icu").unwrap_err().to_string();
    assert!(error(&nodes[0]).contains("did not have it when it began to serve: LOAD icu there"));
    // They come back with it, one after the other.
    for (place, name) in ["n0", "n1", "n2"].into_iter().enumerate() {
        assert!(nodes.iter().any(|node| node.cluster.require_extension("icu").is_err()), "before {name}");
        nodes.remove(place).kill();
        nodes.insert(place, world.start_with(with_icu(name)));
    }
    eventually("all know that all have it", || {
        nodes.iter().all(|node| node.cluster.require_extension("icu").is_ok())
    });
    assert!(nodes.iter().all(|node| node.cluster.require_extension("spatial").is_err()));
}
