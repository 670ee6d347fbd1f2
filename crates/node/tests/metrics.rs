//! What a node measures about itself agrees with what was done to it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quack_node::metrics::Sample;
use quack_node::{NodeConfig, NodeHandle, ProposeError};
use quack_types::{GroupId, LogIndex};
use support::{LONG, config, encode, never, start, start_with, write};

/// The value of the series with this name and, if any, this value of its label.
fn value(node: &NodeHandle, name: &str, label: &str) -> f64 {
    let samples = node.metrics();
    let is_it = |sample: &&Sample| {
        sample.name == name
            && (label.is_empty() || sample.labels.iter().any(|(key, value)| *key != "le" && value == label))
    };
    samples.iter().find(is_it).unwrap_or_else(|| panic!("no {name} {label}: {samples:?}")).value
}

#[test]
fn every_write_is_counted_once_where_it_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    let appended = value(&node, "quack_log_append_entries_sum", "");
    for at in 0..20 {
        write(&node, &format!("row {at}")).unwrap();
    }
    assert_eq!(value(&node, "quack_proposal_seconds_count", "applied"), 20.0);
    assert!(value(&node, "quack_proposal_seconds_sum", "applied") > 0.0);
    assert_eq!(value(&node, "quack_log_append_entries_sum", "") - appended, 20.0);
    assert_eq!(value(&node, "quack_apply_entries_sum", ""), 20.0);
    // One proposer waits for each of its writes, so that each has a write, an fsync and a batch of its own.
    assert_eq!(value(&node, "quack_apply_seconds_count", ""), 20.0);
    assert!(value(&node, "quack_log_append_seconds_count", "true") >= 20.0);
    assert!(value(&node, "quack_log_append_bytes_sum", "") >= 20.0 * "row 0".len() as f64);
    for outcome in ["refused", "busy", "unknown"] {
        assert_eq!(value(&node, "quack_proposal_seconds_count", outcome), 0.0, "{outcome}");
    }
    assert_eq!(value(&node, "quack_raft_leader_changes_total", ""), 1.0);
    assert_eq!(value(&node, "quack_proposals_pending", ""), 0.0);
}

#[test]
fn a_batch_of_many_is_one_apply_and_few_writes_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    control.apply_slow.store(50, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for at in 0..8 {
            let node = &node;
            scope.spawn(move || write(node, &format!("row {at}")).unwrap());
        }
    });
    assert_eq!(value(&node, "quack_apply_entries_sum", ""), 8.0);
    let batches = control.batches.load(Ordering::Relaxed);
    assert_eq!(value(&node, "quack_apply_seconds_count", ""), batches as f64);
    assert!(value(&node, "quack_apply_seconds_sum", "") >= 0.05 * batches as f64);
}

#[test]
fn each_way_in_which_a_proposal_can_end_has_its_own_count() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        NodeConfig { proposed_bytes_max: 32 << 20, proposed_wait: Duration::from_millis(30), ..config() };
    let (node, control) = start_with(folder.path(), config);
    control.apply_slow.store(300, Ordering::Relaxed);
    let first = node.next_proposal_id();
    let waiter = node.propose(GroupId::ROOT, first, encode(first, &"w".repeat(20 << 20)), &never).unwrap();
    assert_eq!(value(&node, "quack_proposals_pending", ""), 1.0);
    assert!(value(&node, "quack_proposals_pending_bytes", "") > f64::from(20 << 20));
    let second = node.next_proposal_id();
    let large = encode(second, &"w".repeat(20 << 20));
    assert!(matches!(
        node.propose(GroupId::ROOT, second, large.clone(), &never),
        Err(ProposeError::Busy { .. })
    ));
    assert!(matches!(node.propose(GroupId::ROOT, second, large, &|| true), Err(ProposeError::Interrupted)));
    waiter.wait(Duration::from_millis(10), &never).unwrap_err();
    drop(node.propose(GroupId::ROOT, second, encode(second, "no client waits now"), &never).unwrap());
    node.wait_applied(LogIndex(2), LONG, &never).unwrap();
    control.apply_slow.store(0, Ordering::Relaxed);
    write(&node, "small").unwrap();
    node.stop();
    write(&node, "too late").unwrap_err();
    let counts = ["applied", "busy", "refused", "unknown"]
        .map(|outcome| value(&node, "quack_proposal_seconds_count", outcome));
    assert_eq!(counts, [1.0, 1.0, 2.0, 2.0]);
}

#[test]
fn a_checkpoint_that_was_made_is_told_from_one_that_was_postponed() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    write(&node, "a").unwrap();
    control.checkpoint_blocked.store(true, Ordering::Relaxed);
    node.checkpoint(LONG, &never).unwrap();
    control.checkpoint_blocked.store(false, Ordering::Relaxed);
    control.checkpoint_slow.store(20, Ordering::Relaxed);
    node.checkpoint(LONG, &never).unwrap();
    assert_eq!(value(&node, "quack_checkpoint_seconds_count", "postponed"), 1.0);
    assert_eq!(value(&node, "quack_checkpoint_seconds_count", "made"), 1.0);
    assert!(value(&node, "quack_checkpoint_seconds_sum", "made") >= 0.02);
}

#[test]
fn every_measurement_has_its_line_in_the_page_and_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    let page = include_str!("../../../docs/metrics.md");
    let mut seen = BTreeSet::new();
    for sample in node.metrics() {
        let suffixes = ["_bucket", "_sum", "_count"].into_iter().filter(|_| sample.kind == "histogram");
        let family = suffixes.filter_map(|suffix| sample.name.strip_suffix(suffix)).next();
        let family = family.unwrap_or(&sample.name).to_owned();
        let keys: Vec<_> = sample.labels.iter().map(|(key, _)| *key).filter(|key| *key != "le").collect();
        let labels = if keys.is_empty() { String::new() } else { format!("{{{}}}", keys.join(",")) };
        let begins = format!("| `{family}{labels}` | {} | ", sample.kind);
        assert!(page.contains(&begins), "docs/metrics.md has no line that begins with {begins}");
        seen.insert(family);
    }
    assert_eq!(seen.len(), 14, "{seen:?}");
}
