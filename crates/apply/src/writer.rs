//! Writes a transaction for the log: as one entry, or as parts followed by one.
//!
//! Invariants:
//! - what is held in memory stays below [`PART_BYTES`] and one chunk more, and below a few parts under way;
//! - the number of a step never changes once it is given: parts that are on their way refer to it;
//! - every id that was drawn is settled: an id that stays open keeps every node remembering all that came after it,
//!   and a transaction that stays open keeps every node from releasing its log.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message;
use quack_proto::log::v1::{self as proto, entry::Body, outcome::Kind, step::Kind as StepKind};

use quack_types::limits::{ENTRY_BYTES_MAX, PART_BYTES};
use quack_types::{Mark, ProposalId};

use crate::answered::Answered;
use crate::entry;

/// The way to the log, as the writer needs it.
pub trait Proposer {
    /// A proposal whose outcome is awaited.
    type Pending;
    /// Why a proposal has no outcome.
    type Error;

    /// Draws the next proposal id, and says which ones have been settled.
    fn draw(&self) -> (ProposalId, Answered);
    /// This node's digest of outcomes now, which its entries carry.
    fn mark(&self) -> Option<Mark>;
    /// Hands an entry over to a group, by its name; returns at once, unless too much is under way. A group that does not
    /// exist stands for the default one. An error settles the id.
    fn propose(&self, group: &str, id: ProposalId, data: Bytes) -> Result<Self::Pending, Self::Error>;
    /// Waits for an outcome. The id is settled in any case, also when this returns an error.
    fn wait(&self, pending: Self::Pending) -> Result<proto::Outcome, Self::Error>;
    /// The error for an entry that is larger than the log takes.
    fn too_large(&self, bytes: usize, bytes_max: usize) -> Self::Error;
    /// Settles an id that was drawn: it will not be proposed, or no client waits for it. May be called again.
    fn give_up(&self, id: ProposalId);
}

/// Which of the row changes of a step rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Deleted,
    Updated,
    Inserted,
}

/// Parts that may be under way at a time: the oldest one's outcome is awaited before another is sent, so that a bulk
/// load does not fill the memory of the pipeline.
pub const PARTS_UNDER_WAY_MAX: usize = 4;

/// The name of the group that orders the others.
pub const DEFAULT_GROUP: &str = "default";

/// What an entry needs besides rows and statements.
const FRAME_BYTES: usize = 1024;

/// Most bytes of statements that change the catalog: they cannot leave in parts, and rows share their entry.
const DDL_BYTES_MAX: usize = ENTRY_BYTES_MAX - PART_BYTES - (1 << 20);

/// A transaction being written. Dropping it gives it up.
pub struct Writer<P: Proposer> {
    proposer: P,
    steps: Vec<proto::Step>,
    /// Whether the next rows begin a step of their own.
    statement_begins: bool,
    /// Bytes of the rows in `steps`, which are not in a part yet.
    bytes: usize,
    ddl_bytes: usize,
    /// Bytes of rows for each group's tables. They only choose the group whose log orders an entry: its effect is the
    /// same in every group.
    weights: BTreeMap<String, u64>,
    /// The transaction's own id: drawn with the first part, or at commit.
    transaction: Option<(ProposalId, Answered)>,
    /// Parts that were sent, or should have been: without all of them the transaction is refused.
    parts: u32,
    under_way: VecDeque<(ProposalId, P::Pending)>,
    /// What became of the first part that was not taken: the whole transaction's outcome.
    refused: Option<proto::Outcome>,
}

impl<P: Proposer> Writer<P> {
    /// An empty transaction.
    pub fn new(proposer: P) -> Self {
        Self {
            proposer,
            steps: Vec::new(),
            statement_begins: false,
            bytes: 0,
            ddl_bytes: 0,
            weights: BTreeMap::new(),
            transaction: None,
            parts: 0,
            under_way: VecDeque::new(),
            refused: None,
        }
    }

    /// The way to the log.
    pub fn proposer_mut(&mut self) -> &mut P {
        &mut self.proposer
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds rows to the current step of row changes. After an error the transaction can only be given up.
    ///
    /// # Errors
    /// The rows are larger than an entry may be, or a part could not be sent.
    pub fn rows(&mut self, change: Change, rows: proto::Rows) -> Result<(), P::Error> {
        let bytes = rows.encoded_len();
        if bytes + FRAME_BYTES > ENTRY_BYTES_MAX {
            return Err(self.proposer.too_large(bytes, ENTRY_BYTES_MAX - FRAME_BYTES));
        }
        if self.refused.is_some() {
            // Commit will say so. Until then a bulk load need not go through the log in vain.
            return Ok(());
        }
        if self.bytes + bytes > PART_BYTES {
            self.send_parts()?;
        }
        self.bytes += bytes;
        let write = self.current_write();
        match change {
            Change::Deleted => write.deleted.push(rows),
            Change::Updated => write.updated.push(rows),
            Change::Inserted => write.inserted.push(rows),
        }
        Ok(())
    }

    /// Notes that these many bytes of rows belong to tables of the group with this name.
    pub fn weigh(&mut self, group: &str, bytes: u64) {
        match self.weights.get_mut(group) {
            Some(weight) => *weight += bytes,
            None => {
                self.weights.insert(group.to_owned(), bytes);
            }
        }
    }

    /// The group for an entry with this id: each as often as its share of the bytes so far. The heaviest one every time
    /// would put all statements with rows of many shards into the same lane.
    fn group_for(&self, id: ProposalId) -> &str {
        let total: u64 = self.weights.values().sum();
        // Ids that follow each other lie far apart (Knuth's multiplicative hashing).
        let point = (u128::from(id.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * u128::from(total)) >> 64;
        let mut passed = 0;
        let found = self.weights.iter().find(|(_, bytes)| {
            passed += u128::from(**bytes);
            point < passed
        });
        found.map_or(DEFAULT_GROUP, |(group, _)| group.as_str())
    }

    /// Rows that follow take effect after all that came before: they may change rows of an earlier statement.
    pub fn begin_statement(&mut self) {
        if matches!(self.steps.last(), Some(proto::Step { kind: Some(StepKind::Write(_)) })) {
            self.statement_begins = true;
        }
    }

    /// Adds a statement that changes the catalog: its text, for people, and what the store applies.
    ///
    /// # Errors
    /// The transaction's statements are together larger than an entry may be.
    pub fn ddl(&mut self, sql: String, definition: Bytes) -> Result<(), P::Error> {
        self.ddl_bytes += sql.len() + definition.len();
        if self.ddl_bytes > DDL_BYTES_MAX {
            return Err(self.proposer.too_large(self.ddl_bytes, DDL_BYTES_MAX));
        }
        self.steps.push(proto::Step { kind: Some(StepKind::Ddl(proto::Ddl { sql, definition })) });
        Ok(())
    }

    /// Records how far this transaction has used a sequence that one of its statements has created: no other
    /// transaction can have drawn from it. Values of any other sequence are drawn with an entry of their own.
    pub fn sequence(&mut self, usage: proto::SequenceUsage) {
        self.steps.push(proto::Step { kind: Some(StepKind::Sequence(usage)) });
    }

    fn current_write(&mut self) -> &mut proto::Write {
        let writing = matches!(self.steps.last(), Some(proto::Step { kind: Some(StepKind::Write(_)) }));
        if !writing || std::mem::take(&mut self.statement_begins) {
            self.steps.push(proto::Step { kind: Some(StepKind::Write(proto::Write::default())) });
        }
        match self.steps.last_mut().and_then(|step| step.kind.as_mut()) {
            Some(StepKind::Write(write)) => write,
            _ => unreachable!("the last step was just made one of row changes"),
        }
    }

    fn transaction_id(&mut self) -> (ProposalId, Answered) {
        let proposer = &self.proposer;
        self.transaction.get_or_insert_with(|| proposer.draw()).clone()
    }

    /// Sends all rows that are held as parts, one for each step that has any.
    fn send_parts(&mut self) -> Result<(), P::Error> {
        for step in 0..self.steps.len() {
            let Some(StepKind::Write(write)) = &mut self.steps[step].kind else { continue };
            if *write != proto::Write::default() {
                let write = std::mem::take(write);
                self.send_part(step, write)?;
            }
        }
        self.bytes = 0;
        Ok(())
    }

    fn send_part(&mut self, step: usize, write: proto::Write) -> Result<(), P::Error> {
        let (transaction, _) = self.transaction_id();
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        let part =
            proto::Part { transaction: transaction.sequence, number: self.parts, step, write: Some(write) };
        // Counted before it is sent: without it the transaction must not be applied.
        self.parts += 1;
        while self.under_way.len() >= PARTS_UNDER_WAY_MAX {
            self.settle_oldest()?;
        }
        let (id, answered) = self.proposer.draw();
        let data = entry::encode(id, answered, self.proposer.mark(), Body::Part(part));
        let pending = self.proposer.propose(self.group_for(id), id, data)?;
        self.under_way.push_back((id, pending));
        Ok(())
    }

    fn settle_oldest(&mut self) -> Result<(), P::Error> {
        if let Some((_, pending)) = self.under_way.pop_front() {
            let outcome = self.proposer.wait(pending)?;
            if !matches!(outcome.kind, Some(Kind::Applied(_))) {
                self.refused.get_or_insert(outcome);
            }
        }
        Ok(())
    }

    /// Proposes the transaction and waits for its outcome. An empty one is applied without being proposed. From when
    /// `handed_over` is called it may take effect.
    ///
    /// # Errors
    /// There is no outcome. When the transaction had parts it has been given up as well, so that it is applied only
    /// if its entry is in the log already.
    pub fn commit(mut self, handed_over: impl FnOnce()) -> Result<proto::Outcome, P::Error> {
        if self.is_empty() {
            return Ok(entry::applied());
        }
        if self.bytes > PART_BYTES {
            // One large row: it does not share its entry with statements.
            self.send_parts()?;
        }
        while !self.under_way.is_empty() {
            self.settle_oldest()?;
        }
        if let Some(outcome) = self.refused.take() {
            return Ok(outcome);
        }
        let (id, answered) = self.transaction_id();
        let body = proto::Transaction { parts: self.parts, steps: std::mem::take(&mut self.steps) };
        let data = entry::encode(id, answered, self.proposer.mark(), Body::Transaction(body));
        if data.len() > ENTRY_BYTES_MAX {
            return Err(self.proposer.too_large(data.len(), ENTRY_BYTES_MAX));
        }
        // Lanes come and go with what changes the catalog: that is the root's to order.
        let group = if self.ddl_bytes > 0 { DEFAULT_GROUP } else { self.group_for(id) };
        let pending = self.proposer.propose(group, id, data)?;
        handed_over();
        let outcome = self.proposer.wait(pending)?;
        self.transaction = None;
        Ok(outcome)
    }

    /// Gives the transaction up. An entry in the log voids its parts, if any; the caller does not wait for it.
    pub fn abort(self) {
        drop(self);
    }

    fn give_up(&mut self) {
        for (id, _) in self.under_way.drain(..) {
            self.proposer.give_up(id);
        }
        let Some((transaction, _)) = self.transaction.take() else { return };
        if self.parts > 0 {
            let (id, answered) = self.proposer.draw();
            let body = Body::Abort(proto::Abort { transaction: transaction.sequence });
            // When this cannot be proposed, or comes late, the next entry of the origin voids the parts: it says that
            // no client waits for the transaction.
            let data = entry::encode(id, answered, self.proposer.mark(), body);
            let _ = self.proposer.propose(DEFAULT_GROUP, id, data);
            self.proposer.give_up(id);
        }
        self.proposer.give_up(transaction);
    }
}

impl<P: Proposer> Drop for Writer<P> {
    fn drop(&mut self) {
        self.give_up();
    }
}
