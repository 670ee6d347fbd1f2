//! Rows of the status functions.

use quack_node::NodeStatus;

/// A list as DuckDB reads it from text.
fn list(names: &[String]) -> String {
    format!("[{}]", names.join(", "))
}

/// A row of `quack_raft_status()`, in the order of its columns.
pub fn raft_row(status: &NodeStatus) -> Vec<Option<String>> {
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
        Some(status.state.as_str().to_owned()),
        status.reason.clone(),
    ]
}
