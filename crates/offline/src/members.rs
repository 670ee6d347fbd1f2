//! The members of a cluster, as far as one node's folder knows them.

use std::collections::BTreeMap;

use quack_apply::{State, entry};
use quack_core::Cut;
use quack_log::{EntryKind, LogEntry, LogRead};
use quack_node::Identity;
use quack_proto::log::v1::{Member, entry::Body};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId, Term};

use crate::Error;

/// Bytes of entries that are read at once.
pub(crate) const READ_BYTES: u64 = 8 << 20;

/// Where a node is whose address its cluster never knew, because it had no peers: `quackd`'s default.
const ENDPOINT: &str = "quack:localhost:9494";

/// What the store and the log say of nodes, by name. Removed ones included.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Members(BTreeMap<String, Member>);

impl Members {
    /// Those of the store, as the log's entries behind it, through `last`, leave them.
    pub fn read(state: &State, log: &impl LogRead, last: LogIndex) -> Result<Self, Error> {
        let mut members = Self::of(state);
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
    pub fn name_of(&self, id: RaftId, own: &Identity) -> String {
        let is_it = |node: &NodeId, lives: u64| (0..=lives).any(|life| node.raft_id(life) == id);
        if is_it(&own.node_id, own.incarnation) {
            return own.node_id.to_string();
        }
        let named = self.iter().filter_map(|member| Some((NodeId::new(&member.node_id).ok()?, member)));
        let mut found = named.filter(|(node, member)| is_it(node, member.incarnation));
        found.next().map_or_else(|| format!("{:016x}", id.0), |(node, _)| node.to_string())
    }
}

impl Members {
    /// Those of a store.
    pub fn of(state: &State) -> Self {
        Self(state.origins.members().map(|member| (member.node_id.clone(), member.clone())).collect())
    }

    /// The members beside this node that were not removed.
    pub fn others(&self, own: &Identity) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.node_id != own.node_id.as_str() && !member.removed)
    }

    /// The entries behind `last` that leave a new cluster with this node alone, at `endpoint`, or where it was. What the
    /// others, and this node in an earlier life, had begun is void from there on.
    pub fn alone(&self, own: &Identity, endpoint: Option<&str>, last: LogIndex, term: Term) -> Vec<LogEntry> {
        let known = self.0.get(own.node_id.as_str()).cloned().unwrap_or_else(|| Member {
            node_id: own.node_id.to_string(),
            endpoint: ENDPOINT.to_owned(),
            ..Member::default()
        });
        let endpoint = endpoint.map_or(known.endpoint, str::to_owned);
        let member = Member { incarnation: own.incarnation, voter: true, removed: false, endpoint, ..known };
        let others = self.others(own).map(|other| Member { removed: true, ..other.clone() });
        let said = std::iter::once(member).chain(others);
        let entry = |(sequence, member): (u64, Member)| {
            // Before its first start, which has boot 1.
            let id = ProposalId { origin: own.raft_id(), boot: 0, sequence };
            LogEntry {
                term,
                index: LogIndex(last.0 + sequence),
                kind: EntryKind::Normal,
                data: entry::encode(id, 0, None, Body::Member(member)),
                context: Default::default(),
            }
        };
        (1..).zip(said).map(entry).collect()
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
