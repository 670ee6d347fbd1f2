//! All groups of this node: dispatch, and containment of what goes wrong in one.
//!
//! A group's step is run behind a barrier and speaks into its own outbox, which is
//! merged here when the step has succeeded. A group whose step fails is dropped with
//! everything that it had not yet said.

use std::collections::{BTreeMap, VecDeque};

use quack_log::{Floor, LogRead};
use quack_types::{GroupId, LogIndex};

use crate::group::Group;
use crate::outbox::Outbox;
use crate::poison::contain;
use crate::{
    Answer, Committed, Config, Durable, Effects, Error, Event, GroupState, GroupStatus, InvalidMessage,
    Membership, Note, Persist, Refusal, Role,
};

/// The Raft groups of one node. See the crate's page for how to drive it.
pub struct Node<L: LogRead> {
    config: Config,
    groups: BTreeMap<GroupId, Group<L>>,
    /// Groups that were given up, with their last status.
    poisoned: BTreeMap<GroupId, GroupStatus>,
    queue: VecDeque<Event>,
    /// Said by the node itself, outside of any group's step.
    answers: Vec<Answer>,
    notes: Vec<Note>,
    /// How many writes were asked for, and whether the last one is still open.
    number: u64,
    is_outstanding: bool,
    /// Lone voters stand for election once the first round has replayed the log.
    is_started: bool,
}

impl<L: LogRead + Clone> Node<L> {
    /// Brings back every group that the log knows, and begins those of `groups` that
    /// it does not know, with the given first members. Every member of a group must be
    /// given the same first members; an empty membership waits for a snapshot.
    ///
    /// `applied` says how far the state machine is in each group (default: nothing).
    ///
    /// # Errors
    ///
    /// A configuration that cannot work, or positions of log and state machine that
    /// contradict each other. Nothing is changed then.
    pub fn new(
        config: Config,
        groups: &[(GroupId, Membership)],
        applied: &[(GroupId, LogIndex)],
        log: L,
    ) -> Result<Self, Error> {
        config.validate()?;
        let mut first: BTreeMap<GroupId, Membership> =
            log.groups().into_iter().map(|group| (group, Membership::default())).collect();
        first.extend(groups.iter().cloned());
        let applied: BTreeMap<GroupId, LogIndex> = applied.iter().copied().collect();
        let mut started = BTreeMap::new();
        for (id, membership) in first {
            let position = applied.get(&id).copied().unwrap_or_default();
            let start = || Ok(Group::start(&config, id, &membership, position, log.clone()));
            let group = contain(start).map_err(|what| Error::LogInconsistent { group: id, what })??;
            started.insert(id, group);
        }
        Ok(Self {
            config,
            groups: started,
            poisoned: BTreeMap::new(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            notes: Vec::new(),
            number: 0,
            is_outstanding: false,
            is_started: false,
        })
    }
}

impl<L: LogRead> Node<L> {
    /// Queues an event. It takes effect in the next [`Node::effects`], in order.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`]: the event was not taken.
    pub fn handle(&mut self, event: Event) -> Result<(), Error> {
        if self.queue.len() >= self.config.queue_events_max {
            return Err(Error::QueueFull { max: self.config.queue_events_max });
        }
        self.queue.push_back(event);
        Ok(())
    }

    /// Whether [`Node::effects`] has anything to say. When not, wait for the next event.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
            || !self.is_started
            || !self.answers.is_empty()
            || !self.notes.is_empty()
            || self.groups.values().any(Group::has_work)
    }

    /// Takes the queued events and begins a round of every group that has work.
    ///
    /// # Errors
    ///
    /// [`Error::PersistOutstanding`] when [`Node::persisted`] is still owed.
    pub fn effects(&mut self) -> Result<Effects, Error> {
        if self.is_outstanding {
            return Err(Error::PersistOutstanding);
        }
        while let Some(event) = self.queue.pop_front() {
            self.dispatch(event);
        }
        let mut effects = Effects {
            send_now: Vec::new(),
            persist: Persist { writes: Vec::new(), must_sync: false, number: self.number + 1 },
            answers: Vec::new(),
            notes: Vec::new(),
        };
        for id in self.ids() {
            let Some(outbox) =
                self.step_group(
                    id,
                    |group| if group.has_work() { group.collect() } else { Ok(Outbox::default()) },
                )
            else {
                continue;
            };
            effects.send_now.extend(outbox.send);
            effects.persist.writes.extend(outbox.write);
            effects.persist.must_sync |= outbox.must_sync;
            effects.answers.extend(outbox.answers);
            effects.notes.extend(outbox.notes);
        }
        self.number += 1;
        self.is_outstanding = true;
        effects.answers.append(&mut self.answers);
        effects.notes.append(&mut self.notes);
        Ok(effects)
    }

    /// The last write is durable: returns what had to wait for it.
    ///
    /// # Errors
    ///
    /// [`Error::PersistUnknown`] when `persist` is not the last one of this node.
    pub fn persisted(&mut self, persist: Persist) -> Result<Durable, Error> {
        if !self.is_outstanding || persist.number != self.number {
            return Err(Error::PersistUnknown);
        }
        self.is_outstanding = false;
        let mut durable = Durable::default();
        for id in self.ids() {
            let Some(outbox) = self.step_group(id, Group::persisted) else { continue };
            durable.send.extend(outbox.send);
            if !outbox.apply.is_empty() {
                durable.apply.push(Committed { group: id, entries: outbox.apply });
            }
            durable.snapshots_needed.extend(outbox.snapshots_needed);
            durable.answers.extend(outbox.answers);
            durable.notes.extend(outbox.notes);
        }
        if !self.is_started {
            self.is_started = true;
            for id in self.ids() {
                self.step_group(id, Group::campaign_if_alone);
            }
        }
        durable.answers.append(&mut self.answers);
        durable.notes.append(&mut self.notes);
        Ok(durable)
    }

    /// What a group looks like now; `None` when there is no such group here.
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(&group).map(Group::status).or_else(|| self.poisoned.get(&group).cloned())
    }

    /// What a snapshot of the state machine at `index` must say about the group, so that
    /// another node can start behind it (see [`crate::reseed`]). `None` when the log begins
    /// behind `index`, or it is not known to be committed here.
    pub fn floor_at(&self, group: GroupId, index: LogIndex) -> Option<Floor> {
        self.groups.get(&group)?.floor_at(index)
    }

    /// Every group of this node, in order.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        let mut all: Vec<GroupStatus> = self.groups.values().map(Group::status).collect();
        all.extend(self.poisoned.values().cloned());
        all.sort_by_key(|status| status.group);
        all
    }

    fn ids(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Tick => self.step_all(Group::on_tick),
            Event::PeerUnreachable { peer } => self.step_all(|group| group.on_peer_unreachable(peer)),
            Event::Message { from, group, bytes } => {
                if let Some(refusal) = self.missing(group) {
                    let poisoned = refusal == Refusal::Poisoned;
                    let reason =
                        if poisoned { InvalidMessage::Poisoned } else { InvalidMessage::UnknownGroup };
                    self.notes.push(Note::MessageRefused { from, group, reason });
                } else {
                    self.step_infallible(group, |group| group.on_message(from, &bytes));
                }
            }
            Event::Propose { group, data, tag } => match self.missing(group) {
                Some(reason) => self.answers.push(Answer::ProposalRefused { group, tag, reason }),
                None => self.step_infallible(group, |group| group.on_propose(data, tag)),
            },
            Event::Withdraw { group, tag } => self.step_infallible(group, |group| group.on_withdraw(tag)),
            Event::ProposeMembership { group, changes, tag } => match self.missing(group) {
                Some(reason) => self.answers.push(Answer::MembershipRefused { group, tag, reason }),
                None => self.step_infallible(group, |group| group.on_propose_membership(&changes, tag)),
            },
            Event::TransferLeader { group, to } => match self.missing(group) {
                Some(reason) => self.answers.push(Answer::TransferRefused { group, to, reason }),
                None => self.step_infallible(group, |group| group.on_transfer_leader(to)),
            },
            Event::ReadIndex { group, tag } => match self.missing(group) {
                Some(reason) => self.answers.push(Answer::ReadRefused { group, tag, reason }),
                None => self.step_infallible(group, |group| group.on_read_index(tag)),
            },
            Event::Applied { group, index } => self.step_infallible(group, |group| group.on_applied(index)),
            Event::Compact { group, through } => {
                self.step_group(group, |group| group.on_compact(through));
            }
        }
    }

    /// Why a group cannot take an event, if it cannot.
    fn missing(&self, group: GroupId) -> Option<Refusal> {
        if self.groups.contains_key(&group) {
            None
        } else if self.poisoned.contains_key(&group) {
            Some(Refusal::Poisoned)
        } else {
            Some(Refusal::UnknownGroup)
        }
    }

    fn step_all(&mut self, step: impl Fn(&mut Group<L>)) {
        for id in self.ids() {
            self.step_infallible(id, &step);
        }
    }

    fn step_infallible(&mut self, id: GroupId, step: impl FnOnce(&mut Group<L>)) {
        self.step_group(id, |group| {
            step(group);
            Ok(())
        });
    }

    /// Runs a step of one group behind the barrier. `None` when there is no such group,
    /// or none any more.
    fn step_group<T>(
        &mut self,
        id: GroupId,
        step: impl FnOnce(&mut Group<L>) -> Result<T, String>,
    ) -> Option<T> {
        let group = self.groups.get_mut(&id)?;
        match contain(|| step(group)) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.poison(id, reason);
                None
            }
        }
    }

    fn poison(&mut self, id: GroupId, reason: String) {
        let Some(group) = self.groups.remove(&id) else { return };
        let reason = match group.take_fault() {
            Some(fault) => format!("the log cannot be read: {fault}"),
            None => reason,
        };
        // The group's state may be torn: ask it for the last time behind the barrier.
        let status = contain(|| Ok(group.status()));
        let state = GroupState::Poisoned { reason: reason.clone() };
        let last = status.unwrap_or_else(|_| GroupStatus::unknown(id));
        let status = GroupStatus {
            state,
            role: Role::Follower,
            leader: None,
            replicated_index: None,
            proposals: 0,
            linearizable_read_safe: false,
            ..last
        };
        self.poisoned.insert(id, status);
        self.notes.push(Note::GroupPoisoned { group: id, reason });
    }
}
