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
//! The running digest of outcomes (`digest.rs`) is part of the state, and says whether this holds.
//!
//! The property test in `tests/batching.rs` guards it.

use std::collections::BTreeMap;

use quack_log::{EntryKind, GroupEntry};
use quack_proto::log::v1::{
    self as proto, entry::Body, outcome::Kind as OutcomeKind, step::Kind as StepKind,
};
use quack_types::{
    Claim, Digests, EntryOutcome, GroupId, LogIndex, Mark, OutcomeRecord, Place, ProposalId, RaftId,
};

use crate::broken::Broken;
use crate::entry::{self, Decoded};
use crate::origins::Admission;
use crate::refusal;
use crate::revisions::Changed;
use crate::state::{State, StateError};
use crate::steps::{self, Done, ReadLog, Shared};
use crate::store::{ErrorKind, Store, StoreError};

/// What applying an entry has decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub id: ProposalId,
    /// `None` when the entry is void: no client waits for it.
    pub outcome: Option<proto::Outcome>,
}

/// An entry as it waits in the current batch.
struct Pending {
    group: GroupId,
    index: LogIndex,
    /// What it counts for in the log.
    bytes: u64,
    /// `None` for an entry of the consensus core's own, which moves the place only.
    decoded: Option<Decoded>,
}

/// What applying entries has come to.
#[derive(Default)]
struct Made {
    decisions: Vec<Decision>,
    marks: Vec<Mark>,
    records: Vec<OutcomeRecord>,
}

impl Made {
    fn append(&mut self, mut more: Self) {
        self.decisions.append(&mut more.decisions);
        self.marks.append(&mut more.marks);
        self.records.append(&mut more.records);
    }

    /// An entry has been applied.
    fn note(&mut self, group: GroupId, state: &State) {
        if group == GroupId::ROOT {
            self.marks.push(state.mark());
        }
    }

    /// An entry that carries a proposal has been applied.
    fn decide(
        &mut self,
        (group, index): (GroupId, LogIndex),
        id: ProposalId,
        body: &Body,
        state: &State,
        (outcome, repeated): (Option<proto::Outcome>, bool),
    ) {
        self.note(group, state);
        let record = OutcomeRecord {
            group,
            index,
            id,
            outcome: outcome_of(outcome.as_ref()),
            repeated,
            digest: state.digest.0,
            statements: statements(body),
        };
        self.records.push(record);
        self.decisions.push(Decision { id, outcome });
    }
}

/// How a shared transaction has ended.
enum Together {
    /// It holds this many entries; the next one, if any, needs a transaction of its own.
    Committed(usize),
    /// It left no trace; this many entries came before the one that stopped it.
    RolledBack(usize),
}

/// What the last committed transaction of the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Everything up to this place is in the store.
    pub place: Place,
    /// Of each group, the first entry that a transaction which comes in parts still needs.
    pub needed_from: BTreeMap<GroupId, LogIndex>,
    /// Of each origin that has such transactions, what they need.
    pub unfinished: Vec<(RaftId, BTreeMap<GroupId, LogIndex>)>,
}

impl Committed {
    fn of(state: &State) -> Self {
        let origins = &state.origins;
        Self {
            place: state.place(),
            needed_from: origins.needed_from(),
            unfinished: origins.open().collect(),
        }
    }
}

/// Owns the store and what is remembered beside it.
pub struct Applier<S> {
    store: S,
    state: State,
    /// What a restart would find in the store.
    committed: Committed,
    /// Most entries in one transaction now: falls to one after a failure and doubles with each success.
    batch_entries: usize,
    /// Bytes of the entries between what is committed and the position, roughly.
    uncommitted_bytes: usize,
    /// They have not been taken yet.
    digests: Digests,
    /// This node's own error that ended it.
    failed: Option<StoreError>,
    /// Entries whose commit has broken off, in earlier starts and in this one.
    broken: Broken,
}

/// Most entries in one store transaction. Measured: more than 32 chunks in a transaction gain nothing; single-row
/// entries gain up to about a thousand.
const BATCH_ENTRIES_MAX: usize = 1024;

/// Entries that change no table (parts, refused ones) leave no transaction behind them. After this many bytes of them
/// the position is committed by itself, so that the log before it can be released and a restart stays short.
const UNCOMMITTED_BYTES_MAX: usize = 16 << 20;

/// What an entry counts for besides its bytes, on every node alike: applying it again takes time, and the log has more of it.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

/// So much of a statement, and of a reason, is kept for people.
const RECORD_CHARS: usize = 500;

impl<S: Store> Applier<S> {
    /// Takes over a store whose last transaction has written `position` and `state`.
    pub fn open(mut store: S, position: LogIndex, state: &[u8]) -> Result<Self, StoreError> {
        let state = State::decode(position, state).map_err(|error| {
            let kind = match error {
                StateError::Damaged(_) => ErrorKind::SERIALIZATION,
                StateError::Older | StateError::Newer { .. } => ErrorKind::INVALID_INPUT,
            };
            StoreError::new(kind, error.to_string())
        })?;
        let committed = Committed::of(&state);
        store.reached(&state.revisions);
        Ok(Self {
            store,
            state,
            committed,
            batch_entries: BATCH_ENTRIES_MAX,
            uncommitted_bytes: 0,
            digests: Digests::default(),
            failed: None,
            broken: Broken::default(),
        })
    }

    /// Whose commit has broken off in earlier starts. What the store holds already is forgotten.
    pub fn remember(&mut self, broken: Broken) {
        self.broken = broken;
        let state = &self.state;
        self.broken.keep(|(group, index)| state.applied(*group).is_none_or(|applied| *index > applied));
    }

    /// What the next start is to [`remember`](Self::remember).
    pub fn broken(&self) -> &Broken {
        &self.broken
    }

    /// What a restart would find in the store.
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// What has been applied, and what is remembered of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What has come to the digests since this was called last: those behind the entries of the root, and what entries
    /// claim about those of their origins.
    pub fn take_digests(&mut self) -> Digests {
        std::mem::take(&mut self.digests)
    }

    /// Nodes that entries have changed since the cluster was founded.
    pub fn members(&self) -> impl Iterator<Item = &proto::Member> {
        self.state.origins.members()
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Applies entries behind the place, in the one order: a cut comes, without data, behind the lanes' entries that it
    /// orders. Returns
    /// what was decided, one decision for each entry that carries a proposal. What was applied before is passed over,
    /// and so is what belongs to a lane that does not exist.
    ///
    /// # Errors
    /// An error is this node's own: nothing more is applied, and every later call returns it again. What has been
    /// decided since the last commit is for the log to say again, after the store was opened anew.
    pub fn apply(&mut self, entries: &[GroupEntry], log: &ReadLog<'_>) -> Result<Vec<Decision>, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let applied = self.apply_entries(entries, log);
        if let Err(error) = &applied {
            self.failed = Some(error.clone());
        }
        applied
    }

    fn apply_entries(
        &mut self,
        entries: &[GroupEntry],
        log: &ReadLog<'_>,
    ) -> Result<Vec<Decision>, StoreError> {
        let mut made = Made::default();
        let mut batch: Vec<Pending> = Vec::new();
        for GroupEntry { group, entry } in entries {
            if self.state.applied(*group).is_none_or(|applied| entry.index <= applied) {
                continue;
            }
            let bytes = entry.size_bytes() + ENTRY_OVERHEAD_BYTES;
            self.uncommitted_bytes += bytes;
            let is_proposal = entry.kind == EntryKind::Normal && !entry.data.is_empty();
            if !is_proposal && batch.is_empty() {
                self.state.advance(*group, entry.index);
                made.note(*group, &self.state);
                continue;
            }
            let decoded = is_proposal.then(|| entry::decode(entry.index.0, &entry.data)).transpose();
            let decoded = decoded.map_err(serialization)?;
            if let Some((id, mark)) = decoded.as_ref().and_then(|decoded| Some((decoded.id, decoded.mark?))) {
                self.digests.claims.push(Claim { origin: id.origin, mark });
            }
            let pending = Pending { group: *group, index: entry.index, bytes: bytes as u64, decoded };
            let is_alone = self.broken.is_alone(&(pending.group, pending.index));
            if !is_alone && pending.decoded.as_ref().is_none_or(|decoded| may_share(&decoded.body)) {
                batch.push(pending);
                if batch.len() >= self.batch_entries {
                    self.flush(&mut batch, &mut made, log)?;
                }
            } else {
                self.flush(&mut batch, &mut made, log)?;
                self.apply_alone(&pending, &mut made, log)?;
            }
        }
        self.flush(&mut batch, &mut made, log)?;
        self.digests.marks.append(&mut made.marks);
        self.digests.records.append(&mut made.records);
        self.commit_position_when_due()?;
        Ok(made.decisions)
    }

    /// Commits the position and what is remembered, without a change of any table.
    fn commit_position(&mut self) -> Result<(), StoreError> {
        self.store.begin()?;
        let committed = self.store.commit(self.state.root, &self.state.encode());
        match committed {
            Ok(()) => self.note_commit(),
            Err(_) => self.store.rollback(),
        }
        committed
    }

    /// [`commit_position`](Self::commit_position), when it is time. What is not there for want of memory comes with the next
    /// entries.
    fn commit_position_when_due(&mut self) -> Result<(), StoreError> {
        if self.uncommitted_bytes <= UNCOMMITTED_BYTES_MAX {
            return Ok(());
        }
        match self.commit_position() {
            Err(error) if error.kind == ErrorKind::OUT_OF_MEMORY => Ok(()),
            committed => committed,
        }
    }

    /// Applies the batch in as few transactions as it takes.
    fn flush(
        &mut self,
        batch: &mut Vec<Pending>,
        made: &mut Made,
        log: &ReadLog<'_>,
    ) -> Result<(), StoreError> {
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let size = rest.len().min(self.batch_entries);
            let done = self.apply_together(&rest[..size], made)?;
            rest = &rest[done..];
            if done == size {
                self.batch_entries = (self.batch_entries * 2).min(BATCH_ENTRIES_MAX);
            } else {
                self.apply_alone(&rest[0], made, log)?;
                rest = &rest[1..];
                self.batch_entries = (self.batch_entries / 2).max(1);
            }
        }
        batch.clear();
        Ok(())
    }

    /// Applies entries in one transaction, up to the first that needs one of its own. Returns how many.
    fn apply_together(&mut self, entries: &[Pending], made: &mut Made) -> Result<usize, StoreError> {
        let mut count = entries.len();
        while count > 0 {
            let before = self.state.clone();
            let mut tried = Made::default();
            match self.try_together(&entries[..count], &mut tried)? {
                Together::Committed(done) => {
                    made.append(tried);
                    return Ok(done);
                }
                Together::RolledBack(good) => {
                    // What came before the entry that stopped it goes again.
                    self.state = before;
                    count = good;
                }
            }
        }
        Ok(0)
    }

    fn try_together(&mut self, entries: &[Pending], made: &mut Made) -> Result<Together, StoreError> {
        match self.store.begin() {
            Err(error) if error.kind == ErrorKind::OUT_OF_MEMORY => return Ok(Together::RolledBack(0)),
            begun => begun?,
        }
        for (place, pending) in entries.iter().enumerate() {
            match self.try_shared(pending, made) {
                Ok(Shared::Done(_)) => {}
                // What came before is good as it stands.
                Ok(Shared::Untouched) if place > 0 => return self.commit_together(&entries[..place]),
                Ok(Shared::Untouched | Shared::Spoilt) => {
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
        match self.store.commit(self.state.root, &self.state.encode()) {
            Ok(()) => {
                self.note_commit();
                Ok(Together::Committed(entries.len()))
            }
            Err(error) => {
                self.store.rollback();
                if error.kind == ErrorKind::FATAL {
                    self.broken.note(entries.iter().map(|entry| (entry.group, entry.index)));
                }
                if error.kind.is_tried_alone() { Ok(Together::RolledBack(0)) } else { Err(error) }
            }
        }
    }

    fn try_shared(&mut self, pending: &Pending, made: &mut Made) -> Result<Shared, StoreError> {
        let Some(Decoded { id, answered, body, .. }) = &pending.decoded else {
            self.state.advance(pending.group, pending.index);
            made.note(pending.group, &self.state);
            return Ok(Shared::Done(Done::default()));
        };
        let Body::Transaction(transaction) = body else { return Ok(Shared::Untouched) };
        let mut changed = Changed::default();
        let outcome = match self.state.origins.admission(*id, answered) {
            Admission::Void => None,
            Admission::Repeated(outcome) => Some(outcome),
            // Parts that it does not count: it is refused there.
            Admission::New if self.state.origins.is_open(*id) => return Ok(Shared::Untouched),
            Admission::New => match steps::run_shared(&mut self.store, transaction) {
                Ok(Shared::Done(done)) => {
                    changed = done.changed;
                    Some(entry::outcome(done.applied))
                }
                Err(error) if error.kind.is_tried_alone() => return Ok(Shared::Spoilt),
                other => return other,
            },
        };
        // Only now: the state that is committed with the entries before this one must not know of it.
        self.state.grow(pending.bytes);
        let is_new = self.state.origins.admit(*id, answered) == Admission::New;
        if is_new {
            self.state.origins.record(*id, None);
            self.state.digest.wrote(body);
        }
        let at = (pending.group, pending.index);
        let is_repeated = outcome.is_some() && !is_new;
        self.state.digest.decided(at, *id, outcome.as_ref(), is_repeated, changes_catalog(body));
        self.state.advance(at.0, at.1);
        let numbers_end = self.state.numbers_end();
        self.state.revisions.note(&changed, numbers_end);
        made.decide(at, *id, body, &self.state, (outcome, is_repeated));
        Ok(Shared::Done(Done::default()))
    }

    /// Applies an entry in a transaction of its own.
    fn apply_alone(
        &mut self,
        pending: &Pending,
        made: &mut Made,
        log: &ReadLog<'_>,
    ) -> Result<(), StoreError> {
        let at = (pending.group, pending.index);
        let Some(Decoded { id, answered, body, .. }) = &pending.decoded else {
            self.state.advance(at.0, at.1);
            made.note(at.0, &self.state);
            return Ok(());
        };
        self.state.grow(pending.bytes);
        let (outcome, is_repeated) = match self.state.origins.admit(*id, answered) {
            Admission::Void => (None, false),
            Admission::Repeated(outcome) => (Some(outcome), true),
            Admission::New => {
                let refused = match body {
                    // What a verification compares is the host's to compute.
                    Body::Boot(_) | Body::Verify(_) => None,
                    Body::Member(member) => self.state.origins.set_member(member),
                    Body::Settings(settings) => {
                        let enabled = settings.groups_enabled.unwrap_or(self.state.groups_enabled);
                        self.state.groups_enabled = enabled;
                        None
                    }
                    Body::Abort(abort) => {
                        self.state.origins.abort(*id, abort.transaction);
                        None
                    }
                    Body::Part(part) => self.state.origins.take_part(*id, part, at, self.state.log_bytes),
                    Body::Transaction(transaction) => {
                        match self.run_alone(*id, body, transaction, at, log)? {
                            // All of it is in the state that was committed with the rows.
                            Ok(outcome) => {
                                made.decide(at, *id, body, &self.state, (Some(outcome), false));
                                return Ok(());
                            }
                            Err(refused) => Some(refused),
                        }
                    }
                };
                self.state.origins.record(*id, refused.as_ref());
                if refused.is_none() {
                    self.state.digest.wrote(body);
                }
                (Some(refused.map_or_else(entry::applied, entry::refused)), false)
            }
        };
        self.state.digest.decided(at, *id, outcome.as_ref(), is_repeated, changes_catalog(body));
        self.state.advance(at.0, at.1);
        made.decide(at, *id, body, &self.state, (outcome, is_repeated));
        Ok(())
    }

    fn note_commit(&mut self) {
        self.committed = Committed::of(&self.state);
        self.uncommitted_bytes = 0;
        self.store.reached(&self.state.revisions);
    }

    /// Runs a transaction with its parts and commits it. The error inside is its deterministic refusal, with everything
    /// rolled back.
    fn run_alone(
        &mut self,
        id: ProposalId,
        body: &Body,
        transaction: &proto::Transaction,
        at: (GroupId, LogIndex),
        log: &ReadLog<'_>,
    ) -> Result<Result<proto::Outcome, proto::Refused>, StoreError> {
        let open = self.state.origins.close(id).unwrap_or_default();
        if !open.is_complete(transaction.parts) {
            let message =
                format!("{} of {} parts of the transaction are here", open.parts.len(), transaction.parts);
            return Ok(Err(refusal::of_transaction(message)));
        }
        if !open.fits(&transaction.steps) {
            let message = "a part of the transaction belongs to none of its steps";
            return Ok(Err(refusal::of_transaction(message)));
        }
        if transaction.steps.iter().any(entry::draws) && transaction.steps.len() > 1 {
            let message = "a step that draws from a sequence is not alone in its transaction";
            return Ok(Err(refusal::of_transaction(message)));
        }
        if transaction.steps.iter().any(entry::is_ddl) && at.0 != GroupId::ROOT {
            // Numbers of tables and lanes follow from the position in the root.
            let message = "a statement that changes the catalog is not in the root";
            return Ok(Err(refusal::of_transaction(message)));
        }
        if self.broken.is_refused(&at) {
            return Ok(Err(refusal::broken()));
        }
        loop {
            let begun = self.store.begin();
            let revisions = &self.state.revisions;
            let run =
                begun.and_then(|()| steps::run_alone(&mut self.store, transaction, &open, revisions, log));
            let attempt = match run {
                Ok(Some(Done { applied, changed })) => {
                    let outcome = entry::outcome(applied);
                    self.commit_alone(id, body, at, &outcome, &changed)
                        .map(|()| outcome)
                        .map_err(|error| (error, false))
                }
                Ok(None) => {
                    self.store.rollback();
                    return Ok(Err(refusal::conflict()));
                }
                // The store's only writer meets this error when a table has changed since the statement was evaluated.
                Err(error) => {
                    let conflict = error.kind == ErrorKind::TRANSACTION;
                    Err((error, conflict))
                }
            };
            let (error, conflict) = match attempt {
                Ok(outcome) => return Ok(Ok(outcome)),
                Err(failed) => failed,
            };
            self.store.rollback();
            if error.kind == ErrorKind::FATAL {
                self.broken.note(std::iter::once(at));
            }
            // After any other error what the store has in memory may be good for nothing.
            if !error.kind.is_tried_alone() {
                return Err(error);
            }
            let lacks_memory = error.kind == ErrorKind::OUT_OF_MEMORY;
            let goes_on = self.store.clear_way(error.kind)? || lacks_memory && self.store.waits_for_memory();
            if !goes_on {
                return refuse(error, conflict).map(Err);
            }
        }
    }

    /// Commits an entry that ran alone. It counts as applied in the state that is written with it.
    fn commit_alone(
        &mut self,
        id: ProposalId,
        body: &Body,
        at: (GroupId, LogIndex),
        outcome: &proto::Outcome,
        changed: &Changed,
    ) -> Result<(), StoreError> {
        let mut state = self.state.clone();
        state.origins.record(id, None);
        state.advance(at.0, at.1);
        state.digest.wrote(body);
        let numbers_end = state.numbers_end();
        state.revisions.note(changed, numbers_end);
        if changes_catalog(body) {
            state.lanes.follow(&self.store.placements()?, state.root);
            let behind = state.numbers_behind();
            let numbered = self.store.number_tables(behind)?.saturating_sub(behind);
            if !State::can_number(numbered) {
                let message = format!("a transaction that makes {numbered} tables is too large");
                return Err(StoreError::new(ErrorKind::OUT_OF_RANGE, message));
            }
            state.catalog_version += 1 + numbered;
            state.digest.changed_catalog(state.catalog_version, &state.lanes);
        }
        state.digest.decided(at, id, Some(outcome), false, changes_catalog(body));
        self.store.commit(state.root, &state.encode())?;
        self.state = state;
        self.note_commit();
        Ok(())
    }
}

fn outcome_of(outcome: Option<&proto::Outcome>) -> EntryOutcome {
    match outcome.and_then(|outcome| outcome.kind.as_ref()) {
        None => EntryOutcome::Void,
        Some(OutcomeKind::Applied(_)) => EntryOutcome::Applied,
        Some(OutcomeKind::Refused(proto::Refused { error_kind, message, conflict })) => {
            EntryOutcome::Refused {
                error_kind: *error_kind,
                conflict: *conflict,
                message: shortened(message),
            }
        }
    }
}

/// The statements of an entry that change the catalog, as they were written.
fn statements(body: &Body) -> String {
    let Body::Transaction(transaction) = body else { return String::new() };
    let ddl = transaction.steps.iter().filter_map(|step| match &step.kind {
        Some(StepKind::Ddl(ddl)) => Some(ddl.sql.as_str()),
        _ => None,
    });
    shortened(&ddl.collect::<Vec<_>>().join("; "))
}

/// The beginning of a text that is kept for people.
fn shortened(text: &str) -> String {
    text.chars().take(RECORD_CHARS).collect()
}

fn changes_catalog(body: &Body) -> bool {
    matches!(body, Body::Transaction(transaction) if transaction.steps.iter().any(entry::is_ddl))
}

/// Whether an entry may share a store transaction with its neighbours.
fn may_share(body: &Body) -> bool {
    let Body::Transaction(transaction) = body else { return false };
    let is_change =
        |step: &proto::Step| matches!(step.kind, Some(StepKind::Write(_) | StepKind::Sequence(_)));
    if transaction.steps.iter().any(entry::names_places) {
        return false;
    }
    let draws_alone = transaction.steps.len() == 1 && entry::draws(&transaction.steps[0]);
    transaction.parts == 0 && (draws_alone || transaction.steps.iter().all(is_change))
}

/// An error that the entry is the cause of is a refusal, any other this node's own.
fn refuse(error: StoreError, conflict: bool) -> Result<proto::Refused, StoreError> {
    if error.kind.refuses() { Ok(refusal::of_error(&error, conflict)) } else { Err(error) }
}

fn serialization(error: entry::Error) -> StoreError {
    StoreError::new(ErrorKind::SERIALIZATION, error.to_string())
}
