//! Proposals on their way, and who waits for them.
//!
//! The table is also the back-pressure: it bounds the bytes that are on their way.

use std::collections::{BTreeMap, HashMap};
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
    /// Since when groups have had no leader.
    leaderless: BTreeMap<GroupId, Instant>,
    /// Since when there has been no room, and what a client is told of that.
    full: Option<(Instant, &'static str)>,
    /// Since when this node has waited for what a lane has ordered and it has not got.
    behind: Option<Instant>,
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

    /// Says whether a group has a leader; one that is gone needs none.
    pub fn note_leader(&self, group: GroupId, is_missing: bool) {
        let mut table = self.table();
        if is_missing {
            table.leaderless.entry(group).or_insert_with(Instant::now);
        } else {
            table.leaderless.remove(&group);
        }
    }

    /// Says what a client is told while there is no room.
    pub fn note_full(&self, obstacle: Option<&'static str>) {
        let mut table = self.table();
        let since = table.full.map_or_else(Instant::now, |(since, _)| since);
        table.full = obstacle.map(|obstacle| (since, obstacle));
    }

    /// Says whether this node waits for what a lane has ordered.
    pub fn note_behind(&self, is_behind: bool) {
        let mut table = self.table();
        table.behind = if is_behind { table.behind.or_else(|| Some(Instant::now())) } else { None };
    }

    /// What has kept proposals from their outcome for so long that those who wait are told.
    fn obstacle(&self) -> Option<&'static str> {
        let table = self.table();
        let lasts = |since: Instant| since.elapsed() > PATIENCE;
        if let Some((_, obstacle)) = table.full.filter(|(since, _)| lasts(*since)) {
            Some(obstacle)
        } else if table.leaderless.get(&GroupId::ROOT).copied().is_some_and(lasts) {
            Some(
                "the cluster has no leader: see FROM quack_raft_status(), and start the nodes that are missing",
            )
        } else if table.behind.is_some_and(lasts) {
            Some(
                "this node has not got yet what a group has ordered: see FROM quack_group_status(…), and start the nodes \
                 that are missing",
            )
        } else {
            None
        }
    }

    /// Moves a proposal to the root when its lane has had no leader for long. What may come of it in the lane later has the
    /// same id, and is not applied again. Returns the lane, and what is to be proposed.
    fn leave_leaderless(&self, id: ProposalId) -> Option<(GroupId, Bytes)> {
        let table = self.table();
        let group = table.waiting.get(&id)?.group;
        let since = *table.leaderless.get(&group).filter(|_| group != GroupId::ROOT)?;
        drop(table);
        let data = if since.elapsed() > PATIENCE { self.move_to_root(id) } else { None };
        data.map(|data| (group, data))
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
    /// if a client still waits for it.
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

    /// A group does not take a proposal. If it has moved to another group meanwhile, that group decides about it.
    pub fn refuse(&self, group: GroupId, id: ProposalId, reason: Refusal) {
        if self.table().waiting.get(&id).is_some_and(|waiting| waiting.group == group) {
            self.complete([(id, Err(ProposeError::Refused(reason)))]);
        }
    }

    /// Answers proposals. Skips those that no client waits for any more.
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
            if let Some((lane, data)) = self.pending.leave_leaderless(self.id) {
                let (group, id) = (GroupId::ROOT, self.id);
                tracing::warn!(%lane, "the group has no leader: what was proposed in it is proposed in the default group");
                // A node that has ended answers by itself.
                let _ = self.commands.send(Command::Withdraw { group: lane, id });
                let _ = self.commands.send(Command::Propose { group, id, data });
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
            // When the queue has no room for the command, the core goes on offering the proposal, and no client
            // gets its outcome.
            let _ = self.commands.try_send(Command::Withdraw { group, id: self.id });
        }
    }
}

#[cfg(test)]
mod tests {
    use quack_types::RaftId;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

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
    fn a_lone_proposal_of_any_size_is_taken_and_a_second_one_of_its_id_is_not() {
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

    fn long_ago() -> Instant {
        Instant::now().checked_sub(PATIENCE + Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn what_waits_in_a_lane_without_a_leader_moves_to_the_root_and_to_nowhere_else() {
        let pending = Arc::new(Pending::default());
        let (commands, sent) = sync_channel(8);
        let data = Bytes::from_static(b"rows");
        let enter = |sequence, group| {
            let proposal = Proposal { group, id: id(sequence), data: &data };
            pending.enter(&commands, proposal, 1 << 20, LONG, &|| false).unwrap()
        };
        pending.note_leader(GroupId(2), true);
        let (moved, stays) = (enter(1, GroupId(2)), enter(2, GroupId(3)));
        assert!(pending.leave_leaderless(id(1)).is_none(), "an election may be under way");
        pending.table().leaderless.insert(GroupId(2), long_ago());
        let wait = |waiter: Waiter| waiter.wait(3 * POLL, &|| false).unwrap_err().to_string();
        assert!(wait(moved).contains("it was not applied within"));
        assert!(wait(stays).contains("it was not applied within"));
        let sent: Vec<(GroupId, bool)> = sent
            .try_iter()
            .map(|command| match command {
                Command::Withdraw { group, .. } => (group, false),
                Command::Propose { group, data, .. } => (group, data == "rows"),
                other => panic!("{other:?}"),
            })
            .collect();
        // The last two are those who have given up.
        let root = GroupId::ROOT;
        assert_eq!(sent, [(GroupId(2), false), (root, true), (root, false), (GroupId(3), false)]);
    }

    #[test]
    fn a_client_that_waits_is_told_what_is_in_the_way_before_a_day_is_over() {
        let told = |set: fn(&mut Table)| {
            let pending = Arc::new(Pending::default());
            let waiter = enter(&pending, 1, 1).unwrap();
            set(&mut pending.table());
            waiter.wait(Duration::from_secs(24 * 3600), &|| false).unwrap_err().to_string()
        };
        assert!(told(|table| table.leaderless = [(GroupId::ROOT, long_ago())].into()).contains("no leader"));
        assert!(told(|table| table.behind = Some(long_ago())).contains("what a group has ordered"));
        assert!(told(|table| table.full = Some((long_ago(), "no memory"))).contains("no memory"));
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
