//! Detects divergence: at one position of the log every node hashes all that it holds, and a node that differs from the
//! quorum stops.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use quack_proto::log::v1::{Digest, Verify, entry::Body};
use quack_proto::peer::v1::{Diverged, VerificationHash, Verified, VerifiedRequest, diverged::Found};
use quack_types::{LogIndex, Mark, NodeId};

use crate::cluster::{Cluster, HELLO_TIME, Running};
use crate::contract::Feature;
use crate::error::Error;

/// How long the nodes may take to hash.
const VERIFY_TIME: Duration = Duration::from_secs(600);
/// A node that does not answer for so long is left out.
const SILENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// How long a node that is told may take: it asks all members itself.
const TELL_TIME: Duration = Duration::from_secs(5);
/// No node stops then: without a majority, no node can tell which contents are right.
const UNDECIDED: &str = "no majority of the voters holds the same, so that no node can tell which are right: verify again \
                         when all voters answer; if they still differ, compare their tables before anything else";

/// What a verification has found about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The node.
    pub node: NodeId,
    /// Of all that it holds; `None` when it has not answered.
    pub hash: Option<String>,
    /// `equal`, `different`, `unknown`, or `undecided` when no quorum agrees.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
}

impl Cluster {
    /// Compares all nodes at one position. A node that differs from the quorum is told so, and stops.
    ///
    /// # Errors
    /// The verification did not get into the log.
    pub fn verify(&self) -> Result<Vec<Verdict>, Error> {
        let running =
            self.running().ok_or_else(|| Error::Change("this node is not a member yet".to_owned()))?;
        self.require(&Feature::VERIFICATION)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = running.node.identity().raft_id().0 ^ now.as_nanos() as u64;
        running.host.propose(Body::Verify(Verify { number })).map_err(Error::Change)?;
        let answers = self.collect(&running, number, VERIFY_TIME);
        let quorum = self.quorum_of(&running, &answers);
        if quorum.is_none() {
            tracing::error!(?answers, "{UNDECIDED}");
        }
        let mut verdicts = Vec::new();
        for (node, answer) in answers {
            let (hash, mut reason) =
                answer.map_or_else(|error| (None, Some(error)), |hash| (Some(hash), None));
            let state = match (&hash, &quorum) {
                (None, _) => "unknown",
                (_, None) => {
                    reason = Some(UNDECIDED.to_owned());
                    "undecided"
                }
                (Some(hash), Some(quorum)) if hash == quorum => "equal",
                (Some(_), Some(quorum)) => {
                    let found = Found::Verification(VerificationHash { number, hash: quorum.clone() });
                    self.tell_diverged(&running, &node, &found);
                    "different"
                }
            };
            verdicts.push(Verdict { node, hash, state, reason });
        }
        Ok(verdicts)
    }

    /// Asks all members until they have answered or given up, for so long at most.
    fn collect(
        &self,
        running: &Running,
        number: u64,
        patience: Duration,
    ) -> BTreeMap<NodeId, Result<String, String>> {
        let (begun, mut answers) = (Instant::now(), BTreeMap::new());
        let mut heard: BTreeMap<NodeId, Instant> = BTreeMap::new();
        let members = self.roster.members();
        while answers.len() < members.len() && begun.elapsed() < patience && !self.is_stopped() {
            for member in &members {
                if answers.contains_key(&member.node) {
                    continue;
                }
                let last = *heard.get(&member.node).unwrap_or(&begun);
                match self.verified_by(running, &member.node, number) {
                    Ok(Some(hash)) => drop(answers.insert(member.node.clone(), Ok(hash))),
                    Ok(None) => drop(heard.insert(member.node.clone(), Instant::now())),
                    Err(error) if last.elapsed() > SILENCE => {
                        drop(answers.insert(member.node.clone(), Err(error)))
                    }
                    Err(_) => {}
                }
            }
            std::thread::sleep(POLL);
        }
        for member in members {
            answers.entry(member.node).or_insert_with(|| Err("it has not answered in time".to_owned()));
        }
        answers
    }

    fn verified_by(&self, running: &Running, node: &NodeId, number: u64) -> Result<Option<String>, String> {
        if *node == self.settings.own {
            return running.host.verified(number);
        }
        let answer = self.call_member(running, node, "verified", &VerifiedRequest { number }, HELLO_TIME)?;
        let verified = Verified::decode(answer).map_err(|error| error.to_string())?;
        Ok(verified.done.then_some(verified.hash))
    }

    /// The hash that more than half of the voters have.
    fn quorum_of(
        &self,
        running: &Running,
        answers: &BTreeMap<NodeId, Result<String, String>>,
    ) -> Option<String> {
        let membership = running.node.membership();
        let voters = self.voters(&membership);
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        for hash in voters.iter().filter_map(|voter| answers.get(&voter.node)?.as_ref().ok()) {
            *counts.entry(hash).or_default() += 1;
        }
        counts
            .into_iter()
            .find(|(_, count)| 2 * count > membership.voters.len())
            .map(|(hash, _)| hash.clone())
    }

    /// Tells a node what a quorum has found.
    pub(crate) fn tell_diverged(&self, running: &Running, node: &NodeId, found: &Found) {
        if *node == self.settings.own {
            self.diverged(running, found);
            return;
        }
        let diverged = Diverged { found: Some(found.clone()) };
        if let Err(error) = self.call_member(running, node, "diverged", &diverged, TELL_TIME) {
            tracing::error!(%node, %error, "a node that has diverged could not be told");
        }
    }

    /// A member says that a quorum has found something: this node asks all members itself, and stops when it differs from
    /// what the quorum says. One check at a time: what is not heard meanwhile is said again.
    pub(crate) fn diverged(&self, running: &Running, found: &Found) {
        let Ok(_checking) = self.checking.try_lock() else { return };
        let number = match found {
            Found::Verification(VerificationHash { number, .. }) => *number,
            Found::Outcomes(Digest { position, value }) => {
                let mark = Mark { root: LogIndex(*position), digest: *value };
                return self.decided_otherwise(running, mark);
            }
        };
        let Ok(Some(own)) = running.host.verified(number) else {
            tracing::warn!("told of a divergence in a verification of which this node knows nothing");
            return;
        };
        match self.quorum_of(running, &self.collect(running, number, HELLO_TIME)) {
            Some(hash) if hash != own => running.node.degrade_for_good(&format!(
                "what it holds differs from the quorum (verification {number:016x}: {own} here, {hash} there)"
            )),
            _ => tracing::warn!("told of a divergence from what no majority holds"),
        }
    }

    /// Answers a peer that verifies.
    pub(crate) fn answer_verified(&self, request: &VerifiedRequest) -> Result<Verified, String> {
        let running = self.running().ok_or("it is not a member yet")?;
        let found = running.host.verified(request.number)?;
        if let (None, Some(reason)) = (&found, running.node.degraded()) {
            // It applies nothing any more: to wait for it would be in vain.
            return Err(format!("it is degraded: {reason}"));
        }
        Ok(Verified { done: found.is_some(), hash: found.unwrap_or_default() })
    }
}
