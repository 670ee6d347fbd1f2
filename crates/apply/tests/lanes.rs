//! The one order of several groups: applying it gives the same state in batches of any size, and after a stop at any
//! place, also between two entries that one cut orders.
#![allow(clippy::unwrap_used)]

mod model;

use std::collections::BTreeMap;

use model::Dice;
use model::contents::{Contents, Ddl, Key};
use model::rows::inserted;
use model::store::{LANE_TABLES, ModelStore};
use quack_apply::{Applier, Decision, entry};
use quack_log::{EntryKind, GroupEntry, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::{GroupId, LogIndex, Mark, ProposalId, RaftId, Term};

/// The order, and the results of applying its entries one by one.
struct History {
    dice: Dice,
    reference: Applier<ModelStore>,
    sequence: u64,
    /// What was proposed in each lane and has no place in the order yet.
    uncut: BTreeMap<GroupId, Vec<LogEntry>>,
    next: BTreeMap<GroupId, u64>,
    order: Vec<GroupEntry>,
    decisions: Vec<Option<Decision>>,
    states: Vec<Vec<u8>>,
    contents: Vec<Contents>,
    /// Behind the entries of the root.
    marks: Vec<Mark>,
    void: usize,
}

impl History {
    fn new(seed: u64, steps: usize) -> Self {
        let mut history = Self {
            dice: Dice(seed),
            reference: Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap(),
            sequence: 0,
            uncut: BTreeMap::new(),
            next: BTreeMap::new(),
            order: Vec::new(),
            decisions: Vec::new(),
            states: Vec::new(),
            contents: Vec::new(),
            marks: Vec::new(),
            void: 0,
        };
        let create = Ddl::CreateTable("t".into(), Key::Unique).to_sql();
        history.in_root(vec![ddl(create)]);
        (0..steps).for_each(|_| history.step());
        history
    }

    fn step(&mut self) {
        let lanes: Vec<GroupId> = self.reference.state().lanes.iter().map(|(group, _)| group).collect();
        match self.dice.below(10) {
            0 => {
                let name = LANE_TABLES[self.dice.below(LANE_TABLES.len())].to_owned();
                let is_there = self.reference.store().contents().tables.contains_key(&name);
                let ddl_text =
                    if is_there { Ddl::DropTable(name) } else { Ddl::CreateTable(name, Key::None) };
                self.in_root(vec![ddl(ddl_text.to_sql())]);
            }
            1 | 2 => {
                let insert = self.insert();
                self.in_root(vec![insert]);
            }
            3 | 4 => self.cut(),
            _ if lanes.is_empty() => {}
            5 => {
                let lane = lanes[self.dice.below(lanes.len())];
                self.in_parts(lane);
            }
            _ => {
                let (lane, insert) = (lanes[self.dice.below(lanes.len())], self.insert());
                let data = self.transaction(0, vec![insert]);
                self.in_lane(lane, data);
            }
        }
    }

    fn id(&mut self) -> ProposalId {
        self.sequence += 1;
        ProposalId { origin: RaftId(1), boot: 1, sequence: self.sequence }
    }

    /// Of few keys, so that some are refused.
    fn insert(&mut self) -> proto::Step {
        let row = (self.dice.below(40) as i64, self.dice.below(1000) as i64);
        let write = proto::Write { inserted: vec![inserted("t", &[row], 0)], ..Default::default() };
        proto::Step { kind: Some(Kind::Write(write)) }
    }

    fn transaction(&mut self, parts: u32, steps: Vec<proto::Step>) -> bytes::Bytes {
        let id = self.id();
        entry::encode(id, 0, None, Body::Transaction(proto::Transaction { parts, steps }))
    }

    fn entry(&mut self, group: GroupId, data: bytes::Bytes) -> LogEntry {
        let next = self.next.entry(group).or_insert(0);
        *next += 1;
        let (term, kind, context) = (Term(1), EntryKind::Normal, Default::default());
        LogEntry { term, index: LogIndex(*next), kind, data, context }
    }

    fn in_root(&mut self, steps: Vec<proto::Step>) {
        let data = self.transaction(0, steps);
        let entry = self.entry(GroupId::ROOT, data);
        self.apply(GroupId::ROOT, entry);
    }

    fn in_lane(&mut self, lane: GroupId, data: bytes::Bytes) {
        let entry = self.entry(lane, data);
        self.uncut.entry(lane).or_default().push(entry);
    }

    /// A transaction with a part before it, which may be parted from it by cuts.
    fn in_parts(&mut self, lane: GroupId) {
        let transaction = self.id();
        let Some(Kind::Write(write)) = self.insert().kind else { unreachable!() };
        let part = proto::Part { transaction: transaction.sequence, number: 0, step: 0, write: Some(write) };
        let id = self.id();
        self.in_lane(lane, entry::encode(id, 0, None, Body::Part(part)));
        if self.dice.once_in(3) {
            self.cut();
        }
        let steps = vec![proto::Step { kind: Some(Kind::Write(proto::Write::default())) }];
        let body = Body::Transaction(proto::Transaction { parts: 1, steps });
        self.in_lane(lane, entry::encode(transaction, 0, None, body));
    }

    /// All that is in the lanes takes its place. Of a lane that was dropped it is void.
    fn cut(&mut self) {
        for (lane, entries) in std::mem::take(&mut self.uncut) {
            entries.into_iter().for_each(|entry| self.apply(lane, entry));
        }
        let cut = self.entry(GroupId::ROOT, bytes::Bytes::new());
        self.apply(GroupId::ROOT, cut);
    }

    fn apply(&mut self, group: GroupId, entry: LogEntry) {
        let is_void = group != GroupId::ROOT && self.reference.state().lanes.get(group).is_none();
        self.void += usize::from(is_void);
        let ordered = GroupEntry { group, entry };
        self.order.push(ordered.clone());
        let order = &self.order;
        let read = |group: GroupId, index: LogIndex| Ok(find(order, group, index));
        let decision = self.reference.apply(&[ordered], &read).unwrap().pop();
        self.decisions.push(decision);
        self.marks.append(&mut self.reference.take_digests().marks);
        self.states.push(self.reference.state().encode());
        self.contents.push(self.reference.store().contents());
    }
}

fn ddl(sql: String) -> proto::Step {
    proto::Step { kind: Some(Kind::Ddl(proto::Ddl { sql, ..Default::default() })) }
}

fn find(order: &[GroupEntry], group: GroupId, index: LogIndex) -> LogEntry {
    let found = order.iter().find(|ordered| ordered.group == group && ordered.entry.index == index);
    found.unwrap().entry.clone()
}

/// Applies the order in batches, with stops after which it goes on from what the store had committed at some moment.
fn replay(history: &History, dice: &mut Dice) -> usize {
    let open = |store, root, state: &[u8]| Applier::open(store, root, state).unwrap();
    let mut applier = open(ModelStore::new(dice.next(), true), LogIndex(0), &[]);
    let (mut at, mut stops) = (0, 0);
    while at < history.order.len() {
        let to = (at + 1 + dice.below(12)).min(history.order.len());
        // What has been applied is passed over.
        let from = at.saturating_sub(dice.below(3));
        let read = |group: GroupId, index: LogIndex| Ok(find(&history.order, group, index));
        let before = at;
        let decisions = applier.apply(&history.order[from..to], &read).unwrap();
        at = to;
        let expected: Vec<Decision> = history.decisions[before..to].iter().flatten().cloned().collect();
        assert_eq!(decisions, expected);
        assert_eq!(applier.state().encode(), history.states[at - 1], "at {at}");
        for mark in applier.take_digests().marks {
            assert_eq!(mark, history.marks[usize::try_from(mark.root.0).unwrap() - 1], "at {at}");
        }
        assert_eq!(applier.store().contents(), history.contents[at - 1], "at {at}");
        if dice.once_in(6) {
            stops += 1;
            let snapshots = &applier.store().snapshots;
            let snapshot = snapshots[dice.below(snapshots.len())].clone();
            let is_here = |state: &Vec<u8>| *state == snapshot.state;
            at = history.states.iter().rposition(is_here).map_or(0, |place| place + 1);
            applier = open(ModelStore::open(&snapshot, dice.next(), true), snapshot.index, &snapshot.state);
        }
    }
    stops
}

#[test]
fn batches_and_stops_do_not_matter_in_an_order_of_many_groups() {
    let (mut stops, mut void, mut lanes) = (0, 0, 0);
    for seed in 0..40 {
        let history = History::new(seed, 250);
        stops += (0..3).map(|round| replay(&history, &mut Dice(seed * 1000 + round))).sum::<usize>();
        void += history.void;
        lanes += history.reference.state().lanes.last_group().0;
    }
    assert!(stops > 200 && void > 50 && lanes > 100, "{stops} stops, {void} void entries, {lanes} lanes");
}
