//! Who is a member: names, Raft identities, addresses.
//!
//! It begins with the peers that the node was started with; entries of the log change it, so all nodes agree.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use quack_net::{Endpoint, PeerRole, PeerSpec};
use quack_proto::log::v1 as proto;
use quack_types::{NodeId, RaftId};

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Counts the lives of its disk.
    pub incarnation: u64,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// Whether it is to vote once it has caught up.
    pub voter: bool,
    /// It was removed; its incarnation is remembered.
    pub removed: bool,
    /// What it runs, once that is in the log.
    pub release: Option<Release>,
}

/// What a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Newest `Entry.version` that it reads.
    pub entry_version: u32,
    /// Its DuckDB.
    pub duckdb_version: String,
    /// The extensions that its process has besides those of every DuckDB, see `log.v1.Member`.
    pub extensions: Vec<String>,
}

impl Member {
    /// The node as Raft knows it.
    pub fn raft_id(&self) -> RaftId {
        self.node.raft_id(self.incarnation)
    }

    /// For the log.
    pub fn to_proto(&self) -> proto::Member {
        proto::Member {
            node_id: self.node.to_string(),
            incarnation: self.incarnation,
            endpoint: self.endpoint.to_string(),
            voter: self.voter,
            removed: self.removed,
            entry_version: self.release.as_ref().map_or(0, |release| release.entry_version),
            duckdb_version: self.release.as_ref().map(|r| r.duckdb_version.clone()).unwrap_or_default(),
            extensions: self.release.as_ref().map(|r| r.extensions.clone()).unwrap_or_default(),
        }
    }

    /// From the log. `None` when it is no member; the log holds what a leader has checked.
    pub fn from_proto(member: &proto::Member) -> Option<Self> {
        Some(Self {
            node: NodeId::new(&member.node_id).ok()?,
            incarnation: member.incarnation,
            endpoint: member.endpoint.parse().ok()?,
            voter: member.voter,
            removed: member.removed,
            release: (member.entry_version > 0).then(|| Release {
                entry_version: member.entry_version,
                duckdb_version: member.duckdb_version.clone(),
                extensions: member.extensions.clone(),
            }),
        })
    }
}

/// All members, removed ones included. Shared by threads.
#[derive(Debug)]
pub struct Roster {
    members: RwLock<BTreeMap<NodeId, Member>>,
}

impl Roster {
    /// With the peers that a node was started with, in their first incarnation.
    pub fn new(peers: &[PeerSpec]) -> Self {
        let member = |peer: &PeerSpec| Member {
            node: peer.node.clone(),
            incarnation: 0,
            endpoint: peer.endpoint.clone(),
            voter: peer.role == PeerRole::Voter,
            removed: false,
            release: None,
        };
        let members = peers.iter().map(|peer| (peer.node.clone(), member(peer))).collect();
        Self { members: RwLock::new(members) }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Member>> {
        // Every change of the map is complete before anything can panic.
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the log says. Returns whether anything is new.
    pub fn update<'a>(&self, said: impl Iterator<Item = &'a proto::Member>) -> bool {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for member in said.filter_map(Member::from_proto) {
            changed |= members.insert(member.node.clone(), member.clone()) != Some(member);
        }
        changed
    }

    /// A member by name; `None` for a removed one.
    pub fn get(&self, node: &NodeId) -> Option<Member> {
        self.read().get(node).filter(|member| !member.removed).cloned()
    }

    /// Under which incarnation a name was last known, removed ones included.
    pub fn last_incarnation(&self, node: &NodeId) -> Option<u64> {
        self.read().get(node).map(|member| member.incarnation)
    }

    /// All members that were not removed, in the order of their names.
    pub fn members(&self) -> Vec<Member> {
        self.read().values().filter(|member| !member.removed).cloned().collect()
    }

    /// Whose Raft identity this is, of the present lives.
    pub fn node_of(&self, id: RaftId) -> Option<NodeId> {
        self.read().values().find(|member| member.raft_id() == id).map(|member| member.node.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        let peers =
            ["n0:voter=quack:localhost:1,n1:voter=quack:localhost:2,n2:learner=quack:localhost:3".to_owned()];
        Roster::new(&PeerSpec::parse_list(&peers).unwrap())
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn the_log_overrides_the_first_peers_and_earlier_lives_are_nobody() {
        let roster = roster();
        let first = id("n1").raft_id(0);
        assert_eq!(roster.node_of(first), Some(id("n1")));
        let mut member = roster.get(&id("n1")).unwrap().to_proto();
        member.incarnation = 1;
        assert!(roster.update([&member].into_iter()));
        assert!(!roster.update([&member].into_iter()));
        assert_eq!(roster.node_of(first), None);
        assert_eq!(roster.node_of(id("n1").raft_id(1)), Some(id("n1")));
    }

    #[test]
    fn a_removed_node_is_no_member_and_its_incarnation_is_remembered() {
        let roster = roster();
        let mut member = roster.get(&id("n2")).unwrap().to_proto();
        (member.removed, member.incarnation) = (true, 4);
        roster.update([&member].into_iter());
        assert_eq!(roster.get(&id("n2")), None);
        assert_eq!(roster.members().len(), 2);
        assert_eq!(roster.last_incarnation(&id("n2")), Some(4));
    }
}
