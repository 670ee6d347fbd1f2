//! This node's own proposals of one group, kept until the node sees them committed.
//!
//! The leader may lose a proposal: it crashes, loses its place, refuses, or never got
//! it. So each proposal is offered again: at once when the leader or the term changes,
//! after a back-off when the leader refuses, after a while without an answer. A proposal
//! may get into the log twice that way; the state machine drops it by its id.
//!
//! Invariants:
//! - a proposal leaves the table when it is committed or withdrawn, not before;
//! - offers are made in the order in which the proposals came; only what is offered
//!   again may overtake;
//! - what is kept, and what is on its way to another node, is bounded in bytes.
//!
//! It knows no Raft and no messages. Source of the exactly-once scheme: Ongaro's
//! thesis, section 6.3.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quack_types::{ProposalId, RaftId};

use crate::{Config, Refusal};

/// What a proposal occupies besides its data; it bounds the count of tiny ones.
const OVERHEAD_BYTES: usize = 256;
/// Offers without an answer double the time to the next one, up to this many times.
const DOUBLINGS_MAX: u32 = 3;

/// Proposals of this node in one group.
#[derive(Debug)]
pub(crate) struct Proposals {
    bytes_max: usize,
    /// Most bytes on their way to another node. One proposal may always be.
    window_bytes: usize,
    election_ticks: u64,
    ticks: u64,
    arrivals: u64,
    by_id: BTreeMap<ProposalId, u64>,
    kept: BTreeMap<u64, Kept>,
    /// Arrivals that are to be offered.
    waiting: BTreeSet<u64>,
    /// When the others are to be offered again: tick, arrival. Not those that this node
    /// has put into its own log as the leader: they end with its term.
    due: BTreeSet<(u64, u64)>,
    bytes: usize,
    sent_bytes: usize,
    /// Nothing is offered before this tick: the leader has refused.
    hold_until: u64,
    refusals: u32,
}

#[derive(Debug)]
struct Kept {
    id: ProposalId,
    data: Bytes,
    sent: Option<Sent>,
    /// Offers that were not answered in time.
    unanswered: u32,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    to: RaftId,
    /// `None` in this node's own log.
    due: Option<u64>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.data.len() + OVERHEAD_BYTES
    }
}

impl Proposals {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            bytes_max: config.proposals_bytes_max,
            window_bytes: config.forwarded_bytes_max,
            election_ticks: config.election_ticks as u64,
            ticks: 0,
            arrivals: 0,
            by_id: BTreeMap::new(),
            kept: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            bytes: 0,
            sent_bytes: 0,
            hold_until: 0,
            refusals: 0,
        }
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Takes a proposal in. One that is kept already is not taken twice.
    pub(crate) fn keep(&mut self, id: ProposalId, data: Bytes) -> Result<(), Refusal> {
        if self.by_id.contains_key(&id) {
            return Ok(());
        }
        let new = Kept { id, data, sent: None, unanswered: 0 };
        if self.bytes > 0 && self.bytes + new.bytes() > self.bytes_max {
            return Err(Refusal::Busy);
        }
        self.arrivals += 1;
        self.bytes += new.bytes();
        self.by_id.insert(id, self.arrivals);
        self.waiting.insert(self.arrivals);
        self.kept.insert(self.arrivals, new);
        Ok(())
    }

    /// It was withdrawn, or it is committed.
    fn forget(&mut self, id: ProposalId) -> bool {
        let Some(arrival) = self.by_id.remove(&id) else { return false };
        self.take_back(arrival);
        self.waiting.remove(&arrival);
        if let Some(kept) = self.kept.remove(&arrival) {
            self.bytes -= kept.bytes();
        }
        true
    }

    /// The shell gives the proposal up.
    pub(crate) fn withdraw(&mut self, id: ProposalId) {
        self.forget(id);
    }

    /// The group retires and gives all of them up.
    pub(crate) fn withdraw_all(&mut self) {
        let all: Vec<ProposalId> = self.by_id.keys().copied().collect();
        all.into_iter().for_each(|id| self.withdraw(id));
    }

    /// This node has seen it committed. `leads` says whether it leads the group: then
    /// there is room again in its own log.
    pub(crate) fn committed(&mut self, id: ProposalId, leads: bool) {
        if self.forget(id) {
            self.refusals = 0;
            if leads {
                self.hold_until = self.ticks;
            }
        }
    }

    /// An offer is void: it is to be made again.
    fn take_back(&mut self, arrival: u64) {
        let Some(kept) = self.kept.get_mut(&arrival) else { return };
        if let Some(sent) = kept.sent.take() {
            if let Some(due) = sent.due {
                self.due.remove(&(due, arrival));
                self.sent_bytes -= kept.bytes();
            }
            self.waiting.insert(arrival);
        }
    }

    /// Another leader, or another term: all proposals that were offered may be lost.
    pub(crate) fn leader_changed(&mut self) {
        let all: Vec<u64> = self.kept.keys().copied().collect();
        all.into_iter().for_each(|arrival| self.take_back(arrival));
        (self.hold_until, self.refusals) = (self.ticks, 0);
    }

    /// Messages to this peer are lost.
    pub(crate) fn peer_unreachable(&mut self, peer: RaftId) {
        let is_lost = |kept: &Kept| kept.sent.is_some_and(|sent| sent.to == peer && sent.due.is_some());
        let lost: Vec<u64> =
            self.kept.iter().filter(|(_, kept)| is_lost(kept)).map(|(arrival, _)| *arrival).collect();
        if !lost.is_empty() {
            lost.into_iter().for_each(|arrival| self.take_back(arrival));
            self.hold();
        }
    }

    /// The node that they were offered to does not take them now.
    pub(crate) fn refused(&mut self, from: RaftId, ids: &[ProposalId]) {
        let mut is_news = false;
        for id in ids {
            let Some(arrival) = self.by_id.get(id).copied() else { continue };
            let was_offered = self.kept.get(&arrival).and_then(|kept| kept.sent);
            if was_offered.is_some_and(|sent| sent.to == from && sent.due.is_some()) {
                self.take_back(arrival);
                is_news = true;
            }
        }
        if is_news {
            self.hold();
        }
    }

    /// Nothing is offered for a while: longer with each refusal in a row, up to an
    /// election timeout.
    pub(crate) fn hold(&mut self) {
        let pause = (1 << self.refusals.min(16)).min(self.election_ticks);
        self.refusals += 1;
        self.hold_until = self.hold_until.max(self.ticks + pause);
    }

    /// A tick has passed.
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
        while let Some((due, arrival)) = self.due.first().copied() {
            if due > self.ticks {
                break;
            }
            self.take_back(arrival);
            if let Some(kept) = self.kept.get_mut(&arrival) {
                kept.unanswered += 1;
            }
        }
    }

    /// Whether [`Proposals::offer`] would return anything.
    pub(crate) fn has_offer(&self, is_leader: bool) -> bool {
        let Some(first) = self.waiting.first().and_then(|arrival| self.kept.get(arrival)) else {
            return false;
        };
        self.ticks >= self.hold_until && (is_leader || self.fits(first))
    }

    fn fits(&self, kept: &Kept) -> bool {
        self.sent_bytes == 0 || self.sent_bytes + kept.bytes() <= self.window_bytes
    }

    /// What is to be offered to another node now, as one message: up to `count_max`
    /// proposals with up to `bytes_max` bytes of data, or one that is larger. They
    /// count as offered. Empty when there is nothing, or no room in the window.
    pub(crate) fn offer(
        &mut self,
        to: RaftId,
        count_max: usize,
        bytes_max: usize,
    ) -> Vec<(ProposalId, Bytes)> {
        let (mut offers, mut data_bytes) = (Vec::new(), 0);
        while self.has_offer(false) && offers.len() < count_max {
            let Some(arrival) = self.waiting.first().copied() else { break };
            let Some(kept) = self.kept.get_mut(&arrival) else { break };
            data_bytes += kept.data.len();
            if data_bytes > bytes_max && !offers.is_empty() {
                break;
            }
            // Two election timeouts: by then a leader that is lost has been replaced.
            let wait = (2 * self.election_ticks) << kept.unanswered.min(DOUBLINGS_MAX);
            let due = self.ticks + wait;
            kept.sent = Some(Sent { to, due: Some(due) });
            offers.push((kept.id, kept.data.clone()));
            self.sent_bytes += kept.bytes();
            self.due.insert((due, arrival));
            self.waiting.remove(&arrival);
        }
        offers
    }

    /// What this node, as the leader, is to put into its log: nothing while a refusal lasts.
    pub(crate) fn for_own_log(&self) -> Vec<(ProposalId, Bytes)> {
        if !self.has_offer(true) {
            return Vec::new();
        }
        let waiting = self.waiting.iter().filter_map(|arrival| self.kept.get(arrival));
        waiting.map(|kept| (kept.id, kept.data.clone())).collect()
    }

    /// It is in the log of this node, `node`, which leads.
    pub(crate) fn appended(&mut self, id: ProposalId, node: RaftId) {
        let Some(arrival) = self.by_id.get(&id).copied() else { return };
        if let Some(kept) = self.kept.get_mut(&arrival) {
            kept.sent = Some(Sent { to: node, due: None });
            self.waiting.remove(&arrival);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: RaftId = RaftId(7);

    fn id(sequence: u64) -> ProposalId {
        ProposalId { origin: RaftId(1), boot: 1, sequence }
    }

    fn proposals(bytes_max: usize, window_bytes: usize) -> Proposals {
        let config = Config::new(RaftId(1));
        Proposals::new(&Config {
            proposals_bytes_max: bytes_max,
            forwarded_bytes_max: window_bytes,
            ..config
        })
    }

    fn keep(proposals: &mut Proposals, sequences: &[u64]) {
        for sequence in sequences {
            proposals.keep(id(*sequence), Bytes::from_static(b"ten bytes.")).unwrap();
        }
    }

    fn offered(proposals: &mut Proposals) -> Vec<u64> {
        proposals.offer(LEADER, 100, 1000).into_iter().map(|(id, _)| id.sequence).collect()
    }

    #[test]
    fn an_offer_is_made_once_in_order_and_again_when_the_leader_changes() {
        let mut proposals = proposals(10_000, 10_000);
        keep(&mut proposals, &[3, 1, 2, 1]);
        assert_eq!(offered(&mut proposals), [3, 1, 2]);
        assert!(offered(&mut proposals).is_empty() && !proposals.has_offer(false));
        proposals.committed(id(1), false);
        proposals.leader_changed();
        assert_eq!(offered(&mut proposals), [3, 2]);
        proposals.withdraw(id(3));
        proposals.committed(id(2), false);
        proposals.leader_changed();
        assert!(offered(&mut proposals).is_empty());
        assert_eq!(
            (proposals.len(), proposals.bytes, proposals.sent_bytes, proposals.due.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn silence_is_answered_by_offers_that_grow_rarer() {
        let mut proposals = proposals(10_000, 10_000);
        keep(&mut proposals, &[1]);
        let mut offers = Vec::new();
        for tick in 0..700 {
            if !offered(&mut proposals).is_empty() {
                offers.push(tick);
            }
            proposals.tick();
        }
        assert_eq!(offers, [0, 20, 60, 140, 300, 460, 620]);
    }

    #[test]
    fn a_leader_that_refuses_is_asked_again_ever_later_and_at_once_after_a_change() {
        let mut proposals = proposals(10_000, 10_000);
        keep(&mut proposals, &[1]);
        let mut offers = Vec::new();
        for tick in 0..40 {
            if !offered(&mut proposals).is_empty() {
                offers.push(tick);
                proposals.refused(RaftId(9), &[id(1)]);
                assert!(!proposals.has_offer(false) && proposals.sent_bytes > 0, "a refusal of another node");
                proposals.refused(LEADER, &[id(1), id(2)]);
            }
            proposals.tick();
        }
        assert_eq!(offers, [0, 1, 3, 7, 15, 25, 35]);
        proposals.leader_changed();
        assert_eq!(offered(&mut proposals), [1]);
        proposals.peer_unreachable(LEADER);
        assert!(!proposals.has_offer(false));
        proposals.tick();
        assert_eq!(offered(&mut proposals), [1], "what was lost on its way is offered again");
    }

    #[test]
    fn what_is_kept_and_what_is_under_way_is_bounded_but_one_may_always_be() {
        let one = 10 + OVERHEAD_BYTES;
        let mut proposals = proposals(4 * one, 2 * one);
        keep(&mut proposals, &[1, 2, 3, 4]);
        let fifth = proposals.keep(id(5), Bytes::from_static(b"x"));
        assert_eq!(fifth, Err(Refusal::Busy));
        assert_eq!(offered(&mut proposals), [1, 2]);
        proposals.committed(id(1), false);
        assert_eq!(offered(&mut proposals), [3]);
        let mut large = super::tests::proposals(1, 1);
        keep(&mut large, &[1]);
        assert_eq!(offered(&mut large), [1]);
        assert!(large.keep(id(2), Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn a_message_is_bounded_in_count_and_bytes() {
        let mut proposals = proposals(100_000, 100_000);
        keep(&mut proposals, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(proposals.offer(LEADER, 2, 1000).len(), 2);
        assert_eq!(proposals.offer(LEADER, 100, 29).len(), 2);
        assert_eq!(proposals.offer(LEADER, 100, 5).len(), 1, "one that is larger goes alone");
    }

    #[test]
    fn what_is_in_the_own_log_is_not_offered_until_the_leader_changes() {
        let mut proposals = proposals(10_000, 10_000);
        keep(&mut proposals, &[1, 2]);
        assert_eq!(proposals.for_own_log().len(), 2);
        proposals.appended(id(1), RaftId(1));
        proposals.hold();
        assert!(proposals.for_own_log().is_empty(), "the log is full");
        proposals.committed(id(1), true);
        assert_eq!(proposals.for_own_log().len(), 1, "there is room again");
        proposals.appended(id(2), RaftId(1));
        (0..1000).for_each(|_| proposals.tick());
        assert!(proposals.for_own_log().is_empty());
        proposals.leader_changed();
        assert_eq!(offered(&mut proposals), [2]);
    }
}
