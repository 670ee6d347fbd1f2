//! Tables have numbers, and rows are for the table that was meant, not for another one of its name.
#![allow(clippy::unwrap_used)]

mod model;

use std::cell::RefCell;
use std::rc::Rc;

use model::contents::{Ddl, Key};
use model::oracle::Fate;
use model::proposer::{Log, LogProposer};
use model::rows::inserted;
use quack_apply::writer::Change;
use quack_apply::{TABLE_MADE_HERE, Writer, entry};
use quack_proto::log::v1 as proto;

fn writer(log: &Rc<RefCell<Log>>) -> Writer<LogProposer> {
    Writer::new(LogProposer(log.clone()))
}

fn create(name: &str) -> String {
    Ddl::CreateTable(name.into(), Key::None).to_sql()
}

#[test]
fn tables_are_numbered_once_all_nodes_read_that() {
    let log = Log::new();
    let numbers = || log.borrow().applier.store().contents().numbers.into_iter().collect::<Vec<_>>();
    let run = |entry_version, ddl: Ddl| {
        log.borrow_mut().entry_version = entry_version;
        let mut writer = writer(&log);
        writer.ddl(ddl.to_sql()).unwrap();
        assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
    };
    let older = entry::TABLE_NUMBERS_VERSION - 1;
    run(older, Ddl::CreateTable("b".into(), Key::None));
    run(older, Ddl::CreateTable("a".into(), Key::None));
    assert_eq!(numbers(), []);
    // Then those, too, that were there before; and it goes on whoever proposes.
    run(entry::VERSION, Ddl::CreateSequence("counter".into()));
    assert_eq!(numbers(), [("a".to_owned(), 2), ("b".to_owned(), 3)]);
    run(older, Ddl::RenameTable("a".into(), "c".into()));
    run(older, Ddl::CreateTable("a".into(), Key::None));
    assert_eq!(numbers(), [("a".to_owned(), 4), ("b".to_owned(), 3), ("c".to_owned(), 2)]);
    // No number comes again.
    run(entry::VERSION, Ddl::DropTable("a".into()));
    run(entry::VERSION, Ddl::CreateTable("a".into(), Key::None));
    assert_eq!(numbers(), [("a".to_owned(), 5), ("b".to_owned(), 3), ("c".to_owned(), 2)]);
}

#[test]
fn rows_for_another_table_of_the_name_are_refused() {
    let log = Log::new();
    let mut first = writer(&log);
    first.ddl(create("bag")).unwrap();
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
    exchange.ddl(Ddl::RenameTable("bag".into(), "old".into()).to_sql()).unwrap();
    exchange.ddl(create("bag")).unwrap();
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
