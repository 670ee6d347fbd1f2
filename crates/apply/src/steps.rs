//! Runs the steps of a transaction on the store.
//!
//! There are two ways, and both must come to the same rows:
//! - **shared**, next to the transactions of other entries: rows are found where the origin saw them, or not at all.
//!   All rows of a step are found before any is changed, so that a transaction whose first step finds nothing has
//!   touched nothing. It never refuses: what does not go smoothly is for the other way.
//! - **alone**, in a transaction of the store of its own: rows are looked up by value. Only here is an entry refused.

use quack_log::LogEntry;
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind as StepKind};
use quack_types::{GroupId, LogIndex};

use crate::entry;
use crate::origins::{Open, OpenPart};
use crate::sequence::SequenceState;
use crate::store::{ErrorKind, Store, StoreError};

/// Reads an entry of the log again, for transactions that came in parts.
pub type ReadLog<'a> = dyn Fn(GroupId, LogIndex) -> Result<LogEntry, String> + 'a;

/// How an attempt in a shared transaction has ended.
pub(crate) enum Shared {
    Done(proto::Applied),
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
    let mut applied = proto::Applied::default();
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
                insert(store, write)?;
                touched = true;
            }
            Some(StepKind::Sequence(usage)) => {
                follow(store, usage)?;
                touched = true;
            }
            // Alone in its transaction: an error has touched nothing, and success is the end.
            Some(StepKind::Draw(draw)) => applied.drawn = Some(draw_from(store, draw)?),
            Some(StepKind::Set(set)) => set_sequence(store, set)?,
            Some(StepKind::Ddl(_)) | None => {
                return Ok(if touched { Shared::Spoilt } else { Shared::Untouched });
            }
        }
    }
    Ok(Shared::Done(applied))
}

/// Runs a transaction with its parts in a transaction of its own. `None` when a row that it changes is not there.
pub(crate) fn run_alone<S: Store>(
    store: &mut S,
    transaction: &proto::Transaction,
    open: &Open,
    log: &ReadLog<'_>,
) -> Result<Option<proto::Applied>, StoreError> {
    let mut applied = proto::Applied::default();
    for (number, step) in transaction.steps.iter().enumerate() {
        match &step.kind {
            Some(StepKind::Ddl(ddl)) => store.ddl(ddl)?,
            Some(StepKind::Sequence(usage)) => follow(store, usage)?,
            Some(StepKind::Draw(draw)) => applied.drawn = Some(draw_from(store, draw)?),
            Some(StepKind::Set(set)) => set_sequence(store, set)?,
            Some(StepKind::Write(write)) => {
                let parts = || open.parts.values().filter(|part| part.step as usize == number);
                if open.changes {
                    for part in parts() {
                        if !change(store, &read_part(part, log)?)? {
                            return Ok(None);
                        }
                    }
                }
                if !change(store, write)? {
                    return Ok(None);
                }
                for part in parts() {
                    insert(store, &read_part(part, log)?)?;
                }
                insert(store, write)?;
            }
            None => {
                // A newer release would have raised the version of the entry.
                return Err(StoreError::new(ErrorKind::SERIALIZATION, "a step of a transaction is empty"));
            }
        }
    }
    Ok(Some(applied))
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

/// Deletes and updates the rows of a write; false when one of them is not there any more.
fn change<S: Store>(store: &mut S, write: &proto::Write) -> Result<bool, StoreError> {
    for rows in write.deleted.iter().chain(&write.updated) {
        if !store.find(rows, true)? {
            store.forget_found();
            return Ok(false);
        }
        store.change_found()?;
    }
    Ok(true)
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
