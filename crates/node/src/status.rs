//! What a node says about itself, one row for each group.

use quack_core::{GroupState, GroupStatus};
use quack_types::{GroupId, LogIndex, NodeId, RaftId};

use crate::shared::Progress;

/// Whether the node works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Ok,
    /// It has no leader yet, or has not applied yet what it knows to be committed.
    Joining,
    /// It applies and accepts nothing: a local error has latched it until it is restarted, or its disk is full, and it goes
    /// on when there is room.
    Degraded,
    /// It was stopped.
    Stopped,
}

impl NodeState {
    /// Lower-case English name, as status tables show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Joining => "joining",
            Self::Degraded => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// One group on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The group's name in SQL.
    pub group_name: String,
    /// The group.
    pub group_id: GroupId,
    /// This node.
    pub node_id: NodeId,
    /// Role of this node in the group.
    pub role: &'static str,
    /// The leader, when one is known.
    pub leader_id: Option<String>,
    /// Current term.
    pub term: u64,
    /// Last entry of the log.
    pub last_index: LogIndex,
    /// Last entry known to be committed.
    pub commit_index: LogIndex,
    /// Last entry that is applied on this node.
    pub applied_index: LogIndex,
    /// The log starts behind this entry.
    pub snapshot_index: LogIndex,
    /// Those whose majority decides.
    pub voters: Vec<String>,
    /// Those who only receive.
    pub learners: Vec<String>,
    /// Whether the group has members.
    pub initialized: bool,
    /// Whether a linearizable read can be answered now, as far as this node knows.
    pub linearizable_read_safe: bool,
    /// Whether the node works.
    pub state: NodeState,
    /// Why it does not.
    pub reason: Option<String>,
    /// Who holds the log of the group back longer than checkpoints need it, in words.
    pub log_held_by: Vec<String>,
}

/// One group of the cluster, as this node sees it: a line of `quack_group_status`.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupInfo {
    /// The group's name in SQL.
    pub group_name: String,
    /// The group.
    pub group_id: GroupId,
    /// `root` or `lane`.
    pub kind: &'static str,
    /// The leader, when one is known.
    pub leader_id: Option<String>,
    /// Current term.
    pub term: u64,
    /// Last entry known to be committed.
    pub commit_index: LogIndex,
    /// Last entry that has its place in the one order.
    pub ordered_index: LogIndex,
    /// Last entry that is applied on this node.
    pub applied_index: LogIndex,
    /// Committed entries that are not applied on this node.
    pub lag: u64,
    /// Tables that use it; of the root it is not counted.
    pub tables: Option<u32>,
    /// Entries of it that this node applies in a second, over the last seconds.
    pub entries_per_second: f64,
    /// Bytes of its entries that this node has applied since it was started.
    pub bytes: u64,
}

/// Whether all lanes have the root's members. One that is over needs none.
pub(crate) fn lanes_follow(progress: &Progress) -> bool {
    let members = progress.root().map(|root| &root.membership);
    let mut lanes =
        progress.groups.values().filter(|status| status.group != GroupId::ROOT && !status.is_over);
    members.is_some_and(|members| lanes.all(|lane| lane.membership == *members))
}

/// The root and all lanes that exist, in the order of their numbers.
pub(crate) fn groups(progress: &Progress, name: impl Fn(RaftId) -> String) -> Vec<GroupInfo> {
    let now = std::time::Instant::now();
    let info = |status: &GroupStatus| {
        let group = status.group;
        let applied_index = applied(progress, group);
        let traffic = progress.traffic.get(&group);
        GroupInfo {
            group_name: group_name(progress, group),
            group_id: group,
            kind: if group == GroupId::ROOT { "root" } else { "lane" },
            leader_id: status.leader.map(&name),
            term: status.term.0,
            commit_index: status.commit_index,
            // What is applied here has been ordered.
            ordered_index: status.ordered_index.max(applied_index),
            applied_index,
            lag: status.commit_index.0.saturating_sub(applied_index.0),
            tables: progress.lanes.lanes.get(&group).map(|lane| lane.tables),
            entries_per_second: traffic.map_or(0.0, |traffic| traffic.entries_per_second(now)),
            bytes: traffic.map_or(0, |traffic| traffic.bytes()),
        }
    };
    progress.groups.values().filter(|status| exists(progress, status.group)).map(info).collect()
}

fn exists(progress: &Progress, group: GroupId) -> bool {
    group == GroupId::ROOT || progress.lanes.lanes.contains_key(&group)
}

/// Whether the root group has a leader that is ready, and everything committed is applied.
pub(crate) fn is_ready(progress: &Progress) -> bool {
    progress.root().is_some_and(|root| root.linearizable_read_safe && progress.applied >= root.commit_index)
}

/// Rows for all groups. `name` gives the name of a member.
pub(crate) fn rows(progress: &Progress, node: &NodeId, name: impl Fn(RaftId) -> String) -> Vec<NodeStatus> {
    let names = |ids: &[RaftId]| ids.iter().map(|id| name(*id)).collect();
    progress
        .groups
        .values()
        .map(|group| {
            let (state, reason) = state_of(progress, group);
            let serves = matches!(state, NodeState::Ok | NodeState::Joining);
            NodeStatus {
                group_name: group_name(progress, group.group),
                group_id: group.group,
                node_id: node.clone(),
                // What a node that has stopped was last is no role.
                role: if serves { group.role.as_str() } else { "follower" },
                leader_id: group.leader.filter(|_| serves).map(&name),
                term: group.term.0,
                last_index: group.last_index,
                commit_index: group.commit_index,
                applied_index: applied(progress, group.group),
                snapshot_index: group.snapshot_index,
                voters: names(&group.membership.voters),
                learners: names(&group.membership.learners),
                initialized: !group.membership.is_empty(),
                linearizable_read_safe: serves && group.linearizable_read_safe,
                state,
                reason,
                log_held_by: held_by(progress, group.group),
            }
        })
        .collect()
}

/// What keeps checkpoints away keeps the log of all groups: it is named at the root.
fn held_by(progress: &Progress, group: GroupId) -> Vec<String> {
    let mut owners: Vec<String> = progress.held.get(&group).into_iter().flatten().cloned().collect();
    if group == GroupId::ROOT {
        owners.extend(progress.checkpoint_holds.values().map(|hold| hold.owner.clone()));
        let blocked = progress.checkpointed.blocked.iter();
        owners.extend(blocked.map(|reason| format!("a checkpoint that has to wait: {reason}")));
        owners.extend(
            progress.postponed.iter().map(|reason| format!("a checkpoint that is postponed: {reason}")),
        );
    }
    owners
}

fn group_name(progress: &Progress, group: GroupId) -> String {
    if group == GroupId::ROOT {
        return "default".to_owned();
    }
    match progress.lanes.lanes.get(&group) {
        Some(lane) => lane.name.to_string(),
        // It has been dropped, and serves those who are behind.
        None => format!("dropped-{group}"),
    }
}

fn applied(progress: &Progress, group: GroupId) -> LogIndex {
    match group {
        GroupId::ROOT => progress.applied,
        lane => progress.lanes_applied.get(&lane).copied().unwrap_or_default(),
    }
}

fn state_of(progress: &Progress, group: &GroupStatus) -> (NodeState, Option<String>) {
    if let Some(reason) = progress.trouble() {
        return (NodeState::Degraded, Some(reason));
    }
    if let GroupState::Poisoned { reason } = &group.state {
        return (NodeState::Degraded, Some(reason.clone()));
    }
    if progress.stopped {
        return (NodeState::Stopped, None);
    }
    // A dropped lane needs a leader only while a member asks for its entries.
    if group.leader.is_none() && exists(progress, group.group) {
        return (NodeState::Joining, Some("the group has no leader yet".to_owned()));
    }
    (NodeState::Ok, None)
}
