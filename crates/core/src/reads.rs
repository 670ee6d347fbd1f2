//! Reads that wait for their index. All reads of one round share one question.
//!
//! Raft identifies a read by its context. The context must never repeat in the
//! cluster's life: an old answer that arrives late would carry an index from before
//! the read began. It is therefore (node, boot, counter).
//!
//! Raft forgets reads silently when the leader changes or a message is lost, so each
//! one here ends in any case: answered, refused at a change of leader, or timed out.

use std::collections::BTreeMap;

use quack_types::{GroupId, LogIndex, RaftId};

use crate::{Answer, Refusal};

/// Reads of this node in one group.
#[derive(Debug)]
pub(crate) struct PendingReads {
    group: GroupId,
    node: RaftId,
    boot: u64,
    /// Ticks that a read may wait.
    ticks_max: u64,
    ticks: u64,
    counter: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    tags: Vec<u64>,
    since_ticks: u64,
}

impl PendingReads {
    pub(crate) fn new(group: GroupId, node: RaftId, boot: u64, ticks_max: u64) -> Self {
        Self { group, node, boot, ticks_max, ticks: 0, counter: 0, waiting: BTreeMap::new() }
    }

    /// Begins reads; returns their context for Raft.
    pub(crate) fn begin(&mut self, tags: Vec<u64>) -> Vec<u8> {
        self.counter += 1;
        self.waiting.insert(self.counter, Waiting { tags, since_ticks: self.ticks });
        [self.node.0, self.boot, self.counter].iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    /// Raft knows the index of a question. No answers when it is not, or no longer, ours.
    pub(crate) fn finish(&mut self, context: &[u8], index: LogIndex) -> Vec<Answer> {
        let expected: Vec<u8> = [self.node.0, self.boot].iter().flat_map(|part| part.to_be_bytes()).collect();
        let waiting = match context.split_last_chunk::<8>() {
            Some((prefix, counter)) if prefix == expected => {
                self.waiting.remove(&u64::from_be_bytes(*counter))
            }
            _ => None,
        };
        let tags = waiting.map(|waiting| waiting.tags).unwrap_or_default();
        tags.into_iter().map(|tag| Answer::ReadReady { group: self.group, tag, index }).collect()
    }

    /// A tick has passed: refuses reads that have waited too long.
    pub(crate) fn tick(&mut self) -> Vec<Answer> {
        self.ticks += 1;
        let mut answers = Vec::new();
        // Counters ascend with time, so the oldest come first.
        while let Some(oldest) = self.waiting.first_entry() {
            if self.ticks - oldest.get().since_ticks < self.ticks_max {
                break;
            }
            answers.extend(oldest.remove().refuse(self.group, &Refusal::TimedOut));
        }
        answers
    }

    /// Refuses every read that waits.
    pub(crate) fn refuse_all(&mut self, reason: &Refusal) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        waiting.flat_map(|waiting| waiting.refuse(self.group, reason)).collect()
    }
}

impl Waiting {
    fn refuse(self, group: GroupId, reason: &Refusal) -> Vec<Answer> {
        let refuse = |tag| Answer::ReadRefused { group, tag, reason: reason.clone() };
        self.tags.into_iter().map(refuse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(boot: u64) -> PendingReads {
        PendingReads::new(GroupId(1), RaftId(7), boot, 3)
    }

    #[test]
    fn a_read_is_answered_once_and_only_by_its_own_context() {
        let mut reads = reads(2);
        let context = reads.begin(vec![40, 41]);
        assert_eq!(PendingReads::new(GroupId(1), RaftId(8), 2, 3).finish(&context, LogIndex(5)), []);
        let ready = |tag| Answer::ReadReady { group: GroupId(1), tag, index: LogIndex(5) };
        assert_eq!(reads.finish(&context, LogIndex(5)), [ready(40), ready(41)]);
        assert_eq!(reads.finish(&context, LogIndex(5)), []);
        assert_eq!(reads.finish(b"short", LogIndex(5)), []);
    }

    #[test]
    fn an_answer_to_an_earlier_life_of_the_node_is_ignored() {
        let old = reads(1).begin(vec![1]);
        let mut now = reads(2);
        let new = now.begin(vec![2]);
        assert_ne!(old, new);
        assert_eq!(now.finish(&old, LogIndex(1)), []);
    }

    #[test]
    fn a_read_without_an_answer_times_out() {
        let mut reads = reads(1);
        reads.begin(vec![1]);
        reads.tick();
        reads.begin(vec![2]);
        assert!(reads.tick().is_empty());
        let refused = |tag| Answer::ReadRefused { group: GroupId(1), tag, reason: Refusal::TimedOut };
        assert_eq!(reads.tick(), [refused(1)]);
        assert_eq!(reads.tick(), [refused(2)]);
    }
}
