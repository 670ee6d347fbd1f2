//! How an empty node becomes a member: it founds a cluster together with its peers, or joins theirs.
//!
//! The voter whose name comes first founds. It draws the cluster's id and remembers it durably; then every other peer
//! agrees, durably, and only when all have does the founder itself become a member. A node that has agreed is a member
//! of that cluster and of no other. A founder that starts again goes on with the id that it has drawn.
//!
//! A node that finds a cluster at any of its peers does not found: it asks the leader to be admitted, under an
//! incarnation that no earlier life of it has had, fetches a snapshot, and begins behind it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prost::Message as _;
use quack_net::{PeerRole, PeerSpec};
use quack_node::{DataFolder, EmptyFolder};
use quack_proto::peer::v1::{Admit, Admitted, Found, Hello};

use crate::calls;
use crate::cluster::{Cluster, Phase, REMOVED};
use crate::error::Error;

/// How often peers are asked while the node waits for them.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// How long a peer may take to agree to a founding: it writes and syncs some small files.
const FOUND_TIME: Duration = Duration::from_secs(10);
/// How long the leader may take to admit a node: two decisions of the cluster.
const ADMIT_TIME: Duration = Duration::from_secs(20);

/// What a peer hears from a member that does not work yet.
const STARTING: &str = "it belongs to a cluster and is just starting, or stopping";
/// What a peer hears from a node that fetches a snapshot.
const JOINING: &str = "it joins a cluster already";
/// What a peer hears from a node that fell out of its cluster.
const REBUILT: &str = "it belongs to a cluster, from which it is to be rebuilt";

/// What the peers have said.
struct Answers {
    /// With the peer that said it.
    hellos: Vec<(PeerSpec, Hello)>,
    /// Who has not answered, and why.
    missing: Vec<String>,
}

impl Cluster {
    /// Makes an empty node a member. Waits for its peers as long as it takes.
    ///
    /// # Errors
    /// The data folder cannot be written, or the server was stopped.
    pub fn settle(self: &Arc<Self>) -> Result<DataFolder, Error> {
        loop {
            if self.is_stopped() {
                return Err(Error::Stopped { waiting: self.waiting_for() });
            }
            if let Some(folder) = self.born()? {
                return Ok(folder);
            }
            let answers = self.ask_peers();
            let waiting = if answers.hellos.iter().any(|(_, hello)| !self.is_free(hello)) {
                self.try_join(&answers)?
            } else {
                self.try_found(&answers)?
            };
            tracing::debug!(waiting, "not a member yet");
            self.say(waiting);
            self.wait_a_moment(ASK_INTERVAL);
        }
    }

    /// The folder, once the node is a member.
    fn born(&self) -> Result<Option<DataFolder>, Error> {
        match &mut *self.phase() {
            Phase::Born(folder) => Ok(folder.take()),
            Phase::Failed(reason) => Err(Error::Change(reason.clone())),
            _ => Ok(None),
        }
    }

    /// Whether a peer belongs to no cluster, or to the one that this node is founding.
    fn is_free(&self, hello: &Hello) -> bool {
        hello.cluster_id.is_empty() || Some(hello.cluster_id.to_vec()) == self.promised()
    }

    /// The cluster that this node is founding.
    fn promised(&self) -> Option<Vec<u8>> {
        match &*self.phase() {
            Phase::Empty(folder) => folder.promised().map(|id| id.to_be_bytes().to_vec()),
            _ => None,
        }
    }

    fn ask_peers(&self) -> Answers {
        let others = self.settings.peers.iter().filter(|peer| peer.node != self.settings.own);
        let mut answers = Answers { hellos: Vec::new(), missing: Vec::new() };
        for peer in others {
            let Some(member) = self.roster.get(&peer.node) else { continue };
            match self.ask(&member) {
                Ok(hello) => answers.hellos.push((peer.clone(), hello)),
                Err(error) => answers.missing.push(error),
            }
        }
        answers
    }

    /// The cluster that this node was a member of, when it is to be rebuilt.
    pub(crate) fn former(&self) -> Option<u128> {
        match &*self.phase() {
            Phase::Empty(folder) => folder.former(),
            _ => None,
        }
    }

    /// Founds the cluster, when all are there and it is this node's turn. Returns what it waits for.
    fn try_found(&self, answers: &Answers) -> Result<String, Error> {
        if let Some(removed) = answers.missing.iter().find(|error| error.contains(REMOVED)) {
            return Ok(format!("a place in its cluster: {removed}"));
        }
        if self.former().is_some() {
            let silent = answers.missing.join("; ");
            return Ok(format!("a peer that belongs to its cluster, to be rebuilt from it: {silent}"));
        }
        if !answers.missing.is_empty() {
            let missing = answers.missing.join("; ");
            return Ok(format!("all first peers, to found the cluster with them: {missing}"));
        }
        for (peer, hello) in &answers.hellos {
            if let Some(difference) = self.difference(hello) {
                return Ok(format!("node '{}' to agree: {difference}", peer.node));
            }
        }
        let voters = self.settings.peers.iter().filter(|peer| peer.role == PeerRole::Voter);
        let Some(founder) = voters.map(|peer| &peer.node).min() else {
            return Ok("a voter: name at least one peer with the role voter".to_owned());
        };
        if *founder != self.settings.own {
            return Ok(format!("node '{founder}', to found the cluster"));
        }
        let cluster_id = match &mut *self.phase() {
            Phase::Empty(folder) => folder.promise()?,
            _ => return Ok("its own start".to_owned()),
        };
        let found = Found {
            cluster_id: cluster_id.to_be_bytes().to_vec().into(),
            peers: self.peer_texts(),
            shared: self.shared(),
        };
        for (peer, _) in &answers.hellos {
            let Some(network) = self.network.get() else { return Ok("its network".to_owned()) };
            let agreed = network.call(&peer.node, "found", found.encode_to_vec().into(), FOUND_TIME);
            if let Err(error) = agreed {
                return Ok(format!("the agreement of node '{}': {error}", peer.node));
            }
        }
        make_member(&mut self.phase(), cluster_id)?;
        tracing::info!(cluster_id = format!("{cluster_id:032x}"), "cluster founded");
        Ok("its own start".to_owned())
    }

    /// What a peer does not agree about, in words.
    fn difference(&self, hello: &Hello) -> Option<String> {
        let own = self.hello();
        if hello.peers != own.peers {
            let only = |these: &[String], those: &[String]| {
                let only: Vec<_> = these.iter().filter(|peer| !those.contains(peer)).cloned().collect();
                if only.is_empty() { "none".to_owned() } else { only.join(", ") }
            };
            return Some(format!(
                "it was started with other peers; only it names {}, only this node names {}",
                only(&hello.peers, &own.peers),
                only(&own.peers, &hello.peers)
            ));
        }
        if let Some(difference) = self.settings.shared.difference(hello.shared.as_ref()) {
            return Some(difference);
        }
        if hello.duckdb_version != own.duckdb_version {
            return Some(format!(
                "it runs DuckDB {}, this node {}",
                hello.duckdb_version, own.duckdb_version
            ));
        }
        (hello.entry_version != own.entry_version).then(|| {
            format!(
                "it writes format {} of the log, this node format {}: install the same release on both",
                hello.entry_version, own.entry_version
            )
        })
    }

    /// A peer founds a cluster and asks this node to belong to it.
    pub(crate) fn agree(&self, found: &Found) -> Result<(), String> {
        if found.peers != self.peer_texts() {
            return Err("it was started with other peers".to_owned());
        }
        if let Some(difference) = self.settings.shared.difference(found.shared.as_ref()) {
            return Err(format!("the founder differs: {difference}"));
        }
        let id: [u8; 16] = found.cluster_id[..].try_into().map_err(|_| "the cluster id is not one")?;
        let cluster_id = u128::from_be_bytes(id);
        let mut phase = self.phase();
        let own = match &*phase {
            Phase::Empty(folder) if folder.former().is_some() => return Err(REBUILT.to_owned()),
            Phase::Empty(_) => None,
            Phase::Born(Some(folder)) => Some(folder.identity().cluster_id),
            Phase::Member(running) => Some(running.node.identity().cluster_id),
            Phase::Joining => return Err(JOINING.to_owned()),
            Phase::Failed(reason) => return Err(reason.clone()),
            // The phase does not tell which cluster the node is in. The founder asks again.
            Phase::Born(None) | Phase::Stopped => return Err(STARTING.to_owned()),
        };
        match own {
            None => make_member(&mut phase, cluster_id).map_err(|error| error.to_string()),
            Some(own) if own == cluster_id => Ok(()),
            Some(_) => Err("it belongs to another cluster already".to_owned()),
        }
    }

    /// What this node says to a peer that asks what it is. An empty peer founds a cluster on its word: to such a one
    /// only a node that is empty, and never was anything else, sounds like it.
    pub(crate) fn answer_hello(&self, question: &Hello) -> Result<Hello, String> {
        let hello = self.hello();
        if !hello.cluster_id.is_empty() || !question.cluster_id.is_empty() {
            return Ok(hello);
        }
        match &*self.phase() {
            Phase::Empty(folder) if folder.former().is_some() => Err(REBUILT.to_owned()),
            Phase::Empty(_) => Ok(hello),
            Phase::Joining => Err(JOINING.to_owned()),
            Phase::Failed(reason) => Err(reason.clone()),
            Phase::Born(_) | Phase::Member(_) | Phase::Stopped => Err(STARTING.to_owned()),
        }
    }

    /// Asks for admission to the cluster that a peer belongs to, and joins it. Returns what it waits for.
    fn try_join(self: &Arc<Self>, answers: &Answers) -> Result<String, Error> {
        if let Some(nodes) = several_clusters(answers).filter(|_| self.former().is_none()) {
            // Which of them it is to join is not its choice.
            return Ok(format!(
                "its peers to belong to one cluster: {nodes}. Stop the nodes of the other one"
            ));
        }
        let mut reasons = Vec::new();
        for (peer, hello) in answers.hellos.iter().filter(|(_, hello)| !self.is_free(hello)) {
            // Asks the leader directly, when a peer names it: every other member would refuse.
            let is_leader = hello.leader == peer.node.as_str();
            if !is_leader {
                let leader = if hello.leader.is_empty() { "no leader" } else { hello.leader.as_str() };
                reasons.push(format!("node '{}' belongs to a cluster and knows {leader}", peer.node));
                continue;
            }
            if let Some(difference) = self.settings.shared.difference(hello.shared.as_ref()) {
                reasons.push(format!("node '{}' differs: {difference}", peer.node));
                continue;
            }
            if self.former().is_some_and(|former| former.to_be_bytes()[..] != hello.cluster_id[..]) {
                reasons.push(format!("node '{}' belongs to another cluster than this node did", peer.node));
                continue;
            }
            match self.join_at(peer, hello) {
                Ok(()) => return Ok("its own start".to_owned()),
                Err(Error::Node(error)) => return Err(error.into()),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Ok(format!("admission to the cluster of its peers: {}", reasons.join("; ")))
    }

    fn join_at(self: &Arc<Self>, peer: &PeerSpec, hello: &Hello) -> Result<(), Error> {
        let known = self.admitted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let admitted = match known.filter(|admitted| admitted.cluster_id == hello.cluster_id) {
            Some(admitted) => admitted,
            None => self.ask_admission(peer, &hello.cluster_id)?,
        };
        self.say(format!("a snapshot from node '{}'", peer.node));
        self.fetch(&peer.node, &admitted)
    }

    fn ask_admission(&self, peer: &PeerSpec, cluster_id: &[u8]) -> Result<Admitted, Error> {
        let network = self.network.get().ok_or(Error::Change("the network has not started".to_owned()))?;
        let admit = Admit {
            node_id: self.settings.own.to_string(),
            entry_version: self.settings.entry_version,
            duckdb_version: self.settings.duckdb_version.clone(),
            extensions: self.settings.extensions.clone(),
            shared: self.shared(),
        };
        let answer = calls::call(network, cluster_id, &peer.node, "admit", &admit, ADMIT_TIME)?;
        let admitted = Admitted::decode(answer).map_err(|error| Error::Change(error.to_string()))?;
        tracing::info!(leader = %peer.node, incarnation = admitted.incarnation, "admitted");
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(admitted.clone());
        Ok(admitted)
    }

    /// Takes the empty folder for a join: no later caller gets it. `None` when the node has no empty folder.
    pub(crate) fn take_empty(&self) -> Option<EmptyFolder> {
        let mut phase = self.phase();
        if !matches!(&*phase, Phase::Empty(_)) {
            return None;
        }
        match std::mem::replace(&mut *phase, Phase::Joining) {
            Phase::Empty(folder) => Some(folder),
            _ => None,
        }
    }
}

/// Two peers that belong to different clusters, in words.
fn several_clusters(answers: &Answers) -> Option<String> {
    let mut members = answers.hellos.iter().filter(|(_, hello)| !hello.cluster_id.is_empty());
    let (first, known) = members.next()?;
    let (other, _) = members.find(|(_, hello)| hello.cluster_id != known.cluster_id)?;
    Some(format!("node '{}' and node '{}' belong to different clusters", first.node, other.node))
}

/// Turns the empty folder into that of a member of a new cluster.
fn make_member(phase: &mut Phase, cluster_id: u128) -> Result<(), quack_node::Error> {
    let folder = match std::mem::replace(phase, Phase::Joining) {
        Phase::Empty(folder) => folder,
        // A peer that founds has come first, or the server stops.
        other => {
            *phase = other;
            return Ok(());
        }
    };
    match folder.found(cluster_id) {
        Ok(folder) => *phase = Phase::Born(Some(folder)),
        Err(error) => {
            *phase = Phase::Failed(error.to_string());
            return Err(error);
        }
    }
    Ok(())
}
