//! Whether a node is well, derived from its rows of `quack_raft_status()`.

use serde::{Deserialize, Serialize};

use super::Table;

/// Name of the group that always exists.
const ROOT_GROUP: &str = "default";

/// The verdict on the root group, which decides for all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// The node serves the catalog and is a voter of its group.
    pub enabled: bool,
    /// The group has members, a leader is known, and a linearizable read can be answered; and the node is not degraded.
    pub ok: bool,
    /// This node.
    pub node_id: Option<String>,
    /// The leader, when one is known.
    pub leader_id: Option<String>,
    /// Whether this node is it.
    pub is_leader: bool,
    /// Whether a linearizable read can be answered safely now.
    pub linearizable_read_safe: bool,
    /// What the node says of its state: `ok`, `joining`, `degraded`, `stopped`, or a word of a newer version.
    pub state: Option<String>,
    /// Why it is not `ok`.
    pub reason: Option<String>,
}

impl Verdict {
    /// Derives the verdict. Without a row of the root group, the node serves nothing.
    pub fn of(raft: &Table) -> Self {
        let root = |row: &&Vec<Option<String>>| raft.value(row, "group_name") == Some(ROOT_GROUP);
        let Some(row) = raft.rows.iter().find(root) else { return Self::default() };
        let text = |column| raft.value(row, column).map(str::to_owned);
        let (node_id, leader_id) = (text("node_id"), text("leader_id"));
        let voters = raft.list(row, "voters");
        let linearizable_read_safe = raft.is_true(row, "linearizable_read_safe");
        let state = text("state");
        let degraded = any_degraded(raft).is_some();
        Self {
            enabled: node_id.as_deref().is_some_and(|node_id| voters.contains(&node_id)),
            ok: raft.is_true(row, "initialized")
                && leader_id.is_some()
                && linearizable_read_safe
                && !degraded,
            is_leader: leader_id.is_some() && leader_id == node_id,
            node_id,
            leader_id,
            linearizable_read_safe,
            state,
            reason: any_degraded(raft).or_else(|| text("reason")),
        }
    }
}

/// The reason of the first group that is degraded.
pub fn any_degraded(raft: &Table) -> Option<String> {
    let row = raft.rows.iter().find(|row| raft.value(row, "state") == Some("degraded"))?;
    let group = raft.value(row, "group_name").unwrap_or("?");
    let reason = raft.value(row, "reason").unwrap_or("no reason given");
    Some(format!("group {group} is degraded: {reason}"))
}
