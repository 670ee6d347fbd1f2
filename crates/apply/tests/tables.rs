//! Tables have numbers, and rows are for the table that was meant, not for another one of its name.
#![allow(clippy::unwrap_used)]

mod model;

use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;

use model::contents::{Ddl, Key};
use model::oracle::Fate;
use model::proposer::{Log, LogProposer};
use model::rows::{Sought, changed, inserted, placed};
use model::store::{LANE_TABLES, ModelStore};
use quack_apply::writer::Change;
use quack_apply::{Applier, TABLE_MADE_HERE, Writer, entry};
use quack_log::{EntryKind, GroupEntry, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::{GroupId, LogIndex, ProposalId, RaftId, Term};

fn writer(log: &Rc<RefCell<Log>>) -> Writer<LogProposer> {
    Writer::new(LogProposer(log.clone()))
}

fn create(name: &str) -> String {
    Ddl::CreateTable(name.into(), Key::None).to_sql()
}

#[test]
fn a_tables_number_follows_from_the_position_of_the_entry_that_has_made_it() {
    let log = Log::new();
    let numbers = || log.borrow().applier.store().contents().numbers.into_iter().collect::<Vec<_>>();
    let run = |statements: &[Ddl]| {
        let mut writer = writer(&log);
        statements.iter().for_each(|ddl| writer.ddl(ddl.to_sql(), Bytes::new()).unwrap());
        writer.commit(|| {}).unwrap()
    };
    let table = |name: &str| Ddl::CreateTable(name.into(), Key::None);
    assert_eq!(run(&[table("b"), table("a")]), entry::applied());
    let first = vec![("a".to_owned(), 1 << 20), ("b".to_owned(), (1 << 20) + 1)];
    assert_eq!(numbers(), first);
    // What is refused gives none, and moves none of those that follow.
    assert_ne!(run(&[table("c"), table("a")]), entry::applied());
    assert_eq!(run(&[Ddl::CreateSequence("counter".into())]), entry::applied());
    assert_eq!(numbers(), first);
    assert_eq!(run(&[Ddl::RenameTable("a".into(), "c".into()), table("a")]), entry::applied());
    let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
    let second = vec![(a.clone(), 4 << 20), (b.clone(), (1 << 20) + 1), (c.clone(), 1 << 20)];
    assert_eq!(numbers(), second);
    // No number comes again.
    assert_eq!(run(&[Ddl::DropTable("a".into())]), entry::applied());
    assert_eq!(run(&[table("a")]), entry::applied());
    assert_eq!(numbers(), [(a, 6 << 20), (b, (1 << 20) + 1), (c, 1 << 20)]);
    assert_eq!(log.borrow().applier.state().catalog_version, 5 + 4);
}

#[test]
fn the_catalog_changes_in_the_root_alone() {
    let mut applier = Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap();
    let entry = |group, index, sequence, name: &str| {
        let step =
            proto::Step { kind: Some(Kind::Ddl(proto::Ddl { sql: create(name), ..Default::default() })) };
        let id = ProposalId { origin: RaftId(1), boot: 1, sequence };
        let body = Body::Transaction(proto::Transaction { parts: 0, steps: vec![step] });
        let (term, kind, context) = (Term(1), EntryKind::Normal, Default::default());
        let data = entry::encode(id, 0, None, body);
        GroupEntry { group, entry: LogEntry { term, index: LogIndex(index), kind, data, context } }
    };
    let entries = [entry(GroupId::ROOT, 1, 1, LANE_TABLES[0]), entry(GroupId(2), 1, 2, "t")];
    let decisions = applier.apply(&entries, &|_, _| Err("no parts".to_owned())).unwrap();
    let fates: Vec<Fate> = decisions.iter().map(|decision| Fate::of(decision.outcome.as_ref())).collect();
    assert_eq!(fates, [Fate::Applied, Fate::Refused { kind: 10, conflict: false }]);
    assert_eq!(applier.store().contents().tables.len(), 1);
}

#[test]
fn rows_for_another_table_of_the_name_are_refused() {
    let log = Log::new();
    let mut first = writer(&log);
    first.ddl(create("bag"), Bytes::new()).unwrap();
    assert_eq!(first.commit(|| {}), Ok(entry::applied()));
    let number = log.borrow().applier.store().contents().numbers["bag"];
    let insert = |table_number| {
        let mut writer = writer(&log);
        let rows = proto::Rows { table_number, ..inserted("bag", &[(1, 0)], 0) };
        writer.rows(Change::Inserted, rows).unwrap();
        Fate::of(Some(&writer.commit(|| {}).unwrap()))
    };
    let conflict = Fate::Refused { kind: 10, conflict: true };
    assert_eq!([insert(number), insert(0)], [Fate::Applied; 2]);
    assert_eq!([insert(number + 7), insert(TABLE_MADE_HERE)], [conflict; 2]);
    let mut exchange = writer(&log);
    exchange.ddl(Ddl::RenameTable("bag".into(), "old".into()).to_sql(), Bytes::new()).unwrap();
    exchange.ddl(create("bag"), Bytes::new()).unwrap();
    // Those that come from the transaction itself are for the table that it makes.
    let rows = proto::Rows { table_number: TABLE_MADE_HERE, ..inserted("bag", &[(2, 0)], 0) };
    exchange.rows(Change::Inserted, rows).unwrap();
    let rows = proto::Rows { table_number: number, ..inserted("old", &[(3, 0)], 0) };
    exchange.rows(Change::Inserted, rows).unwrap();
    assert_eq!(exchange.commit(|| {}), Ok(entry::applied()));
    assert_eq!(insert(number), conflict);
    let contents = log.borrow().applier.store().contents();
    assert_eq!(contents.tables["bag"].1, [(2, 0)]);
    assert_eq!(contents.tables["old"].1, [(1, 0), (1, 0), (3, 0)]);
}

#[test]
fn rows_that_are_named_by_their_places_are_alone_in_their_transaction() {
    let log = Log::new();
    let mut first = writer(&log);
    first.ddl(create("bag"), Bytes::new()).unwrap();
    first.rows(Change::Inserted, inserted("bag", &[(1, 0), (2, 0), (3, 0)], 0)).unwrap();
    assert_eq!(first.commit(|| {}), Ok(entry::applied()));
    let table_number = log.borrow().applier.store().contents().numbers["bag"];
    let revision = log.borrow().applier.state().revisions.last;
    let by_place = |place| {
        let row = (place, (i64::try_from(place).unwrap() + 1, 0));
        proto::Rows { table_number, ..placed("bag", revision, &[row], None, false) }
    };
    let sought = Sought { row: (3, 0), hint: 2, new: None };
    let by_bytes = || (Change::Deleted, proto::Rows { table_number, ..changed("bag", &[sought], 0) });
    let new_row = || (Change::Inserted, proto::Rows { table_number, ..inserted("bag", &[(4, 0)], 0) });
    let commit = |rows: Vec<(Change, proto::Rows)>, in_steps: bool| {
        let mut writer = writer(&log);
        for (change, rows) in rows {
            writer.rows(change, rows).unwrap();
            if in_steps {
                writer.begin_statement();
            }
        }
        Fate::of(Some(&writer.commit(|| {}).unwrap()))
    };
    let at = |place| (Change::Deleted, by_place(place));
    let invalid = Fate::Refused { kind: 32, conflict: false };
    for (beside, in_steps) in [(by_bytes(), false), (new_row(), false), (at(1), true)] {
        assert_eq!(commit(vec![at(0), beside], in_steps), invalid);
    }
    assert_eq!(log.borrow().applier.store().contents().tables["bag"].1, [(1, 0), (2, 0), (3, 0)]);
    // In one step they are of one statement, and all places are those before it.
    assert_eq!(commit(vec![at(0), at(1)], false), Fate::Applied);
    assert_eq!(log.borrow().applier.store().contents().tables["bag"].1, [(3, 0)]);
    assert_eq!(commit(vec![at(2)], false), Fate::Refused { kind: 10, conflict: true });
}
