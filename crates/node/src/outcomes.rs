//! Digests of outcomes, this node's and what others say of theirs.
//!
//! Two nodes that have the same digest at a position of the root's log have decided everything before it alike; two that
//! differ there have not, and differ at every later position, too. Who of them is right is not known here: what
//! differs is a suspicion, and the thread that compares nodes asks for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quack_types::{Claim, Digests, LogIndex, Mark, OutcomeRecord, RaftId};

use crate::metrics::Sample;

/// Positions that are remembered: of a busy node some seconds, in 1 MiB.
const MARKS_MAX: usize = 1 << 16;
/// Entries that are remembered with what became of them, for people.
const RECORDS_MAX: usize = 1 << 12;
/// What a peer has said about positions that this node has not come to yet.
const WAITING_MAX: usize = 1024;

/// What is known about the digest at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAt {
    /// The digest.
    Known(u64),
    /// This node has not applied so much since its start.
    NotYet,
    /// It was forgotten, or lies before the node's start.
    Forgotten,
}

/// A claim that is not true here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FalseClaim {
    pub claim: Claim,
    /// The digest of this node at that position.
    pub own: u64,
}

/// All digests that a node knows of.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    known: Mutex<Known>,
    /// There is a suspicion.
    wakes: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    /// This node's own, in ascending order.
    own: VecDeque<Mark>,
    /// Of each peer, what cannot be compared yet.
    waiting: BTreeMap<RaftId, VecDeque<Mark>>,
    /// The last entries, in the order in which they were applied.
    records: VecDeque<OutcomeRecord>,
    /// The last position at which another node differs.
    suspicion: Option<LogIndex>,
    compared: u64,
    differing: u64,
}

impl Known {
    /// The digest behind the root's entry at exactly this position.
    fn exactly(&self, root: LogIndex) -> Option<u64> {
        let place = self.own.binary_search_by_key(&root, |mark| mark.root).ok()?;
        Some(self.own[place].digest)
    }

    fn is_true(&mut self, said: Mark) -> Option<bool> {
        let own = self.exactly(said.root)?;
        self.compared += 1;
        self.differing += u64::from(own != said.digest);
        Some(own == said.digest)
    }

    fn suspect(&mut self, root: LogIndex) {
        self.suspicion = self.suspicion.max(Some(root));
    }

    /// Compares what peers have said about positions that this node has reached.
    fn compare_waiting(&mut self) {
        let Some(last) = self.own.back().copied() else { return };
        let mut waiting = std::mem::take(&mut self.waiting);
        for said in waiting.values_mut() {
            while let Some(mark) = said.pop_front_if(|mark| mark.root <= last.root) {
                if self.is_true(mark) == Some(false) {
                    self.suspect(mark.root);
                }
            }
        }
        waiting.retain(|_, said| !said.is_empty());
        self.waiting = waiting;
    }
}

impl Outcomes {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Plain values: they stay usable after a panic of any thread that held the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, known: MutexGuard<'_, Known>) {
        let is_suspicious = known.suspicion.is_some();
        drop(known);
        if is_suspicious {
            self.wakes.notify_all();
        }
    }

    /// Entries have been applied: their digests, and what they claim. Returns the first claim of each origin that is not
    /// true.
    pub fn applied(&self, Digests { marks, claims, records }: Digests) -> Vec<FalseClaim> {
        let mut known = self.known();
        known.own.extend(&marks);
        known.records.extend(records);
        let surplus = known.records.len().saturating_sub(RECORDS_MAX);
        known.records.drain(..surplus);
        let surplus = known.own.len().saturating_sub(MARKS_MAX);
        known.own.drain(..surplus);
        let mut wrong: Vec<FalseClaim> = Vec::new();
        let mut before = None;
        for claim in &claims {
            // Entries that were proposed together claim the same.
            if before.replace(*claim) == Some(*claim) || known.is_true(claim.mark) != Some(false) {
                continue;
            }
            if !wrong.iter().any(|other| other.claim.origin == claim.origin) {
                let own = known.exactly(claim.mark.root).unwrap_or_default();
                wrong.push(FalseClaim { claim: *claim, own });
            }
        }
        known.compare_waiting();
        self.wake(known);
        wrong
    }

    /// A peer says what its digest is.
    pub fn hear(&self, from: RaftId, mark: Mark) {
        let mut known = self.known();
        let said = known.waiting.entry(from).or_default();
        // A peer that has been rebuilt begins before where it was.
        if said.back().is_some_and(|last| last.root >= mark.root) {
            said.clear();
        }
        said.push_back(mark);
        if said.len() > WAITING_MAX {
            // The later one says more: what differs once differs for ever.
            said.pop_front();
        }
        known.compare_waiting();
        self.wake(known);
    }

    /// Another node differs at a position. Says whether that is news: the one before has been taken.
    pub fn suspect(&self, root: LogIndex) -> bool {
        let mut known = self.known();
        let is_new = known.suspicion.is_none();
        known.suspect(root);
        self.wake(known);
        is_new
    }

    /// This node's digest at the last position of the root that it has applied.
    pub fn last(&self) -> Option<Mark> {
        self.known().own.back().copied()
    }

    /// The last entries and what became of them.
    pub fn records(&self) -> Vec<OutcomeRecord> {
        self.known().records.iter().cloned().collect()
    }

    /// This node's digest at a position.
    pub fn at(&self, root: LogIndex) -> DigestAt {
        let known = self.known();
        match (known.own.front(), known.own.back()) {
            (Some(first), _) if root < first.root => DigestAt::Forgotten,
            (_, Some(last)) if root <= last.root => {
                // What lies between two marks has decided nothing.
                let behind = known.own.partition_point(|mark| mark.root <= root);
                known
                    .own
                    .get(behind.wrapping_sub(1))
                    .map_or(DigestAt::Forgotten, |mark| DigestAt::Known(mark.digest))
            }
            _ => DigestAt::NotYet,
        }
    }

    /// Appends what is measured here.
    pub fn read(&self, into: &mut Vec<Sample>) {
        let (compared, differing) = {
            let known = self.known();
            (known.compared, known.differing)
        };
        let help = "Digests of outcomes, of other nodes and of entries, that were compared with this node's.";
        into.push(Sample::counter("quack_digests_compared_total", help, &[], compared));
        let help = "Of these, the ones that differed.";
        into.push(Sample::counter("quack_digests_differing_total", help, &[], differing));
    }
}

/// What differs among nodes, for the comparison that finds out which of them are right.
#[derive(Debug, Clone)]
pub struct Suspicions(pub(crate) Arc<Outcomes>);

impl Suspicions {
    /// Waits for a position at which another node differs from this one, and takes it.
    pub fn wait(&self, timeout: Duration) -> Option<LogIndex> {
        let mut known = self.0.known();
        if known.suspicion.is_none() {
            known = self.0.wakes.wait_timeout(known, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        known.suspicion.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: RaftId = RaftId(2);

    fn mark(root: u64, digest: u64) -> Mark {
        Mark { root: LogIndex(root), digest }
    }

    fn apply(outcomes: &Outcomes, marks: &[Mark], claims: &[Claim]) -> Vec<FalseClaim> {
        outcomes.applied(Digests { marks: marks.to_vec(), claims: claims.to_vec(), records: Vec::new() })
    }

    fn suspicion(outcomes: &Arc<Outcomes>) -> Option<u64> {
        Suspicions(Arc::clone(outcomes)).wait(Duration::ZERO).map(|root| root.0)
    }

    fn with(marks: &[Mark]) -> Arc<Outcomes> {
        let outcomes = Arc::new(Outcomes::default());
        assert_eq!(apply(&outcomes, marks, &[]), []);
        outcomes
    }

    #[test]
    fn what_a_peer_says_is_compared_as_soon_as_this_node_has_come_so_far() {
        let outcomes = with(&[mark(5, 50), mark(7, 70)]);
        outcomes.hear(PEER, mark(7, 70));
        outcomes.hear(PEER, mark(9, 90));
        outcomes.hear(PEER, mark(10, 11));
        assert_eq!(suspicion(&outcomes), None);
        apply(&outcomes, &[mark(9, 90)], &[]);
        assert_eq!(suspicion(&outcomes), None);
        apply(&outcomes, &[mark(10, 100)], &[]);
        assert_eq!((suspicion(&outcomes), suspicion(&outcomes)), (Some(10), None));
        // One that is behind says something that is known already.
        outcomes.hear(PEER, mark(5, 51));
        assert_eq!(suspicion(&outcomes), Some(5));
    }

    #[test]
    fn a_peer_that_is_far_ahead_takes_no_more_room() {
        let outcomes = with(&[mark(1, 10)]);
        let ahead = WAITING_MAX as u64 + 50;
        (2..ahead).for_each(|root| outcomes.hear(PEER, mark(root, 0)));
        assert_eq!(outcomes.known().waiting[&PEER].len(), WAITING_MAX);
        apply(&outcomes, &[mark(ahead - 1, 1)], &[]);
        assert_eq!(suspicion(&outcomes), Some(ahead - 1));
        assert!(outcomes.known().waiting.is_empty());
    }

    #[test]
    fn false_claims_are_said_once_for_each_origin() {
        let claim = |origin, root, digest| Claim { origin: RaftId(origin), mark: mark(root, digest) };
        let outcomes = Outcomes::default();
        let claims = [
            // Before the start of this node, and true: both are no news.
            claim(1, 3, 7),
            claim(1, 5, 50),
            claim(1, 6, 61),
            claim(1, 6, 61),
            claim(2, 6, 60),
            claim(2, 7, 71),
            claim(1, 7, 72),
        ];
        let wrong = apply(&outcomes, &[mark(5, 50), mark(6, 60), mark(7, 70)], &claims);
        let expected = [(claims[2], 60), (claims[5], 70)].map(|(claim, own)| FalseClaim { claim, own });
        assert_eq!(wrong, expected);
        // Whether it suspects anything is decided where the origins are known.
        assert_eq!(outcomes.known().suspicion, None);
    }

    #[test]
    fn a_digest_holds_until_the_next_one() {
        let outcomes = with(&[mark(5, 50), mark(8, 80)]);
        let at = |root| outcomes.at(LogIndex(root));
        assert_eq!([at(4), at(9)], [DigestAt::Forgotten, DigestAt::NotYet]);
        assert_eq!([5, 6, 7, 8].map(at), [50, 50, 50, 80].map(DigestAt::Known));
        assert_eq!(Outcomes::default().at(LogIndex(1)), DigestAt::NotYet);
        assert_eq!(outcomes.last(), Some(mark(8, 80)));
    }

    #[test]
    fn the_oldest_positions_are_forgotten() {
        let outcomes = Outcomes::default();
        for root in (1..3 * MARKS_MAX as u64).step_by(2) {
            apply(&outcomes, &[mark(root, root), mark(root + 1, root)], &[]);
        }
        assert_eq!(outcomes.known().own.len(), MARKS_MAX);
        assert_eq!(outcomes.at(LogIndex(2 * MARKS_MAX as u64 - 1)), DigestAt::Forgotten);
    }
}
