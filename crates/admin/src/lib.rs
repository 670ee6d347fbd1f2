//! What surrounds a node and needs no database: certificates, configuration, status, metrics, and the admin HTTP face.
//!
//! Both programs of this project, `quackd` and `quackctl`, are thin layers over this crate. It must not know DuckDB:
//! `quackd` passes the results of its SQL queries here as a [`status::Table`] of texts.
//!
//! - [`certificate`]: a development authority, node certificates, and the check of the cluster's certificate rule.
//! - [`config`]: the keys of `node.yaml`, the rules they must obey, alone and together, and configurations for trying.
//! - [`status`]: what a node says about itself, the verdict derived from it, and its metrics.
//! - [`http`]: the admin face, and the client that asks it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod certificate;
pub mod config;
pub mod http;
pub mod status;

mod error;
mod exit_code;
mod files;
mod finding;
mod serve_statement;
mod suggestion;
mod yaml;

pub use error::Error;
pub use exit_code::ExitCode;
pub use files::{NewFile, read_text, write_all};
pub use finding::{Finding, Rule, Severity, exit_code_of, has_errors};
pub use serve_statement::{quote, serve_statement, setting_statements};
