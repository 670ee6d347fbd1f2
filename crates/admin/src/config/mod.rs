//! The configuration of a node: its keys, how they are read, and the rules they obey.
//!
//! Reading never stops at the first mistake: every mistake becomes a [`Finding`](crate::Finding), and an operator who
//! starts a node or checks a set of files sees them all.

mod cluster_rules;
mod configuration;
mod generate;
mod keys;
mod reader;
mod rules;
mod values;

use std::path::PathBuf;

use crate::Finding;

pub use configuration::{AdminFace, Configuration, Secret};
pub use generate::{BASE_PORT, LocalCluster, NODES_MAX, generate_local};
pub use keys::{KEYS, Key};
pub use reader::read;

/// Reads and checks one node's file with everything that it names, at a time in seconds since 1970. The configuration
/// is there when it can be told at all; it is to be used only when no finding is an error.
pub fn load(path: &std::path::Path, now: i64) -> (Option<Configuration>, Vec<Finding>) {
    let (configuration, mut findings) = read(path);
    if let Some(configuration) = &configuration {
        rules::check(configuration, now, &mut findings);
    }
    (configuration, findings)
}

/// Reads and checks the files of several nodes, each alone and all together.
pub fn validate(paths: &[PathBuf], now: i64) -> (Vec<Configuration>, Vec<Finding>) {
    let mut configurations = Vec::new();
    let mut findings = Vec::new();
    for path in paths {
        let (configuration, found) = load(path, now);
        findings.extend(found);
        configurations.extend(configuration);
    }
    cluster_rules::check(&configurations, &mut findings);
    (configurations, findings)
}
