//! The store as the applier needs it.

use quack_proto::log::v1::{Ddl, Rows};
use quack_types::LogIndex;

use crate::lanes::Placement;
use crate::revisions::Revisions;
use crate::sequence::SequenceState;

/// A DuckDB exception type by its number (`ExceptionType` in DuckDB's `exception.hpp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind(pub i32);

impl ErrorKind {
    pub const OUT_OF_RANGE: Self = Self(1);
    pub const CONVERSION: Self = Self(2);
    pub const SERIALIZATION: Self = Self(9);
    pub const TRANSACTION: Self = Self(10);
    pub const NOT_IMPLEMENTED: Self = Self(11);
    pub const CATALOG: Self = Self(13);
    pub const CONSTRAINT: Self = Self(18);
    pub const CONNECTION: Self = Self(21);
    pub const BINDER: Self = Self(24);
    pub const IO: Self = Self(28);
    pub const INTERRUPT: Self = Self(29);
    /// A commit has broken off, for a reason that may be the entry's and is not known to be this node's own.
    pub const FATAL: Self = Self(30);
    pub const INTERNAL: Self = Self(31);
    pub const INVALID_INPUT: Self = Self(32);
    pub const OUT_OF_MEMORY: Self = Self(33);
    pub const SEQUENCE: Self = Self(41);

    /// DuckDB's name of the type, which stands before " Error: " in its messages.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "Out of Range",
            2 => "Conversion",
            5 => "Mismatch Type",
            6 => "Divide by Zero",
            7 => "Object Size",
            8 => "Invalid type",
            9 => "Serialization",
            10 => "TransactionContext",
            11 => "Not implemented",
            12 => "Expression",
            13 => "Catalog",
            14 => "Parser",
            15 => "Planner",
            17 => "Executor",
            18 => "Constraint",
            19 => "Index",
            21 => "Connection",
            22 => "Syntax",
            23 => "Settings",
            24 => "Binder",
            26 => "Optimizer",
            28 => "IO",
            29 => "INTERRUPT",
            30 => "FATAL",
            31 => "INTERNAL",
            32 => "Invalid Input",
            33 => "Out of Memory",
            34 => "Permission",
            35 => "Parameter Not Resolved",
            36 => "Parameter Not Allowed",
            37 => "Dependency",
            38 => "HTTP",
            39 => "Missing Extension",
            41 => "Sequence",
            42 => "Invalid Configuration",
            _ => "Unknown",
        }
    }

    /// Whether an error of this type follows from the entry and the rows before it alone, and therefore happens on
    /// every node. Everything else (disk, memory, corruption, a bug) may be this node's own trouble.
    pub fn is_deterministic(self) -> bool {
        // OUT_OF_RANGE, CONVERSION, UNKNOWN_TYPE, DECIMAL, MISMATCH_TYPE, DIVIDE_BY_ZERO, OBJECT_SIZE, INVALID_TYPE,
        // TRANSACTION, NOT_IMPLEMENTED, EXPRESSION, CATALOG, PARSER, PLANNER, CONSTRAINT, SYNTAX, BINDER,
        // INVALID_INPUT, PARAMETER_NOT_RESOLVED, PARAMETER_NOT_ALLOWED, DEPENDENCY, SEQUENCE.
        matches!(self.0, 1..=8 | 10..=15 | 18 | 22 | 24 | 32 | 35..=37 | 41)
    }

    /// Whether an entry that meets an error of this type is refused. An assertion of DuckDB's (`INTERNAL`) fails for an
    /// entry on every node, and must not end all of them; where it fails on one node alone, that node's digest of
    /// outcomes differs from the quorum's.
    pub fn refuses(self) -> bool {
        self.is_deterministic() || self == Self::INTERNAL
    }

    /// Whether an entry that has met an error of this type beside other entries is tried alone: its refusal has a
    /// transaction of its own, and so has what the store makes room for.
    pub fn is_tried_alone(self) -> bool {
        self.refuses() || self == Self::OUT_OF_MEMORY
    }
}

/// Why the store did not do what it was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// DuckDB's class of the error.
    pub kind: ErrorKind,
    /// DuckDB's text of the error, without the class.
    pub message: String,
}

impl StoreError {
    /// An error of the given class.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A transactional store of tables with one writer.
///
/// # What an implementation must guarantee across nodes
/// - Two stores that have committed the same operations in the same order hold the same rows, however the operations
///   were divided into transactions.
/// - An error whose kind [is deterministic](ErrorKind::is_deterministic) happens in both, or in none.
/// - Everything between `begin` and `commit` counts with the position, or nothing does.
pub trait Store {
    /// Starts a transaction.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Ends the transaction and makes it visible, together with `index` and `state`, which replace those of the
    /// transaction before.
    fn commit(&mut self, index: LogIndex, state: &[u8]) -> Result<(), StoreError>;

    /// Ends the transaction without a trace. Never fails: what cannot be rolled back fails the next `begin`.
    fn rollback(&mut self);

    /// Looks for the rows to delete or to update and remembers where they are. Returns false, and may have remembered
    /// some, when one of them is not there. Without `search` only the hints in the chunk are followed, and rows that
    /// this transaction has inserted are not found.
    fn find(&mut self, rows: &Rows, search: bool) -> Result<bool, StoreError>;

    /// Deletes or updates the remembered rows and forgets them.
    fn change_found(&mut self) -> Result<(), StoreError>;

    /// Forgets the remembered rows.
    fn forget_found(&mut self);

    /// Whether no two rows of the table that these are for can be the same: it has a primary key.
    fn has_key(&mut self, rows: &Rows) -> Result<bool, StoreError>;

    /// Deletes or updates rows that `rows.places` names. The transaction has changed nothing but such rows of this table,
    /// and places are those before it. Without runs they are the first rows of the table.
    fn change_places(&mut self, rows: &Rows) -> Result<(), StoreError>;

    /// What a client reads from here on holds everything up to the last commit, behind which these are the revisions. A
    /// store without clients need not know.
    fn reached(&mut self, _revisions: &Revisions) {}

    /// Inserts rows.
    fn insert(&mut self, rows: &Rows) -> Result<(), StoreError>;

    /// After an operation has met `error` and everything was rolled back: ends what others have under way in the store
    /// and what may be the cause, and makes room where memory was short. Returns whether there was anything to do; then
    /// the error decides nothing, and the entry is to be applied again. A store whose tables no other client touches,
    /// and that has all the memory there is, has nothing to do.
    fn clear_way(&mut self, _error: ErrorKind) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// After an operation has met OUT_OF_MEMORY, where everything was rolled back and no room could be made: waits a moment
    /// until others need less. Returns whether the entry is to be applied again; a store that stops says no.
    fn waits_for_memory(&mut self) -> bool {
        false
    }

    /// Which lanes the catalog needs, as this transaction sees it. A store that places no tables needs none.
    fn placements(&mut self) -> Result<Vec<Placement>, StoreError> {
        Ok(Vec::new())
    }

    /// Gives each table that has none a number, in the order of schemas and names, counting on from `last`; returns the
    /// last one given. A table keeps its number as long as it exists, also when it is renamed, and no other table has
    /// it. Rows with another number than their table's are refused. A store in which no table can be mistaken for
    /// another one numbers none.
    fn number_tables(&mut self, last: u64) -> Result<u64, StoreError> {
        Ok(last)
    }

    /// Makes a change of the catalog.
    fn ddl(&mut self, ddl: &Ddl) -> Result<(), StoreError>;

    /// Where a sequence is, as this transaction sees it; `None` when there is none of the name.
    fn sequence(&mut self, schema: &str, name: &str) -> Result<Option<SequenceState>, StoreError>;

    /// Moves a sequence to a state with a larger usage count. It counts with the rest of the transaction, or not at
    /// all. With `is_set`, values that were reserved before are not to be given out any more.
    fn move_sequence(
        &mut self,
        schema: &str,
        name: &str,
        state: &SequenceState,
        is_set: bool,
    ) -> Result<(), StoreError>;
}
