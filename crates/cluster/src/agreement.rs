//! Differing outcomes are noticed at once: with every frame a node says what it has decided so far, and with every entry
//! what its origin had decided. Where that differs from what this node has, the leader asks all members what they have
//! decided at that position. A node that differs from a majority of the voters is told so, asks all members itself, and
//! stops; the leader, too.
//!
//! Without a majority it is not known which nodes are right, and none stops.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use prost::Message as _;
use quack_node::{DigestAt, Membership};
use quack_proto::log::v1::Digest;
use quack_proto::peer::v1::{DigestAnswer, DigestRequest, diverged::Found};
use quack_types::{LogIndex, Mark};

use crate::cluster::{Cluster, HELLO_TIME, Running};
use crate::roster::Member;
use crate::said::Said;

/// How long the thread may not know that the cluster stops.
const WAKE: Duration = Duration::from_millis(250);
/// A member may not have come to the position yet: how often it is asked again, and for how long.
const POLL: Duration = Duration::from_millis(20);
const ASK_TIME: Duration = Duration::from_secs(2);
/// How soon it looks again when it came to no decision, or to none that changes anything.
const AGAIN: Duration = Duration::from_millis(500);

/// What the members have decided up to a position.
#[derive(Debug, Default)]
struct Answers {
    /// In the order in which they came.
    known: Vec<(Member, Result<u64, String>)>,
}

impl Answers {
    /// The digest that more than half of the voters have.
    fn majority(&self, membership: &Membership) -> Option<u64> {
        let votes = |digest: u64| {
            let same = self.known.iter().filter(|(_, answer)| *answer == Ok(digest));
            same.filter(|(member, _)| membership.voters.contains(&member.raft_id())).count()
        };
        let digests: BTreeSet<u64> =
            self.known.iter().filter_map(|(_, answer)| answer.as_ref().ok()).copied().collect();
        digests.into_iter().find(|digest| 2 * votes(*digest) > membership.voters.len())
    }

    /// In words.
    fn text(&self) -> String {
        let mut text = String::new();
        for (member, answer) in &self.known {
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = match answer {
                Ok(digest) => write!(text, "{separator}node '{}' {digest:016x}", member.node),
                Err(error) => write!(text, "{separator}node '{}' not known ({error})", member.node),
            };
        }
        text
    }
}

impl Cluster {
    /// Starts the thread. It ends with the cluster.
    pub(crate) fn start_agreement(self: &Arc<Self>, running: &Running) {
        let (this, suspicions) = (Arc::downgrade(self), running.node.suspicions());
        let run = move || {
            let mut said = Said::default();
            loop {
                // Nothing must keep the node alive while this waits.
                let position = suspicions.wait(WAKE);
                let Some(cluster) = this.upgrade() else { return };
                let Some(running) = cluster.running() else { return };
                // The leader has the same entries, and the words of all others.
                let Some(position) = position.filter(|_| running.node.is_leader()) else { continue };
                if !cluster.decide(&running, position, &mut said) {
                    drop(running);
                    cluster.wait_a_moment(AGAIN);
                }
            }
        };
        if let Err(error) = quack_types::thread::builder("quack-agreement").spawn(run) {
            tracing::error!(%error, "what the nodes decide is not compared: only quack_verify does");
        }
    }

    /// Finds out who has decided differently, and tells them. False when no node can be told.
    fn decide(&self, running: &Running, position: LogIndex, said: &mut Said) -> bool {
        let membership = running.node.membership();
        let mut told = BTreeSet::new();
        let answers = self.ask_what_is_decided(&membership, position, |answers| {
            let Some(right) = answers.majority(&membership) else { return };
            let found = Found::Outcomes(Digest { position: position.0, value: right });
            for (member, answer) in &answers.known {
                let differs = answer.as_ref().is_ok_and(|own| *own != right);
                if differs && told.insert(member.node.clone()) {
                    tracing::error!(node = %member.node, %position, "it has decided differently than a majority: it is to stop");
                    self.tell_diverged(running, &member.node, &found);
                }
            }
        });
        if answers.majority(&membership).is_none() && said.is_due() {
            tracing::error!(
                %position,
                decided = answers.text(),
                "nodes have decided differently, and no majority of the voters agrees: which of them are right is not \
                 known, and none stops. Start the voters that are missing; if there are none, compare the nodes' tables \
                 before anything else"
            );
        }
        !told.is_empty()
    }

    /// Asks all members what they have decided up to a position; `heard` sees what is known after each answer.
    fn ask_what_is_decided(
        &self,
        membership: &Membership,
        position: LogIndex,
        mut heard: impl FnMut(&Answers),
    ) -> Answers {
        let takes_part = |member: &Member| membership.is_member(member.raft_id());
        let members: Vec<Member> = self.roster.members().into_iter().filter(takes_part).collect();
        let (sender, answered) = channel();
        let (count, deadline) = (members.len(), Instant::now() + ASK_TIME);
        let mut answers = Answers::default();
        std::thread::scope(|scope| {
            for member in members {
                let sender = sender.clone();
                let ask = move || {
                    let answer = self.decided_by(&member, position, deadline);
                    // The caller may have gone on.
                    let _ = sender.send((member, answer));
                };
                if let Err(error) = quack_types::thread::builder("quack-ask").spawn_scoped(scope, ask) {
                    tracing::error!(%error, "a member cannot be asked what it has decided");
                }
            }
            drop(sender);
            while answers.known.len() < count {
                let left = deadline.saturating_duration_since(Instant::now());
                match answered.recv_timeout(left) {
                    Ok(answer) => answers.known.push(answer),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
                heard(&answers);
            }
        });
        answers
    }

    fn decided_by(&self, member: &Member, position: LogIndex, deadline: Instant) -> Result<u64, String> {
        loop {
            if let Some(digest) = self.ask_decided(member, position)? {
                return Ok(digest);
            }
            if Instant::now() >= deadline || self.is_stopped() {
                return Err("it has not come so far".to_owned());
            }
            std::thread::sleep(POLL);
        }
    }

    fn ask_decided(&self, member: &Member, position: LogIndex) -> Result<Option<u64>, String> {
        let request = DigestRequest { position: position.0 };
        if member.node == self.settings.own {
            return self.answer_digest(&request).map(|answer| answer.value);
        }
        let running = self.running().ok_or("it is stopping")?;
        let answer = self.call_member(&running, &member.node, "digest", &request, HELLO_TIME)?;
        DigestAnswer::decode(answer).map(|answer| answer.value).map_err(|error| error.to_string())
    }

    /// Answers a leader that compares.
    pub(crate) fn answer_digest(&self, request: &DigestRequest) -> Result<DigestAnswer, String> {
        let running = self.running().ok_or("it is not a member yet")?;
        let position = LogIndex(request.position);
        match running.node.decided_at(position) {
            DigestAt::Known(digest) => Ok(DigestAnswer { value: Some(digest) }),
            DigestAt::Forgotten => Err(format!("it remembers nothing of entry {position} any more")),
            DigestAt::NotYet => match running.node.degraded() {
                // It applies nothing any more: to wait for it would be in vain.
                Some(reason) => Err(format!("it is degraded: {reason}")),
                None => Ok(DigestAnswer { value: None }),
            },
        }
    }

    /// A member says that a majority has decided something else up to a position. This node stops when that is so: it asks
    /// the others itself, because one member may be mistaken, or lie.
    pub(crate) fn decided_otherwise(&self, running: &Running, said: Mark) {
        let DigestAt::Known(own) = running.node.decided_at(said.root) else {
            tracing::warn!(%said, "told of other outcomes at an entry of which this node knows none");
            return;
        };
        let membership = running.node.membership();
        let mut is_told = false;
        // As soon as it is known: the node must not go on for as long as a member does not answer.
        let answers = self.ask_what_is_decided(&membership, said.root, |answers| {
            let other_majority = answers.majority(&membership).filter(|right| *right != own);
            if let (false, Some(right)) = (is_told, other_majority) {
                is_told = true;
                running.node.degrade_for_good(&format!(
                    "it has decided differently than the quorum: at entry {} of the log its digest of outcomes is \
                     {own:016x}, that of the quorum {right:016x}",
                    said.root
                ));
            }
        });
        if !is_told {
            tracing::warn!(%said, decided = answers.text(), "told of other outcomes that no majority has");
        }
    }
}

#[cfg(test)]
mod tests {
    use quack_types::RaftId;

    use super::*;

    fn member(name: &str) -> Member {
        let peer: quack_net::PeerSpec = format!("{name}:voter=quack:127.0.0.1:1").parse().unwrap();
        let roster = crate::Roster::new(&[peer]);
        roster.members().pop().unwrap()
    }

    fn majority(voters: &[&str], answers: &[(&str, Option<u64>)]) -> Option<u64> {
        let ids: Vec<RaftId> = voters.iter().map(|name| member(name).raft_id()).collect();
        let answer = |digest: Option<u64>| digest.ok_or("silent".to_owned());
        let known = answers.iter().map(|(name, digest)| (member(name), answer(*digest))).collect();
        Answers { known }.majority(&Membership::new(ids, []))
    }

    #[test]
    fn a_majority_is_more_than_half_of_all_voters_and_of_them_alone() {
        let three = ["n0", "n1", "n2"];
        let all = [("n0", Some(1)), ("n1", Some(2)), ("n2", Some(2))];
        assert_eq!(majority(&three, &all), Some(2));
        assert_eq!(majority(&three, &all[..2]), None);
        assert_eq!(majority(&three, &[("n0", Some(1)), ("n1", Some(2)), ("n2", None)]), None);
        assert_eq!(majority(&["n0", "n1"], &all), None);
        assert_eq!(majority(&["n0"], &all), Some(1), "learners have no say");
    }

    #[test]
    fn who_has_said_what_is_told_in_words() {
        let known = vec![(member("n0"), Ok(1)), (member("n1"), Err("it is away".to_owned()))];
        assert_eq!(Answers { known }.text(), "node 'n0' 0000000000000001, node 'n1' not known (it is away)");
    }
}
