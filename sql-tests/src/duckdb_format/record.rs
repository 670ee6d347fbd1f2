//! What a test file in DuckDB's format says, as data.
//!
//! Nothing is replaced yet in the texts: `${name}`, `{name}` and `__TEST_DIR__` stand as in the file, because
//! their values depend on the world that the file runs in and on the loops around it.

use std::time::Duration;

use super::condition::Condition;

/// A parsed file.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The comment `# description:`, empty when there is none.
    pub description: String,
    /// What to do, in order.
    pub records: Vec<Record>,
}

/// One thing to do, unless one of its conditions excludes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line of its directive, counted from 1.
    pub line: usize,
    /// Loop values for which it is left out.
    pub conditions: Vec<Condition>,
    /// What to do.
    pub command: Command,
}

/// A directive with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `statement ok|error|maybe`.
    Statement(Statement),
    /// `query`.
    Query(Query),
    /// `loop`, `foreach` and their concurrent kinds, up to their `endloop`.
    Loop(Loop),
    /// `require`: an extension or a property, with its parameters.
    Require(Vec<String>),
    /// `require-env`: the variable, and the value that it must have.
    RequireEnv(String, Option<String>),
    /// `test-env`: the variable, and its value when the environment has none.
    TestEnv(String, String),
    /// `load`.
    Load(Load),
    /// `restart`.
    Restart,
    /// `reconnect`.
    Reconnect,
    /// `sleep`.
    Sleep(Duration),
    /// `unzip`: the compressed file, and where to.
    Unzip(String, Option<String>),
    /// `mode output_result` and `mode no_output`: whether results are printed.
    Print(bool),
    /// `set ignore_error_messages`: a text after which the rest of the file is skipped.
    IgnoreErrors(Vec<String>),
    /// `set always_fail_error_messages`: errors that no record may expect.
    AlwaysFail(Vec<String>),
    /// `set seed`.
    Seed(String),
    /// `reset label`.
    ResetLabel(String),
}

/// What a statement must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It must work.
    Ok,
    /// It must fail with this text.
    Error(String),
    /// It may work; if it fails, then with this text.
    Maybe(String),
}

/// A statement whose rows do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it must do.
    pub expectation: Expectation,
    /// The connection, or the default one.
    pub connection: Option<String>,
    /// The text.
    pub sql: String,
}

/// The order in which rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// As they come.
    None,
    /// Sorted as rows of texts.
    Rows,
    /// Sorted as values, regardless of their rows.
    Values,
}

/// A statement whose rows are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How many columns the result has.
    pub columns: usize,
    /// The order of comparison.
    pub sort: Sort,
    /// The connection, or the default one.
    pub connection: Option<String>,
    /// All queries of a file with the same label must give the same values.
    pub label: Option<String>,
    /// The text.
    pub sql: String,
    /// The lines below `----`.
    pub expected: Vec<String>,
}

/// A loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Name of the variable; several, joined by commas, take one part of each value.
    pub variable: String,
    /// The values, in order.
    pub values: Vec<String>,
    /// Whether every value has a thread and a connection of its own.
    pub concurrent: bool,
    /// What is repeated.
    pub body: Vec<Record>,
}

/// What `load` opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The path of the database; none is a database in memory.
    pub path: Option<String>,
    /// Whether it is opened for reading only.
    pub read_only: bool,
}
