//! Changes of membership: asked for on any node, carried out by the leader.

use std::time::{Duration, Instant};

use quack_net::{CallError, Endpoint, PeerRole, PeerSpec};
use quack_node::{MemberChange, Membership};
use quack_proto::log::v1::entry::Body;
use quack_proto::peer::v1::{Admit, Admitted, ChangeMember, Hello, change_member};
use quack_types::{NodeId, RaftId};

use crate::calls;
use crate::cluster::{Cluster, Running};
use crate::error::Error;
use crate::roster::{Member, Release};

/// How long the cluster may take for one change of its members.
const CHANGE_TIME: Duration = Duration::from_secs(15);
/// How long a change waits for a leader. An election takes a second at most.
const LEADER_TIME: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// How long a node that passes a change on waits for the leader, which may have to make two changes.
const ASK_TIME: Duration = Duration::from_secs(40);

/// A change of the members, as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Add a node, or change its role or address.
    Put(PeerSpec),
    /// Remove a node.
    Remove(NodeId),
    /// Hand leadership to a node.
    Lead(NodeId),
}

impl Change {
    fn to_proto(&self) -> ChangeMember {
        let change = match self {
            Change::Put(spec) => {
                let member = Member {
                    node: spec.node.clone(),
                    incarnation: 0,
                    endpoint: spec.endpoint.clone(),
                    voter: spec.role == PeerRole::Voter,
                    removed: false,
                    release: None,
                };
                change_member::Change::Put(member.to_proto())
            }
            Change::Remove(node) => change_member::Change::Remove(node.to_string()),
            Change::Lead(node) => change_member::Change::Lead(node.to_string()),
        };
        ChangeMember { change: Some(change) }
    }
}

/// The lives of a member that Raft counts: the present one, and earlier ones, which an admission has left that ended between
/// its two decisions.
fn counted_lives(membership: &Membership, member: &Member) -> Vec<RaftId> {
    let counted: Vec<RaftId> = membership.voters.iter().chain(&membership.learners).copied().collect();
    let present = counted.contains(&member.raft_id()).then(|| member.raft_id());
    member.earlier_lives(counted).into_iter().chain(present).collect()
}

impl Cluster {
    /// Changes the members, from any node.
    ///
    /// # Errors
    /// There is no leader, or it says why not.
    pub fn change(&self, change: &Change) -> Result<(), Error> {
        let running = self.running().ok_or_else(|| Error::Change(self.not_a_member()))?;
        let deadline = Instant::now() + LEADER_TIME;
        loop {
            let leader = self.wait_for_leader(&running, deadline)?;
            if leader == self.settings.own {
                return self.change_here(change.to_proto()).map_err(Error::Change);
            }
            let network =
                self.network.get().ok_or_else(|| Error::Change("the network has not started".to_owned()))?;
            let cluster_id = running.cluster_id();
            match calls::call(network, &cluster_id, &leader, "members", &change.to_proto(), ASK_TIME) {
                // It has died, and the next one is not elected yet. It has not heard of the change.
                Err(CallError::Unreachable { .. }) if Instant::now() < deadline && !self.is_stopped() => {
                    self.wait_a_moment(POLL);
                }
                answer => return answer.map(drop).map_err(Error::from),
            }
        }
    }

    /// The leader, which may just be changing.
    fn wait_for_leader(&self, running: &Running, deadline: Instant) -> Result<NodeId, Error> {
        loop {
            if let Some(leader) = running.node.leader().and_then(|leader| self.roster.node_of(leader)) {
                return Ok(leader);
            }
            if Instant::now() >= deadline || self.is_stopped() {
                let text = "the cluster has no leader now: see FROM quack_raft_status(), and try again";
                return Err(Error::Change(text.to_owned()));
            }
            self.wait_a_moment(POLL);
        }
    }

    fn not_a_member(&self) -> String {
        format!("this node is not a member of a cluster yet; it waits for {}", self.waiting_for())
    }

    fn leading(&self) -> Result<std::sync::Arc<Running>, String> {
        let running = self.running().ok_or_else(|| self.not_a_member())?;
        if running.node.is_leader() {
            return Ok(running);
        }
        let leader = running.node.leader().and_then(|leader| self.roster.node_of(leader));
        Err(leader.map_or("it does not lead, and knows no leader".to_owned(), |leader| {
            format!("node '{leader}' leads")
        }))
    }

    /// Changes the members on the leader.
    pub(crate) fn change_here(&self, change: ChangeMember) -> Result<(), String> {
        let running = self.leading()?;
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match change.change {
            Some(change_member::Change::Put(member)) => self.put(&running, &member),
            Some(change_member::Change::Remove(node)) => self.remove(&running, &node),
            Some(change_member::Change::Lead(node)) => self.lead(&running, &node),
            None => Err("this release does not know that change of members".to_owned()),
        }
    }

    fn put(&self, running: &Running, wanted: &quack_proto::log::v1::Member) -> Result<(), String> {
        let mut member = Member::from_proto(wanted).ok_or("the node's name or address is not valid")?;
        let taken = self
            .roster
            .members()
            .into_iter()
            .find(|other| other.endpoint == member.endpoint && other.node != member.node);
        if let Some(other) = taken {
            return Err(format!("node '{}' is at {} already", other.node, member.endpoint));
        }
        let membership = running.node.membership();
        if let Some(known) = self.roster.known(&member.node) {
            // Where its removal has ended or was begun, or its admission, it begins a new life, also when it goes on. What
            // another leader decides of the former one, and says late, is then void.
            let is_over = known.removed || !membership.is_member(known.raft_id());
            member.incarnation = known.incarnation + u64::from(is_over);
            member.release = known.release.filter(|_| !known.removed);
        }
        let id = member.raft_id();
        // The other way round it is promoted when it has caught up.
        let loses_vote = !member.voter && membership.is_voter(id);
        if loses_vote {
            self.require_dispensable(&membership, &member)?;
            self.require_quorum_without(&membership, &[id])?;
            self.wait_for_lanes(running)?;
        }
        running.host.propose(Body::Member(member.to_proto()))?;
        if loses_vote {
            self.change_raft(running, vec![MemberChange::Learner(id)])?;
            self.wait_for_lanes(running)?;
        }
        Ok(())
    }

    /// Whether a node may lose its vote. Asked on the leader, before anything is written.
    fn require_dispensable(&self, membership: &Membership, member: &Member) -> Result<(), String> {
        if membership.is_only_voter(member.raft_id()) {
            return Err("it is the only voter: make another node a voter first".to_owned());
        }
        if member.node == self.settings.own {
            return Err("it leads: hand leadership over with CALL quack_transfer_leader(…), then try again"
                .to_owned());
        }
        Ok(())
    }

    /// Whether those voters are there that decide when `gone` have no vote any more. Without them the change would begin, and
    /// neither end nor be undone: no node could lead. (etcd calls this the strict check of reconfigurations.)
    fn require_quorum_without(&self, membership: &Membership, gone: &[RaftId]) -> Result<(), String> {
        let stay: Vec<RaftId> =
            membership.voters.iter().copied().filter(|voter| !gone.contains(voter)).collect();
        let members: Vec<Member> =
            self.roster.members().into_iter().filter(|member| stay.contains(&member.raft_id())).collect();
        let is_there = |member: &Member, said: Option<Result<Hello, String>>| match said {
            None => true,
            Some(said) => said.is_ok_and(|hello| {
                hello.degraded.is_empty()
                    && !hello.cluster_id.is_empty()
                    && hello.incarnation == member.incarnation
            }),
        };
        let (there, missing): (Vec<_>, Vec<_>) = self
            .ask_all(&members)
            .into_iter()
            .map(|(member, said)| (member.node.clone(), is_there(member, said)))
            .partition(|(_, is_there)| *is_there);
        if there.len() > stay.len() / 2 {
            return Ok(());
        }
        let missing: Vec<_> = missing.into_iter().map(|(node, _)| format!("'{node}'")).collect();
        Err(format!(
            "of the {} voters that would stay {} would be there, which is no quorum: the cluster would have no leader \
             any more. Nothing was changed. Start {}, or remove what does not come back first",
            stay.len(),
            there.len(),
            missing.join(" and ")
        ))
    }

    fn remove(&self, running: &Running, name: &str) -> Result<(), String> {
        let node = NodeId::new(name).map_err(|error| error.to_string())?;
        let no_member = || format!("node '{node}' is no member: see FROM quack_nodes(…)");
        let mut member = self.roster.known(&node).ok_or_else(no_member)?;
        if member.removed && counted_lives(&running.node.membership(), &member).is_empty() {
            return Err(no_member());
        }
        let membership = running.node.membership();
        self.require_dispensable(&membership, &member)?;
        let lives = counted_lives(&membership, &member);
        if lives.iter().any(|life| membership.is_voter(*life)) {
            self.require_quorum_without(&membership, &lives)?;
        }
        self.wait_for_lanes(running)?;
        if !lives.is_empty() {
            self.change_raft(running, lives.into_iter().map(MemberChange::Remove).collect())?;
        }
        // Until then it counts in them: it has to be there.
        self.wait_for_lanes(running)?;
        member.removed = true;
        running.host.propose(Body::Member(member.to_proto()))
    }

    fn lead(&self, running: &Running, name: &str) -> Result<(), String> {
        let node = NodeId::new(name).map_err(|error| error.to_string())?;
        let member = self.roster.get(&node).ok_or_else(|| format!("node '{node}' is no member"))?;
        if !running.node.membership().is_voter(member.raft_id()) {
            return Err(format!("node '{node}' is not a voter, and only a voter can lead"));
        }
        if node == self.settings.own {
            return Ok(());
        }
        self.ask(&member).map_err(|error| format!("node '{node}' cannot lead: {error}"))?;
        running.node.transfer_leader(member.raft_id());
        let deadline = Instant::now() + LEADER_TIME;
        while running.node.leader() != Some(member.raft_id()) {
            if Instant::now() >= deadline || self.is_stopped() {
                return Err(format!("node '{node}' has not taken leadership over: see FROM quack_nodes(…)"));
            }
            self.wait_a_moment(POLL);
        }
        Ok(())
    }

    fn change_raft(&self, running: &Running, changes: Vec<MemberChange>) -> Result<(), String> {
        running.node.change_members(changes, CHANGE_TIME).map_err(|error| error.to_string())
    }

    /// Every group of tables takes the members of the default group by itself; no node may leave before all have.
    fn wait_for_lanes(&self, running: &Running) -> Result<(), String> {
        running.node.wait_for_lanes(CHANGE_TIME).map_err(|error| {
            format!("{error}. Nothing is lost: keep all nodes running, see FROM quack_group_status(…) for groups without \
                     a leader, and try again")
        })
    }

    /// Admits a node with an empty disk, in place of its earlier life.
    pub(crate) fn admit_back(&self, peer: &NodeId, admit: &Admit) -> Result<Admitted, String> {
        if admit.node_id != peer.as_str() {
            return Err(format!("node '{peer}' asks for '{}'", admit.node_id));
        }
        if admit.entry_version < self.settings.entry_version
            || admit.duckdb_version != self.settings.duckdb_version
        {
            return Err(format!(
                "it runs DuckDB {} and reads format {} of the log, the cluster DuckDB {} and format {}: install the \
                 same release",
                admit.duckdb_version,
                admit.entry_version,
                self.settings.duckdb_version,
                self.settings.entry_version
            ));
        }
        if let Some(difference) = self.settings.shared.difference(admit.shared.as_ref()) {
            return Err(format!("the node that asks differs: {difference}"));
        }
        let running = self.leading()?;
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut member = self.roster.get(peer).ok_or_else(|| format!("node '{peer}' is no member"))?;
        if self.is_at_work(&running, &member) {
            tracing::warn!(node = %peer, "a process with an empty data folder asks for the place of a node that is at work");
            return Err(format!(
                "node '{peer}' is at work already, in another process: if this data folder should not be empty, its disk may \
                 not be mounted; if that process has just ended, this one is admitted in a moment"
            ));
        }
        let membership = running.node.membership();
        let before = counted_lives(&membership, &member);
        if before.iter().any(|life| membership.is_voter(*life)) {
            self.require_quorum_without(&membership, &before)?;
        }
        member.incarnation += 1;
        member.release = Some(Release {
            entry_version: admit.entry_version,
            duckdb_version: admit.duckdb_version.clone(),
            extensions: admit.extensions.clone(),
        });
        // Another leader may have admitted it meanwhile, or this one with an entry whose outcome it does not know.
        let begins = quack_proto::log::v1::Member { begins: true, ..member.to_proto() };
        running.host.propose(Body::Member(begins))?;
        let mut changes = vec![MemberChange::Learner(member.raft_id())];
        changes.extend(before.into_iter().map(MemberChange::Remove));
        self.change_raft(&running, changes)?;
        Ok(Admitted { cluster_id: running.cluster_id().to_vec().into(), incarnation: member.incarnation })
    }

    /// Writes into the log what a member runs.
    pub(crate) fn record_release(
        &self,
        running: &Running,
        node: &NodeId,
        release: Release,
    ) -> Result<(), String> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.roster.get(node) {
            Some(member) if member.release.as_ref() != Some(&release) => {
                let member = Member { release: Some(release), ..member };
                running.host.propose(Body::Member(member.to_proto()))
            }
            _ => Ok(()),
        }
    }

    /// Writes into the log where a member is.
    pub(crate) fn record_address(
        &self,
        running: &Running,
        node: &NodeId,
        endpoint: Endpoint,
    ) -> Result<(), String> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(member) = self.roster.get(node) else { return Ok(()) };
        running.host.propose(Body::Member(Member { endpoint, ..member }.to_proto()))
    }

    /// Makes a learner that has caught up a voter, if it is to be one.
    pub(crate) fn promote(&self, running: &Running, member: &Member) -> Result<(), String> {
        let _changing = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.change_raft(running, vec![MemberChange::Voter(member.raft_id())])
    }
}
