//! Runs the steps of a transaction on the store.
//!
//! There are two ways, and both must come to the same rows:
//! - **shared**, next to the transactions of other entries: rows are found where the origin saw them, or not at all.
//!   All rows of a step are found before any is changed, so that a transaction whose first step finds nothing has
//!   touched nothing. It never refuses: what does not go smoothly is for the other way.
//! - **alone**, in a transaction of the store of its own: rows are looked up by value. Only here is an entry refused.

use quack_log::LogEntry;
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind as StepKind};
use quack_types::LogIndex;

use crate::entry;
use crate::origins::{Open, OpenPart};
use crate::store::{ErrorKind, Store, StoreError};

/// Reads an entry of the log again, for transactions that came in parts.
pub type ReadLog<'a> = dyn Fn(LogIndex) -> Result<LogEntry, String> + 'a;

/// How an attempt in a shared transaction has ended.
pub(crate) enum Shared {
    Done,
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
                store.sequence(usage)?;
                touched = true;
            }
            Some(StepKind::Ddl(_)) | None => {
                return Ok(if touched { Shared::Spoilt } else { Shared::Untouched });
            }
        }
    }
    Ok(Shared::Done)
}

/// Runs a transaction with its parts in a transaction of its own. False when a row that it changes is not there.
pub(crate) fn run_alone<S: Store>(
    store: &mut S,
    transaction: &proto::Transaction,
    open: &Open,
    log: &ReadLog<'_>,
) -> Result<bool, StoreError> {
    for (number, step) in transaction.steps.iter().enumerate() {
        match &step.kind {
            Some(StepKind::Ddl(ddl)) => store.ddl(&ddl.sql)?,
            Some(StepKind::Sequence(usage)) => store.sequence(usage)?,
            Some(StepKind::Write(write)) => {
                let parts = || open.parts.values().filter(|part| part.step as usize == number);
                if open.changes {
                    for part in parts() {
                        if !change(store, &read_part(part, log)?)? {
                            return Ok(false);
                        }
                    }
                }
                if !change(store, write)? {
                    return Ok(false);
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
    Ok(true)
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
    let found = log(index).map_err(error)?;
    match entry::decode(index.0, &found.data).map_err(|e| error(e.to_string()))?.body {
        Body::Part(part) => Ok(part.write.unwrap_or_default()),
        _ => Err(error("it is not a part".to_owned())),
    }
}
