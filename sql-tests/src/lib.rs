//! Runs the `.test` files of this folder against real DuckDB processes.
//!
//! A file is a sqllogictest script with a few directives of ours ([`script`]). It runs in a [`session`] of
//! its own: worker processes that host DuckDB ([`worker`]), a scratch folder and a served catalog on a free
//! port. The files of `single/` run twice, on the replicated catalog and on a plain DuckDB file, so that
//! they also show that both behave alike. `README.md` beside this crate tells how to write one.
//!
//! This crate does not see DuckDB; it asks a Python process, which loads the extension like any user.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod duckdb_format;
pub mod environment;
pub mod script;
pub mod session;
pub mod suite;
pub mod worker;
