//! All groups of this node: dispatch, and containment of what goes wrong in one.
//!
//! A group's step is run behind a barrier and speaks into its own outbox, which is
//! merged here when the step has succeeded. A group whose step fails is dropped with
//! everything that it had not yet said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quack_log::{Floor, GroupWrite, LogRead};
use quack_types::{GroupId, LogIndex, RaftId};

use crate::group::Group;
use crate::lanes::Lanes;
use crate::outbox::Outbox;
use crate::poison::contain;
use crate::{
    Answer, Committed, Config, Durable, Effects, Error, Event, GroupState, GroupStatus, InvalidMessage,
    Membership, Note, PeerMessage, Persist, Promise, Refusal, Role,
};

/// The Raft groups of one node. See the crate's page for how to drive it.
pub struct Node<L: LogRead> {
    pub(crate) config: Config,
    pub(crate) log: L,
    pub(crate) groups: BTreeMap<GroupId, Group<L>>,
    /// Groups in which time passes.
    awake: BTreeSet<GroupId>,
    /// Groups that were stepped and may have something to say.
    active: BTreeSet<GroupId>,
    /// Groups whose status may have changed since it was last asked for.
    changed: BTreeSet<GroupId>,
    pub(crate) lanes: Lanes,
    /// Groups that were given up, with their last status.
    poisoned: BTreeMap<GroupId, GroupStatus>,
    queue: VecDeque<Event>,
    /// Said by the node itself, outside of any group's step.
    answers: Vec<Answer>,
    pub(crate) notes: Vec<Note>,
    pub(crate) posts: Vec<PeerMessage>,
    /// Groups whose logs are to be forgotten with the next write.
    pub(crate) gone: Vec<GroupId>,
    /// How many writes were asked for, and whether the last one is still open.
    number: u64,
    is_outstanding: bool,
    /// Whether lone voters have stood for election: once the first round has replayed the log, or the node begins.
    is_started: bool,
}

impl<L: LogRead + Clone> Node<L> {
    /// Brings back every group that the log knows, and begins those of `groups` that
    /// it does not know, with the given first members. Every member of a group must be
    /// given the same first members; an empty membership waits for a snapshot.
    ///
    /// `applied` says how far the state machine is in each group (default: nothing). `retired` are lanes in the log
    /// that the state machine knows to be dropped.
    ///
    /// # Errors
    ///
    /// A configuration that cannot work, or positions of log and state machine that
    /// contradict each other. Nothing is changed then.
    pub fn new(
        config: Config,
        groups: &[(GroupId, Membership)],
        applied: &[(GroupId, LogIndex)],
        retired: &[GroupId],
        log: L,
    ) -> Result<Self, Error> {
        config.validate()?;
        let mut first: BTreeMap<GroupId, Membership> =
            log.groups().into_iter().map(|group| (group, Membership::default())).collect();
        first.extend(groups.iter().cloned());
        let applied: BTreeMap<GroupId, LogIndex> = applied.iter().copied().collect();
        let mut started = BTreeMap::new();
        for (id, membership) in first {
            let is_retired = retired.contains(&id);
            // Of a lane that was dropped nothing is applied any more.
            let position = if is_retired {
                log.hard_state(id).commit.max(log.floor(id).index)
            } else {
                applied.get(&id).copied().unwrap_or_default()
            };
            let start = || Ok(Group::start(&config, id, &membership, position, log.clone()));
            let mut group = contain(start).map_err(|what| Error::LogInconsistent { group: id, what })??;
            if is_retired {
                group.retire();
            }
            started.insert(id, group);
        }
        let all: BTreeSet<GroupId> = started.keys().copied().collect();
        let is_started = config.begins_later;
        let last_lane = all.last().copied().unwrap_or_default().max(config.last_lane);
        let lanes = Lanes::new(&applied, last_lane, &config.unborn);
        Ok(Self {
            config,
            log,
            groups: started,
            awake: all.clone(),
            active: all.clone(),
            changed: all,
            lanes,
            poisoned: BTreeMap::new(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            notes: Vec::new(),
            posts: Vec::new(),
            gone: Vec::new(),
            number: 0,
            is_outstanding: false,
            is_started,
        })
    }
}

impl<L: LogRead + Clone> Node<L> {
    /// Lets lone voters lead, when they have waited for it.
    pub fn begin(&mut self) {
        self.is_started = false;
    }

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
            || !self.posts.is_empty()
            || !self.gone.is_empty()
            || self.has_cut()
            || self.active.iter().filter_map(|id| self.groups.get(id)).any(Group::has_work)
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
        self.propose_cut();
        let mut effects = Effects {
            send_now: std::mem::take(&mut self.posts),
            persist: Persist { writes: Vec::new(), must_sync: false, number: self.number + 1 },
            answers: Vec::new(),
            notes: Vec::new(),
        };
        effects.persist.must_sync |= !self.gone.is_empty();
        let gone = std::mem::take(&mut self.gone).into_iter();
        effects.persist.writes.extend(gone.map(|group| GroupWrite { gone: true, ..GroupWrite::new(group) }));
        for id in self.active_ids() {
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
        for id in self.active_ids() {
            let Some(outbox) = self.step_group(id, Group::persisted) else { continue };
            durable.send.extend(outbox.send);
            if !outbox.apply.is_empty() {
                self.lanes_hear(id, &outbox.apply);
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
        self.settle();
        durable.answers.append(&mut self.answers);
        durable.notes.append(&mut self.notes);
        Ok(durable)
    }

    /// This node, as its groups know it.
    pub fn id(&self) -> RaftId {
        self.config.node
    }

    /// What a group looks like now; `None` when there is no such group here.
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        let of_lane = |found: &Group<L>| self.with_order(found.status());
        self.groups.get(&group).map(of_lane).or_else(|| self.poisoned.get(&group).cloned())
    }

    /// Groups whose status may have changed since this was last called: what they look like now, or `None` for those
    /// that are gone.
    pub fn take_changed(&mut self) -> Vec<(GroupId, Option<GroupStatus>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|group| (group, self.status(group))).collect()
    }

    /// What a snapshot of the state machine at `index` must say about the group, so that
    /// another node can start behind it (see [`crate::reseed`]). `None` when the log begins
    /// behind `index`, or it is not known to be committed here.
    pub fn floor_at(&self, group: GroupId, index: LogIndex) -> Option<Floor> {
        self.groups.get(&group)?.floor_at(index)
    }

    /// What each peer has promised this node since it started, in each group.
    pub fn promises(&self) -> BTreeMap<RaftId, BTreeMap<GroupId, Promise>> {
        let mut promises: BTreeMap<RaftId, BTreeMap<GroupId, Promise>> = BTreeMap::new();
        for (id, group) in &self.groups {
            for (peer, promise) in group.promises() {
                promises.entry(peer).or_default().insert(*id, promise);
            }
        }
        promises
    }

    /// Every group of this node, in order.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        let mut all: Vec<GroupStatus> =
            self.groups.values().map(|group| self.with_order(group.status())).collect();
        all.extend(self.poisoned.values().cloned());
        all.sort_by_key(|status| status.group);
        all
    }

    fn ids(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    fn active_ids(&self) -> Vec<GroupId> {
        self.active.iter().copied().collect()
    }

    /// The round is over: groups that have nothing to say are passed over in the next ones.
    fn settle(&mut self) {
        let groups = &self.groups;
        self.active.retain(|id| groups.get(id).is_some_and(Group::has_work));
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Tick => self.on_tick(),
            Event::CreateLane { group, at } => self.create_lane(group, at),
            Event::RetireLane { group } => self.step_infallible(group, Group::retire),
            Event::RemoveLane { group } => self.remove_lane(group),
            Event::PeerUnreachable { peer } => self.step_all(|group| group.on_peer_unreachable(peer)),
            Event::Message { from, group, bytes } => match self.missing(group) {
                None => self.step_infallible(group, |group| group.on_message(from, &bytes)),
                Some(Refusal::UnknownGroup) if group != GroupId::ROOT => {
                    self.on_strange_lane(group, from, bytes);
                }
                Some(refusal) => {
                    let poisoned = refusal == Refusal::Poisoned;
                    let reason =
                        if poisoned { InvalidMessage::Poisoned } else { InvalidMessage::UnknownGroup };
                    self.notes.push(Note::MessageRefused { from, group, reason });
                }
            },
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

    fn on_tick(&mut self) {
        self.lanes.is_held = false;
        let root = self.groups.get(&GroupId::ROOT).and_then(Group::settled_membership);
        if let Some(members) = root
            && self.lanes.members.as_ref() != Some(&members)
        {
            let is_news = self.lanes.members.replace(members).is_some();
            if is_news {
                // Each lane's leader will want the same members.
                self.step_all(Group::wake);
            }
        }
        let members = self.lanes.members.clone().unwrap_or_default();
        self.ask_absent();
        for id in self.awake.iter().copied().collect::<Vec<_>>() {
            self.step_infallible(id, |group| {
                if id != GroupId::ROOT {
                    group.on_lane_tick(&members);
                }
                if !group.is_resting() {
                    group.on_tick();
                }
            });
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

    pub(crate) fn step_infallible(&mut self, id: GroupId, step: impl FnOnce(&mut Group<L>)) {
        self.step_group(id, |group| {
            step(group);
            Ok(())
        });
    }

    /// Runs a step of one group behind the barrier. `None` when there is no such group,
    /// or none any more.
    pub(crate) fn step_group<T>(
        &mut self,
        id: GroupId,
        step: impl FnOnce(&mut Group<L>) -> Result<T, String>,
    ) -> Option<T> {
        let group = self.groups.get_mut(&id)?;
        self.active.insert(id);
        self.changed.insert(id);
        match contain(|| step(group)) {
            Ok(value) => {
                if group.is_resting() {
                    self.awake.remove(&id);
                } else {
                    self.awake.insert(id);
                }
                Some(value)
            }
            Err(reason) => {
                self.poison(id, reason);
                None
            }
        }
    }

    /// A group that was not there before.
    pub(crate) fn add_group(&mut self, id: GroupId, group: Group<L>) {
        self.groups.insert(id, group);
        self.awake.insert(id);
        self.active.insert(id);
        self.changed.insert(id);
    }

    pub(crate) fn forget_group(&mut self, id: GroupId) -> bool {
        self.awake.remove(&id);
        self.active.remove(&id);
        self.changed.insert(id);
        self.groups.remove(&id).is_some()
    }

    fn poison(&mut self, id: GroupId, reason: String) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.awake.remove(&id);
        self.active.remove(&id);
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
