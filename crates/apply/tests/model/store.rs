//! The model of a node's store.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use quack_apply::sequence::SequenceState;
use quack_apply::store::ErrorKind;
use quack_apply::{Placement, Store, StoreError, TABLE_MADE_HERE};
use quack_proto::log::v1::Rows;
use quack_types::LogIndex;

use super::contents::{Contents, Ddl, Key, duplicate, new_sequence, no_table, other_shape, other_table};
use super::rows::{Row, SHAPE, decode_changed, decode_inserted, decode_placed};
use super::{Dice, rows::Sought};

/// Row ids from here on belong to rows that the open transaction has inserted.
const LOCAL: i64 = 1 << 60;

#[derive(Debug, Clone)]
struct Table {
    key: Key,
    /// 0 until it has one.
    number: u64,
    /// By row id.
    rows: BTreeMap<i64, Row>,
    next: i64,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    tables: BTreeMap<String, Table>,
    sequences: BTreeMap<String, SequenceState>,
}

/// A committed transaction, as a checkpoint would keep it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub index: LogIndex,
    pub state: Vec<u8>,
    tables: Tables,
}

impl Snapshot {
    pub fn contents(&self) -> Contents {
        contents(&self.tables)
    }
}

struct Transaction {
    tables: Tables,
    before: Tables,
    /// Where the rows are that the next change is about.
    found: Vec<(String, i64, Option<Row>)>,
    /// What a commit fails with.
    violation: Option<StoreError>,
}

/// Tables that are placed in a lane of their own, by their names.
pub const LANE_TABLES: [&str; 3] = ["in-a", "in-b", "in-c"];

/// A store in memory.
pub struct ModelStore {
    committed: Tables,
    transaction: Option<Transaction>,
    dice: Dice,
    /// Whether row ids have gaps of this node's own.
    holes: bool,
    /// Operations until one fails by an error of this node's own.
    pub fails_in: Cell<Option<usize>>,
    /// A row that cannot be committed, which shows late.
    pub breaks_off: Option<Row>,
    /// Whether operations run out of memory now and then, until there is room for the entry.
    is_short_of_memory: bool,
    has_room: bool,
    /// Everything that was committed.
    pub snapshots: Vec<Snapshot>,
    pub met: Met,
}

/// How often things have happened, so that a run that met nothing is noticed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Met {
    pub commits: usize,
    pub rollbacks: usize,
    pub searches: usize,
    pub hints_followed: usize,
    /// Sequences that go on from elsewhere.
    pub sets: usize,
    /// Entries for which room was made.
    pub rooms: usize,
    /// Times that it has waited for memory.
    pub waits: usize,
    pub placed: usize,
}

fn contents(tables: &Tables) -> Contents {
    let rows = |table: &Table| {
        let mut rows: Vec<Row> = table.rows.values().copied().collect();
        rows.sort_unstable();
        (table.key, rows)
    };
    let numbered = tables.tables.iter().filter(|(_, table)| table.number > 0);
    Contents {
        tables: tables.tables.iter().map(|(name, table)| (name.clone(), rows(table))).collect(),
        numbers: numbered.map(|(name, table)| (name.clone(), table.number)).collect(),
        sequences: tables.sequences.clone(),
    }
}

impl ModelStore {
    pub fn new(seed: u64, holes: bool) -> Self {
        Self::open(&Snapshot::default(), seed, holes)
    }

    /// A node that starts again from a checkpoint. With `holes`, the checkpoint has moved rows.
    pub fn open(snapshot: &Snapshot, seed: u64, holes: bool) -> Self {
        let mut store = Self {
            committed: snapshot.tables.clone(),
            transaction: None,
            dice: Dice(seed),
            holes,
            fails_in: Cell::new(None),
            breaks_off: None,
            is_short_of_memory: false,
            has_room: false,
            snapshots: vec![snapshot.clone()],
            met: Met::default(),
        };
        store.is_short_of_memory = store.dice.once_in(3);
        if holes {
            let mut tables = std::mem::take(&mut store.committed);
            for table in tables.tables.values_mut() {
                let rows = std::mem::take(&mut table.rows);
                table.next = 0;
                rows.into_values().for_each(|row| store.append(table, row));
            }
            store.committed = tables;
        }
        store
    }

    pub fn contents(&self) -> Contents {
        contents(&self.committed)
    }

    /// The row ids of a table's rows.
    pub fn row_ids(&self, table: &str) -> Vec<(i64, Row)> {
        self.committed
            .tables
            .get(table)
            .into_iter()
            .flat_map(|table| &table.rows)
            .map(|(id, row)| (*id, *row))
            .collect()
    }

    fn append(&mut self, table: &mut Table, row: Row) {
        if self.holes {
            table.next += i64::try_from(self.dice.below(3)).unwrap();
        }
        table.rows.insert(table.next, row);
        table.next += 1;
    }

    fn operation(&mut self) -> Result<(), StoreError> {
        match self.fails_in.get() {
            Some(0) => return Err(StoreError::new(ErrorKind::IO, "no space left on device")),
            left => self.fails_in.set(left.map(|left| left - 1)),
        }
        if self.is_short_of_memory && !self.has_room && self.dice.once_in(30) {
            return Err(StoreError::new(ErrorKind::OUT_OF_MEMORY, "the memory limit is too low"));
        }
        Ok(())
    }

    fn open_transaction(&mut self) -> &mut Transaction {
        self.transaction.as_mut().expect("an operation outside of a transaction")
    }

    fn table<'a>(transaction: &'a mut Transaction, rows: &Rows) -> Result<&'a mut Table, StoreError> {
        let table = transaction.tables.tables.get_mut(&rows.table).ok_or_else(|| no_table(&rows.table))?;
        let number = if rows.table_number == TABLE_MADE_HERE { 0 } else { rows.table_number };
        if rows.table_number != 0 && number != table.number {
            return Err(other_table(&rows.table));
        }
        if rows.shape != 0 && rows.shape != SHAPE { Err(other_shape(&rows.table)) } else { Ok(table) }
    }

    fn find_one(&mut self, name: &str, sought: &Sought, search: bool) -> Option<i64> {
        let last = self.dice.once_in(2);
        let transaction = self.open_transaction();
        let taken: BTreeSet<i64> =
            transaction.found.iter().filter(|(table, ..)| table == name).map(|(_, id, _)| *id).collect();
        let table = &transaction.tables.tables[name];
        let is_it = |id: &i64| table.rows.get(id) == Some(&sought.row) && !taken.contains(id);
        if sought.hint < LOCAL && is_it(&sought.hint) {
            self.met.hints_followed += 1;
            return Some(sought.hint);
        }
        if !search {
            return None;
        }
        let equal: Vec<i64> = table.rows.keys().copied().filter(is_it).collect();
        let is_made_here = table.number == 0;
        self.met.searches += 1;
        if last && !is_made_here { equal.last().copied() } else { equal.first().copied() }
    }
}

impl Store for ModelStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        assert!(self.transaction.is_none(), "begin inside of a transaction");
        self.operation()?;
        let tables = self.committed.clone();
        self.transaction =
            Some(Transaction { before: tables.clone(), tables, found: Vec::new(), violation: None });
        Ok(())
    }

    fn commit(&mut self, index: LogIndex, state: &[u8]) -> Result<(), StoreError> {
        self.operation()?;
        if let Some(violation) = self.open_transaction().violation.clone() {
            return Err(violation);
        }
        let breaks_off = self.breaks_off;
        let holds =
            |table: &Table| breaks_off.is_some_and(|row| table.rows.values().any(|held| *held == row));
        if self.open_transaction().tables.tables.values().any(holds) {
            return Err(StoreError::new(ErrorKind::FATAL, "a commit that breaks off"));
        }
        let mut transaction = self.transaction.take().unwrap();
        assert!(transaction.found.is_empty(), "commit with rows that were found and not changed");
        for table in transaction.tables.tables.values_mut() {
            let inserted = table.rows.split_off(&LOCAL);
            inserted.into_values().for_each(|row| self.append(table, row));
        }
        self.committed = transaction.tables;
        self.has_room = false;
        self.met.commits += 1;
        let last = self.snapshots.last().unwrap();
        // Between two entries of the root, entries of lanes move the state.
        let is_further = index > last.index || index == last.index && state != last.state;
        assert!(is_further, "entry {index} was committed after entry {}", last.index);
        self.snapshots.push(Snapshot { index, state: state.to_vec(), tables: self.committed.clone() });
        Ok(())
    }

    fn rollback(&mut self) {
        self.met.rollbacks += 1;
        self.transaction = None;
    }

    fn clear_way(&mut self, error: ErrorKind) -> Result<bool, StoreError> {
        let lacks_memory = error == ErrorKind::OUT_OF_MEMORY;
        assert!(!(lacks_memory && self.has_room), "out of memory where there is room");
        self.met.rooms += usize::from(lacks_memory);
        // The first time others have all that there is, and then every third time.
        let makes_room = lacks_memory && self.met.rooms % 3 != 1;
        self.has_room |= makes_room;
        Ok(makes_room)
    }

    fn waits_for_memory(&mut self) -> bool {
        self.met.waits += 1;
        // Others go on needing it for a while.
        self.has_room = self.met.waits.is_multiple_of(2);
        true
    }

    fn find(&mut self, rows: &Rows, search: bool) -> Result<bool, StoreError> {
        self.operation()?;
        Self::table(self.open_transaction(), rows)?;
        for sought in decode_changed(rows) {
            let Some(id) = self.find_one(&rows.table, &sought, search) else { return Ok(false) };
            self.open_transaction().found.push((rows.table.clone(), id, sought.new));
        }
        Ok(true)
    }

    fn change_found(&mut self) -> Result<(), StoreError> {
        self.operation()?;
        let transaction = self.open_transaction();
        for (name, id, new) in std::mem::take(&mut transaction.found) {
            let rows = &mut transaction.tables.tables.get_mut(&name).unwrap().rows;
            match new {
                Some(row) => rows.insert(id, row),
                None => rows.remove(&id),
            };
        }
        Ok(())
    }

    fn forget_found(&mut self) {
        self.open_transaction().found.clear();
    }

    fn has_key(&mut self, rows: &Rows) -> Result<bool, StoreError> {
        Ok(Self::table(self.open_transaction(), rows)?.key != Key::None)
    }

    fn change_places(&mut self, rows: &Rows) -> Result<(), StoreError> {
        self.operation()?;
        self.met.placed += 1;
        let transaction = self.open_transaction();
        let before = transaction.before.clone();
        Self::table(transaction, rows)?;
        let old: Vec<(i64, Row)> =
            before.tables[&rows.table].rows.iter().map(|(id, row)| (*id, *row)).collect();
        let table = Self::table(transaction, rows)?;
        let are_all = rows.places.as_ref().unwrap().runs.is_empty();
        let mut found = Vec::new();
        let mut expected = Vec::new();
        for (place, row, new) in decode_placed(rows) {
            let (id, there) = old[place];
            assert!(id < LOCAL, "a row of the transaction's own has a place");
            found.push(there);
            expected.push(row);
            match new {
                Some(value) => table.rows.insert(id, (there.0, value)),
                None => table.rows.remove(&id),
            };
        }
        if are_all {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "other rows have these places here");
        Ok(())
    }

    fn insert(&mut self, rows: &Rows) -> Result<(), StoreError> {
        self.operation()?;
        let transaction = self.open_transaction();
        let table = Self::table(transaction, rows)?;
        let key = table.key;
        let mut violation = None;
        for row in decode_inserted(rows) {
            if key != Key::None && table.rows.values().any(|other| other.0 == row.0) {
                violation.get_or_insert(duplicate(row.0));
            }
            let id = table.rows.last_key_value().map_or(LOCAL, |(last, _)| LOCAL.max(last + 1));
            table.rows.insert(id, row);
        }
        match (key, violation) {
            (Key::Unique, Some(violation)) => return Err(violation),
            (_, Some(violation)) => {
                transaction.violation.get_or_insert(violation);
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn placements(&mut self) -> Result<Vec<Placement>, StoreError> {
        let tables = &self.open_transaction().tables.tables;
        let placed = LANE_TABLES.iter().filter(|name| tables.contains_key(**name));
        Ok(placed.map(|name| Placement { group: (*name).to_owned(), tables: 1 }).collect())
    }

    fn number_tables(&mut self, last: u64) -> Result<u64, StoreError> {
        self.operation()?;
        let tables = self.open_transaction().tables.tables.values_mut();
        let numbers = (last + 1)..;
        let given = tables.filter(|table| table.number == 0).zip(numbers).map(|(table, number)| {
            table.number = number;
            number
        });
        Ok(given.last().unwrap_or(last))
    }

    fn ddl(&mut self, ddl: &quack_proto::log::v1::Ddl) -> Result<(), StoreError> {
        self.operation()?;
        let exists = |name: &str| StoreError::new(ErrorKind::CATALOG, format!("{name} already exists!"));
        let tables = &mut self.open_transaction().tables;
        match Ddl::parse(&ddl.sql)? {
            Ddl::CreateTable(name, _) if tables.tables.contains_key(&name) => return Err(exists(&name)),
            Ddl::CreateTable(name, key) => {
                tables.tables.insert(name, Table { key, number: 0, rows: BTreeMap::new(), next: 0 });
            }
            Ddl::DropTable(name) => {
                tables.tables.remove(&name).ok_or_else(|| no_table(&name))?;
            }
            Ddl::RenameTable(_, new) if tables.tables.contains_key(&new) => return Err(exists(&new)),
            Ddl::RenameTable(name, new) => {
                let table = tables.tables.remove(&name).ok_or_else(|| no_table(&name))?;
                tables.tables.insert(new, table);
            }
            Ddl::CreateSequence(name) if tables.sequences.contains_key(&name) => return Err(exists(&name)),
            Ddl::CreateSequence(name) => {
                let sequence = new_sequence(&name);
                tables.sequences.insert(name, sequence);
            }
            Ddl::DropSequence(name) => {
                tables.sequences.remove(&name).ok_or_else(|| no_table(&name))?;
            }
        }
        Ok(())
    }

    fn sequence(&mut self, _: &str, name: &str) -> Result<Option<SequenceState>, StoreError> {
        self.operation()?;
        Ok(self.open_transaction().tables.sequences.get(name).cloned())
    }

    fn move_sequence(
        &mut self,
        _: &str,
        name: &str,
        state: &SequenceState,
        is_set: bool,
    ) -> Result<(), StoreError> {
        self.operation()?;
        let known = self.open_transaction().tables.sequences.get_mut(name).expect("it was there just now");
        assert!(state.usage_count > known.usage_count, "a sequence moved back");
        *known = state.clone();
        self.met.sets += usize::from(is_set);
        Ok(())
    }
}
