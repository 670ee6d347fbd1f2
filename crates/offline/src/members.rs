//! The members of a cluster, as far as one node's folder knows them.

use std::collections::BTreeMap;

use quack_apply::{State, entry};
use quack_core::Cut;
use quack_log::{EntryKind, LogEntry, LogRead};
use quack_proto::log::v1::{Member, entry::Body};
use quack_types::{GroupId, LogIndex, NodeId, RaftId};

use crate::Error;

/// Bytes of entries that are read at once.
pub(crate) const READ_BYTES: u64 = 8 << 20;

/// What the store and the log say of nodes, by name. Removed ones included.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Members(BTreeMap<String, Member>);

impl Members {
    /// Those of the store, as the log's entries behind it, through `last`, leave them.
    pub fn read(state: &State, log: &impl LogRead, last: LogIndex) -> Result<Self, Error> {
        let known = state.origins.members().map(|member| (member.node_id.clone(), member.clone()));
        let mut members = Self(known.collect());
        let first = state.root.max(log.floor(GroupId::ROOT).index).next();
        for_each_entry(log, GroupId::ROOT, first, last, |entry| {
            if entry.kind != EntryKind::Normal || entry.data.is_empty() || is_cut(&entry) {
                return Ok(());
            }
            if let Body::Member(member) = entry::decode(entry.index.0, &entry.data)?.body {
                members.put(member);
            }
            Ok(())
        })?;
        Ok(members)
    }

    /// Nothing leads back to an earlier incarnation.
    fn put(&mut self, member: Member) {
        let known = self.0.get(&member.node_id);
        if known.is_none_or(|known| known.incarnation <= member.incarnation) {
            self.0.insert(member.node_id.clone(), member);
        }
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }

    /// The node that Raft knows as `id`; its number where no name is known.
    pub fn name_of(&self, id: RaftId, own: &quack_node::Identity) -> String {
        let is_it = |node: &NodeId, lives: u64| (0..=lives).any(|life| node.raft_id(life) == id);
        if is_it(&own.node_id, own.incarnation) {
            return own.node_id.to_string();
        }
        let named = self.iter().filter_map(|member| Some((NodeId::new(&member.node_id).ok()?, member)));
        let mut found = named.filter(|(node, member)| is_it(node, member.incarnation));
        found.next().map_or_else(|| format!("{:016x}", id.0), |(node, _)| node.to_string())
    }
}

/// Whether an entry of the root orders lanes; a damaged one does, too.
fn is_cut(entry: &LogEntry) -> bool {
    !matches!(Cut::of(entry), Ok(None))
}

/// Reads a group's entries from `first` to `last`, both included.
pub(crate) fn for_each_entry(
    log: &impl LogRead,
    group: GroupId,
    first: LogIndex,
    last: LogIndex,
    mut take: impl FnMut(LogEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut next = first;
    while next <= last {
        for entry in log.entries(group, next, last.next(), READ_BYTES)? {
            next = entry.index.next();
            take(entry)?;
        }
    }
    Ok(())
}
