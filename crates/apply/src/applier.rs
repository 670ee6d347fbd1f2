//! Applies entries in order, many in one store transaction.
//!
//! **An entry's outcome does not depend on how entries were batched**: batches differ from node to node. What keeps
//! this true:
//! - operations reach the store in the order of the log, never merged or reordered across entries;
//! - an entry that finds its rows missing while others share its transaction is tried again in a transaction of its
//!   own, where rows are looked up by value, before it is refused;
//! - an entry that fails is tried again in a transaction of its own, before it is refused;
//! - an entry that changes the catalog, or came in parts, always has a transaction of its own.
//!
//! The property test in `tests/batching.rs` guards it.

use quack_log::{EntryKind, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind as StepKind};
use quack_types::{LogIndex, ProposalId};

use crate::entry::{self, Decoded};
use crate::origins::{Admission, OpenPart, Origins};
use crate::store::{ErrorKind, Store, StoreError};

/// What applying an entry has decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub id: ProposalId,
    /// `None` when the entry is void: nobody waits for it.
    pub outcome: Option<proto::Outcome>,
}

/// Reads an entry of the log again, for transactions that came in parts.
pub type ReadLog<'a> = dyn Fn(LogIndex) -> Result<LogEntry, String> + 'a;

/// An entry as it waits in the current batch.
struct Pending {
    index: LogIndex,
    decoded: Decoded,
}

/// How an attempt in a shared transaction has ended.
enum Attempt {
    Done,
    /// The entry needs a transaction of its own; the shared one has not been touched.
    Alone,
    /// The shared transaction is spoilt.
    Spoilt,
}

/// How a shared transaction has ended.
enum Together {
    /// It holds this many entries; the next one, if any, needs a transaction of its own.
    Committed(usize),
    /// It left no trace; this many entries came before the one that stopped it.
    RolledBack(usize),
}

/// What the last committed transaction of the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Everything up to this entry is in the store.
    pub position: LogIndex,
    /// The first entry that a transaction which comes in parts still needs.
    pub needed_from: Option<LogIndex>,
}

/// Owns the store and what is remembered beside it.
pub struct Applier<S> {
    store: S,
    position: LogIndex,
    /// What a restart would find in the store.
    committed: Committed,
    origins: Origins,
    /// Most entries in one transaction now: falls to one after a failure and doubles with each success.
    batch_entries: usize,
}

/// Most entries in one store transaction. Measured: more than 32 chunks in a transaction gain nothing; single-row
/// entries gain up to about a thousand.
const BATCH_ENTRIES_MAX: usize = 1024;

impl<S: Store> Applier<S> {
    /// Takes over a store whose last transaction has written `position` and `state`.
    pub fn open(store: S, position: LogIndex, state: &[u8]) -> Result<Self, StoreError> {
        let origins = Origins::decode(state)
            .map_err(|e| StoreError::new(ErrorKind::SERIALIZATION, format!("the applier's state is damaged: {e}")))?;
        let committed = Committed { position, needed_from: origins.needed_from() };
        Ok(Self { store, position, committed, origins, batch_entries: BATCH_ENTRIES_MAX })
    }

    /// Index of the last entry that has been applied.
    pub fn position(&self) -> LogIndex {
        self.position
    }

    /// What a restart would find in the store.
    pub fn committed(&self) -> Committed {
        self.committed
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Applies entries behind the position, in order. Returns what was decided, one decision for each entry that
    /// carries a proposal. An error is this node's own: nothing more must be applied.
    pub fn apply(&mut self, entries: &[LogEntry], log: &ReadLog<'_>) -> Result<Vec<Decision>, StoreError> {
        let mut decisions = Vec::with_capacity(entries.len());
        let mut batch: Vec<Pending> = Vec::new();
        for entry in entries {
            if entry.index <= self.position {
                continue;
            }
            if entry.kind != EntryKind::Normal || entry.data.is_empty() {
                // The consensus core's own entries. They move the position only.
                self.flush(&mut batch, &mut decisions, log)?;
                self.position = entry.index;
                continue;
            }
            let decoded = entry::decode(entry.index.0, &entry.data).map_err(serialization)?;
            let pending = Pending { index: entry.index, decoded };
            if shares_a_transaction(&pending.decoded.body) {
                batch.push(pending);
                if batch.len() >= self.batch_entries {
                    self.flush(&mut batch, &mut decisions, log)?;
                }
            } else {
                self.flush(&mut batch, &mut decisions, log)?;
                self.apply_alone(&pending, &mut decisions, log)?;
            }
        }
        self.flush(&mut batch, &mut decisions, log)?;
        Ok(decisions)
    }

    /// Applies the batch in as few transactions as it takes.
    fn flush(
        &mut self,
        batch: &mut Vec<Pending>,
        decisions: &mut Vec<Decision>,
        log: &ReadLog<'_>,
    ) -> Result<(), StoreError> {
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let size = rest.len().min(self.batch_entries);
            let done = self.apply_together(&rest[..size], decisions)?;
            rest = &rest[done..];
            if done == size {
                self.batch_entries = (self.batch_entries * 2).min(BATCH_ENTRIES_MAX);
            } else {
                self.apply_alone(&rest[0], decisions, log)?;
                rest = &rest[1..];
                self.batch_entries = (self.batch_entries / 2).max(1);
            }
        }
        batch.clear();
        Ok(())
    }

    /// Applies entries in one transaction, up to the first that needs one of its own. Returns how many.
    fn apply_together(&mut self, entries: &[Pending], decisions: &mut Vec<Decision>) -> Result<usize, StoreError> {
        let mut count = entries.len();
        while count > 0 {
            let before = self.origins.clone();
            let mut made = Vec::with_capacity(count);
            match self.try_together(&entries[..count], &mut made)? {
                Together::Committed(done) => {
                    decisions.append(&mut made);
                    return Ok(done);
                }
                Together::RolledBack(good) => {
                    // What came before the entry that stopped it goes again.
                    self.origins = before;
                    count = good;
                }
            }
        }
        Ok(0)
    }

    fn try_together(&mut self, entries: &[Pending], made: &mut Vec<Decision>) -> Result<Together, StoreError> {
        self.store.begin()?;
        for (place, pending) in entries.iter().enumerate() {
            match self.try_shared(pending, made) {
                Ok(Attempt::Done) => {}
                // What came before is good as it stands.
                Ok(Attempt::Alone) if place > 0 => return self.commit_together(&entries[..place]),
                Ok(Attempt::Alone | Attempt::Spoilt) => {
                    self.store.rollback();
                    return Ok(Together::RolledBack(place));
                }
                Err(error) => {
                    self.store.rollback();
                    return Err(error);
                }
            }
        }
        self.commit_together(entries)
    }

    fn commit_together(&mut self, entries: &[Pending]) -> Result<Together, StoreError> {
        let position = entries[entries.len() - 1].index;
        match self.store.commit(position, &self.origins.encode()) {
            Ok(()) => {
                self.position = position;
                self.note_commit();
                Ok(Together::Committed(entries.len()))
            }
            Err(error) => {
                self.store.rollback();
                if error.kind.is_deterministic() { Ok(Together::RolledBack(0)) } else { Err(error) }
            }
        }
    }

    fn try_shared(&mut self, pending: &Pending, made: &mut Vec<Decision>) -> Result<Attempt, StoreError> {
        let Decoded { id, answered_through, body } = &pending.decoded;
        let Body::Transaction(transaction) = body else { return Ok(Attempt::Alone) };
        match self.origins.admit(*id, *answered_through) {
            Admission::Void => {
                made.push(Decision { id: *id, outcome: None });
                return Ok(Attempt::Done);
            }
            Admission::Repeated(outcome) => {
                made.push(Decision { id: *id, outcome: Some(outcome) });
                return Ok(Attempt::Done);
            }
            Admission::New => {}
        }
        match self.run_shared(transaction) {
            Ok(Attempt::Done) => {
                self.origins.record(*id, None);
                made.push(Decision { id: *id, outcome: Some(entry::applied()) });
                Ok(Attempt::Done)
            }
            Err(error) if error.kind.is_deterministic() => Ok(Attempt::Spoilt),
            other => other,
        }
    }

    /// Runs a transaction's writes next to others. Finds all rows before it changes any.
    fn run_shared(&mut self, transaction: &proto::Transaction) -> Result<Attempt, StoreError> {
        let mut touched = false;
        for step in &transaction.steps {
            match &step.kind {
                Some(StepKind::Write(write)) => {
                    for rows in write.deleted.iter().chain(&write.updated) {
                        if !self.store.find(rows, false)? {
                            self.store.forget_found();
                            return Ok(if touched { Attempt::Spoilt } else { Attempt::Alone });
                        }
                    }
                    self.store.change_found()?;
                    for rows in &write.inserted {
                        self.store.insert(rows)?;
                    }
                    touched = true;
                }
                Some(StepKind::Sequence(usage)) => {
                    self.store.sequence(usage)?;
                    touched = true;
                }
                Some(StepKind::Ddl(_)) | None => return Ok(Attempt::Alone),
            }
        }
        Ok(Attempt::Done)
    }

    /// Applies an entry in a transaction of its own.
    fn apply_alone(
        &mut self,
        pending: &Pending,
        decisions: &mut Vec<Decision>,
        log: &ReadLog<'_>,
    ) -> Result<(), StoreError> {
        let Decoded { id, answered_through, body } = &pending.decoded;
        match self.origins.admit(*id, *answered_through) {
            Admission::Void => {
                self.position = pending.index;
                decisions.push(Decision { id: *id, outcome: None });
                return Ok(());
            }
            Admission::Repeated(outcome) => {
                self.position = pending.index;
                decisions.push(Decision { id: *id, outcome: Some(outcome) });
                return Ok(());
            }
            Admission::New => {}
        }
        let refused = match body {
            Body::Boot(_) => None,
            Body::Abort(abort) => {
                self.origins.close(*id, abort.transaction);
                None
            }
            Body::Part(part) => self.take_part(*id, part, pending.index),
            Body::Transaction(transaction) => self.run_alone(*id, transaction, pending.index, log)?,
        };
        self.origins.record(*id, refused.as_ref());
        self.position = pending.index;
        if refused.is_none() && matches!(body, Body::Transaction(_)) {
            self.note_commit();
        }
        let outcome = refused.map_or_else(entry::applied, entry::refused);
        decisions.push(Decision { id: *id, outcome: Some(outcome) });
        Ok(())
    }

    fn note_commit(&mut self) {
        self.committed = Committed { position: self.position, needed_from: self.origins.needed_from() };
    }

    fn take_part(&mut self, id: ProposalId, part: &proto::Part, index: LogIndex) -> Option<proto::Refused> {
        let open = self.origins.open_mut(id, part.transaction);
        if open.parts.len() as u64 != u64::from(part.number) {
            let message = format!("part {} of a transaction arrived after {} parts", part.number, open.parts.len());
            return Some(refusal(&StoreError::new(ErrorKind::TRANSACTION, message), false));
        }
        open.parts.push(OpenPart { index, step: part.step });
        open.changes |= part.write.as_ref().is_some_and(|write| !write.deleted.is_empty() || !write.updated.is_empty());
        None
    }

    /// Runs a transaction with its parts. `Some` is its deterministic refusal, with everything rolled back.
    fn run_alone(
        &mut self,
        id: ProposalId,
        transaction: &proto::Transaction,
        index: LogIndex,
        log: &ReadLog<'_>,
    ) -> Result<Option<proto::Refused>, StoreError> {
        let open = self.origins.close(id, id.sequence).unwrap_or_default();
        if open.parts.len() as u64 != u64::from(transaction.parts) {
            let message = format!("{} of {} parts of the transaction are here", open.parts.len(), transaction.parts);
            return Ok(Some(refusal(&StoreError::new(ErrorKind::TRANSACTION, message), false)));
        }
        self.store.begin()?;
        let ran = self.run_steps(transaction, &open.parts, open.changes, log);
        let ran = match ran {
            Ok(None) => {
                // The entry counts as applied in the state that is written with it.
                let mut origins = self.origins.clone();
                origins.record(id, None);
                self.store.commit(index, &origins.encode()).map(|()| None)
            }
            other => other,
        };
        match ran {
            Ok(None) => Ok(None),
            Ok(Some(refused)) => {
                self.store.rollback();
                Ok(Some(refused))
            }
            Err(error) => {
                self.store.rollback();
                if error.kind.is_deterministic() { Ok(Some(refusal(&error, false))) } else { Err(error) }
            }
        }
    }

    fn run_steps(
        &mut self,
        transaction: &proto::Transaction,
        parts: &[OpenPart],
        parts_change: bool,
        log: &ReadLog<'_>,
    ) -> Result<Option<proto::Refused>, StoreError> {
        for (number, step) in transaction.steps.iter().enumerate() {
            match &step.kind {
                Some(StepKind::Ddl(ddl)) => self.store.ddl(&ddl.sql)?,
                Some(StepKind::Sequence(usage)) => self.store.sequence(usage)?,
                Some(StepKind::Write(write)) => {
                    let parts = || parts.iter().filter(|part| part.step as usize == number);
                    if parts_change {
                        for part in parts() {
                            if !self.change(&read_part(part.index, log)?)? {
                                return Ok(Some(conflict()));
                            }
                        }
                    }
                    if !self.change(write)? {
                        return Ok(Some(conflict()));
                    }
                    for part in parts() {
                        self.insert(&read_part(part.index, log)?)?;
                    }
                    self.insert(write)?;
                }
                None => {
                    let error = StoreError::new(ErrorKind::SERIALIZATION, "a step of a transaction is empty");
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Deletes and updates the rows of a write; false when one of them is not there any more.
    fn change(&mut self, write: &proto::Write) -> Result<bool, StoreError> {
        for rows in write.deleted.iter().chain(&write.updated) {
            if !self.store.find(rows, true)? {
                self.store.forget_found();
                return Ok(false);
            }
            self.store.change_found()?;
        }
        Ok(true)
    }

    fn insert(&mut self, write: &proto::Write) -> Result<(), StoreError> {
        write.inserted.iter().try_for_each(|rows| self.store.insert(rows))
    }
}

/// The row changes of a part, which has stayed in the log until now.
fn read_part(index: LogIndex, log: &ReadLog<'_>) -> Result<proto::Write, StoreError> {
    let error =
        |reason: String| StoreError::new(ErrorKind::IO, format!("cannot read part {index} of a transaction: {reason}"));
    let found = log(index).map_err(error)?;
    match entry::decode(index.0, &found.data).map_err(serialization)?.body {
        Body::Part(part) => Ok(part.write.unwrap_or_default()),
        _ => Err(error("it is not a part".to_owned())),
    }
}

/// Whether an entry may share a store transaction with its neighbours.
fn shares_a_transaction(body: &Body) -> bool {
    let Body::Transaction(transaction) = body else { return false };
    transaction.parts == 0
        && transaction.steps.iter().all(|step| matches!(step.kind, Some(StepKind::Write(_) | StepKind::Sequence(_))))
}

fn refusal(error: &StoreError, conflict: bool) -> proto::Refused {
    let error_kind = u32::try_from(error.kind.0).unwrap_or_default();
    proto::Refused { error_kind, message: error.message.clone(), conflict }
}

fn conflict() -> proto::Refused {
    let message = "Conflict: a row that the statement changes has been changed or deleted since it was read";
    refusal(&StoreError::new(ErrorKind::TRANSACTION, message), true)
}

fn serialization(error: entry::Error) -> StoreError {
    StoreError::new(ErrorKind::SERIALIZATION, error.to_string())
}
