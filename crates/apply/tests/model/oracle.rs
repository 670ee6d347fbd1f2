//! What entries mean, in the plainest way: one at a time, nothing forgotten, nothing shared with the applier.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost::Message;
use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_proto::log::v1::{self as proto, entry::Body, step::Kind};
use quack_types::NodeId;

use super::contents::{Contents, Ddl, Key, duplicate, new_sequence, no_table, other_shape, other_table};
use super::rows::{SHAPE, decode_changed, decode_inserted, decode_placed};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Void,
    Applied,
    Refused { kind: i32, conflict: bool },
}

impl Fate {
    pub fn of(outcome: Option<&proto::Outcome>) -> Self {
        match outcome.map(|outcome| outcome.kind.as_ref().unwrap()) {
            None => Self::Void,
            Some(proto::outcome::Kind::Applied(_)) => Self::Applied,
            Some(proto::outcome::Kind::Refused(refused)) => {
                Self::Refused { kind: i32::try_from(refused.error_kind).unwrap(), conflict: refused.conflict }
            }
        }
    }
}

#[derive(Default)]
struct Origin {
    boot: u64,
    answered_through: u64,
    /// Of these, the ones that every entry has named so far.
    unanswered: BTreeSet<u64>,
    fates: HashMap<u64, Fate>,
    /// Parts by transaction and number.
    parts: BTreeMap<(u64, u32), proto::Part>,
}

impl Origin {
    fn is_answered(&self, sequence: u64) -> bool {
        sequence <= self.answered_through && !self.unanswered.contains(&sequence)
    }
}

/// What is known of the order of rows. Nothing of it is ever forgotten.
#[derive(Default)]
struct Order {
    revision: u64,
    /// By number.
    changed: BTreeMap<u64, u64>,
    all_changed: u64,
    unordered: BTreeSet<u64>,
    unordered_below: u64,
}

impl Order {
    fn permits(&self, rows: &proto::Rows) -> bool {
        let places = rows.places.as_ref().unwrap();
        let changed = self.changed.get(&rows.table_number).copied().unwrap_or(0).max(self.all_changed);
        let is_ordered =
            rows.table_number >= self.unordered_below && !self.unordered.contains(&rows.table_number);
        let are_all = places.runs.is_empty() && places.columns.is_empty();
        changed <= places.revision && places.revision <= self.revision && (is_ordered || are_all)
    }

    fn applied(
        &mut self,
        index: u64,
        writes: &[&proto::Write],
        keys: &HashMap<String, Key>,
        changes_catalog: bool,
    ) {
        let rows = || writes.iter().flat_map(|write| write.deleted.iter().chain(&write.updated));
        if rows().all(|rows| rows.count == 0 || rows.table_number == 1) && !changes_catalog {
            return;
        }
        self.revision += 1;
        if changes_catalog {
            self.all_changed = self.revision;
        }
        for rows in rows().filter(|rows| rows.table_number != 1) {
            if rows.table_number == 0 {
                self.all_changed = self.revision;
                self.unordered_below = (index + 1) << 20;
                continue;
            }
            self.changed.insert(rows.table_number, self.revision);
            match &rows.places {
                Some(places) if places.runs.is_empty() && places.columns.is_empty() => {
                    self.unordered.remove(&rows.table_number);
                }
                None if keys.get(&rows.table) == Some(&Key::None) => {
                    self.unordered.insert(rows.table_number);
                }
                _ => {}
            }
        }
    }
}

/// Holds what the cluster should hold.
#[derive(Default)]
pub struct Oracle {
    pub contents: Contents,
    order: Order,
    origins: HashMap<u64, Origin>,
    /// Incarnations of nodes that entries have named, by name.
    incarnations: HashMap<String, u64>,
    /// Origins that propose nothing any more.
    ended: HashSet<u64>,
    /// What the last entry has drawn from a sequence, if it was the first with its id.
    pub drawn: Option<Vec<i64>>,
    /// How often each proposal has changed the contents.
    pub changes: HashMap<(u64, u64, u64), usize>,
}

const GONE: Fate = Fate::Refused { kind: 10, conflict: false };
const CONFLICT: Fate = Fate::Refused { kind: 10, conflict: true };

impl Oracle {
    /// Applies what is in the root's entry `index`.
    pub fn apply(&mut self, index: u64, data: &[u8]) -> Fate {
        self.drawn = None;
        let entry = proto::Entry::decode(data).unwrap();
        let id = entry.id.unwrap();
        if self.ended.contains(&id.origin) {
            return Fate::Void;
        }
        let origin = self.origins.entry(id.origin).or_default();
        if id.boot < origin.boot {
            return Fate::Void;
        }
        if id.boot > origin.boot {
            *origin = Origin { boot: id.boot, ..Origin::default() };
        }
        let said = entry.unanswered.iter().all(|sequence| *sequence != id.sequence);
        let is_void = origin.is_answered(id.sequence) || said && id.sequence <= entry.answered_through;
        if entry.answered_through >= origin.answered_through {
            let before = std::mem::replace(&mut origin.answered_through, entry.answered_through);
            let former = std::mem::take(&mut origin.unanswered);
            let named =
                entry.unanswered.iter().copied().filter(|sequence| *sequence <= entry.answered_through);
            origin.unanswered = named.filter(|named| *named > before || former.contains(named)).collect();
        }
        if is_void {
            return Fate::Void;
        }
        if let Some(fate) = origin.fates.get(&id.sequence) {
            return *fate;
        }
        let fate = match entry.body.unwrap() {
            Body::Boot(_) | Body::Verify(_) | Body::Settings(_) => Fate::Applied,
            Body::Member(member) => {
                let (fate, forgotten) = set_member(&mut self.incarnations, &mut self.ended, member);
                forgotten.iter().filter(|life| **life != id.origin).for_each(|life| {
                    self.origins.remove(life);
                });
                let origin = self.origins.entry(id.origin).or_default();
                origin.fates.insert(id.sequence, fate);
                return fate;
            }
            Body::Abort(abort) => {
                origin.fates.entry(abort.transaction).or_insert(GONE);
                Fate::Applied
            }
            Body::Part(part) => take_part(origin, id.sequence, part),
            Body::Transaction(transaction) => {
                let first = (id.sequence, 0);
                let parts: Vec<_> =
                    origin.parts.range(first..=(id.sequence, u32::MAX)).map(|(_, part)| part).collect();
                let fate = run(&mut self.contents, &self.order, &transaction, &parts, &mut self.drawn);
                if fate == Fate::Applied {
                    let own = transaction.steps.iter().filter_map(|step| match &step.kind {
                        Some(Kind::Write(write)) => Some(write),
                        _ => None,
                    });
                    let writes: Vec<&proto::Write> =
                        parts.iter().filter_map(|part| part.write.as_ref()).chain(own).collect();
                    let keys =
                        self.contents.tables.iter().map(|(name, (key, _))| (name.clone(), *key)).collect();
                    let changes_catalog =
                        transaction.steps.iter().any(|step| matches!(step.kind, Some(Kind::Ddl(_))));
                    self.order.applied(index, &writes, &keys, changes_catalog);
                    number_tables(&mut self.contents, index, &transaction);
                    *self.changes.entry((id.origin, id.boot, id.sequence)).or_default() += 1;
                }
                fate
            }
        };
        origin.fates.insert(id.sequence, fate);
        fate
    }

    /// Transactions that are open, of origins that can still complete them.
    pub fn has_open(&self) -> bool {
        let living = self.origins.iter().filter(|(id, _)| !self.ended.contains(id)).map(|(_, origin)| origin);
        living.flat_map(|origin| origin.parts.keys().map(move |(transaction, _)| (origin, transaction))).any(
            |(origin, transaction)| {
                !origin.is_answered(*transaction) && !origin.fates.contains_key(transaction)
            },
        )
    }
}

/// An earlier life of a node proposes nothing any more; returns those that are so old that they are forgotten.
fn set_member(
    incarnations: &mut HashMap<String, u64>,
    ended: &mut HashSet<u64>,
    member: proto::Member,
) -> (Fate, Vec<u64>) {
    let known = incarnations.get(&member.node_id).copied().unwrap_or(0);
    if member.incarnation < known || member.begins && member.incarnation == known {
        return (GONE, Vec::new());
    }
    let node = NodeId::new(member.node_id.as_str()).unwrap();
    let over = member.incarnation + u64::from(member.removed);
    let forgotten: Vec<u64> = (0..over.saturating_sub(8)).map(|life| node.raft_id(life).0).collect();
    forgotten.iter().for_each(|life| {
        ended.remove(life);
    });
    ended.extend((over.saturating_sub(8)..over).map(|incarnation| node.raft_id(incarnation).0));
    incarnations.insert(member.node_id, member.incarnation);
    (Fate::Applied, forgotten)
}

fn take_part(origin: &mut Origin, sequence: u64, part: proto::Part) -> Fate {
    let transaction = part.transaction;
    let over = origin.is_answered(transaction) || origin.fates.contains_key(&transaction);
    if over || transaction >= sequence || origin.parts.contains_key(&(transaction, part.number)) {
        return GONE;
    }
    origin.parts.insert((transaction, part.number), part);
    Fate::Applied
}

fn run(
    contents: &mut Contents,
    order: &Order,
    transaction: &proto::Transaction,
    parts: &[&proto::Part],
    drawn: &mut Option<Vec<i64>>,
) -> Fate {
    if !parts.iter().map(|part| part.number).eq(0..transaction.parts) {
        return GONE;
    }
    let is_write = |part: &&proto::Part| {
        let step = transaction.steps.get(part.step as usize);
        step.is_some_and(|step| matches!(step.kind, Some(Kind::Write(_))))
    };
    if !parts.iter().all(is_write) {
        return GONE;
    }
    let is_alone = |step: &proto::Step| matches!(step.kind, Some(Kind::Draw(_) | Kind::Set(_)));
    if transaction.steps.len() > 1 && transaction.steps.iter().any(is_alone) {
        return GONE;
    }
    let mut after = contents.clone();
    let mut violation = None;
    for (number, step) in transaction.steps.iter().enumerate() {
        let done = match step.kind.as_ref().unwrap() {
            Kind::Ddl(ddl) => run_ddl(&mut after, &ddl.sql).map(|()| true),
            Kind::Sequence(usage) => {
                let known = after.sequences.get_mut(&usage.name);
                if let Some(known) = known.filter(|known| known.usage_count < usage.usage_count) {
                    (known.usage_count, known.counter) = (usage.usage_count, usage.counter);
                    known.last_value = usage.last_value;
                }
                Ok(true)
            }
            Kind::Draw(draw) => draw_one_by_one(&mut after, draw).map(|values| {
                *drawn = Some(values);
                true
            }),
            Kind::Set(set) => run_set(&mut after, set).map(|()| true),
            Kind::Write(write) => {
                let own = parts.iter().filter(|part| part.step as usize == number).map(|part| &part.write);
                let writes: Vec<&proto::Write> = own.flatten().chain([write]).collect();
                run_writes(&mut after, order, &writes, &mut violation)
            }
        };
        match done {
            Ok(true) => {}
            Ok(false) => return CONFLICT,
            Err(error) => {
                let conflict = error.kind == ErrorKind::TRANSACTION;
                return Fate::Refused { kind: error.kind.0, conflict };
            }
        }
    }
    if let Some(error) = violation {
        let StoreError { kind, .. } = error;
        return Fate::Refused { kind: kind.0, conflict: false };
    }
    *contents = after;
    Fate::Applied
}

/// What a transaction that changes the catalog does at its end: the numbers are its position's own.
fn number_tables(contents: &mut Contents, index: u64, transaction: &proto::Transaction) {
    if !transaction.steps.iter().any(|step| matches!(step.kind, Some(Kind::Ddl(_)))) {
        return;
    }
    let mut next = index << 20;
    for name in contents.tables.keys() {
        contents.numbers.entry(name.clone()).or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
}

/// A sequence of the model, which counts up.
fn draw_one_by_one(contents: &mut Contents, draw: &proto::SequenceDraw) -> Result<Vec<i64>, StoreError> {
    let known = contents.sequences.get_mut(&draw.name).ok_or_else(|| no_table(&draw.name))?;
    let mut values = Vec::new();
    while values.len() < usize::try_from(draw.count.max(1)).unwrap() && known.counter <= known.maximum {
        values.push(known.counter);
        known.usage_count += 1;
        known.last_value = Some(known.counter);
        known.counter += known.increment;
        if known.cycle && known.counter > known.maximum {
            known.counter = known.minimum;
        }
    }
    if values.is_empty() { Err(StoreError::new(ErrorKind::SEQUENCE, "its end")) } else { Ok(values) }
}

fn run_set(contents: &mut Contents, set: &proto::SequenceSet) -> Result<(), StoreError> {
    let known = contents.sequences.get_mut(&set.name).ok_or_else(|| no_table(&set.name))?;
    if !(known.minimum..=known.maximum).contains(&set.value) {
        return Err(StoreError::new(ErrorKind::SEQUENCE, "no value of it"));
    }
    known.counter = set.value;
    known.usage_count += 1;
    if set.is_called {
        known.usage_count -= 1;
        let one = proto::SequenceDraw { name: set.name.clone(), count: 1, ..Default::default() };
        draw_one_by_one(contents, &one)?;
    }
    Ok(())
}

fn run_writes(
    contents: &mut Contents,
    order: &Order,
    writes: &[&proto::Write],
    violation: &mut Option<StoreError>,
) -> Result<bool, StoreError> {
    for rows in writes.iter().flat_map(|write| write.deleted.iter().chain(&write.updated)) {
        if rows.places.is_some() && !order.permits(rows) {
            return Ok(false);
        }
        let (_, bag) = contents.tables.get_mut(&rows.table).ok_or_else(|| no_table(&rows.table))?;
        check_table(rows, contents.numbers.get(&rows.table))?;
        if rows.places.is_some() {
            for (_, row, new) in decode_placed(rows) {
                let place = bag.iter().position(|there| *there == row).expect("it is where it was");
                bag.remove(place);
                bag.extend(new.map(|value| (row.0, value)));
            }
            bag.sort_unstable();
            continue;
        }
        // Rows of one chunk are changed together: none of them is what another one becomes.
        let mut new_rows = Vec::new();
        for sought in decode_changed(rows) {
            let Some(place) = bag.iter().position(|row| *row == sought.row) else { return Ok(false) };
            bag.remove(place);
            new_rows.extend(sought.new);
        }
        bag.extend(new_rows);
        bag.sort_unstable();
    }
    for rows in writes.iter().flat_map(|write| &write.inserted) {
        let (key, bag) = contents.tables.get_mut(&rows.table).ok_or_else(|| no_table(&rows.table))?;
        check_table(rows, contents.numbers.get(&rows.table))?;
        for row in decode_inserted(rows) {
            if *key != Key::None && bag.iter().any(|other| other.0 == row.0) {
                if *key == Key::Unique {
                    return Err(duplicate(row.0));
                }
                violation.get_or_insert(duplicate(row.0));
            }
            bag.push(row);
        }
        bag.sort_unstable();
    }
    Ok(true)
}

fn check_table(rows: &proto::Rows, number: Option<&u64>) -> Result<(), StoreError> {
    let is_it = match rows.table_number {
        0 => true,
        1 => number.is_none(),
        meant => number == Some(&meant),
    };
    if !is_it {
        return Err(other_table(&rows.table));
    }
    if rows.shape != 0 && rows.shape != SHAPE { Err(other_shape(&rows.table)) } else { Ok(()) }
}

fn run_ddl(contents: &mut Contents, sql: &str) -> Result<(), StoreError> {
    let catalog = |name: &str| StoreError::new(ErrorKind::CATALOG, name);
    let done = match Ddl::parse(sql)? {
        Ddl::CreateTable(name, key) => {
            let free = !contents.tables.contains_key(&name);
            contents.tables.entry(name).or_insert((key, Vec::new()));
            free
        }
        Ddl::DropTable(name) => {
            contents.numbers.remove(&name);
            contents.tables.remove(&name).is_some()
        }
        Ddl::RenameTable(name, new) => {
            let free = !contents.tables.contains_key(&new);
            let table = contents.tables.remove(&name).filter(|_| free);
            if let Some(number) = contents.numbers.remove(&name) {
                contents.numbers.insert(new.clone(), number);
            }
            table.map(|table| contents.tables.insert(new, table)).is_some()
        }
        Ddl::CreateSequence(name) => {
            let free = !contents.sequences.contains_key(&name);
            contents.sequences.entry(name.clone()).or_insert_with(|| new_sequence(&name));
            free
        }
        Ddl::DropSequence(name) => contents.sequences.remove(&name).is_some(),
    };
    if done { Ok(()) } else { Err(catalog(sql)) }
}
