//! The raft thread: drives all groups, writes the log, talks to peers.
//!
//! One turn takes everything that has arrived, and stores all of it with one write
//! and one fsync. While the disk works, more arrives: under load the batches grow by
//! themselves, and no proposal waits for a timer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use quack_core::{Answer, Durable, Event, Node, Note, Refusal};
use quack_log::{DiskOs, GroupWrite, Log, LogEntry, LogReader};
use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::Error;
use crate::room::{ROOM_POLL, Room};
use crate::shared::{Command, Held, Shared, Writer};
use crate::transport::Transport;

/// Commands taken in one turn. It bounds how much one write of the log holds.
const COMMANDS_MAX: usize = 4096;
/// Bytes of proposals and messages taken in one turn; an fsync of more is not faster.
const COMMAND_BYTES_MAX: usize = 32 << 20;
/// Ticks made up for at a time after the thread was held up.
const TICKS_LATE_MAX: u32 = 5;

/// What the raft thread owns.
pub(crate) struct RaftLoop {
    pub core: Node<LogReader<DiskOs>>,
    pub log: Log<DiskOs>,
    pub transport: Box<dyn Transport>,
    pub commands: Receiver<Command>,
    pub shared: Arc<Shared>,
    pub tick: Duration,
    /// What the core knows as applied.
    pub applied: LogIndex,
    /// The last leader that was known, and its term.
    pub leader_seen: Option<(RaftId, Term)>,
    /// Lanes that were dropped and may still serve others, with the root's entry that dropped them.
    pub retired: BTreeMap<GroupId, LogIndex>,
    /// Who keeps the log for longer, as far as that has been said.
    pub held: Held,
    /// Who waits for lanes to be durable.
    pub created: Vec<SyncSender<()>>,
    /// It has not been told to begin: it hears no node, no time passes for it, and it says nothing.
    pub is_silent: bool,
    /// This node.
    pub own_name: String,
    /// This start.
    pub boot: u64,
    pub room: Room,
    /// What this node's own threads have asked for while the disk was full.
    pub deferred: VecDeque<Command>,
    /// The node stops while its disk is full.
    pub stops: bool,
}

impl RaftLoop {
    /// Runs until it is told to stop, or the node is degraded.
    pub fn run(&mut self) {
        if let Err(reason) = self.try_run() {
            self.shared.fail(&reason);
        }
        self.shared.refuse_reads(&quack_core::Refusal::Poisoned);
    }

    fn try_run(&mut self) -> Result<(), String> {
        let mut next_tick = Instant::now() + self.tick;
        self.turn().map_err(|error| error.to_string())?;
        while !self.shared.is_degraded() {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let first = match self.deferred.pop_front().map_or_else(|| self.commands.recv_timeout(wait), Ok) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                // The handle was dropped without a stop: no caller can send a command any more.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let goes_on = self.take(first).map_err(|error| error.to_string())?;
            self.take_ticks(&mut next_tick).map_err(|error| error.to_string())?;
            self.turn().map_err(|error| error.to_string())?;
            if !goes_on || self.stops {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands everything that has arrived to the core. False when the thread is to stop.
    fn take(&mut self, first: Option<Command>) -> Result<bool, quack_core::Error> {
        let (mut count, mut bytes) = (0, 0);
        let mut next = first;
        while let Some(command) = next {
            let event = match command {
                Command::Propose { group, id, data } => {
                    bytes += data.len();
                    Event::Propose { group, data, tag: id }
                }
                Command::Withdraw { group, id } => Event::Withdraw { group, tag: id },
                Command::Members { changes, tag } => {
                    Event::ProposeMembership { group: GroupId::ROOT, changes, tag }
                }
                Command::Transfer { to } => Event::TransferLeader { group: GroupId::ROOT, to },
                Command::FloorsAt { last, answer } => {
                    let floor = |(group, index)| Some((group, self.core.floor_at(group, index)?));
                    // A waiter that gave up does not want it.
                    let _ = answer.send(last.into_iter().map(floor).collect());
                    next = self.next_command();
                    continue;
                }
                Command::Promises { answer } => {
                    // A waiter that gave up does not want it.
                    let _ = answer.send(self.core.promises());
                    next = self.next_command();
                    continue;
                }
                Command::Begin => {
                    self.is_silent = false;
                    self.core.begin();
                    next = self.next_command();
                    continue;
                }
                Command::CreateLanes { lanes, done } => {
                    for (group, at) in lanes {
                        self.core.handle(Event::CreateLane { group, at })?;
                    }
                    self.created.push(done);
                    next = self.next_command();
                    continue;
                }
                Command::RetireLane { group, at } => {
                    self.retired.insert(group, at);
                    Event::RetireLane { group }
                }
                Command::Deliver { .. } if self.is_silent => {
                    next = self.next_command();
                    continue;
                }
                Command::Deliver { from, group, bytes: message } => {
                    bytes += message.len();
                    Event::Message { from, group, bytes: message }
                }
                Command::Unreachable { peer } => Event::PeerUnreachable { peer },
                Command::ReadIndex { tag } => Event::ReadIndex { group: GroupId::ROOT, tag },
                Command::Compact { durable, through, needed, unfinished } => {
                    self.compact(durable, through, &needed)?;
                    self.say_who_holds(&unfinished);
                    next = self.next_command();
                    continue;
                }
                Command::Stop => return Ok(false),
            };
            self.core.handle(event)?;
            count += 1;
            if count >= COMMANDS_MAX || bytes >= COMMAND_BYTES_MAX {
                break;
            }
            next = self.next_command();
        }
        Ok(true)
    }

    fn next_command(&mut self) -> Option<Command> {
        self.deferred.pop_front().or_else(|| self.commands.try_recv().ok())
    }

    fn compact(
        &mut self,
        durable: LogIndex,
        through: BTreeMap<GroupId, LogIndex>,
        needed: &BTreeSet<GroupId>,
    ) -> Result<(), quack_core::Error> {
        self.report_applied()?;
        let lanes = self.shared.progress().lanes_applied.clone();
        for (group, index) in lanes {
            self.core.handle(Event::Applied { group, index })?;
        }
        for (group, through) in through.into_iter().filter(|(_, through)| *through > LogIndex(0)) {
            self.core.handle(Event::Compact { group, through })?;
        }
        // Nothing on this node needs a lane's log from before the drop any more, unless a statement has parts in it;
        // no other node does, when the lane is over. A member that was away for so long that the root's log does not tell it of
        // the drop any more needs a snapshot anyway: a lane that was kept for it would keep the whole log. One that is there, and
        // behind, may have all of the root's log and not all of the lane's: while it is heard, the lane does not rest.
        let floor = self.core.status(GroupId::ROOT).map_or(LogIndex(0), |root| root.snapshot_index);
        let is_needed = |group: &GroupId, at: &LogIndex| {
            self.core.status(*group).is_some_and(|lane| !lane.is_over && (*at > floor || !lane.is_resting))
        };
        let over = self
            .retired
            .iter()
            .filter(|(group, at)| **at <= durable && !is_needed(group, at) && !needed.contains(group));
        for group in over.map(|(group, _)| *group).collect::<Vec<_>>() {
            self.retired.remove(&group);
            self.core.handle(Event::RemoveLane { group })?;
        }
        Ok(())
    }

    /// Names those who hold a group's log back longer than checkpoints need it: once in the node's log, and in its
    /// status.
    fn say_who_holds(&mut self, unfinished: &[(RaftId, BTreeMap<GroupId, LogIndex>)]) {
        let mut held = Held::new();
        for (origin, needed) in unfinished {
            let origin = self.name(*origin);
            for (group, from) in needed {
                let text = format!("an unfinished statement of node '{origin}', from entry {from} on");
                held.entry(*group).or_default().insert(text);
            }
        }
        for (group, at) in &self.retired {
            let waits_for = self.core.status(*group).map(|status| status.waits_for).unwrap_or_default();
            if waits_for.is_empty() {
                // It goes with the next checkpoint, or with the statement above.
                continue;
            }
            let names: Vec<_> = waits_for.iter().map(|member| format!("'{}'", self.name(*member))).collect();
            let whose = names.join(" and ");
            let text = format!(
                "the group was dropped, and waits for {whose} to have applied that, until the log of the default group begins \
                 behind entry {at}"
            );
            held.entry(*group).or_default().insert(text);
        }
        let all = |held: &Held| -> BTreeSet<(GroupId, String)> {
            let of = |(group, owners): (&GroupId, &BTreeSet<String>)| {
                owners.iter().map(|owner| (*group, owner.clone())).collect::<Vec<_>>()
            };
            held.iter().flat_map(of).collect()
        };
        let (before, now) = (all(&self.held), all(&held));
        for (group, owner) in now.difference(&before) {
            tracing::info!(%group, owner, "the log is kept for longer");
        }
        for (group, owner) in before.difference(&now) {
            tracing::info!(%group, owner, "the log is kept no longer");
        }
        self.shared.progress().held.clone_from(&held);
        self.held = held;
    }

    fn take_ticks(&mut self, next_tick: &mut Instant) -> Result<(), quack_core::Error> {
        let now = Instant::now();
        // After a long pause the missed ticks are not made up for: they would look like
        // silence of the peers, and start elections.
        if now > *next_tick + self.tick * TICKS_LATE_MAX {
            *next_tick = now;
        }
        while *next_tick <= now {
            if !self.is_silent {
                self.core.handle(Event::Tick)?;
            }
            *next_tick += self.tick;
        }
        Ok(())
    }

    fn report_applied(&mut self) -> Result<(), quack_core::Error> {
        let progress = self.shared.progress();
        // The store of a snapshot may be ahead of what its node knows to be committed.
        let committed = progress.root().map_or(LogIndex(0), |root| root.commit_index);
        let applied = progress.applied.min(committed);
        drop(progress);
        if applied > self.applied {
            self.applied = applied;
            self.core.handle(Event::Applied { group: GroupId::ROOT, index: applied })?;
        }
        Ok(())
    }

    /// Does what the core asks for until it asks for nothing more.
    fn turn(&mut self) -> Result<(), Error> {
        self.report_applied()?;
        while self.core.has_work() {
            let effects = self.core.effects()?;
            self.send(effects.send_now);
            self.answer(effects.answers)?;
            self.note(effects.notes)?;
            let writes = &effects.persist.writes;
            let moves_floor = writes.iter().any(|write| write.floor.is_some());
            let brings_lanes =
                writes.iter().any(|write| write.group != GroupId::ROOT && !write.entries.is_empty());
            if !self.write(&effects.persist.writes, effects.persist.must_sync)? {
                self.stops = true;
                return Ok(());
            }
            let durable = self.core.persisted(effects.persist)?;
            // Before any client gets its answer, so that it finds its own write in the status.
            self.publish();
            self.carry_out(durable)?;
            if brings_lanes {
                // The apply thread may wait for such an entry: a cut can order it before it arrives here.
                self.shared.apply_wakes.notify_one();
            }
            if moves_floor {
                self.release()?;
            }
        }
        // The lanes are durable. A send fails only when the apply thread has stopped waiting.
        for done in self.created.drain(..) {
            let _ = done.send(());
        }
        self.publish();
        self.shared.moved.notify_all();
        Ok(())
    }

    /// Writes as soon as there is room on the disk; false when the node is to stop before. To its peers a node that waits
    /// is one that does not answer: another one leads meanwhile.
    fn write(&mut self, writes: &[GroupWrite], must_sync: bool) -> Result<bool, Error> {
        let mut began = Instant::now();
        loop {
            match self.log.write(writes, must_sync) {
                Ok(()) => break,
                Err(error @ quack_log::Error::Full { .. }) => {
                    if self.room.give_reserve() {
                        continue;
                    }
                    let reason = format!("there is no room on the disk of the data folder: {error}");
                    self.shared.fill(Writer::Log, &reason);
                    if !self.goes_on_without_room() {
                        return Ok(false);
                    }
                    began = Instant::now();
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.shared.find_room(Writer::Log);
        self.shared.metrics.appended(writes, must_sync, began.elapsed());
        Ok(true)
    }

    /// Waits a moment; false when the node is to stop. What others say is not heard, as if the node was paused. What its own
    /// threads ask for is deferred, and what its clients ask for is refused: none of it has reached the core.
    fn goes_on_without_room(&mut self) -> bool {
        let until = Instant::now() + ROOM_POLL;
        while !self.shared.progress().stop_apply {
            let wait = until.saturating_duration_since(Instant::now());
            match self.commands.recv_timeout(wait) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Command::Propose { id, .. }) => self.shared.refuse_proposal(id),
                Ok(Command::ReadIndex { tag }) => self.shared.end_read(tag, Err(Refusal::Poisoned)),
                Ok(
                    command @ (Command::Withdraw { .. }
                    | Command::Begin
                    | Command::Compact { .. }
                    | Command::CreateLanes { .. }
                    | Command::RetireLane { .. }),
                ) => self.deferred.push_back(command),
                Ok(
                    Command::Deliver { .. }
                    | Command::Unreachable { .. }
                    | Command::Members { .. }
                    | Command::Transfer { .. }
                    | Command::FloorsAt { .. }
                    | Command::Promises { .. },
                ) => {}
            }
        }
        false
    }

    fn publish(&mut self) {
        let changed = self.core.take_changed();
        for (group, status) in &changed {
            // A lane that was dropped takes nothing.
            let is_missing = status.as_ref().is_some_and(|status| status.leader.is_none());
            self.shared.pending.note_leader(*group, is_missing && !self.retired.contains_key(group));
        }
        let mut progress = self.shared.progress();
        for (group, status) in changed {
            match status {
                Some(status) => progress.groups.insert(group, status),
                None => progress.groups.remove(&group),
            };
        }
    }

    fn carry_out(&mut self, durable: Durable) -> Result<(), Error> {
        self.send(durable.send);
        for committed in durable.apply {
            if let Some(of_later_life) = committed.entries.iter().find(|entry| self.is_of_later_life(entry)) {
                self.shared.degrade_for_good(&format!(
                    "its folder is older than what it has promised, as if it was put back from a copy: entry {} of group \
                     {} is its own, of a later start",
                    of_later_life.index, committed.group
                ));
                return Ok(());
            }
            // The apply thread reads the entries from the log's cache, so that no queue can
            // grow when it is slower than the network.
            if let Some(last) = committed.entries.last().filter(|_| committed.group == GroupId::ROOT) {
                self.shared.progress().committed = last.index;
                self.shared.apply_wakes.notify_one();
            }
        }
        self.answer(durable.answers)?;
        for need in durable.snapshots_needed {
            self.transport.snapshot_needed(need);
        }
        self.note(durable.notes)
    }

    /// Whether this node has proposed an entry in a start of which its folder does not know.
    fn is_of_later_life(&self, entry: &LogEntry) -> bool {
        quack_core::proposal_id(entry).filter(|id| id.origin == self.core.id()).is_some_and(|id| {
            (id.boot, id.sequence) > (self.boot, self.shared.sequence.load(Ordering::Relaxed))
        })
    }

    fn send(&mut self, messages: Vec<quack_core::PeerMessage>) {
        if !messages.is_empty() && !self.is_silent {
            self.shared.metrics.sent(&messages);
            self.transport.send(messages, self.shared.outcomes.last());
        }
    }

    fn answer(&mut self, answers: Vec<Answer>) -> Result<(), Error> {
        for answer in answers {
            match answer {
                Answer::ProposalRefused { group, tag, reason: Refusal::UnknownGroup }
                    if group != GroupId::ROOT =>
                {
                    // The lane was dropped between the choice and this moment: any road leads to the order.
                    if let Some(data) = self.shared.pending.move_to_root(tag) {
                        self.core.handle(Event::Propose { group: GroupId::ROOT, data, tag })?;
                    }
                }
                Answer::ProposalRefused { group, tag, reason } => {
                    self.shared.pending.refuse(group, tag, reason);
                }
                Answer::ReadReady { tag, index, .. } => self.shared.end_read(tag, Ok(index)),
                Answer::ReadRefused { tag, reason, .. } => self.shared.end_read(tag, Err(reason)),
                Answer::MembershipRefused { tag, reason, .. } => self.shared.refuse_members(tag, reason),
                Answer::TransferRefused { group, reason, to } => {
                    tracing::warn!(%group, to = self.name(to), %reason, "leadership was not handed over");
                }
            }
        }
        Ok(())
    }

    /// What the log calls a node; a life of which this node does not know has a number alone.
    fn name(&self, node: RaftId) -> String {
        let own = (node == self.core.id()).then(|| self.own_name.clone());
        own.or_else(|| self.transport.name(node)).unwrap_or_else(|| format!("{:016x}", node.0))
    }

    fn note(&mut self, notes: Vec<Note>) -> Result<(), Error> {
        for note in notes {
            match note {
                Note::RoleChanged { group, role, term, leader } => {
                    if group == GroupId::ROOT {
                        let now = leader.map(|leader| (leader, term));
                        self.shared.metrics.role_changed(role, now, self.leader_seen);
                        self.leader_seen = now.or(self.leader_seen);
                    }
                    let leader = leader.map_or_else(|| "none".to_owned(), |leader| self.name(leader));
                    tracing::info!(%group, role = role.as_str(), %term, leader, "role");
                }
                Note::MembershipChanged { group, index, membership } => {
                    let names =
                        |ids: &[RaftId]| ids.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(",");
                    let (voters, learners) = (names(&membership.voters), names(&membership.learners));
                    let outgoing = names(&membership.voters_outgoing);
                    tracing::info!(%group, %index, voters, learners, outgoing, "membership");
                }
                Note::Compacted { group, through } => tracing::debug!(%group, %through, "log compacted"),
                Note::MessageRefused { from, group, reason } => {
                    tracing::warn!(from = self.name(from), %group, %reason, "message refused");
                }
                Note::Raft { group, text } => tracing::warn!(%group, text, "raft"),
                Note::GroupPoisoned { group, reason } => {
                    // Without a lane this node could not follow the order.
                    self.shared.fail(&format!("consensus stopped in group {group}: {reason}"));
                }
            }
        }
        Ok(())
    }

    /// Gives the space of compacted segments back.
    fn release(&mut self) -> Result<(), Error> {
        match self.log.release() {
            Err(error @ (quack_log::Error::Poisoned { .. } | quack_log::Error::Corrupt { .. })) => {
                Err(error.into())
            }
            Err(error) => {
                tracing::warn!(%error, "old log segments could not be deleted; the next checkpoint tries again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
