//! Election timeouts from a seed.
//!
//! The raft crate draws the randomized election timeout from the thread's random
//! generator whenever role or term change. That would make runs unrepeatable, so
//! the group overwrites it after every call into raft with a value from here. The
//! value drawn by raft is never used: within one call it is drawn after the elapsed
//! ticks were compared and set back to zero.

use quack_types::{GroupId, Term};

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Draws of a node that stands for election with which it hurries: as pre-candidate, and as candidate.
const HURRIED_DRAWS: u32 = 2;

/// The timeout of one group: fixed while role and term stay, drawn anew when they change.
///
/// A follower waits for one to two times the election timeout (Ongaro's thesis, section 9.3). A candidate has waited
/// already: at first it hurries, and tries again after half of that. When two members stood at the same moment, or the
/// lease of the dead leader had not ended at a voter, the next try wins. Then the candidate waits as long as a follower
/// does, so that votes may take their time on a slow network.
#[derive(Debug)]
pub(crate) struct ElectionTimeout {
    random: SplitMix64,
    ticks_min: usize,
    ticks: usize,
    drawn_for: (Term, raft::StateRole),
    /// Draws since it was last a follower or leader.
    draws: u32,
}

impl ElectionTimeout {
    /// `seed` is the node's; groups and nodes differ because both are mixed in by the caller's seed
    /// and the group's number here.
    pub(crate) fn new(seed: u64, group: GroupId, election_ticks: usize) -> Self {
        let mut random = SplitMix64::new(seed ^ SplitMix64::new(group.0).next());
        let ticks = draw(&mut random, election_ticks);
        let drawn_for = (Term(0), raft::StateRole::Follower);
        Self { random, ticks_min: election_ticks, ticks, drawn_for, draws: 0 }
    }

    /// The timeout in ticks for this term and role.
    pub(crate) fn ticks(&mut self, term: Term, role: raft::StateRole) -> usize {
        if self.drawn_for != (term, role) {
            self.drawn_for = (term, role);
            let stands = matches!(role, raft::StateRole::PreCandidate | raft::StateRole::Candidate);
            self.draws = if stands { self.draws + 1 } else { 0 };
            self.ticks = draw(&mut self.random, self.ticks_min);
        }
        self.ticks
    }

    /// Whether a tick counts twice. (Raft takes no timeout below the one of followers.)
    pub(crate) fn hurries(&self) -> bool {
        (1..=HURRIED_DRAWS).contains(&self.draws)
    }
}

fn draw(random: &mut SplitMix64, ticks_min: usize) -> usize {
    // The bias of the remainder is below 2^-50 for any sensible number of ticks.
    ticks_min + (random.next() % ticks_min as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::StateRole::{Candidate, Follower, PreCandidate};

    #[test]
    fn timeouts_repeat_for_a_seed_stay_within_a_term_and_lie_in_the_range() {
        let run = |seed| {
            let mut timeout = ElectionTimeout::new(seed, GroupId(1), 10);
            (1..200)
                .map(|term| {
                    let ticks = timeout.ticks(Term(term), Follower);
                    assert_eq!(ticks, timeout.ticks(Term(term), Follower));
                    assert!((10..20).contains(&ticks));
                    ticks
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_eq!((10..20).filter(|ticks| run(1).contains(ticks)).count(), 10, "every value occurs");
    }

    #[test]
    fn a_candidate_hurries_once_and_then_waits_like_a_follower() {
        let mut timeout = ElectionTimeout::new(7, GroupId(1), 10);
        let mut hurries = |term, role| {
            timeout.ticks(Term(term), role);
            timeout.hurries()
        };
        for term in [3, 8] {
            assert!(!hurries(term, Follower));
            assert!(hurries(term, PreCandidate));
            assert!(hurries(term, PreCandidate), "nothing has changed");
            assert!(hurries(term + 1, Candidate));
            assert!(!hurries(term + 1, PreCandidate));
            assert!(!hurries(term + 2, Candidate));
        }
    }

    #[test]
    fn groups_of_one_node_do_not_share_timeouts() {
        let run = |group| {
            let mut timeout = ElectionTimeout::new(7, GroupId(group), 10);
            (1..50).map(|term| timeout.ticks(Term(term), Follower)).collect::<Vec<_>>()
        };
        assert_ne!(run(1), run(2));
    }
}
