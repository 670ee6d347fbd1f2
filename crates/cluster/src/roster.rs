//! Who is a member: names, Raft identities, addresses.
//!
//! It begins with the peers that the node was started with; entries of the log change it, so all nodes agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

    /// Its earlier lives among these: as which Raft still counts it.
    pub fn earlier_lives(&self, ids: impl IntoIterator<Item = RaftId>) -> BTreeSet<RaftId> {
        let ids: BTreeSet<RaftId> = ids.into_iter().collect();
        let lives = (0..self.incarnation).rev().map(|incarnation| self.node.raft_id(incarnation));
        lives.filter(|life| ids.contains(life)).collect()
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
            begins: false,
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

/// Lives of a node that are looked for behind the one that the log has told of.
const LIVES_MAX: u64 = 64;

/// All members, removed ones included. Shared by threads.
#[derive(Debug)]
pub struct Roster {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    members: BTreeMap<NodeId, Member>,
    /// Lives that have spoken before the log has told of them. Only the leader brings the log, and it may be such a one.
    later: BTreeMap<RaftId, NodeId>,
    /// Where nodes are besides the log's word: as the operator has started this node, and as they say themselves.
    addresses: BTreeMap<NodeId, Vec<Endpoint>>,
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
        let addresses = peers.iter().map(|peer| (peer.node.clone(), vec![peer.endpoint.clone()])).collect();
        Self { known: RwLock::new(Known { members, addresses, later: BTreeMap::new() }) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        // Every change of the maps is complete before anything can panic.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the log says. Returns whether anything is new.
    pub fn update<'a>(&self, said: impl Iterator<Item = &'a proto::Member>) -> bool {
        let mut known = self.write();
        let mut changed = false;
        for member in said.filter_map(Member::from_proto) {
            known.later.remove(&member.raft_id());
            changed |= known.members.insert(member.node.clone(), member.clone()) != Some(member);
        }
        changed
    }

    /// Whether this is the present life of a node, or a later one than the log has told of so far.
    pub fn hear(&self, node: &NodeId, id: RaftId) -> bool {
        let known = self.read();
        let Some(member) = known.members.get(node).filter(|member| !member.removed) else { return false };
        if member.raft_id() == id || known.later.get(&id) == Some(node) {
            return true;
        }
        let is_later =
            (1..=LIVES_MAX).any(|lives| node.raft_id(member.incarnation.saturating_add(lives)) == id);
        drop(known);
        if is_later {
            self.write().later.insert(id, node.clone());
        }
        is_later
    }

    /// Where a node says that it is. Returns whether that is new.
    pub fn hear_address(&self, node: &NodeId, endpoint: &Endpoint) -> bool {
        let mut known = self.write();
        let addresses = known.addresses.entry(node.clone()).or_default();
        if addresses.contains(endpoint) {
            return false;
        }
        // Its last word replaces the one before; the operator's stays.
        addresses.truncate(1);
        addresses.push(endpoint.clone());
        true
    }

    /// Where the members may be: what the log says comes first. The node at an address proves who it is.
    pub fn addresses(&self) -> Vec<(NodeId, Endpoint)> {
        let known = self.read();
        let present = known.members.values().filter(|member| !member.removed);
        let of = |member: &Member| -> Vec<_> {
            let others = known.addresses.get(&member.node).into_iter().flatten();
            let others = others.filter(|endpoint| **endpoint != member.endpoint);
            let all = std::iter::once(&member.endpoint).chain(others);
            all.map(|endpoint| (member.node.clone(), endpoint.clone())).collect()
        };
        present.flat_map(of).collect()
    }

    /// A member by name; `None` for a removed one.
    pub fn get(&self, node: &NodeId) -> Option<Member> {
        self.known(node).filter(|member| !member.removed)
    }

    /// A member by name, also a removed one.
    pub fn known(&self, node: &NodeId) -> Option<Member> {
        self.read().members.get(node).cloned()
    }

    /// All members that were not removed, in the order of their names.
    pub fn members(&self) -> Vec<Member> {
        self.read().members.values().filter(|member| !member.removed).cloned().collect()
    }

    /// Whose Raft identity this is, of the present lives and of later ones that have spoken.
    pub fn node_of(&self, id: RaftId) -> Option<NodeId> {
        let known = self.read();
        let present = known.members.values().find(|member| member.raft_id() == id);
        present.map(|member| member.node.clone()).or_else(|| known.later.get(&id).cloned())
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
    fn the_log_overrides_the_first_peers_and_an_earlier_life_is_no_member() {
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
    fn a_later_life_is_heard_before_the_log_has_told_of_it_and_an_earlier_one_is_not() {
        let roster = roster();
        let mut member = roster.get(&id("n1")).unwrap().to_proto();
        member.incarnation = 3;
        roster.update([&member].into_iter());
        assert!(!roster.hear(&id("n1"), id("n1").raft_id(2)) && !roster.hear(&id("n1"), id("n2").raft_id(0)));
        assert!(roster.hear(&id("n1"), id("n1").raft_id(3)));
        assert!(roster.hear(&id("n1"), id("n1").raft_id(5)));
        assert_eq!(roster.node_of(id("n1").raft_id(5)), Some(id("n1")));
        assert_eq!(roster.node_of(id("n1").raft_id(4)), None);
    }

    #[test]
    fn a_node_is_looked_for_where_the_log_the_operator_and_it_itself_say() {
        let roster = roster();
        let mut member = roster.get(&id("n1")).unwrap().to_proto();
        member.endpoint = "quack:localhost:8".to_owned();
        roster.update([&member].into_iter());
        let of = |roster: &Roster| -> Vec<String> {
            let all = roster.addresses().into_iter().filter(|(node, _)| *node == id("n1"));
            all.map(|(_, endpoint)| endpoint.to_string()).collect()
        };
        assert_eq!(of(&roster), ["quack:localhost:8", "quack:localhost:2"]);
        assert!(roster.hear_address(&id("n1"), &"quack:localhost:9".parse().unwrap()));
        assert!(!roster.hear_address(&id("n1"), &"quack:localhost:9".parse().unwrap()));
        assert_eq!(of(&roster), ["quack:localhost:8", "quack:localhost:2", "quack:localhost:9"]);
    }

    #[test]
    fn a_removed_node_is_no_member_and_its_incarnation_is_remembered() {
        let roster = roster();
        let mut member = roster.get(&id("n2")).unwrap().to_proto();
        (member.removed, member.incarnation) = (true, 4);
        roster.update([&member].into_iter());
        assert_eq!(roster.get(&id("n2")), None);
        assert_eq!(roster.members().len(), 2);
        let known = ["n2", "n1", "n9"].map(|name| roster.known(&id(name)));
        let known = known.map(|member| member.map(|member| (member.incarnation, member.removed)));
        assert_eq!(known, [Some((4, true)), Some((0, false)), None]);
    }
}
