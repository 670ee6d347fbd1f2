//! What a node says about itself: the tables that it answers, the verdict derived from them, and the metrics.

mod board;
mod measured;
mod metrics;
mod process;
mod report;
mod table;
mod verdict;

pub use board::{Board, Phase, View};
pub use metrics::metrics;
pub use report::{Probe, health, ready, status_json};
pub use table::{Column, Kind, Table};
pub use verdict::Verdict;
