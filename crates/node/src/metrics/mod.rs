//! What a node measures about itself while it works. `docs/metrics.md` describes each name.
//!
//! The code that does the work records into a [`Histogram`] or a counter; a reader gets [`Sample`]s. There is no
//! registry and no thread: the measurements live where they are taken, and die with the node.

mod histogram;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quack_core::{PeerMessage, Role};
use quack_log::GroupWrite;
use quack_types::{GroupId, RaftId, Term};

pub use histogram::{Histogram, Scale};

use crate::ProposeError;

/// One value of one series, as Prometheus knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the series; that of a histogram ends in `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What the metric means, in one sentence.
    pub help: &'static str,
    /// Labels and their values, which hold letters, digits, `_`, `-`, `.` and `+` only.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A counter.
    pub fn counter(name: &str, help: &'static str, labels: &[(&'static str, &str)], value: u64) -> Self {
        Self::new(name, "counter", help, labels, value)
    }

    /// A gauge.
    pub fn gauge(name: &str, help: &'static str, value: u64) -> Self {
        Self::new(name, "gauge", help, &[], value)
    }

    fn new(
        name: &str,
        kind: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) -> Self {
        let labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { name: name.to_owned(), kind, help, labels, value: value as f64 }
    }
}

/// How long proposals took, by how they ended.
#[derive(Debug)]
pub(crate) struct ProposalTimes {
    applied: Histogram,
    refused: Histogram,
    busy: Histogram,
    unknown: Histogram,
}

impl Default for ProposalTimes {
    fn default() -> Self {
        let new = || Histogram::new(&Scale::SHORT_SECONDS);
        Self { applied: new(), refused: new(), busy: new(), unknown: new() }
    }
}

impl ProposalTimes {
    /// A proposal has ended.
    pub fn record(&self, outcome: Result<&Bytes, &ProposeError>, time: Duration) {
        let histogram = match outcome {
            Ok(_) => &self.applied,
            Err(ProposeError::Unknown { .. }) => &self.unknown,
            Err(ProposeError::Busy { .. }) => &self.busy,
            Err(_) => &self.refused,
        };
        histogram.record_time(time);
    }

    /// The caller has stopped waiting for the outcome, which counts as unknown.
    pub fn given_up(&self, time: Duration) {
        self.unknown.record_time(time);
    }

    pub fn read(&self, into: &mut Vec<Sample>) {
        let (name, help) = ("quack_proposal_seconds", "Time from proposing until the outcome, by outcome.");
        for (outcome, histogram) in [
            ("applied", &self.applied),
            ("refused", &self.refused),
            ("busy", &self.busy),
            ("unknown", &self.unknown),
        ] {
            histogram.read(name, help, &[("outcome", outcome)], into);
        }
    }
}

/// What the threads of a node measure.
#[derive(Debug)]
pub(crate) struct Metrics {
    append_synced: Histogram,
    append_unsynced: Histogram,
    append_bytes: Histogram,
    append_entries: Histogram,
    apply: Histogram,
    apply_entries: Histogram,
    checkpoint_made: Histogram,
    checkpoint_postponed: Histogram,
    leader_changes: AtomicU64,
    candidacies: AtomicU64,
    messages_root: AtomicU64,
    messages_lanes: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let short = || Histogram::new(&Scale::SHORT_SECONDS);
        let long = || Histogram::new(&Scale::LONG_SECONDS);
        let count = || Histogram::new(&Scale::COUNT);
        Self {
            append_synced: short(),
            append_unsynced: short(),
            append_bytes: Histogram::new(&Scale::BYTES),
            append_entries: count(),
            apply: short(),
            apply_entries: count(),
            checkpoint_made: long(),
            checkpoint_postponed: long(),
            leader_changes: AtomicU64::new(0),
            candidacies: AtomicU64::new(0),
            messages_root: AtomicU64::new(0),
            messages_lanes: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// The log has taken a write.
    pub fn appended(&self, writes: &[GroupWrite], synced: bool, time: Duration) {
        if writes.is_empty() && !synced {
            return;
        }
        (if synced { &self.append_synced } else { &self.append_unsynced }).record_time(time);
        let entries = writes.iter().flat_map(|write| &write.entries);
        let (count, bytes) =
            entries.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.size_bytes() as u64));
        if count > 0 {
            self.append_entries.record(count);
            self.append_bytes.record(bytes);
        }
    }

    /// The state machine has applied a batch.
    pub fn applied(&self, entries: usize, time: Duration) {
        self.apply.record_time(time);
        self.apply_entries.record(entries as u64);
    }

    /// A checkpoint was made, or something was in its way.
    pub fn checkpointed(&self, made: bool, time: Duration) {
        (if made { &self.checkpoint_made } else { &self.checkpoint_postponed }).record_time(time);
    }

    /// These go to other nodes.
    pub fn sent(&self, messages: &[PeerMessage]) {
        let root = messages.iter().filter(|message| message.group == GroupId::ROOT).count() as u64;
        self.messages_root.fetch_add(root, Ordering::Relaxed);
        self.messages_lanes.fetch_add(messages.len() as u64 - root, Ordering::Relaxed);
    }

    /// Role, term or leader of the root group have changed.
    pub fn role_changed(&self, role: Role, leader: Option<(RaftId, Term)>, before: Option<(RaftId, Term)>) {
        if leader.is_some() && leader != before {
            self.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        if role == Role::Candidate {
            self.candidacies.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn read(&self, into: &mut Vec<Sample>) {
        let (name, help) =
            ("quack_log_append_seconds", "Time of one write to the log, with its fsync or without.");
        self.append_synced.read(name, help, &[("fsync", "true")], into);
        self.append_unsynced.read(name, help, &[("fsync", "false")], into);
        self.append_bytes.read(
            "quack_log_append_bytes",
            "Bytes of the entries in one write to the log.",
            &[],
            into,
        );
        self.append_entries.read("quack_log_append_entries", "Entries in one write to the log.", &[], into);
        self.apply.read("quack_apply_seconds", "Time to apply one batch of entries to the store.", &[], into);
        self.apply_entries.read("quack_apply_entries", "Entries in one batch that was applied.", &[], into);
        let (name, help) = ("quack_checkpoint_seconds", "Time of one checkpoint of the store.");
        self.checkpoint_made.read(name, help, &[("result", "made")], into);
        self.checkpoint_postponed.read(name, help, &[("result", "postponed")], into);
        let group = [("group", "default")];
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let help = "Times that this node has learned of a new leader, or of a new term of one.";
        let changes = count(&self.leader_changes);
        into.push(Sample::counter("quack_raft_leader_changes_total", help, &group, changes));
        let help = "Times that this node has asked the others for their votes.";
        into.push(Sample::counter("quack_raft_candidacies_total", help, &group, count(&self.candidacies)));
        let (name, help) = ("quack_raft_messages_total", "Messages of groups to other nodes.");
        for (group, counter) in [("default", &self.messages_root), ("lanes", &self.messages_lanes)] {
            into.push(Sample::counter(name, help, &[("group", group)], count(counter)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(samples: &[Sample], name: &str) -> f64 {
        samples.iter().find(|sample| sample.name == name).unwrap().value
    }

    #[test]
    fn a_leader_counts_once_for_each_of_its_terms_and_not_when_it_is_lost_and_found() {
        let metrics = Metrics::default();
        let leader = |id, term| Some((RaftId(id), Term(term)));
        for (role, now, before) in [
            (Role::Follower, leader(1, 1), None),
            (Role::Follower, None, leader(1, 1)),
            (Role::Follower, leader(1, 1), leader(1, 1)),
            (Role::PreCandidate, None, leader(1, 1)),
            (Role::Candidate, None, leader(1, 1)),
            (Role::Leader, leader(2, 2), leader(1, 1)),
            (Role::Follower, leader(2, 3), leader(2, 2)),
        ] {
            metrics.role_changed(role, now, before);
        }
        let mut samples = Vec::new();
        metrics.read(&mut samples);
        assert_eq!(value(&samples, "quack_raft_leader_changes_total"), 3.0);
        assert_eq!(value(&samples, "quack_raft_candidacies_total"), 1.0);
    }

    #[test]
    fn labels_hold_nothing_that_a_reader_would_have_to_escape() {
        let mut samples = Vec::new();
        Metrics::default().read(&mut samples);
        ProposalTimes::default().read(&mut samples);
        for sample in &samples {
            let plain =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte));
            assert!(plain(&sample.name) && sample.name.starts_with("quack_"), "{sample:?}");
            assert!(sample.labels.iter().all(|(key, value)| plain(key) && plain(value)), "{sample:?}");
        }
    }
}
