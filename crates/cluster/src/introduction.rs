//! A node that has started introduces itself to its peers before it takes part.
//!
//! Its folder may have been put back from a copy. Then the node has voted, acknowledged and proposed what it does not know
//! of any more, and would take it back. Its peers know (`witness.rs`): one that objects is enough, and the node is rebuilt
//! from its cluster. Those who make a quorum with it must have heard of its start, durably, before it says anything else;
//! the others hear of it as soon as they are there.
//!
//! What peers say that have just started themselves counts only when all have spoken, or after some patience: when copies
//! of two folders were put back, they know nothing against each other, and the third does.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use quack_node::{DataFolder, EmptyFolder, NodeHandle};
use quack_proto::peer::v1::{Hello, Introduction, LogEnd};
use quack_types::{NodeId, RaftId};

use crate::cluster::{Cluster, HELLO_TIME, Phase, REMOVED, Running};
use crate::error::Error;
use crate::presence::Standing;
use crate::roster::Member;
use crate::witness::Witness;

/// How often peers are asked while they do not know yet, or are not there.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// How long peers that do not work yet wait for those that are not there.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often what was heard of peers is written.
pub(crate) const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// What a peer hears from a node that does not know yet what it has heard.
const STARTING: &str = "it is just starting";

/// What a peer hears while another process may be at work in its place.
const AT_WORK: &str = "it was at work a moment ago, in another process";
/// What a peer hears when that one goes on.
const COPY: &str = "it is at work in another process, and this folder is a copy of that one's";
/// How long a process at the node's known address may take to say which one it is.
const OTHER_TIME: Duration = Duration::from_millis(300);

/// What the members say of one that has started.
#[derive(Default)]
struct Word {
    objection: Option<String>,
    /// Those that have nothing against it.
    agreed: Vec<Member>,
    /// Whether one of those belongs to a cluster that works, and whether one leads it.
    works: bool,
    leads: bool,
    silent: Vec<(Member, String)>,
}

impl Cluster {
    /// Whether a node's folder may be worked with, as far as peers are there and know. One that is older than what the node
    /// has promised is set aside, and the node joins its cluster as if it were empty.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn recognise(&self, folder: DataFolder) -> Result<Option<DataFolder>, Error> {
        let identity = folder.identity();
        let introduction = Introduction {
            previous_boot: identity.boot - 1,
            boot: identity.boot,
            start: self.start,
            ..Introduction::default()
        };
        let question = self.question(identity.cluster_id, identity.incarnation, introduction);
        let Some(objection) = self.hear_members(&question).objection else { return Ok(Some(folder)) };
        tracing::error!(objection, "the node's folder is older than what it has promised");
        let empty: EmptyFolder = folder.set_aside()?;
        self.enter(Phase::Empty(empty));
        Ok(None)
    }

    /// Lets the node begin when its peers have nothing against it, in the background.
    pub(crate) fn start_introduction(self: &Arc<Self>, node: &Arc<NodeHandle>) {
        let (this, node) = (Arc::downgrade(self), Arc::clone(node));
        let run = move || {
            let ended = || node.has_failed() || node.has_stopped();
            for begins in [false, true] {
                while begins && let Err(error) = node.count_start() {
                    let Some(cluster) = this.upgrade().filter(|cluster| !cluster.is_stopped() && !ended())
                    else {
                        return;
                    };
                    if !error.lacks_room() {
                        node.fail(&error.to_string());
                        return;
                    }
                    cluster.say(format!("room on the disk: {error}"));
                    cluster.wait_a_moment(ASK_INTERVAL);
                }
                let began = Instant::now();
                while let Some(cluster) = this.upgrade().filter(|cluster| !cluster.is_stopped() && !ended()) {
                    if cluster.may_go_on(&node, begins, began) {
                        break;
                    }
                    cluster.wait_a_moment(ASK_INTERVAL);
                }
            }
            if let Some(cluster) = this.upgrade().filter(|cluster| !cluster.is_stopped() && !ended()) {
                cluster.say(String::new());
                node.begin();
            }
        };
        if let Err(error) = quack_types::thread::builder("quack-introduce").spawn(run) {
            tracing::error!(%error, "the node cannot introduce itself to its peers, and takes no part");
        }
    }

    /// Asks all members once. True when the node may go on.
    fn may_go_on(&self, node: &NodeHandle, begins: bool, began: Instant) -> bool {
        // It answers when it has replayed what its log says of the members.
        if node.promises().is_none() {
            return false;
        }
        let membership = node.membership();
        let logs = node.log_ends().into_iter();
        let logs =
            logs.map(|(group, term, last)| LogEnd { group: group.0, term: term.0, last: last.0 }).collect();
        let identity = node.identity();
        let word = self.hear_members(&self.question(
            identity.cluster_id,
            identity.incarnation,
            self.introduction(node, begins, logs),
        ));
        if let Some(objection) = word.objection {
            self.is_older(node, &objection);
            return false;
        }
        let own = node.raft_id();
        let agreed: Vec<RaftId> = word.agreed.iter().map(Member::raft_id).chain([own]).collect();
        let is_enough = |voters: &[RaftId]| {
            voters.is_empty() || voters.iter().filter(|id| agreed.contains(id)).count() > voters.len() / 2
        };
        // The members that this log knows may all have been replaced while the node was away. The leader knows best.
        let has_quorum =
            word.leads || is_enough(&membership.voters) && is_enough(&membership.voters_outgoing);
        // A node that is not in Raft's membership yet has heard nothing.
        let is_missed = |(member, _): &&(Member, String)| membership.is_member(member.raft_id());
        let is_doubted = word.silent.iter().any(|(_, error)| error.contains(AT_WORK));
        let waits =
            word.silent.iter().any(|silent| is_missed(&silent)) && !word.works && began.elapsed() <= PATIENCE;
        if !has_quorum || waits || is_doubted {
            let silent: Vec<_> = word.silent.into_iter().map(|(_, error)| error).collect();
            let removed = silent.iter().find(|error| error.contains(REMOVED));
            self.say(removed.map_or_else(
                || {
                    format!(
                        "the word of its peers on whether its folder is the present one: {}",
                        silent.join("; ")
                    )
                },
                |removed| format!("a place in its cluster: {removed}"),
            ));
            return false;
        }
        if begins {
            let told = word.agreed.iter().map(Member::raft_id).collect();
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
        true
    }

    /// Introduces the node to those who have not heard of its start, because they were not there or are new.
    pub(crate) fn tell_the_others(&self, node: &NodeHandle) {
        let Some(told) = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let (identity, introduction) = (node.identity(), self.introduction(node, true, Vec::new()));
        let question = self.question(identity.cluster_id, identity.incarnation, introduction);
        let members = self.roster.members().into_iter();
        for member in members.filter(|m| m.node != self.settings.own && !told.contains(&m.raft_id())) {
            match self.introduce(&member, &question) {
                Ok(answer) if answer.objection.is_empty() => {
                    let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                    told.get_or_insert_default().insert(member.raft_id());
                }
                Ok(answer) => {
                    return self.is_older(node, &format!("node '{}': {}", member.node, answer.objection));
                }
                Err(error) => tracing::debug!(error, "it has not heard of this start yet"),
            }
        }
    }

    /// A node that hears no leader asks the members whether its place is that of a later life by now, as when it was removed
    /// and added again: to such a one no member says anything by itself. It stops only when the others work without it, so
    /// that one member that lies cannot stop the others one by one.
    pub(crate) fn look_whether_replaced(&self, running: &Running, leaderless_since: &mut Option<Instant>) {
        let node = &running.node;
        let has_begun = self.told.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !has_begun || node.leader().is_some() || node.has_failed() {
            *leaderless_since = None;
            return;
        }
        if leaderless_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return;
        }
        *leaderless_since = Some(Instant::now());
        let identity = node.identity();
        let introduction = self.introduction(node, false, Vec::new());
        let question = self.question(identity.cluster_id, identity.incarnation, introduction);
        let Some(objection) = self.hear_members(&question).objection else { return };
        match self.others_are_a_quorum(running) {
            Ok(()) => node.degrade_for_good(&format!(
                "its place in the cluster is that of a later life, says {objection}"
            )),
            Err(missing) => tracing::warn!(objection, missing, "told that its place is that of a later life"),
        }
    }

    fn is_older(&self, node: &NodeHandle, objection: &str) {
        node.degrade_for_good(&format!(
            "its folder is older than what it has promised, as if it was put back from a copy, says {objection}"
        ));
    }

    fn introduction(&self, node: &NodeHandle, begins: bool, logs: Vec<LogEnd>) -> Introduction {
        let boot = node.identity().boot;
        Introduction { previous_boot: boot - 1, boot, start: self.start, begins, logs }
    }

    fn question(&self, cluster_id: u128, incarnation: u64, introduction: Introduction) -> Hello {
        Hello {
            cluster_id: cluster_id.to_be_bytes().to_vec().into(),
            incarnation,
            introduction: Some(introduction),
            ..self.hello()
        }
    }

    fn introduce(&self, member: &Member, question: &Hello) -> Result<Hello, String> {
        let answer = self.greet(member, question, HELLO_TIME)?;
        if answer.cluster_id != question.cluster_id {
            return Err(format!("node '{}' does not belong to this cluster now", member.node));
        }
        Ok(answer)
    }

    /// Asks all members at the same time.
    fn hear_members(&self, question: &Hello) -> Word {
        let members: Vec<_> =
            self.roster.members().into_iter().filter(|member| member.node != self.settings.own).collect();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> =
                members.iter().map(|member| scope.spawn(move || self.introduce(member, question))).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut word = Word::default();
        for (member, answer) in members.into_iter().zip(answers) {
            match answer {
                Ok(answer) if !answer.objection.is_empty() => {
                    word.objection = Some(format!("node '{}': {}", member.node, answer.objection));
                }
                Ok(answer) => {
                    word.works |= !answer.leader.is_empty();
                    word.leads |= answer.leader == member.node.as_str();
                    word.agreed.push(member);
                }
                Err(error) => word.silent.push((member, error)),
            }
        }
        word
    }

    /// Answers a peer that introduces itself: what speaks against its folder, in words that follow its name.
    pub(crate) fn answer_introduction(
        &self,
        peer: &NodeId,
        incarnation: u64,
        said: &Introduction,
    ) -> Result<String, String> {
        let (Some(witness), Some(running)) = (self.witness.get(), self.running()) else {
            return Err(STARTING.to_owned());
        };
        let member = self.roster.get(peer).ok_or("this cluster has no such member")?;
        if incarnation < member.incarnation {
            return Ok(format!(
                "it has been rebuilt or removed since: its incarnation is {}",
                member.incarnation
            ));
        }
        let id = peer.raft_id(incarnation);
        match self.presence.introduce(peer, id, said.start, || self.other_answers(&member, said.start)) {
            Standing::Alone => {}
            Standing::Doubtful => return Err(AT_WORK.to_owned()),
            Standing::Copy => return Ok(COPY.to_owned()),
        }
        let promises = running.node.promises().ok_or("it is stopping")?;
        let promises = promises.get(&peer.raft_id(incarnation)).cloned().unwrap_or_default();
        if let Some(objection) = witness.objection(peer, incarnation, said, &promises) {
            return Ok(objection);
        }
        if said.begins {
            witness.record(peer, incarnation, said).map_err(|error| error.to_string())?;
        }
        Ok(String::new())
    }

    /// Whether a process of another start than this one answers as a member.
    fn other_answers(&self, member: &Member, start: u64) -> bool {
        self.ask_within(member, OTHER_TIME).is_ok_and(|hello| {
            !hello.cluster_id.is_empty()
                && hello.incarnation == member.incarnation
                && ![0, start].contains(&hello.start)
        })
    }

    /// Writes what was heard of the peers.
    pub(crate) fn save_witnessed(&self, node: &NodeHandle) {
        let (Some(witness), Some(promises)) = (self.witness.get(), node.promises()) else { return };
        witness.hear(&promises, |id| {
            let node = self.roster.node_of(id)?;
            let incarnation = self.roster.get(&node)?.incarnation;
            Some((node, incarnation))
        });
        if let Err(error) = witness.save() {
            tracing::warn!(%error, "what was heard of the peers is not written");
        }
    }

    pub(crate) fn open_witness(&self, node: &NodeHandle) {
        if let Some(folder) = node.folder() {
            // A second node would be a second server, of which there is none.
            let _ = self.witness.set(Witness::open(folder));
        }
    }
}
