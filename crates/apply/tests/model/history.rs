//! Random logs, as origins would write them: what an origin proposes follows from what the store held a while ago,
//! and proposals arrive late, in another order, more than once, long after they were answered, or never.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quack_apply::{Answered, Applier, Decision, TABLE_MADE_HERE, entry, sequence};
use quack_log::{EntryKind, LogEntry};
use quack_proto::log::v1::{self as proto, entry::Body, outcome, step::Kind};
use quack_types::{GroupId, LogIndex, Mark, NodeId, ProposalId, Term};

use super::contents::{Contents, Ddl, Key};
use super::oddities::Oddities;
use super::oracle::{Fate, Oracle};
use super::rows::{Row, Sought, changed, inserted, placed};
use super::store::ModelStore;
use super::{Dice, of_root};

/// A log, and what became of it when its entries were applied one at a time.
#[derive(Default)]
pub struct History {
    pub entries: Vec<LogEntry>,
    /// For each entry; `None` where it carries no proposal.
    pub decisions: Vec<Option<Decision>>,
    /// After each entry.
    pub states: Vec<Vec<u8>>,
    pub marks: Vec<Mark>,
    pub contents: Vec<Contents>,
    pub fates: BTreeMap<String, usize>,
    /// How often the log shows what proposals on their way through a cluster can do to it.
    pub oddities: BTreeMap<&'static str, usize>,
}

impl History {
    /// How many of these entries say what their origin's digest was.
    pub fn claims(&self, places: &std::ops::Range<usize>) -> usize {
        let says = |entry: &&LogEntry| {
            let is_proposal = entry.kind == EntryKind::Normal && !entry.data.is_empty();
            is_proposal && entry::decode(entry.index.0, &entry.data).unwrap().mark.is_some()
        };
        self.entries[places.clone()].iter().filter(says).count()
    }
}

struct Origin {
    incarnation: u64,
    boot: u64,
    sequence: u64,
    outstanding: BTreeSet<u64>,
}

#[derive(Clone)]
struct Sent {
    origin: usize,
    id: ProposalId,
    data: Bytes,
}

/// Writes a history.
pub struct Builder {
    history: History,
    reference: Applier<ModelStore>,
    oracle: Oracle,
    origins: Vec<Origin>,
    on_the_way: Vec<Sent>,
    arrived: Vec<Sent>,
    /// Lost on their way; some are sent again.
    lost: Vec<Sent>,
    oddities: Oddities,
    /// Whether little goes wrong, so that batches grow.
    calm: bool,
}

const TABLES: [(&str, Key); 4] =
    [("bag", Key::None), ("keyed", Key::Unique), ("late", Key::UniqueAtCommit), ("other", Key::Unique)];
const KEYS: usize = 8;
/// Proposals that are behind by more are named.
const LAG: u64 = 4;

const SEQUENCES: [&str; 3] = ["counter", "around", "missing"];

fn sequence_usage(dice: &mut Dice) -> proto::SequenceUsage {
    let usage_count = dice.below(100) as u64;
    let (counter, last_value) = (1 + 3 * dice.below(20) as i64, Some(1));
    proto::SequenceUsage { schema: "main".into(), name: "counter".into(), usage_count, counter, last_value }
}

fn draw(dice: &mut Dice) -> Kind {
    let (schema, name) = ("main".into(), SEQUENCES[[0, 0, 0, 1, 1, 2][dice.below(6)]].into());
    if dice.once_in(8) {
        let (value, is_called) = (dice.below(70) as i64, dice.once_in(2));
        return Kind::Set(proto::SequenceSet { schema, name, value, is_called });
    }
    Kind::Draw(proto::SequenceDraw { schema, name, count: dice.below(9) as u64 })
}

fn node(origin: usize) -> NodeId {
    NodeId::new(format!("n{origin}")).unwrap()
}

/// The values that an entry has drawn.
pub fn drawn(decision: &Decision) -> Option<Vec<i64>> {
    let outcome::Kind::Applied(applied) = decision.outcome.as_ref()?.kind.as_ref()? else { return None };
    let mut run = applied.drawn?;
    Some(std::iter::from_fn(|| sequence::take(&mut run)).collect())
}

fn is_for_another_table(decision: &Decision) -> bool {
    let kind = decision.outcome.as_ref().and_then(|outcome| outcome.kind.as_ref());
    matches!(kind, Some(outcome::Kind::Refused(refused)) if refused.message.contains("another table"))
}

fn step(kind: Kind) -> proto::Step {
    proto::Step { kind: Some(kind) }
}

fn ddl_step(ddl: &Ddl) -> proto::Step {
    step(Kind::Ddl(proto::Ddl { sql: ddl.to_sql(), ..Default::default() }))
}

impl Builder {
    pub fn new(calm: bool) -> Self {
        let origin = || Origin { incarnation: 0, boot: 1, sequence: 0, outstanding: BTreeSet::new() };
        let mut builder = Self {
            history: History::default(),
            reference: Applier::open(ModelStore::new(0, false), LogIndex(0), &[]).unwrap(),
            oracle: Oracle::default(),
            origins: (0..3).map(|_| origin()).collect(),
            on_the_way: Vec::new(),
            arrived: Vec::new(),
            lost: Vec::new(),
            oddities: Oddities::default(),
            calm,
        };
        let mut create: Vec<Ddl> =
            TABLES[..3].iter().map(|(name, key)| Ddl::CreateTable((*name).into(), *key)).collect();
        create.extend(SEQUENCES[..2].iter().map(|name| Ddl::CreateSequence((*name).into())));
        let steps = create.iter().map(ddl_step).collect();
        builder.propose(0, Body::Transaction(proto::Transaction { parts: 0, steps }));
        builder.deliver(0);
        builder
    }

    /// Every command is a number, so that a failing history shrinks to few commands.
    pub fn run(mut self, commands: &[u64]) -> History {
        for command in commands {
            self.command(&mut Dice(*command));
        }
        while !self.on_the_way.is_empty() {
            self.deliver(0);
        }
        for (fate, count) in self.oracle.changes.values().map(|count| ("changed", *count)) {
            assert_eq!(count, 1, "a proposal was applied twice");
            *self.history.fates.entry(fate.into()).or_default() += 1;
        }
        self.history.oddities = self.oddities.counts;
        self.history
    }

    fn command(&mut self, dice: &mut Dice) {
        let command = dice.below(33);
        match command {
            9..=13 if self.calm && !dice.once_in(8) => self.deliver_some(dice),
            0..=8 => {
                let origin = dice.below(self.origins.len());
                let steps = (0..=dice.below(2)).map(|_| self.step(dice)).collect();
                self.propose(origin, Body::Transaction(proto::Transaction { parts: 0, steps }));
            }
            9 | 10 => self.propose_in_parts(dice),
            11 => self.propose_ddl(dice),
            25..=27 => self.propose_draw(dice),
            28..=30 => self.propose_places(dice),
            12 if dice.once_in(4) => self.lose_disk(dice),
            12 => self.reboot(dice),
            13 => self.give_up(dice),
            14 => self.repeat(dice),
            16 => self.send_again(dice),
            15 => self.append(
                if dice.once_in(2) { EntryKind::ConfChangeV2 } else { EntryKind::Normal },
                Bytes::new(),
            ),
            _ => self.deliver_some(dice),
        }
        if self.on_the_way.len() > 6 {
            self.deliver_some(dice);
        }
    }

    fn draw(&mut self, origin: usize) -> (ProposalId, Answered) {
        let memory = &mut self.origins[origin];
        memory.sequence += 1;
        memory.outstanding.insert(memory.sequence);
        let id = ProposalId {
            origin: node(origin).raft_id(memory.incarnation),
            boot: memory.boot,
            sequence: memory.sequence,
        };
        (id, Answered::of(&memory.outstanding, LAG))
    }

    fn send(&mut self, origin: usize, (id, answered): (ProposalId, Answered), body: Body) {
        // As an origin says it that has applied everything.
        let mark = self.history.marks.last().copied();
        self.on_the_way.push(Sent { origin, id, data: entry::encode(id, answered, mark, body) });
    }

    fn propose(&mut self, origin: usize, body: Body) {
        let drawn = self.draw(origin);
        self.send(origin, drawn, body);
    }

    fn deliver_some(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(5) {
            if self.on_the_way.is_empty() {
                return;
            }
            // In order as a rule.
            let place = if dice.once_in(4) { dice.below(self.on_the_way.len()) } else { 0 };
            if dice.once_in(20) {
                let lost = self.on_the_way.remove(place);
                self.lost.push(lost);
            } else {
                self.deliver(place);
            }
        }
    }

    fn deliver(&mut self, place: usize) {
        let sent = self.on_the_way.remove(place);
        self.append(EntryKind::Normal, sent.data.clone());
        let origin = &mut self.origins[sent.origin];
        let is_of_this_life = node(sent.origin).raft_id(origin.incarnation) == sent.id.origin;
        if is_of_this_life && origin.boot == sent.id.boot && !sent.id.sequence.is_multiple_of(5) {
            origin.outstanding.remove(&sent.id.sequence);
        }
        self.arrived.push(sent);
    }

    fn repeat(&mut self, dice: &mut Dice) {
        if !self.arrived.is_empty() {
            let count = self.arrived.len();
            let most = if dice.once_in(2) { count } else { count.min(12) };
            let back = dice.below(most) + 1;
            let data = self.arrived[count - back].data.clone();
            self.append(EntryKind::Normal, data);
        }
    }

    /// Something that was lost comes after all, or something that has arrived is under way once more.
    fn send_again(&mut self, dice: &mut Dice) {
        if !self.lost.is_empty() && !dice.once_in(4) {
            let place = dice.below(self.lost.len());
            let sent = self.lost.swap_remove(place);
            self.on_the_way.push(sent);
        } else if !self.arrived.is_empty() {
            let place = dice.below(self.arrived.len());
            let sent = self.arrived[place].clone();
            self.on_the_way.push(sent);
        }
    }

    fn give_up(&mut self, dice: &mut Dice) {
        let origin = &mut self.origins[dice.below(3)];
        let through = origin.outstanding.first().copied().unwrap_or(0) + dice.below(4) as u64;
        origin.outstanding.retain(|sequence| *sequence > through);
    }

    fn reboot(&mut self, dice: &mut Dice) {
        let number = dice.below(3);
        let origin = &mut self.origins[number];
        origin.boot += 1;
        origin.sequence = 0;
        origin.outstanding.clear();
        if dice.once_in(2) {
            self.propose(number, Body::Boot(proto::Boot {}));
        }
        if dice.once_in(3) {
            self.propose(number, Body::Verify(proto::Verify { number: 7 }));
        }
    }

    /// A node loses its disk, and another node admits it under a new incarnation, or repeats an old one.
    fn lose_disk(&mut self, dice: &mut Dice) {
        let number = dice.below(3);
        let origin = &mut self.origins[number];
        let is_late = dice.once_in(5);
        let incarnation = origin.incarnation + u64::from(!is_late);
        if !is_late {
            *origin = Origin { incarnation, boot: 1, sequence: 0, outstanding: BTreeSet::new() };
        }
        let member = proto::Member {
            node_id: node(number).as_str().to_owned(),
            incarnation: incarnation.saturating_sub(u64::from(is_late)),
            endpoint: "quack:localhost:1".to_owned(),
            voter: true,
            removed: dice.once_in(12),
            ..proto::Member::default()
        };
        self.propose((number + 1) % 3, Body::Member(member));
    }

    fn propose_ddl(&mut self, dice: &mut Dice) {
        let (name, key) = TABLES[1 + dice.below(3)];
        let other = TABLES[1 + dice.below(3)].0;
        let ddl = match dice.below(11) {
            0 => Ddl::DropTable(name.into()),
            1 => Ddl::DropSequence("counter".into()),
            2 => Ddl::CreateSequence("counter".into()),
            3 | 4 => Ddl::RenameTable(name.into(), other.into()),
            _ => Ddl::CreateTable(name.into(), key),
        };
        let mut steps = vec![ddl_step(&ddl)];
        if let (Ddl::RenameTable(..), true) = (&ddl, dice.once_in(2)) {
            // Another one takes its name.
            steps.push(ddl_step(&Ddl::CreateTable(name.into(), key)));
        }
        if dice.once_in(2) {
            steps.push(self.step(dice));
        }
        self.propose(dice.below(3), Body::Transaction(proto::Transaction { parts: 0, steps }));
    }

    /// What draws from a sequence stands alone, unless its origin is broken.
    fn propose_draw(&mut self, dice: &mut Dice) {
        let mut steps = vec![step(draw(dice))];
        if dice.once_in(20) {
            steps.push(if dice.once_in(2) { self.step(dice) } else { step(draw(dice)) });
        }
        self.propose(dice.below(3), Body::Transaction(proto::Transaction { parts: 0, steps }));
    }

    fn propose_in_parts(&mut self, dice: &mut Dice) {
        let origin = dice.below(3);
        let transaction = self.draw(origin);
        let steps: u32 = 1 + u32::from(dice.once_in(3));
        let parts = 1 + u32::try_from(dice.below(3)).unwrap();
        for number in 0..parts {
            let step = number * steps / parts + u32::from(dice.once_in(20));
            let write = Some(self.write(dice));
            self.propose(
                origin,
                Body::Part(proto::Part { transaction: transaction.0.sequence, number, step, write }),
            );
        }
        if dice.once_in(2) {
            self.deliver_some(dice);
        }
        let steps = (0..steps).map(|_| step(Kind::Write(self.write(dice)))).collect();
        // A broken origin miscounts, or does not count at all.
        let parts = match dice.below(16) {
            0 => 0,
            1 => parts + 1,
            2 => parts - 1,
            _ => parts,
        };
        match dice.below(5) {
            0 => {
                self.propose(origin, Body::Abort(proto::Abort { transaction: transaction.0.sequence }));
                if dice.once_in(2) {
                    self.send(origin, transaction, Body::Transaction(proto::Transaction { parts, steps }));
                }
            }
            1 if dice.once_in(2) => {}
            _ => self.send(origin, transaction, Body::Transaction(proto::Transaction { parts, steps })),
        }
    }

    /// Rows of a table by their places, as the reference holds them now; of one that is unordered as a rule all of them.
    fn propose_places(&mut self, dice: &mut Dice) {
        let name = TABLES[dice.below(3)].0;
        let Some(number) = self.reference.store().contents().numbers.get(name).copied() else { return };
        let revisions = &self.reference.state().revisions;
        let all: Vec<(u64, Row)> =
            (0..).zip(self.reference.store().row_ids(name).into_iter().map(|(_, row)| row)).collect();
        let takes_all = dice.once_in(4) || !(revisions.is_ordered(number) || dice.once_in(6));
        let mut rows: Vec<_> = all.iter().filter(|_| takes_all || dice.once_in(3)).copied().collect();
        rows.truncate(if takes_all { usize::MAX } else { 5 });
        if rows.is_empty() || all.len() > 100 {
            return;
        }
        // It may have begun a while ago; what it says of the rows is as of now, so that it must not have.
        let revision = match dice.below(24) {
            0 => revisions.last.saturating_sub(1),
            1 => revisions.last + 1000,
            _ => revisions.last,
        };
        let updates = dice.once_in(2);
        let new_value = |row: Row| (row.1 + 1) % 3;
        let new: Option<&dyn Fn(Row) -> i64> = if updates { Some(&new_value) } else { None };
        let are_all = takes_all && !updates && dice.once_in(2) || takes_all && !revisions.is_ordered(number);
        let pieces = if are_all { rows.len() } else { 1 + dice.below(rows.len()) };
        let mut writes = rows.chunks(pieces).map(|rows| {
            let rows = proto::Rows { table_number: number, ..placed(name, revision, rows, new, are_all) };
            match updates {
                true => proto::Write { updated: vec![rows], ..Default::default() },
                false => proto::Write { deleted: vec![rows], ..Default::default() },
            }
        });
        let origin = dice.below(3);
        let last = writes.next().unwrap();
        let rest: Vec<proto::Write> = writes.collect();
        let transaction = self.draw(origin);
        let parts = u32::try_from(rest.len()).unwrap();
        for (number, write) in (0..).zip(rest) {
            let part =
                proto::Part { transaction: transaction.0.sequence, number, step: 0, write: Some(write) };
            self.propose(origin, Body::Part(part));
        }
        let steps = vec![step(Kind::Write(last))];
        self.send(origin, transaction, Body::Transaction(proto::Transaction { parts, steps }));
    }

    fn step(&mut self, dice: &mut Dice) -> proto::Step {
        match dice.below(8) {
            0 => step(Kind::Sequence(sequence_usage(dice))),
            _ => step(Kind::Write(self.write(dice))),
        }
    }

    fn write(&mut self, dice: &mut Dice) -> proto::Write {
        let mut write = proto::Write::default();
        let kind = dice.below(if self.calm { 20 } else { 8 });
        let name = TABLES[if dice.once_in(8) && !self.calm { 3 } else { dice.below(3) }].0;
        if kind < 5 {
            self.change(name, kind < 2, dice, &mut write);
        }
        if kind >= 5 || dice.once_in(6) {
            let rows: Vec<Row> = (0..=dice.below(2)).map(|_| self.row(dice)).collect();
            write.inserted.push(inserted(name, &rows, 0));
        }
        let numbers = self.reference.store().contents().numbers;
        for rows in write.deleted.iter_mut().chain(&mut write.updated).chain(&mut write.inserted) {
            match dice.below(30) {
                0 if self.calm => {}
                0 => rows.shape = 77,
                1 => rows.shape = 0,
                _ => {}
            }
            rows.table_number = match dice.below(20) {
                0 => 0,
                1 if !self.calm => TABLE_MADE_HERE,
                2 if !self.calm => 1 + dice.below(9) as u64,
                _ => numbers.get(&rows.table).copied().unwrap_or(0),
            };
        }
        write
    }

    fn row(&self, dice: &mut Dice) -> Row {
        let keys = if self.calm { 1000 * KEYS } else { KEYS };
        (i64::try_from(dice.below(keys)).unwrap(), i64::try_from(dice.below(2)).unwrap())
    }

    /// Changes rows that the reference holds now, or none; deletes them, deletes and inserts them, or updates them.
    fn change(&mut self, name: &str, in_place: bool, dice: &mut Dice, write: &mut proto::Write) {
        let mut present = self.reference.store().row_ids(name);
        let mut sought = Vec::new();
        for _ in 0..=dice.below(2) {
            let (id, row) = match present.len() {
                0 => (0, self.row(dice)),
                count => present.swap_remove(dice.below(count)),
            };
            let hint = if dice.once_in(if self.calm { 20 } else { 3 }) {
                i64::try_from(dice.below(12)).unwrap() - 1
            } else {
                id
            };
            let row = if dice.once_in(12) && !self.calm { self.row(dice) } else { row };
            sought.push(Sought { row, hint, new: None });
        }
        let new_value = |row: Row| (row.0, (row.1 + 1) % 3);
        if in_place {
            sought.iter_mut().for_each(|sought| sought.new = Some(new_value(sought.row)));
            write.updated.push(changed(name, &sought, 0));
            return;
        }
        // As two chunks at times, like a large statement.
        for chunk in sought.chunks(1 + dice.below(2)) {
            write.deleted.push(changed(name, chunk, 0));
        }
        if dice.once_in(2) {
            let rows: Vec<Row> = sought.iter().map(|sought| new_value(sought.row)).collect();
            write.inserted.push(inserted(name, &rows, 0));
        }
    }

    fn append(&mut self, kind: EntryKind, data: Bytes) {
        let index = LogIndex(self.history.entries.len() as u64 + 1);
        let proposal = kind == EntryKind::Normal && !data.is_empty();
        if proposal {
            self.oddities.note(entry::decode(index.0, &data).unwrap());
        }
        let entry = LogEntry { term: Term(1), index, kind, data, context: Bytes::new() };
        self.history.entries.push(entry.clone());
        let entries = &self.history.entries;
        let read = |_: GroupId, index: LogIndex| Ok(entries[usize::try_from(index.0).unwrap() - 1].clone());
        let decision = self.reference.apply(&of_root(std::slice::from_ref(&entry)), &read).unwrap().pop();
        if proposal {
            let fate = self.oracle.apply(index.0, &entry.data);
            let decided = Fate::of(decision.as_ref().unwrap().outcome.as_ref());
            assert_eq!(decided, fate, "entry {index}: {:?}", entry::decode(index.0, &entry.data));
            if is_for_another_table(decision.as_ref().unwrap()) {
                *self.history.fates.entry("another table".into()).or_default() += 1;
            }
            let drawn = drawn(decision.as_ref().unwrap());
            assert_eq!(drawn, self.oracle.drawn, "entry {index}: {:?}", entry::decode(index.0, &entry.data));
            if drawn.is_some() {
                *self.history.fates.entry("drew".into()).or_default() += 1;
            }
            *self.history.fates.entry(format!("{fate:?}")).or_default() += 1;
        }
        let contents = self.reference.store().contents();
        assert_eq!(
            contents,
            self.oracle.contents,
            "after entry {index}: {:?}",
            entry::decode(index.0, &entry.data)
        );
        // No transaction that cannot be completed any more holds back the log.
        let needed = self.reference.state().origins.needed_from();
        assert_eq!(!needed.is_empty(), self.oracle.has_open(), "after entry {index}");
        self.history.decisions.push(decision);
        self.history.states.push(self.reference.state().encode());
        self.history.marks.append(&mut self.reference.take_digests().marks);
        assert_eq!(self.history.marks.last().unwrap().digest, self.reference.state().digest.0);
        self.history.contents.push(contents);
    }
}
