//! An entry's outcome does not depend on how entries were batched, nor on crashes, nor on where rows are.
#![allow(clippy::unwrap_used)]

mod model;

use std::collections::BTreeMap;

use model::contents::{Ddl, Key};
use model::history::{Builder, History};
use model::rows::inserted;
use model::store::{Met, ModelStore, Snapshot};
use model::{Dice, of_root};
use proptest::prelude::*;
use quack_apply::origins::OPEN_BYTES_MAX;
use quack_apply::{Applier, Committed, State, entry};
use quack_log::{EntryKind, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::{Digests, GroupId, LogIndex, ProposalId, RaftId, Term};

fn place(index: LogIndex) -> usize {
    usize::try_from(index.0).unwrap() - 1
}

/// A node that applies a history.
struct Node<'a> {
    history: &'a History,
    applier: Applier<ModelStore>,
    dice: Dice,
    holes: bool,
    /// The oldest snapshot that a crash can throw the node back to.
    checkpoint: Snapshot,
    /// Entries below this one are gone from the node's log.
    released: LogIndex,
    met: Met,
    reopened: usize,
    failed: usize,
    claims: usize,
}

impl<'a> Node<'a> {
    fn new(history: &'a History, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let holes = dice.once_in(2);
        let store = ModelStore::new(dice.next(), holes);
        Self {
            history,
            applier: Applier::open(store, LogIndex(0), &[]).unwrap(),
            dice,
            holes,
            checkpoint: Snapshot::default(),
            released: LogIndex(1),
            met: Met::default(),
            reopened: 0,
            failed: 0,
            claims: 0,
        }
    }

    fn run(&mut self) {
        let last = LogIndex(self.history.entries.len() as u64);
        // Crashes throw it back, so that the end must be made certain.
        for round in 0.. {
            if self.applier.state().root >= last {
                break;
            }
            match self.dice.below(12) {
                0 => self.make_checkpoint(),
                1 if round < 200 => self.crash(),
                2 if round < 200 => self.apply_with_a_failure(),
                _ => self.apply_some(),
            }
        }
        assert_eq!(self.applier.state().root, last);
        assert_eq!(Some(&self.applier.store().contents()), self.history.contents.last());
        assert_eq!(Some(&self.applier.state().encode()), self.history.states.last());
        self.note_met();
    }

    fn note_met(&mut self) {
        let met = self.applier.store().met;
        self.met.commits += met.commits;
        self.met.rollbacks += met.rollbacks;
        self.met.searches += met.searches;
        self.met.hints_followed += met.hints_followed;
        self.met.sets += met.sets;
        self.met.rooms += met.rooms;
        self.met.waits += met.waits;
        self.met.placed += met.placed;
    }

    fn next_entries(&mut self) -> &'a [LogEntry] {
        let from = usize::try_from(self.applier.state().root.0).unwrap();
        let most = [1, 3, 10, 40][self.dice.below(4)];
        let to = (from + 1 + self.dice.below(most)).min(self.history.entries.len());
        // What has been applied is passed over.
        let again = self.dice.below(8).saturating_sub(5);
        &self.history.entries[from.saturating_sub(again)..to]
    }

    fn apply(&mut self, entries: &[LogEntry]) -> Result<(), quack_apply::StoreError> {
        let before = self.applier.state().root;
        let (history, released) = (self.history, self.released);
        let read = |_: GroupId, index: LogIndex| match index {
            index if index < released => Err(format!("entry {index} was released")),
            index => Ok(history.entries[place(index)].clone()),
        };
        let decided = self.applier.apply(&of_root(entries), &read);
        self.check_committed();
        let decisions = decided?;
        let new = entries.iter().filter(|entry| entry.index > before);
        let expected: Vec<_> =
            new.filter_map(|entry| history.decisions[place(entry.index)].clone()).collect();
        assert_eq!(decisions, expected);
        assert_eq!(self.applier.state().root, entries.last().unwrap().index);
        self.check_digests(before, entries);
        Ok(())
    }

    /// Behind every entry the digest is that of one entry after the other, and that is what the entries claim.
    fn check_digests(&mut self, before: LogIndex, entries: &[LogEntry]) {
        let Digests { marks, claims, records: _ } = self.applier.take_digests();
        let after = usize::try_from(before.0).unwrap()..place(entries.last().unwrap().index) + 1;
        assert_eq!(marks, self.history.marks[after.clone()]);
        assert_eq!(claims.len(), self.history.claims(&after));
        for claim in claims {
            assert_eq!(claim.mark, self.history.marks[place(claim.mark.root)]);
            self.claims += 1;
        }
    }

    fn apply_some(&mut self) {
        let entries = self.next_entries();
        self.apply(entries).unwrap();
    }

    /// What has been committed is what one entry after the other comes to, with all that is remembered beside it.
    fn check_committed(&self) {
        let snapshot = self.applier.store().snapshots.last().unwrap();
        let state = State::decode(snapshot.index, &snapshot.state).unwrap();
        let found = Committed {
            place: state.place(),
            needed_from: state.origins.needed_from(),
            unfinished: state.origins.open().collect(),
        };
        assert_eq!(*self.applier.committed(), found, "a reopen finds something else");
        for snapshot in self.applier.store().snapshots.iter().filter(|snapshot| snapshot.index.0 > 0) {
            let (index, place) = (snapshot.index, place(snapshot.index));
            assert_eq!(snapshot.contents(), self.history.contents[place], "at entry {index}");
            assert_eq!(snapshot.state, self.history.states[place], "the memory of origins at entry {index}");
        }
    }

    /// Keeps the last commit, and releases the log as a checkpoint that was asked for a little earlier may.
    fn make_checkpoint(&mut self) {
        let committed = self.applier.committed().clone();
        if self.dice.once_in(2) && self.applier.state().root.0 < self.history.entries.len() as u64 {
            self.apply_some();
        }
        self.checkpoint = self.applier.store().snapshots.last().unwrap().clone();
        let next = committed.place.root.next();
        let needed = committed.needed_from.get(&GroupId::ROOT).map_or(next, |index| next.min(*index));
        self.released = needed.max(self.released);
    }

    /// Opens what the store held at some moment since the last checkpoint.
    fn crash(&mut self) {
        self.note_met();
        let snapshots = &self.applier.store().snapshots;
        let from = snapshots.iter().position(|snapshot| snapshot.index >= self.checkpoint.index);
        let from = from.unwrap_or(snapshots.len());
        let chosen = from + self.dice.below(snapshots.len() - from + 1);
        let snapshot = snapshots.get(chosen).unwrap_or(&self.checkpoint).clone();
        let store = ModelStore::open(&snapshot, self.dice.next(), self.holes);
        self.applier = Applier::open(store, snapshot.index, &snapshot.state).unwrap();
        self.check_committed();
        self.reopened += 1;
    }

    fn apply_with_a_failure(&mut self) {
        let fails_in = self.dice.below(20);
        self.applier.store().fails_in.set(Some(fails_in));
        let entries = self.next_entries();
        match self.apply(entries) {
            Ok(()) => self.applier.store().fails_in.set(None),
            Err(error) => {
                self.applier.store().fails_in.set(None);
                assert_eq!(self.apply(entries), Err(error), "nothing is applied after a local error");
                self.failed += 1;
                self.crash();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_crashes_and_row_ids_change_no_outcome(
        calm in any::<bool>(),
        commands in prop::collection::vec(any::<u64>(), 1..150),
        seeds in prop::collection::vec(any::<u64>(), 3),
    ) {
        let history = Builder::new(calm).run(&commands);
        for seed in seeds {
            Node::new(&history, seed).run();
        }
    }
}

/// The random histories meet what they are about: otherwise the property above would hold for nothing.
#[test]
fn random_histories_meet_every_fate() {
    let mut fates = BTreeMap::<String, usize>::new();
    let mut oddities = BTreeMap::<&str, usize>::new();
    let (mut met, mut reopened, mut failed, mut claims, mut entries) = (Met::default(), 0, 0, 0, 0);
    for seed in 0..120 {
        let mut dice = Dice(seed);
        let commands: Vec<u64> = (0..150).map(|_| dice.next()).collect();
        let history = Builder::new(seed % 2 == 0).run(&commands);
        for (fate, count) in &history.fates {
            *fates.entry(fate.clone()).or_default() += count;
        }
        for (oddity, count) in &history.oddities {
            *oddities.entry(oddity).or_default() += count;
        }
        let mut node = Node::new(&history, seed);
        node.run();
        entries += history.entries.len();
        met.commits += node.met.commits;
        met.rollbacks += node.met.rollbacks;
        met.searches += node.met.searches;
        met.hints_followed += node.met.hints_followed;
        met.sets += node.met.sets;
        met.rooms += node.met.rooms;
        met.waits += node.met.waits;
        met.placed += node.met.placed;
        reopened += node.reopened;
        failed += node.failed;
        claims += node.claims;
    }
    println!("{entries} entries, {reopened} crashes, {failed} failures, {met:?}, {fates:#?}, {oddities:#?}");
    for oddity in [
        "a boot again",
        "a part again",
        "an abort again",
        "a transaction again",
        "again after it was answered",
        "for the first time after it was given up",
        "a part after its transaction",
        "a transaction before its parts",
        "an old boot after a new one",
        "an old life after a new one",
        "parts of several origins side by side",
        "names what it waits for",
    ] {
        assert!(oddities.get(oddity).is_some_and(|count| *count > 4), "{oddity} is rare: {oddities:#?}");
    }
    for fate in [
        "Applied",
        "Void",
        "drew",
        "another table",
        "kind: 10, conflict: true",
        "kind: 10, conflict: false",
        "kind: 13",
        "kind: 18",
        "kind: 41",
    ] {
        assert!(
            fates.iter().any(|(name, count)| name.contains(fate) && *count > 10),
            "{fate} is rare: {fates:#?}"
        );
    }
    assert!(
        reopened > 50
            && failed > 20
            && met.rollbacks > 50
            && met.searches > 50
            && met.hints_followed > 50
            && met.sets > 50
            && met.rooms > 50
            && met.waits > 20
            && met.placed > 50
            && claims > 1000
    );
    // Batches are worth their name.
    assert!(met.commits * 3 < entries * 2, "{met:?} for {entries} entries");
}

fn transaction(sequence: u64, steps: Vec<proto::Step>) -> LogEntry {
    let id = ProposalId { origin: RaftId(1), boot: 1, sequence };
    let data =
        entry::encode(id, sequence - 1, None, Body::Transaction(proto::Transaction { parts: 0, steps }));
    LogEntry {
        term: Term(1),
        index: LogIndex(sequence),
        kind: EntryKind::Normal,
        data,
        context: Default::default(),
    }
}

#[test]
fn the_position_is_committed_even_when_every_entry_is_refused() {
    let create = Ddl::CreateTable("keyed".into(), Key::Unique).to_sql();
    let insert = |padding| {
        let write =
            proto::Write { inserted: vec![inserted("keyed", &[(1, 1)], padding)], ..Default::default() };
        proto::Step { kind: Some(Kind::Write(write)) }
    };
    let create = proto::Step { kind: Some(Kind::Ddl(proto::Ddl { sql: create, ..Default::default() })) };
    let mut applier = Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
    let nothing = |_: GroupId, _: LogIndex| Err("no parts".to_owned());
    applier.apply(&of_root(&[transaction(1, vec![create, insert(0)])]), &nothing).unwrap();
    for sequence in 2..=40 {
        let decisions =
            applier.apply(&of_root(&[transaction(sequence, vec![insert(1 << 20)])]), &nothing).unwrap();
        assert_ne!(decisions[0].outcome, Some(entry::applied()));
        assert!(applier.committed().place.root.0 + 20 > sequence, "{:?} at {sequence}", applier.committed());
    }
    assert!(applier.store().snapshots.len() < 5);
}

/// Its node is gone for good, or its rows come out of a pipe that hangs.
#[test]
fn a_statement_of_which_nothing_comes_holds_the_log_for_a_while_only_on_all_nodes_alike() {
    let large = vec![proto::Step {
        kind: Some(Kind::Write(proto::Write {
            inserted: vec![inserted("no table", &[(1, 1)], 31 << 20)],
            ..Default::default()
        })),
    }];
    let entry = |sequence: u64, origin: u64, body: Body| {
        let id = ProposalId { origin: RaftId(origin), boot: 1, sequence };
        LogEntry { data: entry::encode(id, 0, None, body), ..transaction(sequence, Vec::new()) }
    };
    let entries = (1..=40).map(|index| match index {
        1 => entry(1, 9, Body::Boot(proto::Boot {})),
        2 => {
            let part = proto::Part { transaction: 1, number: 0, step: 0, write: None };
            entry(2, 8, Body::Part(part))
        }
        index => transaction(index, large.clone()),
    });
    let new = || Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
    let (mut single, mut together, mut batch) = (new(), new(), Vec::new());
    let nothing = |_: GroupId, _: LogIndex| Err("no parts".to_owned());
    let (mut released, mut bytes) = (None, 0);
    for entry in entries {
        bytes += entry.size_bytes() as u64;
        single.apply(&of_root(std::slice::from_ref(&entry)), &nothing).unwrap();
        if single.state().root >= LogIndex(2) && single.state().origins.needed_from().is_empty() {
            released.get_or_insert(bytes);
        }
        batch.push(entry);
        if batch.len() == 3 {
            together.apply(&of_root(&std::mem::take(&mut batch)), &nothing).unwrap();
            assert_eq!(together.state().encode(), single.state().encode());
        }
    }
    assert!(released.is_some_and(|bytes| bytes.abs_diff(OPEN_BYTES_MAX) < 40 << 20), "{released:?}");
    assert_eq!(single.committed().needed_from, BTreeMap::new());
}

#[test]
fn an_entry_that_fails_an_assertion_of_the_store_is_refused_and_ends_no_node() {
    let ddl = |sql: String| proto::Step { kind: Some(Kind::Ddl(proto::Ddl { sql, ..Default::default() })) };
    let create = ddl(Ddl::CreateTable("keyed".into(), Key::Unique).to_sql());
    let mut applier = Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
    let nothing = |_: GroupId, _: LogIndex| Err("no parts".to_owned());
    let entries = [transaction(1, vec![ddl("FAIL AN ASSERTION".into())]), transaction(2, vec![create])];
    let decisions = applier.apply(&of_root(&entries), &nothing).unwrap();
    let refused = entry::refused(proto::Refused {
        error_kind: 31,
        message: "assertion failed".into(),
        conflict: false,
    });
    assert_eq!(decisions[0].outcome, Some(refused));
    assert_ne!(decisions[1].outcome, decisions[0].outcome);
    assert_eq!(applier.state().root, LogIndex(2));
}

#[test]
fn an_entry_of_another_release_stops_the_node_and_changes_nothing() {
    let cases = [
        (entry::VERSION + 1, "install the newer release"),
        (entry::VERSION - 1, "written by an older release: start with an empty folder"),
    ];
    for (version, text) in cases {
        let mut other = transaction(1, Vec::new());
        let mut decoded = <proto::Entry as prost::Message>::decode(other.data.clone()).unwrap();
        decoded.version = version;
        other.data = prost::Message::encode_to_vec(&decoded).into();
        let mut applier = Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
        let nothing = |_: GroupId, _: LogIndex| Err("no parts".to_owned());
        let error = applier.apply(&of_root(&[other]), &nothing).unwrap_err();
        assert!(error.message.contains(text), "{error}");
        assert!(applier.apply(&of_root(&[transaction(1, Vec::new())]), &nothing).is_err());
        assert_eq!((applier.state().root, applier.store().snapshots.len()), (LogIndex(0), 1));
    }
}

#[test]
fn a_store_of_an_older_release_is_refused_in_words() {
    let stored = proto::ApplierState { last_group: 3, ..Default::default() };
    let state = prost::Message::encode_to_vec(&stored);
    let Err(error) = Applier::open(ModelStore::new(0, false), LogIndex(7), &state) else {
        panic!("it opens")
    };
    assert_eq!(error.message, "the store was written by an older release: start with an empty folder");
}
