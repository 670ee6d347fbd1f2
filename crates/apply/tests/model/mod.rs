//! A store in memory that keeps the contract of [`quack_apply::Store`] and nothing more, and what tests need with it.
//!
//! Where the contract leaves a choice, the model draws it from its own dice, so that two models differ in everything
//! in which two nodes may differ: row ids, which of several equal rows is changed, where a transaction stands.
#![allow(dead_code, reason = "each test uses its own half")]

pub mod contents;
pub mod history;
pub mod oddities;
pub mod oracle;
pub mod proposer;
pub mod rows;
pub mod store;

use quack_log::{GroupEntry, LogEntry};
use quack_types::GroupId;

/// Entries of the root.
pub fn of_root(entries: &[LogEntry]) -> Vec<GroupEntry> {
    entries.iter().map(|entry| GroupEntry { group: GroupId::ROOT, entry: entry.clone() }).collect()
}

/// Small random numbers (SplitMix64, Steele et al., "Fast Splittable Pseudorandom Number Generators").
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
