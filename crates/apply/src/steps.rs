//! Runs the steps of a transaction on the store.
//!
//! There are two ways, and both must come to the same rows:
//! - **shared**, next to the transactions of other entries: rows are found where the origin saw them, or not at all.
//!   All rows of a step are found before any is changed, so that a transaction whose first step finds nothing has
//!   touched nothing. It never refuses: what does not go smoothly is for the other way.
//! - **alone**, in a transaction of the store of its own: rows are looked up by value. Only here is an entry refused, and
//!   only here do rows come that are named by their places.

use quack_log::LogEntry;
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind as StepKind};
use quack_types::{GroupId, LogIndex};

use crate::entry;
use crate::origins::{Open, OpenPart};
use crate::revisions::{Changed, Revisions};
use crate::sequence::SequenceState;
use crate::store::{ErrorKind, Store, StoreError};

/// Reads an entry of the log again, for transactions that came in parts.
pub type ReadLog<'a> = dyn Fn(GroupId, LogIndex) -> Result<LogEntry, String> + 'a;

/// What a transaction that has taken effect has come to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub applied: proto::Applied,
    pub changed: Changed,
}

/// How an attempt in a shared transaction has ended.
pub(crate) enum Shared {
    Done(Done),
    /// The entry needs a transaction of its own; the shared one has not been touched.
    Untouched,
    /// The entry needs a transaction of its own; the shared one is spoilt.
    Spoilt,
}

/// Runs a transaction's writes next to others.
pub(crate) fn run_shared<S: Store>(
    store: &mut S,
    transaction: &proto::Transaction,
) -> Result<Shared, StoreError> {
    let mut touched = false;
    let mut done = Done::default();
    for step in &transaction.steps {
        match &step.kind {
            Some(StepKind::Write(write)) => {
                for rows in write.deleted.iter().chain(&write.updated) {
                    if !store.find(rows, false)? {
                        store.forget_found();
                        return Ok(if touched { Shared::Spoilt } else { Shared::Untouched });
                    }
                }
                store.change_found()?;
                note(store, write, &mut done.changed)?;
                insert(store, write)?;
                touched = true;
            }
            Some(StepKind::Sequence(usage)) => {
                follow(store, usage)?;
                touched = true;
            }
            // Alone in its transaction: an error has touched nothing, and success is the end.
            Some(StepKind::Draw(draw)) => done.applied.drawn = Some(draw_from(store, draw)?),
            Some(StepKind::Set(set)) => set_sequence(store, set)?,
            Some(StepKind::Ddl(_)) | None => {
                return Ok(if touched { Shared::Spoilt } else { Shared::Untouched });
            }
        }
    }
    Ok(Shared::Done(done))
}

/// Runs a transaction with its parts in a transaction of its own. `None` when a row that it changes is not there, or may
/// not be where it was.
pub(crate) fn run_alone<S: Store>(
    store: &mut S,
    transaction: &proto::Transaction,
    open: &Open,
    revisions: &Revisions,
    log: &ReadLog<'_>,
) -> Result<Option<Done>, StoreError> {
    let mut done = Done::default();
    let mut changes = Changes { store, revisions, changed: &mut done.changed, by_places: None };
    for (number, step) in transaction.steps.iter().enumerate() {
        match &step.kind {
            Some(StepKind::Ddl(ddl)) => {
                changes.store.ddl(ddl)?;
                changes.changed.catalog();
            }
            Some(StepKind::Sequence(usage)) => follow(changes.store, usage)?,
            Some(StepKind::Draw(draw)) => done.applied.drawn = Some(draw_from(changes.store, draw)?),
            Some(StepKind::Set(set)) => set_sequence(changes.store, set)?,
            Some(StepKind::Write(write)) => {
                let parts = || open.parts.values().filter(|part| part.step as usize == number);
                if open.changes {
                    for part in parts() {
                        if !changes.make(&read_part(part, log)?)? {
                            return Ok(None);
                        }
                    }
                }
                if !changes.make(write)? {
                    return Ok(None);
                }
                for part in parts() {
                    changes.insert(&read_part(part, log)?)?;
                }
                changes.insert(write)?;
            }
            None => {
                // A newer release would have raised the version of the entry.
                return Err(StoreError::new(ErrorKind::SERIALIZATION, "a step of a transaction is empty"));
            }
        }
        if transaction.steps.len() > 1 && changes.by_places == Some(true) {
            return Err(mixed());
        }
    }
    Ok(Some(done))
}

/// A sequence that must be there: it may have been dropped since the statement found it.
fn existing<S: Store>(store: &mut S, schema: &str, name: &str) -> Result<SequenceState, StoreError> {
    store.sequence(schema, name)?.ok_or_else(|| {
        StoreError::new(ErrorKind::CATALOG, format!("Sequence with name {name} does not exist!"))
    })
}

fn draw_from<S: Store>(store: &mut S, draw: &proto::SequenceDraw) -> Result<proto::SequenceRun, StoreError> {
    let mut state = existing(store, &draw.schema, &draw.name)?;
    let run = state.draw(&draw.name, draw.count)?;
    store.move_sequence(&draw.schema, &draw.name, &state, false)?;
    Ok(run)
}

fn set_sequence<S: Store>(store: &mut S, set: &proto::SequenceSet) -> Result<(), StoreError> {
    let mut state = existing(store, &set.schema, &set.name)?;
    state.set(&set.name, set.value, set.is_called)?;
    store.move_sequence(&set.schema, &set.name, &state, true)
}

/// One that has been dropped since has nothing to remember.
fn follow<S: Store>(store: &mut S, usage: &proto::SequenceUsage) -> Result<(), StoreError> {
    let Some(mut state) = store.sequence(&usage.schema, &usage.name)? else { return Ok(()) };
    if state.follow(usage) { store.move_sequence(&usage.schema, &usage.name, &state, true) } else { Ok(()) }
}

/// The row changes of a transaction that runs alone.
struct Changes<'a, S> {
    store: &'a mut S,
    revisions: &'a Revisions,
    changed: &'a mut Changed,
    /// Whether the rows so far were named by their places; `None` when there were none.
    by_places: Option<bool>,
}

impl<S: Store> Changes<'_, S> {
    /// All of a transaction's row changes are of one kind: places are those before it.
    fn require_kind(&mut self, by_places: bool) -> Result<(), StoreError> {
        if *self.by_places.get_or_insert(by_places) == by_places { Ok(()) } else { Err(mixed()) }
    }

    /// Deletes and updates the rows of a write; false when one of them is not there any more.
    fn make(&mut self, write: &proto::Write) -> Result<bool, StoreError> {
        for rows in write.deleted.iter().chain(&write.updated) {
            self.require_kind(rows.places.is_some())?;
            if let Some(places) = &rows.places {
                let are_all = places.runs.is_empty() && places.columns.is_empty();
                if !self.revisions.permit(rows.table_number, places.revision, are_all) {
                    return Ok(false);
                }
                self.store.change_places(rows)?;
                self.changed.by_places(rows.table_number, are_all);
                continue;
            }
            if !self.store.find(rows, true)? {
                self.store.forget_found();
                return Ok(false);
            }
            self.store.change_found()?;
        }
        if self.by_places != Some(true) {
            note(self.store, write, self.changed)?;
        }
        Ok(true)
    }

    fn insert(&mut self, write: &proto::Write) -> Result<(), StoreError> {
        if !write.inserted.is_empty() {
            self.require_kind(false)?;
        }
        insert(self.store, write)
    }
}

/// What no origin writes, and no node may guess at.
fn mixed() -> StoreError {
    StoreError::new(ErrorKind::INVALID_INPUT, "rows are named by their places beside other changes")
}

/// Notes what rows that were found by their bytes have been changed.
fn note<S: Store>(store: &mut S, write: &proto::Write, changed: &mut Changed) -> Result<(), StoreError> {
    for rows in write.deleted.iter().chain(&write.updated).filter(|rows| rows.count > 0) {
        let has_key = store.has_key(rows)?;
        changed.by_bytes(rows.table_number, has_key);
    }
    Ok(())
}

fn insert<S: Store>(store: &mut S, write: &proto::Write) -> Result<(), StoreError> {
    write.inserted.iter().try_for_each(|rows| store.insert(rows))
}

/// The row changes of a part, which has stayed in the log until now.
fn read_part(part: &OpenPart, log: &ReadLog<'_>) -> Result<proto::Write, StoreError> {
    let index = part.index;
    let error = |reason: String| {
        StoreError::new(ErrorKind::IO, format!("cannot read part {index} of a transaction: {reason}"))
    };
    let found = log(part.group, index).map_err(error)?;
    match entry::decode(index.0, &found.data).map_err(|e| error(e.to_string()))?.body {
        Body::Part(part) => Ok(part.write.unwrap_or_default()),
        _ => Err(error("it is not a part".to_owned())),
    }
}
