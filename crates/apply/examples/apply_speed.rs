//! What the applier itself costs for each entry: decoding, deciding, remembering, and the digest of outcomes; over a store
//! that does nothing. Usage: `cargo run --release -p quack-apply --example apply_speed`.

use std::time::{Duration, Instant};

use quack_apply::sequence::SequenceState;
use quack_apply::{Applier, Store, StoreError, entry};
use quack_log::{EntryKind, GroupEntry, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::{GroupId, LogIndex, Mark, ProposalId, RaftId, Term};

const ENTRIES: u64 = 1 << 20;
const BATCH: u64 = 1024;
const ROUNDS: usize = 9;

/// Takes everything.
struct Nothing;

impl Store for Nothing {
    fn begin(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, _: LogIndex, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn rollback(&mut self) {}

    fn find(&mut self, _: &proto::Rows, _: bool) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn change_found(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn forget_found(&mut self) {}

    fn has_key(&mut self, _: &proto::Rows) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn change_places(&mut self, _: &proto::Rows) -> Result<(), StoreError> {
        Ok(())
    }

    fn insert(&mut self, _: &proto::Rows) -> Result<(), StoreError> {
        Ok(())
    }

    fn ddl(&mut self, _: &quack_proto::log::v1::Ddl) -> Result<(), StoreError> {
        Ok(())
    }

    fn sequence(&mut self, _: &str, _: &str) -> Result<Option<SequenceState>, StoreError> {
        Ok(None)
    }

    fn move_sequence(&mut self, _: &str, _: &str, _: &SequenceState, _: bool) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The insertion of one row.
fn one_row(sequence: u64) -> GroupEntry {
    let (schema, table) = ("main".to_owned(), "orders".to_owned());
    let chunk = vec![0x5a; 120].into();
    let rows = proto::Rows { schema, table, shape: 7, table_number: 1 << 20, count: 1, chunk, places: None };
    let write = proto::Write { inserted: vec![rows], ..proto::Write::default() };
    let step = proto::Step { kind: Some(Kind::Write(write)) };
    let id = ProposalId { origin: RaftId(0x5555_aaaa_5555_aaaa), boot: 1, sequence };
    let body = Body::Transaction(proto::Transaction { parts: 0, steps: vec![step] });
    let mark = Mark { root: LogIndex(sequence), digest: sequence };
    let data = entry::encode(id, sequence.saturating_sub(64), Some(mark), body);
    let (term, kind, context) = (Term(1), EntryKind::Normal, Default::default());
    GroupEntry {
        group: GroupId::ROOT,
        entry: LogEntry { term, index: LogIndex(sequence), kind, data, context },
    }
}

fn round(batches: &[Vec<GroupEntry>]) -> Result<Duration, StoreError> {
    let mut applier = Applier::open(Nothing, LogIndex(0), &[])?;
    let began = Instant::now();
    for batch in batches {
        applier.apply(batch, &|_, _| Err("there are no parts".to_owned()))?;
        applier.take_digests();
    }
    Ok(began.elapsed())
}

fn main() -> Result<(), StoreError> {
    let batch = |number: u64| (number * BATCH + 1..=(number + 1) * BATCH).map(one_row).collect();
    let batches: Vec<Vec<GroupEntry>> = (0..ENTRIES / BATCH).map(batch).collect();
    let mut times = (0..ROUNDS).map(|_| round(&batches)).collect::<Result<Vec<_>, _>>()?;
    times.sort();
    // The best of them says most on a machine that others use, too.
    for (name, time) in [("best", times[0]), ("median", times[ROUNDS / 2])] {
        println!("{name}: {:.0} ns for each entry", time.as_nanos() as f64 / ENTRIES as f64);
    }
    Ok(())
}
