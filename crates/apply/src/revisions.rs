//! When rows of tables were changed last, and of which tables all nodes have the rows in one order.
//!
//! A bulk statement names the rows that it changes by their places (`Places` in the entry). Two things make that the same
//! rows on every node:
//! - **nothing has changed since the statement read them**: no row of the table has been deleted or updated, so that those
//!   that were there have the places that they had; new ones come behind them;
//! - **the order of the rows is the same**. They are appended in the order of the log, and neither a checkpoint that moves
//!   rows nor a restart changes which comes first. But where two rows are the same, nodes may delete another one of them
//!   when they look for rows by their bytes. In a table with a primary key there are no such rows. Any other table is
//!   *unordered* from then on, until all of its rows are deleted.
//!
//! All of this follows from the log alone.

use std::collections::{BTreeMap, BTreeSet};

use quack_proto::log::v1 as proto;

/// So many tables are known one by one. They are stored with every transaction.
const TABLES_MAX: usize = 32;

/// So many unordered tables are known one by one.
const UNORDERED_MAX: usize = 128;

/// What a transaction has done to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The order is what it was, or the same on all nodes again.
    Ordered { emptied: bool },
    /// One of several rows that are the same may be gone.
    Unordered,
}

/// What a transaction has done to rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    tables: BTreeMap<u64, Change>,
    catalog: bool,
    /// Rows of a table of which the number is not known.
    unknown: bool,
}

impl Changed {
    /// Rows that were found by their bytes.
    pub(crate) fn by_bytes(&mut self, table: u64, has_key: bool) {
        match table {
            0 => self.unknown = true,
            // In a table that the transaction makes, rows are where they are at the origin.
            super::TABLE_MADE_HERE => {}
            _ if has_key => {
                self.tables.entry(table).or_insert(Change::Ordered { emptied: false });
            }
            _ => {
                self.tables.insert(table, Change::Unordered);
            }
        }
    }

    /// Rows that were named by their places.
    pub(crate) fn by_places(&mut self, table: u64, are_all: bool) {
        self.tables.insert(table, Change::Ordered { emptied: are_all });
    }

    /// Something of the catalog; which tables this is about is not known.
    pub(crate) fn catalog(&mut self) {
        self.catalog = true;
    }

    fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.catalog && !self.unknown
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revisions {
    /// Counts the transactions that have changed anything.
    pub last: u64,
    tables: BTreeMap<u64, u64>,
    of_others: u64,
    unordered: BTreeSet<u64>,
    unordered_below: u64,
}

impl Revisions {
    /// Whether all nodes have the rows of a table in one order.
    pub fn is_ordered(&self, table: u64) -> bool {
        table >= self.unordered_below && !self.unordered.contains(&table)
    }

    /// Whether places of rows that a statement has read at `revision` are those of the same rows now, on every node. Of
    /// all rows of a table the order makes no difference.
    pub(crate) fn permit(&self, table: u64, revision: u64, are_all: bool) -> bool {
        let changed = self.tables.get(&table).copied().unwrap_or(self.of_others);
        changed <= revision && revision <= self.last && (are_all || self.is_ordered(table))
    }

    /// A transaction has taken effect. Tables that are there by now have numbers below `numbers_end`.
    pub(crate) fn note(&mut self, changed: &Changed, numbers_end: u64) {
        if changed.is_empty() {
            return;
        }
        self.last += 1;
        if changed.catalog || changed.unknown {
            self.tables.clear();
            self.of_others = self.last;
        }
        if changed.unknown {
            self.unordered.clear();
            self.unordered_below = numbers_end;
        }
        for (table, change) in &changed.tables {
            self.tables.insert(*table, self.last);
            match change {
                Change::Unordered if *table >= self.unordered_below => {
                    self.unordered.insert(*table);
                }
                Change::Ordered { emptied: true } => {
                    self.unordered.remove(table);
                }
                _ => {}
            }
        }
        self.keep_few();
    }

    fn keep_few(&mut self) {
        while self.tables.len() > TABLES_MAX {
            let oldest = self.tables.iter().min_by_key(|(table, revision)| (**revision, **table));
            let Some((table, revision)) = oldest.map(|(table, revision)| (*table, *revision)) else { return };
            self.tables.remove(&table);
            self.of_others = self.of_others.max(revision);
        }
        while self.unordered.len() > UNORDERED_MAX {
            let Some(table) = self.unordered.pop_first() else { return };
            self.unordered_below = table + 1;
        }
    }

    /// The tables that are known to be unordered, and the number below which all are.
    pub fn unordered(&self) -> (impl Iterator<Item = u64>, u64) {
        (self.unordered.iter().copied(), self.unordered_below)
    }

    pub(crate) fn encode(&self, state: &mut proto::ApplierState) {
        let revision = |(table, revision): (&u64, &u64)| proto::TableRevision {
            table_number: *table,
            revision: *revision,
        };
        state.revision = self.last;
        state.revisions = self.tables.iter().map(revision).collect();
        state.revision_of_others = self.of_others;
        state.unordered = self.unordered.iter().copied().collect();
        state.unordered_below = self.unordered_below;
    }

    pub(crate) fn decode(state: &proto::ApplierState) -> Self {
        let revision = |of: &proto::TableRevision| (of.table_number, of.revision);
        Self {
            last: state.revision,
            tables: state.revisions.iter().map(revision).collect(),
            of_others: state.revision_of_others,
            unordered: state.unordered.iter().copied().collect(),
            unordered_below: state.unordered_below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 1 << 40;
    const TABLE: u64 = 1 << 20;

    fn by_bytes(table: u64, has_key: bool) -> Changed {
        let mut changed = Changed::default();
        changed.by_bytes(table, has_key);
        changed
    }

    fn by_places(table: u64, are_all: bool) -> Changed {
        let mut changed = Changed::default();
        changed.by_places(table, are_all);
        changed
    }

    fn catalog() -> Changed {
        let mut changed = Changed::default();
        changed.catalog();
        changed
    }

    #[test]
    fn places_are_good_until_rows_of_their_table_change() {
        let mut revisions = Revisions::default();
        assert!(revisions.permit(TABLE, 0, false));
        assert!(!revisions.permit(TABLE, 1, false), "it has not been read yet");
        revisions.note(&by_bytes(TABLE + 1, true), END);
        revisions.note(&Changed::default(), END);
        assert!(revisions.permit(TABLE, 0, false) && revisions.permit(TABLE, 1, false));
        assert!(!revisions.permit(TABLE + 1, 0, false) && revisions.permit(TABLE + 1, 1, false));
        revisions.note(&by_places(TABLE, false), END);
        assert!(!revisions.permit(TABLE, 1, false) && revisions.permit(TABLE, 2, false));
        revisions.note(&catalog(), END);
        for table in TABLE..TABLE + 3 {
            assert!(!revisions.permit(table, 2, false) && revisions.permit(table, 3, false));
        }
    }

    #[test]
    fn rows_that_may_be_the_same_lose_their_order_until_all_are_gone() {
        let mut revisions = Revisions::default();
        revisions.note(&by_bytes(TABLE, false), END);
        revisions.note(&by_bytes(TABLE, true), END);
        assert!(!revisions.permit(TABLE, 2, false), "a key that came later puts nothing in order");
        assert!(revisions.permit(TABLE, 2, true) && revisions.permit(TABLE + 1, 2, false));
        revisions.note(&by_places(TABLE, true), END);
        assert!(revisions.permit(TABLE, 3, false));
        let mut both = by_bytes(TABLE, true);
        both.by_bytes(TABLE, false);
        both.by_bytes(TABLE, true);
        revisions.note(&both, END);
        assert!(!revisions.is_ordered(TABLE));
        revisions.note(&by_bytes(crate::TABLE_MADE_HERE, false), END);
        assert!(revisions.is_ordered(TABLE + 1));
        revisions.note(&by_bytes(0, true), END);
        assert!(
            !revisions.is_ordered(TABLE + 1) && !revisions.is_ordered(END - 1) && revisions.is_ordered(END)
        );
        assert!(!revisions.permit(END, 4, false), "nor is it known what has changed");
    }

    #[test]
    fn what_is_forgotten_counts_as_changed_and_unordered() {
        let mut revisions = Revisions::default();
        let count = UNORDERED_MAX as u64 + 10;
        for i in 0..count {
            revisions.note(&by_bytes(TABLE + i, false), END);
        }
        for i in 0..count {
            assert!(!revisions.is_ordered(TABLE + i));
            assert!(!revisions.permit(TABLE + i, i, true), "changed by revision {}", i + 1);
            assert!(revisions.permit(TABLE + i, count, true));
        }
        assert!(revisions.is_ordered(TABLE + count));
        assert_eq!(revisions.tables.len(), TABLES_MAX);
        assert_eq!(revisions.unordered.len(), UNORDERED_MAX);
        let mut state = proto::ApplierState::default();
        revisions.encode(&mut state);
        assert_eq!(Revisions::decode(&state), revisions);
    }
}
