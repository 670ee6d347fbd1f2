//! A log with one origin: what is proposed is applied when somebody waits for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use quack_apply::{Applier, Proposer, entry};
use quack_log::{EntryKind, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body};
use quack_types::{LogIndex, ProposalId, RaftId, Term};

use super::store::ModelStore;

/// Why a proposal has no outcome here.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    TooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    /// Nothing was proposed.
    Busy,
    /// It may be applied later, or never.
    Unknown,
}

/// What the tests look at and set.
pub struct Log {
    sequence: u64,
    /// Ids that were drawn and not settled.
    pub outstanding: BTreeSet<u64>,
    pub entries: Vec<LogEntry>,
    outcomes: BTreeMap<u64, proto::Outcome>,
    pub applier: Applier<ModelStore>,
    pub under_way: usize,
    pub under_way_most: usize,
    pub entry_bytes_most: usize,
    /// Calls of `propose` until one fails.
    pub busy_in: Option<usize>,
    /// Proposals until one is lost on its way.
    pub lost_in: Option<usize>,
    /// Calls of `wait` until one has no answer.
    pub unknown_in: Option<usize>,
}

/// Counts down; true when it has come to the end.
fn ends(left: &mut Option<usize>) -> bool {
    let now = *left == Some(0);
    *left = left.and_then(|left| left.checked_sub(1));
    now
}

impl Log {
    pub fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            sequence: 0,
            outstanding: BTreeSet::new(),
            entries: Vec::new(),
            outcomes: BTreeMap::new(),
            applier: Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap(),
            under_way: 0,
            under_way_most: 0,
            entry_bytes_most: 0,
            busy_in: None,
            lost_in: None,
            unknown_in: None,
        }))
    }

    /// Applies all that was proposed.
    pub fn apply(&mut self) {
        let entries = self.entries.clone();
        let read = |index: LogIndex| Ok(entries[usize::try_from(index.0).unwrap() - 1].clone());
        for decision in self.applier.apply(&entries, &read).unwrap() {
            self.outcomes.insert(decision.id.sequence, decision.outcome.unwrap_or_default());
        }
    }

    /// What the entries carry.
    pub fn bodies(&self) -> Vec<Body> {
        self.entries.iter().map(|found| entry::decode(found.index.0, &found.data).unwrap().body).collect()
    }

    /// Parts, transactions and aborts, by their letters.
    pub fn letters(&self) -> String {
        let letter = |body: &Body| match body {
            Body::Part(_) => 'p',
            Body::Transaction(_) => 'T',
            Body::Abort(_) => 'a',
            Body::Boot(_) => 'b',
        };
        self.bodies().iter().map(letter).collect()
    }
}

/// A handle of the log for one writer.
pub struct LogProposer(pub Rc<RefCell<Log>>);

impl Proposer for LogProposer {
    type Pending = u64;
    type Error = Failure;

    fn draw(&self) -> (ProposalId, u64) {
        let mut log = self.0.borrow_mut();
        log.sequence += 1;
        let sequence = log.sequence;
        log.outstanding.insert(sequence);
        (ProposalId { origin: RaftId(1), boot: 1, sequence }, log.outstanding.first().unwrap() - 1)
    }

    fn propose(&self, id: ProposalId, data: Bytes) -> Result<u64, Failure> {
        let mut log = self.0.borrow_mut();
        if ends(&mut log.busy_in) {
            log.outstanding.remove(&id.sequence);
            return Err(Failure::Busy);
        }
        log.entry_bytes_most = log.entry_bytes_most.max(data.len());
        log.under_way += 1;
        log.under_way_most = log.under_way_most.max(log.under_way);
        if !ends(&mut log.lost_in) {
            let index = LogIndex(log.entries.len() as u64 + 1);
            log.entries.push(LogEntry {
                term: Term(1),
                index,
                kind: EntryKind::Normal,
                data,
                context: Bytes::new(),
            });
        }
        Ok(id.sequence)
    }

    fn wait(&self, pending: u64) -> Result<proto::Outcome, Failure> {
        let mut log = self.0.borrow_mut();
        log.under_way -= 1;
        log.outstanding.remove(&pending);
        if ends(&mut log.unknown_in) {
            return Err(Failure::Unknown);
        }
        log.apply();
        log.outcomes.get(&pending).cloned().ok_or(Failure::Unknown)
    }

    fn too_large(&self, bytes: usize, bytes_max: usize) -> Failure {
        Failure::TooLarge { bytes, bytes_max }
    }

    fn give_up(&self, id: ProposalId) {
        self.0.borrow_mut().outstanding.remove(&id.sequence);
    }
}
