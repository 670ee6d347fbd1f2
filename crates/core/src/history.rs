//! Which membership held from which index on.
//!
//! A compaction writes the membership *of its index* into the floor, not the
//! present one: after a restart, the entries behind the floor are replayed on it.
//!
//! Invariants: the first item is the floor's; indexes ascend.

use quack_types::LogIndex;

use crate::Membership;

/// Memberships of one group since its floor.
#[derive(Debug)]
pub(crate) struct MembershipHistory {
    since: Vec<(LogIndex, Membership)>,
}

impl MembershipHistory {
    pub(crate) fn new(floor: LogIndex, membership: Membership) -> Self {
        Self { since: vec![(floor, membership)] }
    }

    /// A membership entry at `index` took effect.
    pub(crate) fn push(&mut self, index: LogIndex, membership: Membership) {
        self.since.push((index, membership));
    }

    /// The membership that holds right behind `index`.
    pub(crate) fn at(&self, index: LogIndex) -> Option<&Membership> {
        self.since.iter().rev().find(|(from, _)| *from <= index).map(|(_, membership)| membership)
    }

    /// The present membership.
    pub(crate) fn current(&self) -> Option<&Membership> {
        self.since.last().map(|(_, membership)| membership)
    }

    /// The log now starts behind `floor`.
    pub(crate) fn forget_below(&mut self, floor: LogIndex) {
        let keep = self.since.iter().rposition(|(from, _)| *from <= floor).unwrap_or(0);
        self.since.drain(..keep);
        if let Some(first) = self.since.first_mut() {
            first.0 = floor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quack_types::RaftId;

    #[test]
    fn the_membership_of_an_index_stays_known_until_it_is_forgotten() {
        let of = |id| Membership::new([RaftId(id)], []);
        let mut history = MembershipHistory::new(LogIndex(0), of(1));
        history.push(LogIndex(5), of(2));
        history.push(LogIndex(9), of(3));
        let voter = |history: &MembershipHistory, index| history.at(LogIndex(index)).map(|m| m.voters[0].0);
        let all = |history: &MembershipHistory| [0, 4, 5, 8, 9, 20].map(|index| voter(history, index));
        assert_eq!(all(&history), [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3)]);
        history.forget_below(LogIndex(7));
        assert_eq!(all(&history), [None, None, None, Some(2), Some(3), Some(3)]);
        history.forget_below(LogIndex(9));
        assert_eq!(all(&history), [None, None, None, None, Some(3), Some(3)]);
        assert_eq!(history.current(), Some(&of(3)));
    }
}
