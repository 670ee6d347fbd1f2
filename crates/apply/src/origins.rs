//! Which proposals have been applied, per origin, and what became of them.
//!
//! Follows the client sessions of Ongaro, "Consensus: Bridging Theory and Practice", section 6.3: an origin numbers
//! its proposals and says up to where it has heard the answers, so that only the outcomes above are kept.
//!
//! Invariants:
//! - of one origin only its latest boot is remembered: a process that has started again asks for nothing older;
//! - `applied`, `refused` and `open` hold sequences that are not answered only: those above `answered_through`, and the
//!   `unanswered` below;
//! - a transaction is open or decided, never both: nothing holds back the log for a transaction that cannot come, nor for
//!   one of which nothing comes: its node may be gone for good, or its rows may come out of a pipe that hangs;
//! - everything here is a function of the log up to the position it is stored with.

use std::collections::{BTreeMap, BTreeSet};

use quack_proto::log::v1::{self as proto, step::Kind as StepKind};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId};

use crate::answered::Answered;
use crate::{entry, refusal};

/// Earlier lives of a node that are remembered when it comes back, so that nothing of them is taken for new.
const LIVES_MAX: u64 = 8;

/// So many bytes of the log may come behind the last part of an open transaction. It is what an unfinished statement costs
/// each disk at most, besides its own rows; a few minutes of a busy cluster.
pub const OPEN_BYTES_MAX: u64 = 1 << 30;

/// A part of an open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPart {
    /// In whose log it is.
    pub group: GroupId,
    pub index: LogIndex,
    /// The step of the transaction that it belongs to.
    pub step: u32,
}

/// A transaction whose parts have begun to arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    /// By number. They may come in any order.
    pub parts: BTreeMap<u32, OpenPart>,
    /// Whether any part deletes or updates rows.
    pub changes: bool,
    /// Bytes of the log when the last of them came.
    pub since: u64,
}

impl Open {
    /// Whether each part belongs to one of these steps, and to one that changes rows: no row gets lost.
    pub fn fits(&self, steps: &[proto::Step]) -> bool {
        let writes = |part: &OpenPart| match steps.get(part.step as usize) {
            Some(step) => matches!(step.kind, Some(StepKind::Write(_))),
            None => false,
        };
        self.parts.values().all(writes)
    }

    /// Whether these are all of `count` parts.
    pub fn is_complete(&self, count: u32) -> bool {
        self.parts.len() as u64 == u64::from(count)
            && self.parts.keys().next_back().is_none_or(|last| *last < count)
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Origin {
    boot: u64,
    answered_through: u64,
    /// Of these, the ones whose clients still wait.
    unanswered: BTreeSet<u64>,
    /// First to last sequence of each range, in ascending order.
    applied: BTreeMap<u64, u64>,
    refused: BTreeMap<u64, proto::Refused>,
    open: BTreeMap<u64, Open>,
}

impl Origin {
    fn has_applied(&self, sequence: u64) -> bool {
        self.applied.range(..=sequence).next_back().is_some_and(|(_, last)| *last >= sequence)
    }

    fn is_answered(&self, sequence: u64) -> bool {
        sequence <= self.answered_through && !self.unanswered.contains(&sequence)
    }

    /// Whether nothing can become of a transaction with this sequence any more.
    fn is_over(&self, sequence: u64) -> bool {
        self.is_answered(sequence) || self.has_applied(sequence)
    }

    fn add(&mut self, sequence: u64, refused: Option<&proto::Refused>) {
        if self.is_over(sequence) {
            return;
        }
        self.open.remove(&sequence);
        if let Some(refused) = refused {
            self.refused.insert(sequence, refused.clone());
        }
        let mut first = sequence;
        let mut last = sequence;
        if let Some((before, end)) = self.applied.range(..sequence).next_back().map(|(a, b)| (*a, *b))
            && end + 1 == sequence
        {
            self.applied.remove(&before);
            first = before;
        }
        if let Some(end) = self.applied.remove(&sequence.saturating_add(1)) {
            last = end;
        }
        self.applied.insert(first, last);
    }

    /// Forgets the transactions that have been answered. A transaction that was answered once stays answered, even when
    /// a delayed entry with an older state says otherwise.
    fn forget(&mut self, answered: &Answered) {
        let (before, through) = (self.answered_through, answered.through);
        if through < before || through == before && self.unanswered.is_empty() {
            return;
        }
        let is_kept = |sequence: &u64| *sequence > before || self.unanswered.contains(sequence);
        let except = answered.except.iter().copied().filter(|sequence| *sequence <= through);
        let unanswered: BTreeSet<u64> = except.filter(is_kept).collect();
        let is_needed = |sequence: &u64| *sequence > through || unanswered.contains(sequence);
        self.refused.retain(|sequence, _| is_needed(sequence));
        // No client waits for these transactions: their own entries would be void.
        self.open.retain(|sequence, _| is_needed(sequence));
        let single = |sequence: &u64| self.has_applied(*sequence).then_some((*sequence, *sequence));
        let above =
            |(first, last): (&u64, &u64)| (*last > through).then_some((through.max(first - 1) + 1, *last));
        let below: Vec<(u64, u64)> = unanswered.iter().filter_map(single).collect();
        self.applied = below.into_iter().chain(self.applied.iter().filter_map(above)).collect();
        (self.answered_through, self.unanswered) = (through, unanswered);
    }
}

/// Whether an entry is to be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Not seen before.
    New,
    /// Applied before, with this outcome, which the origin may still wait for.
    Repeated(proto::Outcome),
    /// Of an earlier boot, or answered and forgotten: no client waits for it.
    Void,
}

/// The memory of all origins, and of the nodes that they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origins {
    origins: BTreeMap<u64, Origin>,
    /// By name.
    members: BTreeMap<String, proto::Member>,
}

impl Origins {
    /// Whether the entry `id` is new.
    pub fn admission(&self, id: ProposalId, answered: &Answered) -> Admission {
        let known = self.origins.get(&id.origin.0).filter(|origin| origin.boot >= id.boot);
        let void = match known {
            Some(origin) => origin.boot > id.boot || origin.is_answered(id.sequence),
            None => false,
        };
        if void || answered.covers(id.sequence) {
            return Admission::Void;
        }
        match known
            .filter(|origin| origin.has_applied(id.sequence))
            .map(|origin| origin.refused.get(&id.sequence))
        {
            None => Admission::New,
            Some(Some(refused)) => Admission::Repeated(entry::refused(refused.clone())),
            Some(None) => Admission::Repeated(entry::applied()),
        }
    }

    /// Takes note of what the entry `id` says about its origin. An id of a later boot drops what is remembered of
    /// earlier ones.
    pub fn hear(&mut self, id: ProposalId, answered: &Answered) {
        let origin = self.origins.entry(id.origin.0).or_default();
        if id.boot > origin.boot {
            *origin = Origin { boot: id.boot, ..Origin::default() };
        }
        if id.boot == origin.boot {
            origin.forget(answered);
        }
    }

    /// [`admission`](Self::admission), then [`hear`](Self::hear).
    pub fn admit(&mut self, id: ProposalId, answered: &Answered) -> Admission {
        let admission = self.admission(id, answered);
        self.hear(id, answered);
        admission
    }

    /// Remembers the outcome of an admitted entry.
    pub fn record(&mut self, id: ProposalId, refused: Option<&proto::Refused>) {
        self.origins.entry(id.origin.0).or_default().add(id.sequence, refused);
    }

    /// Adds the part that the admitted entry `id`, which lies at `at`, carries to its open transaction, unless it is refused.
    /// `log_bytes` is how much the log has brought so far.
    pub fn take_part(
        &mut self,
        id: ProposalId,
        part: &proto::Part,
        at: (GroupId, LogIndex),
        log_bytes: u64,
    ) -> Option<proto::Refused> {
        let origin = self.origins.entry(id.origin.0).or_default();
        if let Some(refused) = origin.refused.get(&part.transaction) {
            // The client hears why, and not that it is to run again: the rest of it is on its way.
            return Some(refusal::of_transaction(refused.message.clone()));
        }
        if origin.is_over(part.transaction) || part.transaction >= id.sequence {
            // Held for a transaction that never comes, it would hold back the log for ever.
            return Some(refusal::of_transaction("the part belongs to a transaction that is over"));
        }
        let open = origin.open.entry(part.transaction).or_default();
        if open.parts.contains_key(&part.number) {
            return Some(refusal::of_transaction(format!(
                "part {} of the transaction came before",
                part.number
            )));
        }
        let (group, index) = at;
        open.parts.insert(part.number, OpenPart { group, index, step: part.step });
        open.since = log_bytes;
        open.changes |=
            part.write.as_ref().is_some_and(|write| !write.deleted.is_empty() || !write.updated.is_empty());
        None
    }

    /// Whether parts of the transaction `id` have arrived.
    pub fn is_open(&self, id: ProposalId) -> bool {
        self.origins.get(&id.origin.0).is_some_and(|origin| origin.open.contains_key(&id.sequence))
    }

    /// Takes the parts of the transaction `id`, which is being applied.
    pub fn close(&mut self, id: ProposalId) -> Option<Open> {
        self.origins.get_mut(&id.origin.0)?.open.remove(&id.sequence)
    }

    /// The transaction with this sequence, of the origin and boot of `id`, will never be completed. Parts of it that
    /// are still on their way come too late.
    pub fn abort(&mut self, id: ProposalId, transaction: u64) {
        let refused = refusal::of_transaction("the transaction has been given up");
        self.origins.entry(id.origin.0).or_default().add(transaction, Some(&refused));
    }

    /// Gives up the open transactions of which nothing has come for long, at a place of the log behind `log_bytes` of it.
    pub fn expire(&mut self, log_bytes: u64) {
        let is_late = |open: &Open| log_bytes.saturating_sub(open.since) > OPEN_BYTES_MAX;
        for origin in self.origins.values_mut().filter(|origin| !origin.open.is_empty()) {
            let late: Vec<u64> =
                origin.open.iter().filter(|(_, open)| is_late(open)).map(|(sequence, _)| *sequence).collect();
            for sequence in late {
                origin.add(sequence, Some(&refusal::late()));
            }
        }
    }

    /// Of each origin that has open transactions, the first entry of each group that they still need.
    pub fn open(&self) -> impl Iterator<Item = (RaftId, BTreeMap<GroupId, LogIndex>)> + '_ {
        let opened = self.origins.iter().filter(|(_, origin)| !origin.open.is_empty());
        opened.map(|(id, origin)| (RaftId(*id), first_of_each(origin.open.values())))
    }

    /// Of each group, the first entry that an open transaction still needs.
    pub fn needed_from(&self) -> BTreeMap<GroupId, LogIndex> {
        first_of_each(self.origins.values().flat_map(|origin| origin.open.values()))
    }

    /// Nodes that entries have changed since the cluster was founded, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = &proto::Member> {
        self.members.values()
    }

    /// A node is from now on as `member` says. An earlier life of it proposes nothing any more: the transactions that
    /// it has begun are void, and hold back the log no longer. Nothing leads back to an earlier incarnation, or to one that
    /// was removed.
    pub fn set_member(&mut self, member: &proto::Member) -> Option<proto::Refused> {
        let Ok(node) = NodeId::new(&member.node_id) else {
            return Some(refusal::of_transaction("the name of the node is not valid"));
        };
        let before = self.members.get(&member.node_id);
        let known = before.map_or(0, |known| known.incarnation);
        if member.incarnation < known || member.begins && member.incarnation == known {
            return Some(refusal::of_transaction(format!(
                "node '{node}' has been admitted under a later incarnation, {known}"
            )));
        }
        if !member.removed && member.incarnation == known && before.is_some_and(|known| known.removed) {
            return Some(refusal::of_transaction(format!(
                "node '{node}' has been removed, and its incarnation {known} is over"
            )));
        }
        let over = if member.removed { member.incarnation.saturating_add(1) } else { member.incarnation };
        // A node that comes back again and again leaves no more behind than one that has come back a few times.
        for incarnation in known.saturating_sub(LIVES_MAX)..over.saturating_sub(LIVES_MAX).min(known + 1) {
            self.origins.remove(&node.raft_id(incarnation).0);
        }
        for incarnation in over.saturating_sub(LIVES_MAX)..over {
            // No boot comes after this one: what is still on its way to the log is void, too, or a part of it would
            // hold back the log for ever.
            let ended = Origin { boot: u64::MAX, ..Origin::default() };
            self.origins.insert(node.raft_id(incarnation).0, ended);
        }
        self.members.insert(member.node_id.clone(), proto::Member { begins: false, ..member.clone() });
        None
    }

    /// As it is stored with the place.
    pub(crate) fn encode(&self, state: &mut proto::ApplierState) {
        let origins = self.origins.iter().map(|(id, origin)| proto::Origin {
            origin: *id,
            boot: origin.boot,
            answered_through: origin.answered_through,
            unanswered: origin.unanswered.iter().copied().collect(),
            applied: origin
                .applied
                .iter()
                .map(|(first, last)| proto::SequenceRange { first: *first, last: *last })
                .collect(),
            refused: origin.refused.clone(),
            open: origin
                .open
                .iter()
                .map(|(transaction, open)| {
                    let part = |(number, part): (&u32, &OpenPart)| proto::OpenPart {
                        index: part.index.0,
                        step: part.step,
                        number: *number,
                        group: part.group.0,
                    };
                    let parts = open.parts.iter().map(part).collect();
                    (*transaction, proto::OpenTransaction { parts, changes: open.changes, since: open.since })
                })
                .collect(),
        });
        state.origins = origins.collect();
        state.members = self.members.values().cloned().collect();
    }

    /// From what [`encode`](Self::encode) has stored.
    pub(crate) fn decode(state: &mut proto::ApplierState) -> Self {
        let origins = std::mem::take(&mut state.origins).into_iter().map(|origin| {
            let open = origin.open.into_iter().map(|(transaction, open)| {
                let part = |part: proto::OpenPart| {
                    let (group, index) = (GroupId(part.group), LogIndex(part.index));
                    (part.number, OpenPart { group, index, step: part.step })
                };
                (
                    transaction,
                    Open {
                        parts: open.parts.into_iter().map(part).collect(),
                        changes: open.changes,
                        since: open.since,
                    },
                )
            });
            let memory = Origin {
                boot: origin.boot,
                answered_through: origin.answered_through,
                unanswered: origin.unanswered.into_iter().collect(),
                applied: origin.applied.iter().map(|range| (range.first, range.last)).collect(),
                refused: origin.refused,
                open: open.collect(),
            };
            (origin.origin, memory)
        });
        let origins = origins.collect();
        let members = std::mem::take(&mut state.members).into_iter();
        Self { origins, members: members.map(|member| (member.node_id.clone(), member)).collect() }
    }
}

fn first_of_each<'a>(open: impl Iterator<Item = &'a Open>) -> BTreeMap<GroupId, LogIndex> {
    let mut needed = BTreeMap::new();
    for part in open.flat_map(|open| open.parts.values()) {
        let first = needed.entry(part.group).or_insert(part.index);
        *first = part.index.min(*first);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    const NOTHING: BTreeMap<GroupId, LogIndex> = BTreeMap::new();

    fn stored(origins: &Origins) -> proto::ApplierState {
        let mut state = proto::ApplierState::default();
        origins.encode(&mut state);
        state
    }

    fn in_root(index: u64) -> (GroupId, LogIndex) {
        (GroupId::ROOT, LogIndex(index))
    }

    fn id(boot: u64, sequence: u64) -> ProposalId {
        ProposalId { origin: RaftId(7), boot, sequence }
    }

    #[test]
    fn a_repeated_proposal_gets_its_first_outcome() {
        let mut origins = Origins::default();
        assert_eq!(origins.admit(id(1, 1), &Answered::from(0)), Admission::New);
        origins.record(id(1, 1), None);
        let refused = proto::Refused { error_kind: 18, message: "no".into(), conflict: false };
        assert_eq!(origins.admit(id(1, 2), &Answered::from(0)), Admission::New);
        origins.record(id(1, 2), Some(&refused));
        assert_eq!(origins.admit(id(1, 1), &Answered::from(0)), Admission::Repeated(entry::applied()));
        assert_eq!(origins.admit(id(1, 2), &Answered::from(0)), Admission::Repeated(entry::refused(refused)));
    }

    #[test]
    fn an_answered_proposal_is_void_and_takes_no_room() {
        let mut origins = Origins::default();
        for sequence in 1..=1000 {
            assert_eq!(origins.admit(id(1, sequence), &Answered::from(sequence - 1)), Admission::New);
            let refused = refusal::of_transaction("no");
            origins.record(id(1, sequence), Some(&refused).filter(|_| sequence % 3 == 0));
        }
        assert_eq!(origins.admit(id(1, 999), &Answered::from(999)), Admission::Void);
        let bytes = stored(&origins).encoded_len();
        assert!(bytes < 40, "{bytes}");
    }

    #[test]
    fn gaps_stay_open_and_ranges_join() {
        let mut origins = Origins::default();
        for sequence in [1, 2, 5, 4, 9] {
            assert_eq!(origins.admit(id(1, sequence), &Answered::from(0)), Admission::New);
            origins.record(id(1, sequence), None);
        }
        assert_eq!(origins.admit(id(1, 3), &Answered::from(0)), Admission::New);
        origins.record(id(1, 3), None);
        for sequence in 1..=5 {
            assert_ne!(origins.admit(id(1, sequence), &Answered::from(0)), Admission::New);
        }
        assert_eq!(origins.origins[&7].applied, BTreeMap::from([(1, 5), (9, 9)]));
        assert_eq!(origins.admit(id(1, 7), &Answered::from(4)), Admission::New);
        assert_eq!(origins.admit(id(1, 5), &Answered::from(4)), Admission::Repeated(entry::applied()));
        assert_eq!(Origins::decode(&mut stored(&origins)), origins);
    }

    fn part(transaction: u64, number: u32) -> proto::Part {
        proto::Part { transaction, number, step: 0, write: None }
    }

    /// Origins in which transaction 4 is open with a part at index 10.
    fn with_open_transaction() -> Origins {
        let mut origins = Origins::default();
        assert_eq!(origins.admit(id(1, 5), &Answered::from(0)), Admission::New);
        assert_eq!(origins.take_part(id(1, 5), &part(4, 0), in_root(10), 0), None);
        origins.record(id(1, 5), None);
        assert_eq!(origins.needed_from(), BTreeMap::from([in_root(10)]));
        origins
    }

    #[test]
    fn a_new_boot_voids_what_the_old_one_left() {
        let mut origins = with_open_transaction();
        assert_eq!(origins.admit(id(2, 1), &Answered::from(0)), Admission::New);
        assert_eq!(origins.needed_from(), NOTHING);
        assert_eq!(origins.admit(id(1, 6), &Answered::from(0)), Admission::Void);
    }

    #[test]
    fn a_transaction_that_is_answered_or_given_up_holds_back_nothing() {
        let mut origins = with_open_transaction();
        origins.hear(id(1, 7), &Answered::from(4));
        assert_eq!(origins.needed_from(), NOTHING);

        let mut origins = with_open_transaction();
        origins.abort(id(1, 7), 4);
        assert_eq!(origins.needed_from(), NOTHING);
        assert!(
            matches!(origins.admit(id(1, 4), &Answered::from(0)), Admission::Repeated(outcome) if outcome != entry::applied())
        );
    }

    #[test]
    fn a_part_of_a_transaction_that_is_over_is_refused() {
        let mut origins = with_open_transaction();
        origins.abort(id(1, 7), 4);
        assert!(origins.take_part(id(1, 6), &part(4, 1), in_root(11), 0).is_some());
        assert_eq!(origins.admit(id(1, 8), &Answered::from(7)), Admission::New);
        assert!(origins.take_part(id(1, 8), &part(4, 1), in_root(12), 0).is_some());
        assert!(origins.take_part(id(1, 8), &part(8, 0), in_root(12), 0).is_some(), "a part of itself");
        assert_eq!(origins.needed_from(), NOTHING);
    }

    #[test]
    fn a_node_that_comes_back_under_a_new_incarnation_leaves_nothing_open_and_never_goes_back() {
        let node = NodeId::new("n1").unwrap();
        let old = ProposalId { origin: node.raft_id(0), boot: 1, sequence: 5 };
        let mut origins = Origins::default();
        assert_eq!(origins.admit(old, &Answered::from(0)), Admission::New);
        assert_eq!(origins.take_part(old, &part(4, 0), in_root(10), 0), None);
        let member = |incarnation| proto::Member {
            node_id: "n1".to_owned(),
            incarnation,
            endpoint: "quack:localhost:1".to_owned(),
            voter: true,
            removed: false,
            ..proto::Member::default()
        };
        assert_eq!(origins.set_member(&member(1)), None);
        assert_eq!(origins.needed_from(), NOTHING);
        let late = ProposalId { boot: 2, sequence: 6, ..old };
        assert_eq!(origins.admit(late, &Answered::from(0)), Admission::Void, "its last words come too late");
        assert!(origins.set_member(&member(0)).is_some());
        assert_eq!(origins.members().collect::<Vec<_>>(), [&member(1)]);
        assert_eq!(Origins::decode(&mut stored(&origins)), origins);
    }

    #[test]
    fn an_open_statement_does_not_keep_the_outcomes_of_all_others() {
        let mut origins = with_open_transaction();
        let waits = |through: u64| Answered { through, except: vec![4] };
        let refused = refusal::of_transaction("no");
        for sequence in 6..=10_000 {
            assert_eq!(origins.admit(id(1, sequence), &waits(sequence - 1)), Admission::New);
            origins.record(id(1, sequence), Some(&refused).filter(|_| sequence % 2 == 0));
        }
        let bytes = stored(&origins).encoded_len();
        assert!(bytes < 150, "{bytes}");
        assert_eq!(Origins::decode(&mut stored(&origins)), origins);
        assert_eq!(origins.admit(id(1, 9_000), &waits(5)), Admission::Void);
        // An entry that was under way for long says what is not so any more.
        assert_eq!(
            origins.admit(id(1, 10_001), &Answered { through: 10_000, except: vec![4, 7] }),
            Admission::New
        );
        assert_eq!(
            origins.admit(id(1, 7), &Answered { through: 10_000, except: vec![4, 7] }),
            Admission::Void
        );
        // The statement goes on and ends, and is remembered until its end was heard.
        assert_eq!(origins.admit(id(1, 4), &waits(10_000)), Admission::New);
        assert!(origins.close(id(1, 4)).unwrap().is_complete(1));
        origins.record(id(1, 4), None);
        assert_eq!(origins.admit(id(1, 4), &waits(10_000)), Admission::Repeated(entry::applied()));
        assert_eq!(origins.admit(id(1, 10_002), &waits(10_001)), Admission::New);
        assert_eq!(origins.admit(id(1, 4), &waits(10_001)), Admission::Repeated(entry::applied()));
        origins.hear(id(1, 10_003), &Answered::from(10_001));
        assert_eq!(origins.admit(id(1, 4), &waits(10_001)), Admission::Void);
    }

    #[test]
    fn a_transaction_of_which_nothing_comes_gives_the_log_back() {
        let mut origins = with_open_transaction();
        origins.expire(OPEN_BYTES_MAX);
        assert_eq!(origins.needed_from(), BTreeMap::from([in_root(10)]));
        // A statement that goes on is waited for.
        assert_eq!(origins.take_part(id(1, 7), &part(4, 1), in_root(11), OPEN_BYTES_MAX), None);
        origins.expire(2 * OPEN_BYTES_MAX);
        assert_eq!(origins.open().count(), 1);
        origins.expire(2 * OPEN_BYTES_MAX + 1);
        assert_eq!((origins.needed_from(), origins.open().count()), (NOTHING, 0));
        let late = origins.take_part(id(1, 8), &part(4, 2), in_root(12), 0).unwrap();
        assert!(late.message.contains("was given up"), "{late:?}");
        let Admission::Repeated(outcome) = origins.admit(id(1, 4), &Answered::from(0)) else { panic!() };
        assert!(
            format!("{outcome:?}").contains("was given up, and nothing of it has happened"),
            "{outcome:?}"
        );
    }

    /// The node `n1` in its first lives.
    fn life(incarnation: u64) -> proto::Member {
        proto::Member { node_id: "n1".to_owned(), incarnation, begins: true, ..proto::Member::default() }
    }

    #[test]
    fn a_node_that_joins_again_and_again_leaves_no_more_behind() {
        let (node, mut origins) = (NodeId::new("n1").unwrap(), Origins::default());
        for incarnation in 1..=100 {
            assert_eq!(origins.set_member(&life(incarnation)), None);
            let own = ProposalId { origin: node.raft_id(incarnation), boot: 1, sequence: 1 };
            assert_eq!(origins.admit(own, &Answered::from(0)), Admission::New);
            let former = ProposalId { origin: node.raft_id(incarnation - 1), ..own };
            assert_eq!(origins.admit(former, &Answered::from(0)), Admission::Void);
        }
        assert_eq!(stored(&origins).origins.len() as u64, LIVES_MAX + 1);
    }

    #[test]
    fn no_life_is_given_twice() {
        let mut origins = Origins::default();
        assert!(origins.set_member(&life(0)).is_some(), "a founder has it");
        assert_eq!(origins.set_member(&life(1)), None);
        assert!(origins.set_member(&life(1)).is_some());
        // What is said of a life later does not begin it.
        assert_eq!(origins.set_member(&proto::Member { begins: false, ..life(1) }), None);
        assert_eq!(origins.set_member(&life(2)), None);
        assert!(origins.members().all(|member| !member.begins));
    }

    #[test]
    fn a_life_that_was_removed_is_over() {
        let mut origins = Origins::default();
        let removed = proto::Member { begins: false, removed: true, ..life(3) };
        assert_eq!(origins.set_member(&removed), None);
        // Of a leader that did not know yet: an address that it has found, or the node added again.
        let refused = origins.set_member(&proto::Member { removed: false, ..removed.clone() }).unwrap();
        assert!(refused.message.contains("has been removed, and its incarnation 3 is over"), "{refused:?}");
        assert_eq!(origins.set_member(&removed), None, "a removal may be repeated");
        assert!(origins.members().all(|member| member.removed));
        assert_eq!(origins.set_member(&proto::Member { begins: false, ..life(4) }), None);
        assert!(origins.members().all(|member| !member.removed));
    }

    #[test]
    fn a_proposal_that_calls_itself_answered_is_void() {
        let mut origins = Origins::default();
        assert_eq!(origins.admission(id(1, 3), &Answered::from(3)), Admission::Void);
        assert_eq!(origins.admit(id(1, 3), &Answered::from(5)), Admission::Void);
        assert_eq!(origins.admit(id(1, 5), &Answered::from(0)), Admission::Void);
        assert_eq!(origins.admit(id(1, 6), &Answered::from(0)), Admission::New);
    }

    #[test]
    fn parts_come_in_any_order_but_each_once() {
        let mut origins = with_open_transaction();
        assert_eq!(origins.take_part(id(1, 7), &part(4, 2), in_root(11), 0), None);
        assert!(origins.take_part(id(1, 8), &part(4, 2), in_root(12), 0).is_some());
        assert_eq!(Origins::decode(&mut stored(&origins)), origins);
        let open = origins.clone().close(id(1, 4)).unwrap();
        assert!(!open.is_complete(2) && !open.is_complete(3));
        assert_eq!(origins.take_part(id(1, 9), &part(4, 1), in_root(13), 0), None);
        let open = origins.close(id(1, 4)).unwrap();
        assert!(!open.is_complete(2) && open.is_complete(3) && !open.is_complete(4));
        let order: Vec<u64> = open.parts.values().map(|part| part.index.0).collect();
        assert_eq!(order, [10, 13, 11]);
    }
}
