//! What `quackd` and `quackctl` share: a DuckDB in the process, and where the extension lies.

pub mod duckdb;
pub mod extension;
