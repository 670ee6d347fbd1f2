//! A log with one origin: an entry is applied when a writer waits for its outcome.
//!
//! Between the two may lie a network, as between an origin and a leader elsewhere: entries get into the log late, in
//! any order, and more than once, also long after they were answered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use quack_apply::{Answered, Applier, Proposer, entry};
use quack_log::{EntryKind, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body};
use quack_types::{GroupId, LogIndex, Mark, ProposalId, RaftId, Term};

use super::store::ModelStore;
use super::{Dice, of_root};

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
    /// By which road each entry was sent.
    pub groups: Vec<String>,
    /// Calls of `propose` until one fails.
    pub busy_in: Option<usize>,
    /// Proposals until one is lost on its way.
    pub lost_in: Option<usize>,
    /// Calls of `wait` until one has no answer.
    pub unknown_in: Option<usize>,
    /// Whether there is a network, and what happens in it.
    pub network: Option<Dice>,
    /// In the network; what has arrived may stay there and arrive again.
    on_the_way: Vec<(u64, Bytes)>,
    /// How often an entry has arrived again.
    pub repeated: usize,
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
            groups: Vec::new(),
            busy_in: None,
            lost_in: None,
            unknown_in: None,
            network: None,
            on_the_way: Vec::new(),
            repeated: 0,
        }))
    }

    fn append(&mut self, data: Bytes) {
        let index = LogIndex(self.entries.len() as u64 + 1);
        let (term, kind, context) = (Term(1), EntryKind::Normal, Default::default());
        self.entries.push(LogEntry { term, index, kind, data, context });
    }

    /// Something arrives: anything that is on the way, new or old.
    fn deliver(&mut self) {
        let Some(dice) = self.network.as_mut() else { return };
        if self.on_the_way.is_empty() {
            return;
        }
        let place = dice.below(self.on_the_way.len());
        let comes_again = dice.once_in(3);
        let (sequence, data) = self.on_the_way[place].clone();
        if !comes_again {
            self.on_the_way.swap_remove(place);
        }
        self.repeated += usize::from(self.outcomes.contains_key(&sequence));
        self.append(data);
    }

    /// Everything that is still on the way arrives.
    pub fn deliver_all(&mut self) {
        while !self.on_the_way.is_empty() {
            self.deliver();
        }
        self.apply();
    }

    /// Applies all that was proposed.
    pub fn apply(&mut self) {
        let entries = self.entries.clone();
        let read = |_: GroupId, index: LogIndex| Ok(entries[usize::try_from(index.0).unwrap() - 1].clone());
        for decision in self.applier.apply(&of_root(&entries), &read).unwrap() {
            let first = self.outcomes.entry(decision.id.sequence);
            let outcome = decision.outcome.unwrap_or_default();
            // One that comes again is void, or has its first outcome.
            let kept = first.or_insert_with(|| outcome.clone());
            assert!(outcome == proto::Outcome::default() || *kept == outcome, "another outcome than before");
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
            Body::Member(_) => 'm',
            Body::Verify(_) => 'v',
            Body::Settings(_) => 's',
        };
        self.bodies().iter().map(letter).collect()
    }
}

/// A handle of the log for one writer.
pub struct LogProposer(pub Rc<RefCell<Log>>);

impl Proposer for LogProposer {
    type Pending = u64;
    type Error = Failure;

    fn draw(&self) -> (ProposalId, Answered) {
        let mut log = self.0.borrow_mut();
        log.sequence += 1;
        let sequence = log.sequence;
        log.outstanding.insert(sequence);
        (ProposalId { origin: RaftId(1), boot: 1, sequence }, Answered::of(&log.outstanding, 4))
    }

    fn mark(&self) -> Option<Mark> {
        let log = self.0.borrow();
        let state = log.applier.state();
        (state.root > LogIndex(0)).then_some(Mark { root: state.root, digest: state.digest.0 })
    }

    fn propose(&self, group: &str, id: ProposalId, data: Bytes) -> Result<u64, Failure> {
        let mut log = self.0.borrow_mut();
        if ends(&mut log.busy_in) {
            log.outstanding.remove(&id.sequence);
            return Err(Failure::Busy);
        }
        log.groups.push(group.to_owned());
        log.entry_bytes_most = log.entry_bytes_most.max(data.len());
        log.under_way += 1;
        log.under_way_most = log.under_way_most.max(log.under_way);
        if !ends(&mut log.lost_in) {
            if log.network.is_some() {
                log.on_the_way.push((id.sequence, data));
            } else {
                log.append(data);
            }
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
        while log.network.is_some() && !log.outcomes.contains_key(&pending) && !log.on_the_way.is_empty() {
            log.deliver();
            log.apply();
        }
        log.outcomes.get(&pending).cloned().ok_or(Failure::Unknown)
    }

    fn too_large(&self, bytes: usize, bytes_max: usize) -> Failure {
        Failure::TooLarge { bytes, bytes_max }
    }

    fn give_up(&self, id: ProposalId) {
        self.0.borrow_mut().outstanding.remove(&id.sequence);
    }
}
