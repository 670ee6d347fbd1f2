//! A commit that breaks off on every node ends no cluster: the entry is found, and refused alike everywhere.
#![allow(clippy::unwrap_used)]

mod model;

use model::contents::{Ddl, Key};
use model::oracle::Fate;
use model::rows::inserted;
use model::store::{ModelStore, Snapshot};
use quack_apply::store::ErrorKind;
use quack_apply::{Applier, Broken, entry};
use quack_log::{EntryKind, GroupEntry, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::{GroupId, LogIndex, ProposalId, RaftId, Term};

/// A row whose commit breaks off.
const BREAKS: (i64, i64) = (666, 0);

fn entry_at(index: u64, steps: Vec<Kind>) -> GroupEntry {
    let steps = steps.into_iter().map(|kind| proto::Step { kind: Some(kind) }).collect();
    let id = ProposalId { origin: RaftId(1), boot: 1, sequence: index };
    let data = entry::encode(id, 0, None, Body::Transaction(proto::Transaction { parts: 0, steps }));
    let (term, kind, context) = (Term(1), EntryKind::Normal, Default::default());
    GroupEntry { group: GroupId::ROOT, entry: LogEntry { term, index: LogIndex(index), kind, data, context } }
}

fn insert(index: u64, row: (i64, i64)) -> GroupEntry {
    let write = proto::Write { inserted: vec![inserted("bag", &[row], 0)], ..Default::default() };
    entry_at(index, vec![Kind::Write(write)])
}

fn log() -> Vec<GroupEntry> {
    let ddl = proto::Ddl { sql: Ddl::CreateTable("bag".into(), Key::None).to_sql(), ..Default::default() };
    vec![
        entry_at(1, vec![Kind::Ddl(ddl)]),
        insert(2, (1, 0)),
        insert(3, BREAKS),
        insert(4, (2, 0)),
        insert(5, BREAKS),
        insert(6, (3, 0)),
    ]
}

/// Starts a node again and again, from its first checkpoint, until it has applied all entries, so many at a time. Returns the
/// starts that it took, what it has decided in the last one, and the digest.
fn starts_until_done(at_a_time: usize) -> (usize, Vec<Fate>, quack_apply::Digest, Vec<(i64, i64)>) {
    let mut text = String::new();
    for start in 1..20 {
        let mut store = ModelStore::open(&Snapshot::default(), 3, false);
        store.breaks_off = Some(BREAKS);
        let mut applier = Applier::open(store, LogIndex(0), &[]).unwrap();
        applier.remember(Broken::decode(&text).unwrap());
        let mut fates = Vec::new();
        let mut failed = false;
        for entries in log().chunks(at_a_time) {
            match applier.apply(entries, &|_, _| Err("no parts".to_owned())) {
                Ok(decisions) => {
                    fates.extend(decisions.iter().map(|decision| Fate::of(decision.outcome.as_ref())));
                }
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::FATAL);
                    failed = true;
                    break;
                }
            }
        }
        text = applier.broken().encode();
        if !failed {
            let rows = applier.store().contents().tables["bag"].1.clone();
            return (start, fates, applier.state().digest, rows);
        }
    }
    panic!("it never ends");
}

#[test]
fn an_entry_whose_commit_breaks_off_is_refused_alike_in_any_batches() {
    let (starts, fates, digest, rows) = starts_until_done(1);
    let refused = Fate::Refused { kind: 31, conflict: false };
    assert_eq!(fates, [Fate::Applied, Fate::Applied, refused, Fate::Applied, refused, Fate::Applied]);
    assert_eq!(rows, [(1, 0), (2, 0), (3, 0)]);
    // One start for each that breaks off, and the last one.
    assert_eq!(starts, 3);
    for at_a_time in [2, 3, 6] {
        let together = starts_until_done(at_a_time);
        assert_eq!((&together.1, together.2, &together.3), (&fates, digest, &rows), "{at_a_time}");
        assert!(together.0 <= 6, "{at_a_time} at a time: {} starts", together.0);
    }
}

#[test]
fn what_the_store_holds_durably_is_forgotten() {
    let mut applier = Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
    applier.apply(&log()[..2], &|_, _| Err("no parts".to_owned())).unwrap();
    applier.remember(Broken::decode("alone 1 1\nrefused 1 2\nrefused 1 3\n").unwrap());
    assert_eq!(applier.broken().encode(), "refused 1 3\n");
}
