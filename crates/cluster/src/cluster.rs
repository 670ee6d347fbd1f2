//! The whole: what a node is at the moment, and what it answers its peers.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use quack_net::{PeerHandler, PeerSpec, Peers};
use quack_node::metrics::Sample;
use quack_node::{DataFolder, EmptyFolder, GroupStatus, Identity, Membership, NodeHandle, Transport};
use quack_proto::log::v1::{self as log_proto, entry::Body};
use quack_proto::peer::v1::{self as proto, Batch, Hello};
use quack_types::{GroupId, LogIndex, Mark, NodeId, RaftId};
use ring::rand::SecureRandom as _;

use crate::calls::unreadable;
use crate::frame::Sender;
use crate::presence::Presence;
use crate::roster::{Member, Roster};
use crate::said::Said;
use crate::sending::Snapshots;
use crate::shared::Shared;
use crate::transfers::Transfers;
use crate::transport::PeerTransport;
use crate::witness::Witness;

/// How long a peer may take to say what it is.
pub(crate) const HELLO_TIME: Duration = Duration::from_secs(1);

/// What a peer hears that was a member.
pub(crate) const REMOVED: &str = "it was removed from this cluster";

/// What the host of a node does for its cluster.
pub trait Host: Send + Sync + 'static {
    /// Writes a decision into the log, and waits until it is applied here.
    ///
    /// # Errors
    /// What the log says, or why its outcome is not known.
    fn propose(&self, decision: Body) -> Result<(), String>;

    /// The hash of everything that this node held at a verification; `None` while it is not known.
    ///
    /// # Errors
    /// Why it cannot be known.
    fn verified(&self, number: u64) -> Result<Option<String>, String>;

    /// The file of the store, for reading.
    ///
    /// # Errors
    /// Why there is none now.
    fn store_file(&self) -> Result<Arc<File>, String>;
}

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub own: NodeId,
    /// All first peers, this node among them.
    pub peers: Vec<PeerSpec>,
    /// Highest `Entry.version` that this node reads.
    pub entry_version: u32,
    /// The DuckDB that it runs in.
    pub duckdb_version: String,
    /// The extensions that this process has besides those of every DuckDB, see `log.v1.Member`.
    pub extensions: Vec<String>,
    /// What all nodes must be started with alike.
    pub shared: Shared,
    /// Entries between two verifications that the leader starts by itself.
    pub verify_entries: u64,
}

impl Settings {
    /// Each verification reads everything that the nodes hold.
    pub const VERIFY_ENTRIES: u64 = 1_000_000;
}

/// What a node is.
pub(crate) enum Phase {
    /// It belongs to no cluster yet.
    Empty(EmptyFolder),
    /// It fetches a snapshot.
    Joining,
    /// It has become a member; its node does not run yet. The folder waits for [`Cluster::settle`].
    Born(Option<DataFolder>),
    /// It works.
    Member(Arc<Running>),
    /// Its folder could not become a member's. It has agreed to nothing.
    Failed(String),
    /// The server is being stopped.
    Stopped,
}

/// A node that works.
pub(crate) struct Running {
    pub node: Arc<NodeHandle>,
    pub host: Arc<dyn Host>,
}

/// One line about a member, as this node sees it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The member.
    pub member: Member,
    /// `voter` or `learner` in Raft, or `joining` when Raft does not know it yet.
    pub role: &'static str,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it answers.
    pub reachable: bool,
    /// Last entry that it has applied; `None` when it does not answer.
    pub applied: Option<u64>,
    /// Its DuckDB.
    pub duckdb_version: Option<String>,
    /// `ok`, `joining`, `degraded` or `unreachable`.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
}

/// A node among its peers. Made before the network starts, which calls it.
pub struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) roster: Arc<Roster>,
    pub(crate) network: OnceLock<Peers>,
    pub(crate) snapshots: Snapshots,
    pub(crate) sent: Transfers,
    pub(crate) received: Transfers,
    /// As what this process has been admitted. It has not worked as that yet, so it may try again.
    pub(crate) admitted: Mutex<Option<proto::Admitted>>,
    /// Held while the members are being changed, which happens one at a time.
    pub(crate) changing: Mutex<()>,
    /// Held while this node finds out whether it must stop, as a member has said.
    pub(crate) checking: Mutex<()>,
    phase: Mutex<Phase>,
    moved: Condvar,
    waiting: Mutex<String>,
    stopped: AtomicBool,
    /// Whether clients are let in.
    pub(crate) serving: AtomicBool,
    /// What the others have promised.
    pub(crate) witness: OnceLock<Witness>,
    /// Drawn for this start.
    pub(crate) start: u64,
    /// Who has heard of it, durably; nothing before the node has begun.
    pub(crate) told: Mutex<Option<BTreeSet<RaftId>>>,
    /// Which processes the members are.
    pub(crate) presence: Presence,
    /// That a node of another cluster sends messages.
    strangers: Mutex<Said>,
}

impl Cluster {
    /// A node that belongs to no cluster yet when `folder` is given, else one that is about to start.
    pub fn new(settings: Settings, folder: Option<EmptyFolder>) -> Arc<Self> {
        let roster = Arc::new(Roster::new(&settings.peers));
        let phase = folder.map_or(Phase::Born(None), Phase::Empty);
        Arc::new(Self {
            settings,
            roster,
            network: OnceLock::new(),
            snapshots: Snapshots::default(),
            sent: Transfers::new("sent"),
            received: Transfers::new("received"),
            admitted: Mutex::default(),
            changing: Mutex::new(()),
            checking: Mutex::new(()),
            phase: Mutex::new(phase),
            moved: Condvar::new(),
            waiting: Mutex::new("its start".to_owned()),
            stopped: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            witness: OnceLock::new(),
            start: draw(),
            told: Mutex::default(),
            presence: Presence::default(),
            strangers: Mutex::default(),
        })
    }

    /// Gives it the network, once.
    pub fn connect(&self, network: Peers) {
        // A second network would need a second server, and a cluster has one.
        let _ = self.network.set(network);
        self.follow_roster();
    }

    /// Who is a member.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// What a new node of this cluster sends its messages with.
    pub fn transport(&self, own: &Identity) -> Option<Box<dyn Transport>> {
        let network = self.network.get()?.clone();
        let sender = Sender { cluster_id: own.cluster_id, id: own.raft_id(), start: self.start };
        let told = Arc::default();
        Some(Box::new(PeerTransport { sender, roster: Arc::clone(&self.roster), network, told }))
    }

    /// The cluster that this node belongs to.
    pub(crate) fn own_cluster(&self) -> Option<u128> {
        match &*self.phase() {
            Phase::Member(running) => Some(running.node.identity().cluster_id),
            Phase::Born(Some(folder)) => Some(folder.identity().cluster_id),
            _ => None,
        }
    }

    /// The node works from now on.
    pub fn run(self: &Arc<Self>, node: Arc<NodeHandle>, host: Arc<dyn Host>) {
        self.open_witness(&node);
        let running = Arc::new(Running { node, host });
        self.enter(Phase::Member(Arc::clone(&running)));
        self.say(String::new());
        self.start_introduction(&running.node);
        self.start_steward();
        self.start_agreement(&running);
    }

    /// Takes over what the log says about members.
    pub fn members_said<'a>(&self, said: impl Iterator<Item = &'a log_proto::Member>) {
        if self.roster.update(said) {
            self.follow_roster();
        }
    }

    /// What the node is waiting for, in words; empty when it works.
    pub fn waiting_for(&self) -> String {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all waiting tasks of the cluster, and lets go of the node.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.enter(Phase::Stopped);
        self.snapshots.close();
    }

    /// Whether the server is being stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Says what the node is waiting for; nothing when it works.
    pub fn say(&self, waiting: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    pub(crate) fn phase(&self) -> MutexGuard<'_, Phase> {
        // A phase is replaced as a whole.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let mut current = self.phase();
        // The phase never leaves `Stopped`.
        let before = match *current {
            Phase::Stopped => phase,
            _ => std::mem::replace(&mut *current, phase),
        };
        drop(current);
        // It may hold the last reference to a node, whose end takes its time.
        drop(before);
        self.moved.notify_all();
    }

    pub(crate) fn wait_a_moment(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        let phase = self.phase();
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.moved.wait_timeout(phase, left).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        match &*self.phase() {
            Phase::Member(running) => Some(Arc::clone(running)),
            _ => None,
        }
    }

    fn follow_roster(&self) {
        if let Some(network) = self.network.get() {
            network.set_addresses(&self.roster.addresses());
        }
    }

    /// Takes note of where a peer has been started. One of another cluster is not looked for there.
    fn hear_address(&self, peer: &NodeId, said: &Hello) {
        if self.require_own_cluster(&said.cluster_id).is_ok()
            && let Some(spec) = own_spec(peer, said)
            && self.roster.hear_address(peer, &spec.endpoint)
        {
            self.follow_roster();
        }
    }

    /// The peers in one order for all nodes.
    pub(crate) fn peer_texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.settings.peers.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    }

    /// What this node says that it is.
    pub(crate) fn hello(&self) -> Hello {
        let mut hello = Hello {
            node_id: self.settings.own.to_string(),
            peers: self.peer_texts(),
            entry_version: self.settings.entry_version,
            duckdb_version: self.settings.duckdb_version.clone(),
            extensions: self.settings.extensions.clone(),
            shared: self.shared(),
            serves: self.serving.load(Ordering::Acquire),
            ..Hello::default()
        };
        let phase = self.phase();
        match &*phase {
            Phase::Member(running) => {
                let node = Arc::clone(&running.node);
                drop(phase);
                let identity = node.identity();
                hello.cluster_id = identity.cluster_id.to_be_bytes().to_vec().into();
                hello.incarnation = identity.incarnation;
                hello.start = self.start;
                let leader = node.leader().and_then(|leader| self.roster.node_of(leader));
                hello.leader = leader.map(|leader| leader.to_string()).unwrap_or_default();
                hello.applied = node.applied().0;
                hello.committed = node.commit_index().0;
                hello.degraded = node.degraded().unwrap_or_default();
            }
            Phase::Born(Some(folder)) => {
                hello.cluster_id = folder.identity().cluster_id.to_be_bytes().to_vec().into();
            }
            _ => {}
        }
        hello
    }

    /// Asks a member what it is.
    ///
    /// # Errors
    /// It does not answer, or belongs to another cluster than this node.
    pub(crate) fn ask(&self, member: &Member) -> Result<Hello, String> {
        self.ask_within(member, HELLO_TIME)
    }

    pub(crate) fn ask_within(&self, member: &Member, time: Duration) -> Result<Hello, String> {
        let hello = self.greet(member, &self.hello(), time)?;
        self.require_own_cluster(&hello.cluster_id)
            .map_err(|reason| format!("node '{}': {reason}", member.node))?;
        Ok(hello)
    }

    /// Says hello, and hears what a member says to that.
    pub(crate) fn greet(&self, member: &Member, question: &Hello, time: Duration) -> Result<Hello, String> {
        let network = self.network.get().ok_or("the network has not started")?;
        let body = question.encode_to_vec().into();
        let answer = network.call(&member.node, "hello", body, time).map_err(|error| error.to_string())?;
        Hello::decode(answer)
            .map_err(|error| format!("node '{}' answers in a way that cannot be read: {error}", member.node))
    }

    /// One line for each member, in the order of their names. Asks those that are not this node.
    pub fn nodes(self: &Arc<Self>) -> Vec<NodeView> {
        let Some(running) = self.running() else { return Vec::new() };
        let asking = self.roster.members().into_iter().map(|member| {
            let (this, running) = (Arc::clone(self), Arc::clone(&running));
            quack_types::thread::builder("quack-view").spawn(move || this.view(&running, member))
        });
        let asking: Vec<_> = asking.collect();
        asking.into_iter().filter_map(|thread| thread.ok()?.join().ok()).collect()
    }

    /// What is measured of snapshots.
    pub fn metrics(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.sent.read(&mut samples);
        self.received.read(&mut samples);
        samples
    }

    fn view(&self, running: &Running, member: Member) -> NodeView {
        let membership = running.node.membership();
        let id = member.raft_id();
        let role = if membership.is_voter(id) {
            "voter"
        } else if membership.learners.contains(&id) {
            "learner"
        } else {
            "joining"
        };
        let leader = running.node.leader() == Some(id);
        let said = if member.node == self.settings.own { Ok(self.hello()) } else { self.ask(&member) };
        let (state, reason) = match &said {
            Err(error) => ("unreachable", Some(error.clone())),
            Ok(hello) if !hello.degraded.is_empty() => ("degraded", Some(hello.degraded.clone())),
            Ok(hello) if hello.cluster_id.is_empty() => ("joining", None),
            Ok(_) => ("ok", None),
        };
        let hello = said.ok();
        NodeView {
            role,
            leader,
            reachable: hello.is_some(),
            applied: hello.as_ref().filter(|hello| !hello.cluster_id.is_empty()).map(|hello| hello.applied),
            duckdb_version: hello.map(|hello| hello.duckdb_version),
            state,
            reason,
            member,
        }
    }

    /// Whether the process of a member is at work, in the life that the cluster knows. Two signs, because each may be
    /// missing: a leader that has just been elected has heard of few, and a member may be asked where it is not.
    pub(crate) fn is_at_work(&self, running: &Running, member: &Member) -> bool {
        if self.presence.is_heard(&member.node, member.raft_id()) {
            return true;
        }
        self.ask(member).is_ok_and(|hello| {
            hello.cluster_id[..] == running.cluster_id()
                && hello.incarnation == member.incarnation
                && hello.degraded.is_empty()
        })
    }

    fn deliver(&self, peer: &NodeId, frame: Bytes) {
        let Some(running) = self.running() else { return };
        let Ok(batch) = Batch::decode(frame) else {
            tracing::warn!(%peer, "a frame of messages cannot be read and was dropped");
            return;
        };
        if batch.cluster_id[..] != running.cluster_id() {
            self.hear_stranger(peer);
            return;
        }
        let from = RaftId(batch.from);
        if !self.roster.hear(peer, from) {
            tracing::debug!(%peer, %from, "messages under an identity that is not the peer's were dropped");
            return;
        }
        self.presence.hear(peer, from, batch.start);
        // What was meant for an earlier life of this node is void, and so is what its sender has decided.
        let own = running.node.identity().raft_id();
        let mut messages = batch.messages;
        messages.retain(|message| RaftId(message.to) == own);
        if let Some(decided) = batch.digest.filter(|_| !messages.is_empty()) {
            let mark = Mark { root: LogIndex(decided.position), digest: decided.value };
            running.node.hear_digest(from, mark);
        }
        for message in messages {
            running.node.deliver(from, GroupId(message.group), message.data);
        }
    }

    /// Says, once a minute at most, that a node of another cluster sends messages to this one.
    fn hear_stranger(&self, peer: &NodeId) {
        if self.strangers.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            tracing::warn!(
                %peer,
                "messages were dropped: another cluster has a node of this name and finds this node. Stop the nodes of one \
                 of the two clusters, or give each its own addresses and certificates"
            );
        }
    }

    fn answer(&self, peer: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String> {
        let unreadable = |error| unreadable(method, &error);
        match method {
            "hello" => {
                let question = Hello::decode(body).map_err(unreadable)?;
                let mut hello = self.answer_hello(&question)?;
                // What a node of another cluster says of itself means nothing here: it sees by the answer where it is.
                if let Some(said) =
                    question.introduction.as_ref().filter(|_| hello.cluster_id == question.cluster_id)
                {
                    hello.objection = self.answer_introduction(peer, question.incarnation, said)?;
                }
                // A process that no member has anything against, or one that joins. A copy would take the node's place.
                let is_welcome = question.introduction.is_some() || question.cluster_id.is_empty();
                if is_welcome && hello.objection.is_empty() {
                    self.hear_address(peer, &question);
                }
                Ok(hello.encode_to_vec().into())
            }
            "found" => {
                let found = proto::Found::decode(body).map_err(unreadable)?;
                self.agree(&found)?;
                Ok(proto::Founded {}.encode_to_vec().into())
            }
            _ => self.answer_member(peer, method, self.read_call(method, body)?),
        }
    }

    /// Answers a call in this node's cluster.
    fn answer_member(&self, peer: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String> {
        let unreadable = |error| unreadable(method, &error);
        match method {
            "admit" => {
                let admit = proto::Admit::decode(body).map_err(unreadable)?;
                self.admit_back(peer, &admit).map(|admitted| admitted.encode_to_vec().into())
            }
            "members" => {
                let change = proto::ChangeMember::decode(body).map_err(unreadable)?;
                self.change_here(change)?;
                Ok(proto::MemberChanged {}.encode_to_vec().into())
            }
            "snapshot" => self.begin_snapshot(peer).map(|snapshot| snapshot.encode_to_vec().into()),
            "snapshot-piece" => {
                let request = proto::PieceRequest::decode(body).map_err(unreadable)?;
                let piece = self.snapshots.piece(peer, &request, Instant::now())?;
                self.sent.piece(piece.data.len());
                Ok(piece.encode_to_vec().into())
            }
            "verified" => {
                let request = proto::VerifiedRequest::decode(body).map_err(unreadable)?;
                self.answer_verified(&request).map(|verified| verified.encode_to_vec().into())
            }
            "digest" => {
                let request = proto::DigestRequest::decode(body).map_err(unreadable)?;
                self.answer_digest(&request).map(|answer| answer.encode_to_vec().into())
            }
            "diverged" => {
                let diverged = proto::Diverged::decode(body).map_err(unreadable)?;
                if let (Some(running), Some(found)) = (self.running(), diverged.found) {
                    self.diverged(&running, &found);
                }
                Ok(Bytes::new())
            }
            "snapshot-end" => {
                let request = proto::PieceRequest::decode(body).map_err(unreadable)?;
                if let Some(began) = self.snapshots.end(peer, &request) {
                    self.sent.ended(began.elapsed());
                }
                Ok(Bytes::new())
            }
            "snapshot-needed" => {
                let needed = proto::SnapshotNeeded::decode(body).map_err(unreadable)?;
                self.fall_behind(peer, &needed);
                Ok(Bytes::new())
            }
            other => Err(format!("there is no call '{other}' in this release")),
        }
    }

    /// A member says that the cluster's log does not reach back to where this node is. Only the group's leader knows that,
    /// and this node knows what it has that is committed. And it stops only when those that stay are a quorum: so one member
    /// that lies cannot stop the others one by one.
    fn fall_behind(&self, said_by: &NodeId, needed: &proto::SnapshotNeeded) {
        let Some(running) = self.running() else { return };
        let node = &running.node;
        // What was meant for an earlier life of this node is void.
        if node.raft_id() != RaftId(needed.raft_id) || node.has_failed() {
            return;
        }
        let Ok(_checking) = self.checking.try_lock() else { return };
        let group = node.group(GroupId(needed.group));
        let by_its_leader = |group: &GroupStatus| {
            group.leader.and_then(|leader| self.roster.node_of(leader)).as_ref() == Some(said_by)
        };
        let floor = LogIndex(needed.floor);
        if !group.is_some_and(|group| by_its_leader(&group) && group.commit_index < floor) {
            tracing::warn!(
                %said_by, group = needed.group, %floor,
                "told of a log that begins too late, which this node does not see: passed over"
            );
            return;
        }
        if let Err(missing) = self.others_are_a_quorum(&running) {
            tracing::warn!(
                %said_by, %missing,
                "the cluster's log no longer reaches back to this node, which is to be rebuilt as soon as the others are a \
                 quorum without it. If they never are again, start it with an empty folder"
            );
            return;
        }
        node.degrade_for_good("it was away for so long that the cluster's log no longer reaches back to it");
    }

    /// The members that vote.
    pub(crate) fn voters(&self, membership: &Membership) -> Vec<Member> {
        let mut members = self.roster.members();
        members.retain(|member| membership.is_voter(member.raft_id()));
        members
    }

    /// Whether more than half of the voters work without this node.
    ///
    /// # Errors
    /// What those say that do not.
    pub(crate) fn others_are_a_quorum(&self, running: &Running) -> Result<(), String> {
        let membership = running.node.membership();
        let ours = running.cluster_id();
        let voters = self.voters(&membership);
        let (mut working, mut missing) = (0, Vec::new());
        for (member, said) in self.ask_all(&voters) {
            match said {
                None => {}
                Some(Ok(hello)) if hello.cluster_id[..] == ours && hello.degraded.is_empty() => working += 1,
                Some(Ok(hello)) => {
                    missing.push(format!("node '{}' does not work: {}", member.node, hello.degraded))
                }
                Some(Err(error)) => missing.push(error),
            }
        }
        if 2 * working > membership.voters.len() { Ok(()) } else { Err(missing.join("; ")) }
    }
}

/// What a node was started as, by its own word.
pub(crate) fn own_spec(node: &NodeId, said: &Hello) -> Option<PeerSpec> {
    said.peers.iter().filter_map(|peer| peer.parse::<PeerSpec>().ok()).find(|peer| peer.node == *node)
}

/// A number that no other start has; 0, which is no such number, when the system has no randomness to give.
fn draw() -> u64 {
    let mut bytes = [0; 8];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        Err(_) => 0,
    }
}

impl PeerHandler for Cluster {
    fn admit(&self, peer: &NodeId) -> Result<(), String> {
        let removed = match self.roster.known(peer) {
            Some(member) if !member.removed => return Ok(()),
            Some(_) => format!("; {REMOVED}"),
            None => String::new(),
        };
        Err(format!(
            "node '{peer}' is no member of this cluster: add it on a member with CALL quack_add_node(…){removed}"
        ))
    }

    fn message(&self, peer: &NodeId, frame: Bytes) {
        self.deliver(peer, frame);
    }

    fn call(&self, peer: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String> {
        self.answer(peer, method, body)
    }

    fn reachable(&self, peer: &NodeId, reachable: bool) {
        tracing::info!(%peer, reachable, "peer");
        if reachable {
            return;
        }
        self.presence.lose(peer);
        if let (Some(member), Some(running)) = (self.roster.get(peer), self.running()) {
            running.node.peer_unreachable(member.raft_id());
        }
    }
}
