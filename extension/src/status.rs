//! Rows of the status functions.

use quack_cluster::{Contract, Feature, NodeView, Verdict};
use quack_net::{Endpoint, SessionCounts};
use quack_node::metrics::Sample;
use quack_node::{GroupInfo, NodeHandle, NodeStatus};
use quack_types::{EntryOutcome, GroupId, NodeId, OutcomeRecord};

/// A list as DuckDB reads it from text.
fn list(names: &[String]) -> String {
    format!("[{}]", names.join(", "))
}

/// A row of `quack_raft_status()`, in the order of its columns. A node that works may be `refusing` clients all the same.
pub fn raft_row(status: &NodeStatus, refusing: Option<&str>) -> Vec<Option<String>> {
    let own = (status.state.as_str(), status.reason.clone());
    let (state, reason) = match refusing {
        Some(refusing) if status.reason.is_none() => {
            ("joining", Some(format!("it does not serve: {refusing}")))
        }
        _ => own,
    };
    vec![
        Some(status.group_name.clone()),
        Some(status.group_id.to_string()),
        Some(status.node_id.to_string()),
        Some(status.role.to_owned()),
        status.leader_id.clone(),
        Some(status.term.to_string()),
        Some(status.last_index.to_string()),
        Some(status.commit_index.to_string()),
        Some(status.applied_index.to_string()),
        Some(status.snapshot_index.to_string()),
        Some(list(&status.voters)),
        Some(list(&status.learners)),
        Some(status.initialized.to_string()),
        Some(status.linearizable_read_safe.to_string()),
        Some(state.to_owned()),
        reason,
        (!status.log_held_by.is_empty()).then(|| status.log_held_by.join("; ")),
    ]
}

/// A row of `quack_group_status()`, in the order of its columns.
pub fn group_row(group: &GroupInfo) -> Vec<Option<String>> {
    vec![
        Some(group.group_name.clone()),
        Some(group.group_id.to_string()),
        Some(group.kind.to_owned()),
        group.leader_id.clone(),
        Some(group.term.to_string()),
        Some(group.commit_index.to_string()),
        Some(group.ordered_index.to_string()),
        Some(group.applied_index.to_string()),
        Some(group.lag.to_string()),
        group.tables.map(|tables| tables.to_string()),
        Some(group.entries_per_second.to_string()),
        Some(group.bytes.to_string()),
    ]
}

/// The row of `quack_raft_status()` for a node that does not run yet: `failed` says why it never will.
pub fn waiting_row(node: &NodeId, failed: Option<String>, waiting: &str) -> Vec<Option<String>> {
    let state = if failed.is_some() { "degraded" } else { "joining" };
    let reason = failed.unwrap_or_else(|| format!("it waits for {waiting}"));
    let mut row = vec![Some("default".to_owned()), Some(GroupId::ROOT.to_string()), Some(node.to_string())];
    row.extend([Some("learner".to_owned()), None]);
    row.extend(std::iter::repeat_n(Some("0".to_owned()), 5));
    row.extend([Some("[]".to_owned()), Some("[]".to_owned())]);
    row.extend([
        Some("false".to_owned()),
        Some("false".to_owned()),
        Some(state.to_owned()),
        Some(reason),
        None,
    ]);
    row
}

/// A row of `quack_nodes(…)`; `committed` is what this node knows to be committed.
pub fn node_row(view: &NodeView, committed: u64) -> Vec<Option<String>> {
    vec![
        Some(view.member.node.to_string()),
        Some(view.member.endpoint.to_string()),
        Some(view.role.to_owned()),
        Some(view.leader.to_string()),
        Some(view.reachable.to_string()),
        view.applied.map(|applied| applied.to_string()),
        view.applied.map(|applied| committed.saturating_sub(applied).to_string()),
        Some(view.member.incarnation.to_string()),
        view.duckdb_version.clone(),
        Some(view.state.to_owned()),
        view.reason.clone(),
    ]
}

/// Rows of `quack_multiraft_sql_contract_status()` for one catalog.
pub fn contract_rows(catalog: &str, contract: &Contract, groups_enabled: bool) -> Vec<Vec<Option<String>>> {
    let version = || contract.entry_version().map(|version| version.to_string());
    let duckdb = || Some(list(&contract.duckdb_versions()));
    let row = |feature: &Feature| {
        let fence = contract.permits(feature).err();
        let is_off = *feature == Feature::GROUPS && !groups_enabled;
        let state = match fence {
            Some(_) => "refused",
            None if is_off => "off",
            None => "available",
        };
        let mut row =
            [catalog, feature.name, feature.statements, state].map(|text| Some(text.to_owned())).to_vec();
        row.extend([Some(feature.entry_version.to_string()), version()]);
        row.extend([Some(feature.one_duckdb.to_string()), duckdb()]);
        let switch = "SELECT quack_multiraft_sql_set_enabled(true) switches it on";
        let reason = fence.map(|fence| fence.text().to_owned());
        row.push(reason.or_else(|| is_off.then(|| switch.to_owned())));
        row
    };
    Feature::ALL.iter().map(row).collect()
}

/// A row of `quack_verify(…)`.
pub fn verdict_row(verdict: &Verdict) -> Vec<Option<String>> {
    vec![
        Some(verdict.node.to_string()),
        verdict.hash.clone(),
        Some(verdict.state.to_owned()),
        verdict.reason.clone(),
    ]
}

/// A row of `quack_metrics()`.
pub fn metric_row(node: &NodeId, sample: &Sample) -> Vec<Option<String>> {
    // No label holds what DuckDB would want quoted in the text of a map.
    let labels: Vec<_> = sample.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        Some(node.to_string()),
        Some(sample.name.clone()),
        Some(sample.kind.to_owned()),
        Some(format!("{{{}}}", labels.join(", "))),
        Some(sample.value.to_string()),
        Some(sample.help.to_owned()),
    ]
}

/// A row of `quack_outcomes()`.
pub fn outcome_row(node: &NodeId, record: &OutcomeRecord) -> Vec<Option<String>> {
    let (outcome, kind, message) = match &record.outcome {
        EntryOutcome::Void => ("void", None, None),
        EntryOutcome::Applied => ("applied", None, None),
        EntryOutcome::Refused { error_kind, conflict, message } => {
            let outcome = if *conflict { "conflict" } else { "refused" };
            (outcome, Some(error_kind.to_string()), Some(message.clone()))
        }
    };
    vec![
        Some(node.to_string()),
        Some(record.group.0.to_string()),
        Some(record.index.0.to_string()),
        Some(record.id.origin.0.to_string()),
        Some(record.id.boot.to_string()),
        Some(record.id.sequence.to_string()),
        Some(outcome.to_owned()),
        Some(record.repeated.to_string()),
        kind,
        message,
        Some(format!("{:016x}", record.digest)),
        (!record.statements.is_empty()).then(|| record.statements.clone()),
    ]
}

/// What is measured of clients' sessions. How many are open is a column of `quack_server_list()`.
pub fn session_samples(counts: &SessionCounts, strangers_closed: u64) -> Vec<Sample> {
    let (name, help) = ("quack_sessions_refused_total", "Clients that were sent away.");
    let (closed, why_closed) = ("quack_sessions_closed_total", "Sessions that the node has closed.");
    vec![
        Sample::counter(
            "quack_sessions_opened_total",
            "Sessions that clients have opened.",
            &[],
            counts.opened,
        ),
        Sample::counter(name, help, &[("reason", "token")], counts.wrong_tokens),
        Sample::counter(name, help, &[("reason", "guesses")], counts.slowed),
        Sample::counter(name, help, &[("reason", "limit")], counts.without_place),
        Sample::counter(closed, why_closed, &[("reason", "silent")], counts.silent),
        Sample::counter(closed, why_closed, &[("reason", "room")], counts.made_room),
        Sample::counter(
            "quack_connections_closed_total",
            "Connections that had shown neither a certificate nor the token when others needed their place.",
            &[],
            strangers_closed,
        ),
    ]
}

/// The row of `quack_nodes(…)` for a node that is alone.
pub fn lone_row(
    node: &NodeId,
    endpoint: &Endpoint,
    handle: &NodeHandle,
    duckdb_version: &str,
) -> Vec<Option<String>> {
    let applied = handle.applied().0;
    let degraded = handle.degraded();
    let state = if degraded.is_some() { "degraded" } else { "ok" };
    vec![
        Some(node.to_string()),
        Some(endpoint.to_string()),
        Some("voter".to_owned()),
        Some(handle.is_leader().to_string()),
        Some("true".to_owned()),
        Some(applied.to_string()),
        Some(handle.commit_index().0.saturating_sub(applied).to_string()),
        Some(handle.identity().incarnation.to_string()),
        Some(duckdb_version.to_owned()),
        Some(state.to_owned()),
        degraded,
    ]
}
