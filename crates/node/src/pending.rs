//! Proposals on their way, and who waits for them.
//!
//! The table is also the back-pressure: it bounds the bytes that are on their way.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_core::Refusal;
use quack_types::{GroupId, ProposalId};

use crate::ProposeError;
use crate::metrics::{ProposalTimes, Sample};
use crate::shared::Command;

/// How often a waiting thread looks whether it was interrupted. Ctrl-C feels immediate
/// below a tenth of a second; twenty wake-ups a second per waiting client cost nothing.
const POLL: Duration = Duration::from_millis(50);

/// A waiting client is told after so long a time without a leader, or without room on the disk. An election takes a second
/// at most when a quorum can be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a proposal occupies besides its data; it bounds the count of tiny ones.
const OVERHEAD_BYTES: usize = 256;

type Outcome = Result<Bytes, ProposeError>;

#[derive(Debug)]
struct Waiting {
    answer: SyncSender<Outcome>,
    bytes: usize,
    /// Where it was proposed.
    group: GroupId,
    /// Of a proposal in a lane: it is proposed again when the lane is dropped.
    data: Option<Bytes>,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<ProposalId, Waiting>,
    bytes: usize,
    /// Once set, nothing is taken any more.
    closed: Option<ProposeError>,
    /// Since when there has been no leader.
    leaderless: Option<Instant>,
    /// Since when there has been no room on the disk.
    full: Option<Instant>,
}

/// Proposals on their way.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    table: Mutex<Table>,
    room: Condvar,
    pub times: ProposalTimes,
}

/// What is proposed, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposal<'a> {
    pub group: GroupId,
    pub id: ProposalId,
    pub data: &'a Bytes,
}

/// Waits for the outcome of one proposal.
#[derive(Debug)]
pub struct Waiter {
    id: ProposalId,
    answer: Receiver<Outcome>,
    pending: Arc<Pending>,
    commands: SyncSender<Command>,
    began: Instant,
    /// Whether its end has been measured.
    measured: bool,
}

impl Pending {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is complete before anything can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the group has a leader.
    pub fn note_leader(&self, is_there: bool) {
        let mut table = self.table();
        table.leaderless = if is_there { None } else { table.leaderless.or_else(|| Some(Instant::now())) };
    }

    /// Says whether the disk is full.
    pub fn note_full(&self, is_full: bool) {
        let mut table = self.table();
        table.full = if is_full { table.full.or_else(|| Some(Instant::now())) } else { None };
    }

    /// What has kept proposals from their outcome for so long that those who wait are told.
    fn obstacle(&self) -> Option<&'static str> {
        let table = self.table();
        let lasts = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > PATIENCE);
        if lasts(table.full) {
            Some("the disk of the node's data folder is full: make room, and the node goes on by itself")
        } else if lasts(table.leaderless) {
            Some(
                "the cluster has no leader: see FROM quack_raft_status(), and start the nodes that are missing",
            )
        } else {
            None
        }
    }

    /// Enters a proposal of a group; waits for room until the deadline. Its withdrawal goes to `commands`.
    pub fn enter(
        self: &Arc<Self>,
        commands: &SyncSender<Command>,
        Proposal { group, id, data }: Proposal<'_>,
        bytes_max: usize,
        wait: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Waiter, ProposeError> {
        let bytes = data.len() + OVERHEAD_BYTES;
        let began = Instant::now();
        let deadline = began + wait;
        let mut table = self.table();
        loop {
            if let Some(reason) = &table.closed {
                return Err(reason.clone());
            }
            // An idle node takes anything; the largest entry is bounded elsewhere.
            if table.bytes == 0 || table.bytes + bytes <= bytes_max {
                break;
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(ProposeError::Busy { bytes: table.bytes });
            }
            let slice = POLL.min(deadline - now);
            table = self.room.wait_timeout(table, slice).unwrap_or_else(PoisonError::into_inner).0;
            // The callback is foreign code: never under the lock.
            drop(table);
            if interrupted() {
                return Err(ProposeError::Interrupted);
            }
            table = self.table();
        }
        if table.waiting.contains_key(&id) {
            return Err(ProposeError::Duplicate);
        }
        // One answer at most is ever sent.
        let (sender, answer) = sync_channel(1);
        let data = (group != GroupId::ROOT).then(|| data.clone());
        table.waiting.insert(id, Waiting { answer: sender, bytes, group, data });
        table.bytes += bytes;
        let (pending, commands) = (Arc::clone(self), commands.clone());
        Ok(Waiter { id, answer, pending, commands, began, measured: false })
    }

    /// Moves a proposal that a lane does not take, or will not order, to the root. Returns what is to be proposed there,
    /// if somebody still waits for it.
    pub fn move_to_root(&self, id: ProposalId) -> Option<Bytes> {
        let mut table = self.table();
        let waiting = table.waiting.get_mut(&id)?;
        waiting.group = GroupId::ROOT;
        waiting.data.take()
    }

    /// [`move_to_root`](Self::move_to_root), for all that wait in a lane, in the order in which they were made.
    pub fn move_all_to_root(&self, lane: GroupId) -> Vec<(ProposalId, Bytes)> {
        let table = self.table();
        let mut moved: Vec<ProposalId> =
            table.waiting.iter().filter(|(_, waiting)| waiting.group == lane).map(|(id, _)| *id).collect();
        drop(table);
        moved.sort_unstable();
        moved.into_iter().filter_map(|id| Some((id, self.move_to_root(id)?))).collect()
    }

    /// A group does not take a proposal. If it has moved to another group meanwhile, that one has the word.
    pub fn refuse(&self, group: GroupId, id: ProposalId, reason: Refusal) {
        if self.table().waiting.get(&id).is_some_and(|waiting| waiting.group == group) {
            self.complete([(id, Err(ProposeError::Refused(reason)))]);
        }
    }

    /// Answers proposals. Those that nobody waits for are passed over.
    pub fn complete(&self, outcomes: impl IntoIterator<Item = (ProposalId, Outcome)>) {
        let mut table = self.table();
        let answers: Vec<_> = outcomes
            .into_iter()
            .filter_map(|(id, outcome)| {
                let waiting = table.waiting.remove(&id)?;
                table.bytes -= waiting.bytes;
                Some((waiting.answer, outcome))
            })
            .collect();
        drop(table);
        self.room.notify_all();
        for (answer, outcome) in answers {
            // A waiter that gave up does not want it.
            let _ = answer.send(outcome);
        }
    }

    /// Takes no more proposals; those on their way have an unknown outcome.
    pub fn close(&self, refusal: ProposeError, why: &str) {
        let mut table = self.table();
        table.closed.get_or_insert(refusal);
        let answers: Vec<_> = table.waiting.drain().map(|(_, waiting)| waiting.answer).collect();
        table.bytes = 0;
        drop(table);
        self.room.notify_all();
        for answer in answers {
            let _ = answer.send(Err(ProposeError::Unknown { why: why.to_owned() }));
        }
    }

    /// Appends what is measured here.
    pub fn read(&self, into: &mut Vec<Sample>) {
        self.times.read(into);
        let table = self.table();
        let (count, bytes) = (table.waiting.len() as u64, table.bytes as u64);
        drop(table);
        let help = "Proposals that wait for their outcome.";
        into.push(Sample::gauge("quack_proposals_pending", help, count));
        let help = "Bytes that they occupy; more than proposed_bytes_max have to wait for room.";
        into.push(Sample::gauge("quack_proposals_pending_bytes", help, bytes));
    }

    /// Gives a proposal up; says where it was still waited for.
    fn leave(&self, id: ProposalId) -> Option<GroupId> {
        let mut table = self.table();
        let waiting = table.waiting.remove(&id)?;
        table.bytes -= waiting.bytes;
        drop(table);
        self.room.notify_all();
        Some(waiting.group)
    }
}

impl Waiter {
    /// The proposal.
    pub fn id(&self) -> ProposalId {
        self.id
    }

    /// Waits until the proposal was applied on this node and returns its outcome.
    /// `interrupted` is asked every 50 ms, on this thread.
    ///
    /// # Errors
    /// [`ProposeError::Refused`] when it is certain that it has not happened;
    /// [`ProposeError::Unknown`] after the timeout, an interrupt or the node's end.
    pub fn wait(mut self, timeout: Duration, interrupted: &dyn Fn() -> bool) -> Result<Bytes, ProposeError> {
        let outcome = self.outcome(timeout, interrupted);
        self.measured = true;
        self.pending.times.record(outcome.as_ref(), self.began.elapsed());
        outcome
    }

    /// For a proposal that did not reach the raft thread: this is no end of one.
    pub(crate) fn was_not_sent(mut self) {
        self.measured = true;
    }

    fn outcome(&self, timeout: Duration, interrupted: &dyn Fn() -> bool) -> Outcome {
        let unknown = |why: &str| Err(ProposeError::Unknown { why: why.to_owned() });
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
            match self.answer.recv_timeout(POLL.min(left)) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => return unknown("the node gave up the proposal"),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return unknown(&format!("it was not applied within {timeout:?}"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupted() {
                return unknown("interrupted while waiting for it");
            }
            if let Some(obstacle) = self.pending.obstacle() {
                return unknown(obstacle);
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.measured {
            self.pending.times.given_up(self.began.elapsed());
        }
        if let Some(group) = self.pending.leave(self.id) {
            // When there is no room for it, the proposal is offered on, and its outcome is nobody's.
            let _ = self.commands.try_send(Command::Withdraw { group, id: self.id });
        }
    }
}

#[cfg(test)]
mod tests {
    use quack_types::RaftId;

    use super::*;

    fn id(sequence: u64) -> ProposalId {
        ProposalId { origin: RaftId(1), boot: 1, sequence }
    }

    fn enter(pending: &Arc<Pending>, sequence: u64, bytes: usize) -> Result<Waiter, ProposeError> {
        let (commands, data) = (sync_channel(1).0, Bytes::from(vec![0; bytes]));
        let wait = Duration::from_millis(10);
        let proposal = Proposal { group: GroupId(2), id: id(sequence), data: &data };
        pending.enter(&commands, proposal, 1000, wait, &|| false)
    }

    #[test]
    fn room_is_bounded_and_comes_back_when_a_proposal_is_answered_or_given_up() {
        let pending = Arc::new(Pending::default());
        let first = enter(&pending, 1, 500).unwrap();
        assert!(matches!(enter(&pending, 2, 500), Err(ProposeError::Busy { bytes: 756 })));
        pending.complete([(id(1), Ok(Bytes::from_static(b"done")))]);
        assert_eq!(first.wait(Duration::ZERO, &|| false).unwrap(), "done");
        let second = enter(&pending, 2, 500).unwrap();
        drop(second);
        assert!(enter(&pending, 3, 700).is_ok());
    }

    #[test]
    fn a_lone_proposal_is_taken_whatever_its_size_and_a_second_one_of_its_id_is_not() {
        let pending = Arc::new(Pending::default());
        let _first = enter(&pending, 1, 5000).unwrap();
        let pending = Arc::new(Pending::default());
        let _first = enter(&pending, 1, 1).unwrap();
        assert_eq!(enter(&pending, 1, 1).unwrap_err(), ProposeError::Duplicate);
    }

    #[test]
    fn timeout_interrupt_and_end_leave_the_outcome_unknown() {
        let pending = Arc::new(Pending::default());
        let late = enter(&pending, 1, 1).unwrap().wait(Duration::from_millis(5), &|| false).unwrap_err();
        let interrupted = enter(&pending, 2, 1).unwrap().wait(Duration::from_secs(9), &|| true).unwrap_err();
        let waiter = enter(&pending, 3, 1).unwrap();
        pending.close(ProposeError::Stopped, "the node was stopped");
        let ended = waiter.wait(Duration::from_secs(9), &|| false).unwrap_err();
        for error in [late, interrupted, ended] {
            assert!(error.is_outcome_unknown(), "{error}");
        }
        assert_eq!(enter(&pending, 4, 1).unwrap_err(), ProposeError::Stopped);
    }

    #[test]
    fn an_interrupt_while_waiting_for_room_means_that_nothing_was_proposed() {
        let pending = Arc::new(Pending::default());
        let _first = enter(&pending, 1, 900).unwrap();
        let (commands, data) = (sync_channel(1).0, Bytes::from(vec![0; 900]));
        let wait = Duration::from_secs(9);
        let proposal = Proposal { group: GroupId::ROOT, id: id(2), data: &data };
        let result = pending.enter(&commands, proposal, 1000, wait, &|| true);
        assert_eq!(result.unwrap_err(), ProposeError::Interrupted);
    }

    #[test]
    fn what_waits_in_a_lane_that_is_dropped_moves_to_the_root_once() {
        let pending = Arc::new(Pending::default());
        let kept: Vec<Waiter> = [3, 1, 2].map(|sequence| enter(&pending, sequence, 5).unwrap()).into();
        assert!(pending.move_all_to_root(GroupId(3)).is_empty(), "another lane");
        pending.complete([(id(2), Ok(Bytes::new()))]);
        let moved: Vec<u64> =
            pending.move_all_to_root(GroupId(2)).into_iter().map(|(id, _)| id.sequence).collect();
        assert_eq!(moved, [1, 3]);
        assert!(pending.move_all_to_root(GroupId(2)).is_empty() && pending.move_to_root(id(1)).is_none());
        // The lane's late refusal of what has moved means nothing.
        pending.refuse(GroupId(2), id(1), Refusal::Busy);
        pending.complete([(id(1), Ok(Bytes::from_static(b"in the root")))]);
        let answers: Vec<_> = kept.into_iter().map(|waiter| waiter.wait(Duration::ZERO, &|| false)).collect();
        assert_eq!(answers[1].as_deref(), Ok(&b"in the root"[..]));
    }
}
