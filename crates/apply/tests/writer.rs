//! A transaction becomes entries, and the entries become what the transaction meant.
#![allow(clippy::unwrap_used)]

mod model;

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use model::Dice;
use model::contents::{Contents, Ddl, Key};
use model::oracle::{Fate, Oracle};
use model::proposer::{Failure, Log, LogProposer};
use model::rows::{Sought, changed, inserted};
use proptest::prelude::*;
use quack_apply::writer::{Change, DEFAULT_GROUP, PARTS_UNDER_WAY_MAX};
use quack_apply::{Proposer, Writer, entry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::limits::{ENTRY_BYTES_MAX, PART_BYTES};
use quack_types::{ProposalId, RaftId};

const MIB: usize = 1 << 20;

type Shared = Rc<RefCell<Log>>;

fn writer(log: &Shared) -> Writer<LogProposer> {
    Writer::new(LogProposer(log.clone()))
}

fn create(name: &str, key: Key) -> String {
    Ddl::CreateTable(name.into(), key).to_sql()
}

/// A log whose store has a table without a key and one with.
fn log_with_tables() -> Shared {
    let log = Log::new();
    let mut first = writer(&log);
    first.ddl(create("bag", Key::None), Bytes::new()).unwrap();
    first.ddl(create("keyed", Key::Unique), Bytes::new()).unwrap();
    first.ddl(Ddl::CreateSequence("counter".into()).to_sql(), Bytes::new()).unwrap();
    assert_eq!(first.commit(|| {}), Ok(entry::applied()));
    log
}

fn usage(name: &str, usage_count: u64) -> proto::SequenceUsage {
    proto::SequenceUsage {
        schema: "main".into(),
        name: name.into(),
        usage_count,
        counter: 1,
        last_value: None,
    }
}

fn insert(writer: &mut Writer<LogProposer>, key: i64, padding: usize) -> Result<(), Failure> {
    writer.rows(Change::Inserted, inserted("bag", &[(key, 0)], padding))
}

fn keys(log: &Shared) -> Vec<i64> {
    log.borrow().applier.store().contents().tables["bag"].1.iter().map(|row| row.0).collect()
}

/// Checks that nothing makes the nodes keep ids or hold back their logs.
fn assert_settled(log: &Shared) {
    assert_eq!(log.borrow().outstanding.len(), 0, "ids that were not settled");
    let mut last = writer(log);
    insert(&mut last, 1000, 0).unwrap();
    last.commit(|| {}).unwrap();
    assert_eq!(log.borrow().applier.committed().needed_from, BTreeMap::new(), "parts that are held");
}

#[test]
fn entries_take_each_road_as_often_as_its_share_and_the_roots_when_they_change_the_catalog() {
    let log = Log::new();
    let mut first = writer(&log);
    first.ddl(Ddl::CreateTable("bag".into(), Key::None).to_sql(), Bytes::new()).unwrap();
    first.weigh("a", 10);
    first.commit(|| {}).unwrap();
    for key in 0..400 {
        let mut next = writer(&log);
        insert(&mut next, key, 0).unwrap();
        next.weigh("a", 100);
        next.weigh("b", 300);
        next.commit(|| {}).unwrap();
    }
    let mut last = writer(&log);
    insert(&mut last, 1000, 0).unwrap();
    last.commit(|| {}).unwrap();
    let log = log.borrow();
    let count = |group: &str| log.groups.iter().filter(|taken| *taken == group).count();
    assert_eq!((log.groups.len(), count(DEFAULT_GROUP)), (402, 2));
    assert!((80..=120).contains(&count("a")) && (280..=320).contains(&count("b")), "{}", count("a"));
}

#[test]
fn a_small_transaction_is_one_entry() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    insert(&mut writer, 1, MIB).unwrap();
    writer.ddl(create("more", Key::None), Bytes::new()).unwrap();
    writer.sequence(usage("counter", 7));
    writer.rows(Change::Inserted, inserted("more", &[(2, 0)], MIB)).unwrap();
    assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
    assert_eq!(log.borrow().letters(), "TT");
    let contents = log.borrow().applier.store().contents();
    assert_eq!(contents.tables["more"].1, [(2, 0)]);
    assert_eq!(contents.sequences["counter"].usage_count, 7);
    assert_settled(&log);
}

#[test]
fn a_statement_may_delete_what_an_earlier_one_has_inserted() {
    for bytes in [0, MIB] {
        let log = log_with_tables();
        let mut writer = writer(&log);
        for key in 0..6 {
            insert(&mut writer, key, bytes).unwrap();
        }
        writer.begin_statement();
        let sought = Sought { row: (3, 0), hint: -1, new: None };
        writer.rows(Change::Deleted, changed("bag", &[sought], 0)).unwrap();
        writer.begin_statement();
        insert(&mut writer, 3, bytes).unwrap();
        insert(&mut writer, 7, bytes).unwrap();
        assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
        let mut keys = keys(&log);
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5, 7]);
        assert_settled(&log);
    }
}

#[test]
fn an_empty_transaction_is_applied_without_an_entry() {
    let log = Log::new();
    let empty = writer(&log);
    assert!(empty.is_empty());
    assert_eq!(empty.commit(|| {}), Ok(entry::applied()));
    assert_eq!((log.borrow().letters().as_str(), log.borrow().outstanding.len()), ("", 0));
}

#[test]
fn a_large_transaction_is_parts_and_one_entry_and_few_are_under_way() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    for key in 0..40 {
        insert(&mut writer, key, MIB).unwrap();
        assert_eq!(keys(&log), [], "nothing is visible before the last entry");
    }
    assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
    assert_eq!(log.borrow().letters(), "TpppppppppppppT");
    assert_eq!(keys(&log), (0..40).collect::<Vec<_>>());
    assert_eq!(log.borrow().under_way_most, PARTS_UNDER_WAY_MAX);
    assert!(log.borrow().entry_bytes_most < PART_BYTES + 1024, "{}", log.borrow().entry_bytes_most);
    assert_settled(&log);
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    for dropped in [false, true] {
        let log = log_with_tables();
        let mut writer = writer(&log);
        (0..20).for_each(|key| insert(&mut writer, key, MIB).unwrap());
        if dropped {
            drop(writer)
        } else {
            writer.abort()
        }
        assert_eq!(log.borrow().letters(), "Tppppppa");
        log.borrow_mut().apply();
        assert_settled(&log);
        assert_eq!(keys(&log), [1000]);
    }
}

#[test]
fn a_small_transaction_that_is_given_up_never_reaches_the_log() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    insert(&mut writer, 1, 0).unwrap();
    writer.abort();
    assert_eq!(log.borrow().letters(), "T");
    assert_settled(&log);
}

#[test]
fn what_no_entry_can_hold_is_refused() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    insert(&mut writer, 1, 0).unwrap();
    assert!(matches!(insert(&mut writer, 2, ENTRY_BYTES_MAX), Err(Failure::TooLarge { bytes_max, .. })
        if bytes_max < ENTRY_BYTES_MAX));
    assert!(matches!(writer.ddl("x".repeat(ENTRY_BYTES_MAX), Bytes::new()), Err(Failure::TooLarge { .. })));
    writer.abort();
    assert_settled(&log);
}

#[test]
fn the_largest_row_leaves_by_itself_and_statements_have_room_beside_small_rows() {
    let log = log_with_tables();
    let mut large = writer(&log);
    let row_bytes = ENTRY_BYTES_MAX - 1100;
    insert(&mut large, 1, 100).unwrap();
    insert(&mut large, 2, row_bytes).unwrap();
    large.ddl(create("more", Key::None), Bytes::new()).unwrap();
    assert_eq!(large.commit(|| {}), Ok(entry::applied()));
    assert_eq!(log.borrow().letters(), "TppT");
    assert_eq!(keys(&log), [1, 2]);
    assert!(log.borrow().entry_bytes_most <= ENTRY_BYTES_MAX);

    let mut long = writer(&log);
    for key in 3..7 {
        insert(&mut long, key, MIB - 100).unwrap();
    }
    // Not a statement that the model knows: it is refused when it is applied, not for its size.
    long.ddl("x".repeat(ENTRY_BYTES_MAX - PART_BYTES - 2 * MIB), Bytes::new()).unwrap();
    assert!(
        matches!(long.commit(|| {}).unwrap().kind, Some(proto::outcome::Kind::Refused(refused)) if refused.error_kind == 14)
    );
    assert_settled(&log);
}

#[test]
fn parts_belong_to_the_step_that_their_rows_were_added_to() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    insert(&mut writer, 1, MIB).unwrap();
    writer.sequence(usage("counter", 3));
    writer.ddl(create("more", Key::None), Bytes::new()).unwrap();
    for key in 2..7 {
        writer.rows(Change::Inserted, inserted("more", &[(key, 0)], MIB)).unwrap();
        writer.sequence(usage("counter", key.unsigned_abs()));
    }
    writer.ddl(Ddl::DropTable("more".into()).to_sql(), Bytes::new()).unwrap();
    insert(&mut writer, 8, MIB).unwrap();
    assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
    let steps: Vec<u32> = log
        .borrow()
        .bodies()
        .iter()
        .filter_map(|body| match body {
            Body::Part(part) => Some(part.step),
            _ => None,
        })
        .collect();
    // Rows, usage, CREATE, then rows and usage in turn; three chunks and what frames them fit into a part.
    assert_eq!(steps, [0, 3, 5, 7, 9, 11]);
    assert_eq!(keys(&log), [1, 8]);
    assert_eq!(log.borrow().applier.store().contents().sequences["counter"].usage_count, 6);
    assert_settled(&log);
}

#[test]
fn a_transaction_that_lost_a_part_is_refused_whole() {
    for lost in 0..5 {
        let log = log_with_tables();
        let mut writer = writer(&log);
        log.borrow_mut().lost_in = Some(lost);
        let sent = (0..20).try_for_each(|key| insert(&mut writer, key, MIB));
        let outcome = sent.and_then(|()| writer.commit(|| {}));
        assert_eq!(outcome, Err(Failure::Unknown));
        log.borrow_mut().apply();
        assert_settled(&log);
        assert_eq!(keys(&log), [1000]);
    }
}

#[test]
fn rows_that_could_not_be_sent_are_missed_even_if_the_caller_goes_on() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    log.borrow_mut().busy_in = Some(1);
    let failures = (0..20).filter(|key| insert(&mut writer, *key, MIB).is_err()).count();
    assert_eq!(failures, 1);
    assert_ne!(writer.commit(|| {}).unwrap(), entry::applied());
    assert_settled(&log);
    assert_eq!(keys(&log), [1000]);
}

#[test]
fn a_refused_part_ends_the_load_early() {
    let log = log_with_tables();
    let mut writer = writer(&log);
    (0..5).for_each(|key| insert(&mut writer, key, MIB).unwrap());
    // Another entry voids the transaction: its id is the second that was drawn.
    let id = ProposalId { origin: RaftId(1), boot: 1, sequence: 999 };
    let abort = entry::encode(id, 0, None, Body::Abort(proto::Abort { transaction: 2 }));
    LogProposer(log.clone()).propose(DEFAULT_GROUP, id, abort).unwrap();
    (5..200).for_each(|key| insert(&mut writer, key, MIB).unwrap());
    let sent = log.borrow().letters();
    assert!(sent.len() < 12, "{sent}");
    assert_ne!(writer.commit(|| {}).unwrap(), entry::applied());
    assert_settled(&log);
    assert_eq!(keys(&log), [1000]);
}

#[test]
fn every_id_is_settled_and_no_part_is_held_after_any_failure() {
    for failing in 0..9 {
        for busy in [false, true] {
            let log = log_with_tables();
            let mut writer = writer(&log);
            if busy {
                log.borrow_mut().busy_in = Some(failing);
            } else {
                log.borrow_mut().unknown_in = Some(failing);
            }
            let sent = (0..20).try_for_each(|key| insert(&mut writer, key, MIB));
            let outcome = match sent {
                Ok(()) => writer.commit(|| {}),
                Err(error) => {
                    drop(writer);
                    Err(error)
                }
            };
            log.borrow_mut().busy_in = None;
            log.borrow_mut().unknown_in = None;
            log.borrow_mut().apply();
            assert_settled(&log);
            // Part 5 is the last; the final entry may have been applied though the writer got no outcome.
            let all = keys(&log).len() == 21;
            assert!(all || keys(&log) == [1000], "a part of the transaction was applied");
            assert!(outcome.is_ok() <= all, "{failing} {busy} {outcome:?}");
        }
    }
}

/// The writer proposes a transaction's own entry when the parts' outcomes are known, so that it cannot come before them.
#[test]
fn parts_that_come_late_in_any_order_and_again_make_the_transaction_that_was_written() {
    let mut repeated = 0;
    for seed in 0..40 {
        let log = log_with_tables();
        log.borrow_mut().network = Some(Dice(seed));
        let mut writer = writer(&log);
        (0..30).for_each(|key| insert(&mut writer, key, MIB).unwrap());
        assert_eq!(writer.commit(|| {}), Ok(entry::applied()));
        assert_eq!(keys(&log), (0..30).collect::<Vec<_>>());
        log.borrow_mut().deliver_all();
        assert_eq!(keys(&log), (0..30).collect::<Vec<_>>());
        repeated += log.borrow().repeated;
        log.borrow_mut().network = None;
        assert_settled(&log);
    }
    assert!(repeated > 100, "{repeated} entries came again");
}

/// Draws what a session may write: chunks of rows, statements, sequences.
fn write_randomly(
    dice: &mut Dice,
    writer: &mut Writer<LogProposer>,
    mut more_exists: bool,
) -> Vec<proto::Step> {
    let mut steps: Vec<proto::Step> = Vec::new();
    for _ in 0..dice.below(30) {
        let padding = if dice.once_in(2) { MIB } else { 0 };
        let tables = if more_exists || dice.once_in(20) { 3 } else { 2 };
        let table = ["bag", "keyed", "more"][dice.below(tables)];
        let key = i64::try_from(dice.below(1000)).unwrap();
        match dice.below(10) {
            0 => {
                let more = "more".to_owned();
                let ddl = if more_exists { Ddl::DropTable(more) } else { Ddl::CreateTable(more, Key::None) };
                more_exists = !more_exists;
                writer.ddl(ddl.to_sql(), Bytes::new()).unwrap();
                let ddl = proto::Ddl { sql: ddl.to_sql(), ..Default::default() };
                steps.push(proto::Step { kind: Some(Kind::Ddl(ddl)) });
            }
            1 => {
                let usage = usage("counter", dice.below(100) as u64);
                writer.sequence(usage.clone());
                steps.push(proto::Step { kind: Some(Kind::Sequence(usage)) });
            }
            2 => {
                let sought = Sought { row: (key % 4, 0), hint: 0, new: None };
                let rows = changed("bag", &[sought], padding);
                writer.rows(Change::Deleted, rows.clone()).unwrap();
                write_of(&mut steps).deleted.push(rows);
            }
            3 => {
                let sought = Sought { row: (key % 4, 0), hint: 0, new: Some((key % 4, 1)) };
                let rows = changed("bag", &[sought], padding);
                writer.rows(Change::Updated, rows.clone()).unwrap();
                write_of(&mut steps).updated.push(rows);
            }
            _ => {
                let rows = inserted(table, &[(key, 0)], padding);
                writer.rows(Change::Inserted, rows.clone()).unwrap();
                write_of(&mut steps).inserted.push(rows);
            }
        }
    }
    steps
}

fn write_of(steps: &mut Vec<proto::Step>) -> &mut proto::Write {
    if !matches!(steps.last(), Some(proto::Step { kind: Some(Kind::Write(_)) })) {
        steps.push(proto::Step { kind: Some(Kind::Write(proto::Write::default())) });
    }
    match steps.last_mut().unwrap().kind.as_mut().unwrap() {
        Kind::Write(write) => write,
        _ => unreachable!("the last step is one of row changes"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_through_the_log_is_what_it_would_be_without(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let log = log_with_tables();
        let mut oracle = Oracle::default();
        let first = log.borrow().entries[0].data.clone();
        log.borrow_mut().network = dice.once_in(2).then(|| Dice(dice.next()));
        prop_assert_eq!(oracle.apply(1, &first), Fate::Applied);
        for sequence in 2..6 {
            let mut writer = writer(&log);
            if sequence == 2 {
                // Rows for the deletions of those that follow.
                (0..12).for_each(|key| insert(&mut writer, key % 4, 0).unwrap());
                writer.commit(|| {}).unwrap();
                let rows = (0..12).map(|key| inserted("bag", &[(key % 4, 0)], 0)).collect();
                let write = proto::Write { inserted: rows, ..Default::default() };
                apply_directly(&mut oracle, sequence, vec![proto::Step { kind: Some(Kind::Write(write)) }]);
                continue;
            }
            let steps = write_randomly(&mut dice, &mut writer, oracle.contents.tables.contains_key("more"));
            let outcome = writer.commit(|| {}).unwrap();
            let fate = apply_directly(&mut oracle, sequence, steps);
            prop_assert_eq!(Fate::of(Some(&outcome)), fate);
            prop_assert_eq!(held(&log), without_numbers(&oracle.contents));
        }
        log.borrow_mut().deliver_all();
        prop_assert_eq!(held(&log), without_numbers(&oracle.contents));
        log.borrow_mut().network = None;
        assert_settled(&log);
    }
}

fn held(log: &Shared) -> Contents {
    without_numbers(&log.borrow().applier.store().contents())
}

/// Numbers of tables follow from where in the log an entry has come.
fn without_numbers(contents: &Contents) -> Contents {
    Contents { numbers: BTreeMap::new(), ..contents.clone() }
}

fn apply_directly(oracle: &mut Oracle, sequence: u64, steps: Vec<proto::Step>) -> Fate {
    let id = ProposalId { origin: RaftId(9), boot: 1, sequence };
    oracle.apply(
        sequence,
        &entry::encode(id, 0, None, Body::Transaction(proto::Transaction { parts: 0, steps })),
    )
}
