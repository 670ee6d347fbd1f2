//! Which processes speak as which member.
//!
//! A data folder may be copied while its node works, with the machine that it is on, and a second process be started with
//! the copy. Nothing in the copy says so: it knows of the same starts and promises as its origin. But each process draws a
//! number for its start, and says it with all that it sends: a member that hears two of them tells the newer one.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quack_types::{NodeId, RaftId};

/// A member that has sent something within this time is at work. Of a machine that has gone no end of its connections is
/// heard: for so long its successor has to wait.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// What a process that has ended has sent may arrive for so long. What comes later comes from one that goes on.
const UNDERWAY: Duration = Duration::from_millis(500);

/// What a process is that introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The only one of its name, as far as is known.
    Alone,
    /// Another one was at work a moment ago, and may have ended.
    Doubtful,
    /// Another one has gone on since.
    Copy,
}

/// What was heard of the members' processes, by node.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    known: Mutex<BTreeMap<NodeId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The last that was heard; nothing when the connection was lost since.
    heard: Option<Heard>,
    /// A start that has introduced itself beside another one, and when it did so first.
    newcomer: Option<(u64, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    id: RaftId,
    start: u64,
    at: Instant,
}

impl Presence {
    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, Known>> {
        // Every change of it is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process has sent something.
    pub fn hear(&self, node: &NodeId, id: RaftId, start: u64) {
        self.known().entry(node.clone()).or_default().heard = Some(Heard { id, start, at: Instant::now() });
    }

    /// The connection to a node was lost.
    pub fn lose(&self, node: &NodeId) {
        self.known().entry(node.clone()).or_default().heard = None;
    }

    /// Whether a process has sent something as this life of a node, a moment ago.
    pub fn is_heard(&self, node: &NodeId, id: RaftId) -> bool {
        let heard = self.known().get(node).and_then(|known| known.heard);
        heard.is_some_and(|heard| heard.id == id && heard.at.elapsed() < SIGN_OF_LIFE)
    }

    /// What a process is that introduces itself as this life of a node. `other_answers` says whether another one answers at
    /// the node's address.
    pub fn introduce(
        &self,
        node: &NodeId,
        id: RaftId,
        start: u64,
        other_answers: impl FnOnce() -> bool,
    ) -> Standing {
        let others_last = |known: &Known| {
            let other = known.heard.filter(|heard| heard.id == id && heard.start != start)?;
            (other.at.elapsed() < SIGN_OF_LIFE).then_some(other.at)
        };
        // Not under the lock: it waits for the other one.
        let mut last = self.known().get(node).and_then(others_last);
        if last.is_none() && other_answers() {
            last = Some(Instant::now());
        }
        let mut known = self.known();
        let known = known.entry(node.clone()).or_default();
        let Some(last) = last else {
            known.newcomer = None;
            return Standing::Alone;
        };
        let since = match known.newcomer {
            Some((newcomer, since)) if newcomer == start => since,
            _ => known.newcomer.insert((start, Instant::now())).1,
        };
        if last > since + UNDERWAY { Standing::Copy } else { Standing::Doubtful }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_beside_one_that_goes_on_is_a_copy_and_one_whose_forerunner_has_ended_is_not() {
        let (presence, node) = (Presence::default(), NodeId::new("n1").unwrap());
        let id = node.raft_id(0);
        let introduce = |start| presence.introduce(&node, id, start, || false);
        assert_eq!(introduce(1), Standing::Alone);
        presence.hear(&node, id, 1);
        assert_eq!(introduce(1), Standing::Alone, "it says the same again");
        assert!(presence.is_heard(&node, id) && !presence.is_heard(&node, node.raft_id(1)));
        assert_eq!(introduce(2), Standing::Doubtful);
        presence.lose(&node);
        assert_eq!(introduce(2), Standing::Alone);
        presence.hear(&node, id, 1);
        assert_eq!(introduce(3), Standing::Doubtful);
        std::thread::sleep(UNDERWAY + Duration::from_millis(50));
        assert_eq!(introduce(3), Standing::Doubtful, "nothing has come since");
        presence.hear(&node, id, 1);
        assert_eq!(introduce(3), Standing::Copy);
        assert_eq!(presence.introduce(&node, node.raft_id(1), 3, || false), Standing::Alone, "another life");
    }

    #[test]
    fn a_process_that_answers_where_the_node_was_is_another_one() {
        let (presence, node) = (Presence::default(), NodeId::new("n1").unwrap());
        let introduce = || presence.introduce(&node, node.raft_id(0), 2, || true);
        assert_eq!(introduce(), Standing::Doubtful);
        std::thread::sleep(UNDERWAY + Duration::from_millis(50));
        assert_eq!(introduce(), Standing::Copy);
    }
}
