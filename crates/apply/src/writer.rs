//! Writes a transaction for the log: as one entry, or as parts followed by one.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind as StepKind};
use quack_types::ProposalId;
use quack_types::limits::{ENTRY_BYTES_MAX, PART_BYTES};

use crate::entry;

/// The way to the log, as the writer needs it.
pub trait Proposer {
    /// A proposal whose outcome is awaited.
    type Pending;
    /// Why a proposal has no outcome.
    type Error;

    /// Draws the next proposal id, and says up to which sequence everything has been answered.
    fn draw(&self) -> (ProposalId, u64);
    /// Hands an entry over; returns at once, unless too much is under way.
    fn propose(&self, id: ProposalId, data: Bytes) -> Result<Self::Pending, Self::Error>;
    /// Waits for an outcome.
    fn wait(&self, pending: Self::Pending) -> Result<proto::Outcome, Self::Error>;
    /// The error for an entry that is larger than the log takes.
    fn too_large(&self, bytes: usize, bytes_max: usize) -> Self::Error;
    /// An id that was drawn will not be proposed.
    fn give_up(&self, id: ProposalId);
}

/// Which of the row changes of a step rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Deleted,
    Updated,
    Inserted,
}

/// Parts that may be under way at a time: their outcomes are awaited before more are sent, so that a bulk load does
/// not fill the memory of the pipeline.
const PARTS_UNDER_WAY_MAX: usize = 4;

/// A transaction being written. Dropping it without [`commit`](Writer::commit) or [`abort`](Writer::abort) leaves its
/// parts, if it had any, to the origin's next boot.
pub struct Writer<P: Proposer> {
    proposer: P,
    steps: Vec<proto::Step>,
    /// Bytes of the rows that are not in a part yet.
    bytes: usize,
    /// The transaction's own id: drawn with the first part, or at commit.
    transaction: Option<(ProposalId, u64)>,
    parts: u32,
    under_way: VecDeque<P::Pending>,
}

impl<P: Proposer> Writer<P> {
    /// An empty transaction.
    pub fn new(proposer: P) -> Self {
        Self { proposer, steps: Vec::new(), bytes: 0, transaction: None, parts: 0, under_way: VecDeque::new() }
    }

    /// The way to the log.
    pub fn proposer_mut(&mut self) -> &mut P {
        &mut self.proposer
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds rows to the current step of row changes.
    pub fn rows(&mut self, change: Change, rows: proto::Rows) -> Result<(), P::Error> {
        let bytes = rows.encoded_len();
        if bytes + 1024 > ENTRY_BYTES_MAX {
            return Err(self.proposer.too_large(bytes, ENTRY_BYTES_MAX - 1024));
        }
        if self.bytes + bytes > PART_BYTES && self.bytes > 0 {
            self.send_part()?;
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

    /// Adds a statement that changes the catalog.
    pub fn ddl(&mut self, sql: String) -> Result<(), P::Error> {
        if self.bytes > 0 {
            // Only the step that is being written may have parts: rows of an earlier one must not outgrow the entry.
            self.send_part()?;
        }
        self.steps.push(proto::Step { kind: Some(StepKind::Ddl(proto::Ddl { sql })) });
        Ok(())
    }

    /// Records how far a sequence has been used.
    pub fn sequence(&mut self, usage: proto::SequenceUsage) {
        // Before the step of row changes that is being written, so that rows may still be added to it.
        let place = match self.steps.last() {
            Some(proto::Step { kind: Some(StepKind::Write(_)) }) if self.parts == 0 => self.steps.len() - 1,
            _ => self.steps.len(),
        };
        self.steps.insert(place, proto::Step { kind: Some(StepKind::Sequence(usage)) });
    }

    fn current_write(&mut self) -> &mut proto::Write {
        let writing = matches!(self.steps.last(), Some(proto::Step { kind: Some(StepKind::Write(_)) }));
        if !writing {
            self.steps.push(proto::Step { kind: Some(StepKind::Write(proto::Write::default())) });
        }
        match self.steps.last_mut().and_then(|step| step.kind.as_mut()) {
            Some(StepKind::Write(write)) => write,
            _ => unreachable!("the last step was just made one of row changes"),
        }
    }

    fn transaction_id(&mut self) -> (ProposalId, u64) {
        let proposer = &self.proposer;
        *self.transaction.get_or_insert_with(|| proposer.draw())
    }

    /// Sends the rows of the current step as a part.
    fn send_part(&mut self) -> Result<(), P::Error> {
        let (transaction, _) = self.transaction_id();
        let step = u32::try_from(self.steps.len() - 1).unwrap_or(u32::MAX);
        let write = std::mem::take(self.current_write());
        self.bytes = 0;
        let part = proto::Part { transaction: transaction.sequence, number: self.parts, step, write: Some(write) };
        let (id, answered_through) = self.proposer.draw();
        let pending = self.proposer.propose(id, entry::encode(id, answered_through, Body::Part(part)))?;
        self.parts += 1;
        self.under_way.push_back(pending);
        while self.under_way.len() > PARTS_UNDER_WAY_MAX {
            self.settle_oldest()?;
        }
        Ok(())
    }

    fn settle_oldest(&mut self) -> Result<(), P::Error> {
        if let Some(pending) = self.under_way.pop_front() {
            // A part is refused only when an earlier one was lost, which the transaction's own outcome will say.
            self.proposer.wait(pending)?;
        }
        Ok(())
    }

    /// Proposes the transaction and waits for its outcome. An empty one is applied without being proposed.
    pub fn commit(mut self) -> Result<proto::Outcome, P::Error> {
        if self.is_empty() {
            return Ok(entry::applied());
        }
        while !self.under_way.is_empty() {
            self.settle_oldest()?;
        }
        let (id, answered_through) = self.transaction_id();
        let body = proto::Transaction { parts: self.parts, steps: std::mem::take(&mut self.steps) };
        let data = entry::encode(id, answered_through, Body::Transaction(body));
        if data.len() > ENTRY_BYTES_MAX {
            let error = self.proposer.too_large(data.len(), ENTRY_BYTES_MAX);
            self.abort();
            return Err(error);
        }
        let pending = self.proposer.propose(id, data)?;
        self.proposer.wait(pending)
    }

    /// Gives the transaction up. Its parts, if any, are voided in the log; nobody waits for that.
    pub fn abort(mut self) {
        let Some((transaction, _)) = self.transaction.take() else { return };
        if self.parts > 0 {
            let (id, answered_through) = self.proposer.draw();
            let body = Body::Abort(proto::Abort { transaction: transaction.sequence });
            // When this cannot be proposed, the origin's next boot voids the parts.
            if self.proposer.propose(id, entry::encode(id, answered_through, body)).is_err() {
                self.proposer.give_up(id);
            }
        }
        self.proposer.give_up(transaction);
    }
}
