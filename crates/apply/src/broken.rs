//! Entries whose commit has broken off.
//!
//! DuckDB evaluates some things only when it commits: then an error that the entry is the cause of comes too late to be an
//! outcome, for what the store has in memory is good for nothing. It happens on every node, and again at every start. So a
//! node notes what it was about to commit: the next start applies each of these entries alone, and the one after that refuses
//! the one that has broken off alone. A node on which it was another trouble differs from the others then, in its digest of
//! outcomes, and is rebuilt.

use std::collections::BTreeSet;
use std::fmt::Write;

use quack_types::{GroupId, LogIndex};

type At = (GroupId, LogIndex);

/// What a node remembers from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broken {
    /// They have been in a transaction together.
    alone: BTreeSet<At>,
    refused: BTreeSet<At>,
}

impl Broken {
    /// What [`encode`](Self::encode) has written. `None` when it is no such thing.
    pub fn decode(text: &str) -> Option<Self> {
        let mut broken = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let into = match words.next()? {
                "alone" => &mut broken.alone,
                "refused" => &mut broken.refused,
                _ => return None,
            };
            let (group, index) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            into.insert((GroupId(group), LogIndex(index)));
            if words.next().is_some() {
                return None;
            }
        }
        Some(broken)
    }

    /// A line for each entry: what becomes of it, its group, its index.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (word, entries) in [("alone", &self.alone), ("refused", &self.refused)] {
            for (group, index) in entries {
                // To write into a text never fails.
                let _ = writeln!(text, "{word} {} {}", group.0, index.0);
            }
        }
        text
    }

    /// Forgets what a store holds durably.
    pub(crate) fn keep(&mut self, is_needed: impl Fn(&At) -> bool) {
        self.alone.retain(&is_needed);
        self.refused.retain(&is_needed);
    }

    /// A transaction with these entries has broken off.
    pub(crate) fn note(&mut self, entries: impl Iterator<Item = At>) {
        let entries: BTreeSet<At> = entries.collect();
        if entries.len() == 1 {
            self.alone.retain(|at| !entries.contains(at));
            self.refused.extend(entries);
        } else {
            self.alone.extend(entries);
        }
    }

    /// Whether the entry has a transaction of its own.
    pub(crate) fn is_alone(&self, at: &At) -> bool {
        self.alone.contains(at) || self.refused.contains(at)
    }

    pub(crate) fn is_refused(&self, at: &At) -> bool {
        self.refused.contains(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let mut broken = Broken::default();
        assert_eq!(Broken::decode(""), Some(broken.clone()));
        broken.note([(GroupId(1), LogIndex(7)), (GroupId(3), LogIndex(8))].into_iter());
        broken.note([(GroupId(1), LogIndex(9))].into_iter());
        assert_eq!(broken.encode(), "alone 1 7\nalone 3 8\nrefused 1 9\n");
        assert_eq!(Broken::decode(&broken.encode()), Some(broken));
        for damaged in ["alone 1", "alone 1 x", "other 1 1", "alone 1 1 1", "\n"] {
            assert_eq!(Broken::decode(damaged), None, "{damaged:?}");
        }
    }
}
