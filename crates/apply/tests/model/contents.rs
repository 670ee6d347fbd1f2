//! What a store holds, as far as nodes must agree on it: no row ids, rows as bags.

use std::collections::BTreeMap;

use quack_apply::StoreError;
use quack_apply::sequence::SequenceState;
use quack_apply::store::ErrorKind;

use super::rows::Row;

/// What kind of table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Rows may be equal.
    None,
    /// The first column is unique, and the insertion fails that breaks it.
    Unique,
    /// The first column is unique, and the transaction's commit fails after an insertion that breaks it.
    UniqueAtCommit,
}

/// Tables by name with their rows in order, and sequences by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contents {
    pub tables: BTreeMap<String, (Key, Vec<Row>)>,
    /// Of the tables that have one.
    pub numbers: BTreeMap<String, u64>,
    pub sequences: BTreeMap<String, SequenceState>,
}

/// A new sequence: short, so that it ends, or begins again.
pub fn new_sequence(name: &str) -> SequenceState {
    SequenceState {
        usage_count: 0,
        counter: 1,
        last_value: None,
        increment: 3,
        minimum: 1,
        maximum: 60,
        cycle: name == "around",
    }
}

pub fn duplicate(key: i64) -> StoreError {
    StoreError::new(ErrorKind::CONSTRAINT, format!("Duplicate key \"k: {key}\" violates unique constraint"))
}

pub fn no_table(name: &str) -> StoreError {
    StoreError::new(ErrorKind::CATALOG, format!("Table with name {name} does not exist!"))
}

pub fn other_shape(name: &str) -> StoreError {
    StoreError::new(ErrorKind::TRANSACTION, format!("Conflict on table {name}: its columns have changed"))
}

pub fn other_table(name: &str) -> StoreError {
    StoreError::new(ErrorKind::TRANSACTION, format!("Conflict on table {name}: it is another table now"))
}

/// What the model understands of DDL.
#[derive(Debug, Clone, PartialEq)]
pub enum Ddl {
    CreateTable(String, Key),
    DropTable(String),
    RenameTable(String, String),
    CreateSequence(String),
    DropSequence(String),
}

impl Ddl {
    pub fn to_sql(&self) -> String {
        match self {
            Self::CreateTable(name, Key::None) => format!("CREATE TABLE {name}"),
            Self::CreateTable(name, Key::Unique) => format!("CREATE TABLE {name} UNIQUE"),
            Self::CreateTable(name, Key::UniqueAtCommit) => format!("CREATE TABLE {name} DEFERRED"),
            Self::DropTable(name) => format!("DROP TABLE {name}"),
            Self::RenameTable(name, new) => format!("ALTER TABLE {name} RENAME TO {new}"),
            Self::CreateSequence(name) => format!("CREATE SEQUENCE {name}"),
            Self::DropSequence(name) => format!("DROP SEQUENCE {name}"),
        }
    }

    pub fn parse(sql: &str) -> Result<Self, StoreError> {
        let words: Vec<&str> = sql.split(' ').collect();
        Ok(match words[..] {
            ["CREATE", "TABLE", name] => Self::CreateTable(name.into(), Key::None),
            ["CREATE", "TABLE", name, "UNIQUE"] => Self::CreateTable(name.into(), Key::Unique),
            ["CREATE", "TABLE", name, "DEFERRED"] => Self::CreateTable(name.into(), Key::UniqueAtCommit),
            ["DROP", "TABLE", name] => Self::DropTable(name.into()),
            ["ALTER", "TABLE", name, "RENAME", "TO", new] => Self::RenameTable(name.into(), new.into()),
            ["CREATE", "SEQUENCE", name] => Self::CreateSequence(name.into()),
            ["DROP", "SEQUENCE", name] => Self::DropSequence(name.into()),
            // Stands for what DuckDB cannot do because of a mistake in it.
            ["FAIL", "AN", "ASSERTION"] => {
                return Err(StoreError::new(ErrorKind::INTERNAL, "assertion failed"));
            }
            _ => return Err(StoreError::new(ErrorKind(14), format!("syntax error in {sql}"))),
        })
    }
}
