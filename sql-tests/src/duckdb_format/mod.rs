//! Runs files in DuckDB's own test format, unmodified, on plain DuckDB and on the replicated catalog.
//!
//! [`parse`] makes records of a file, [`run`] carries them out in a [`world`], [`compare`] says whether a
//! result is the expected one, by the rules of DuckDB's runner.

pub mod compare;
pub mod condition;
pub mod differences;
pub mod groups;
pub mod node;
pub mod number;
pub mod parse;
pub mod pool;
pub mod record;
pub mod report;
pub mod require;
pub mod routing;
pub mod run;
pub mod sql_text;
pub mod suite;
pub mod variables;
pub mod world;
