//! Runs files in DuckDB's own test format, unmodified, on plain DuckDB and on the replicated catalog.
//!
//! [`parse`] makes records of a file, [`run`] carries them out in a [`world`], [`compare`] says whether a
//! result is the expected one, by the rules of DuckDB's runner.

pub mod compare;
pub mod condition;
pub mod groups;
pub mod number;
pub mod parse;
pub mod record;
pub mod require;
pub mod run;
pub mod variables;
pub mod world;
