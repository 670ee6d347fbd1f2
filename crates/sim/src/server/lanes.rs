//! The one order on this node: what is applied next, and what follows when lanes come and go.
//!
//! The order is the root's log, in which each cut stands for the lanes' entries that it newly orders, in the order of
//! the lanes' numbers. They are read from the node's own log, once that holds the entry which the cut names: with the
//! same index and term it is the same entry, and so are all before it. Until then the node waits.

use std::collections::BTreeMap;

use quack_core::{Cut, Event};
use quack_log::{LogEntry, LogRead};
use quack_types::{GroupId, LogIndex};

use super::{Life, Output, Outputs, Server, is_disk_error};
use crate::failure::Failure;
use crate::model::Lane;
use crate::sabotage::Sabotage;

/// What the state machine does next.
enum Next {
    /// The first entry of the queue, with all that it orders behind it.
    Root,
    Lane(GroupId, LogIndex),
    /// An entry of this lane was ordered and is not here yet.
    Wait(GroupId),
    Nothing,
}

impl Life {
    fn next(&self, sabotage: Option<Sabotage>) -> Result<Next, Failure> {
        let Some(entry) = self.queue.front() else { return Ok(Next::Nothing) };
        let cut = Cut::of(entry).map_err(|error| Failure::safety("cuts can be read", error.to_string()))?;
        let mut waits = None;
        for (group, end) in cut.map(|cut| cut.lanes).unwrap_or_default() {
            // What is in a lane that does not exist is void.
            let Some(applied) = self.model.applied(group).filter(|applied| *applied < end.index) else {
                continue;
            };
            let is_here = match sabotage {
                Some(Sabotage::CutIgnoresTerm) => self.log.last_index(group) >= end.index,
                _ => self.log.term(group, end.index) == Some(end.term),
            };
            if is_here {
                return Ok(Next::Lane(group, applied.next()));
            }
            match sabotage {
                Some(Sabotage::CutDoesNotWait) => {}
                Some(Sabotage::OrderByArrival) => waits = waits.or(Some(group)),
                _ => return Ok(Next::Wait(group)),
            }
        }
        Ok(waits.map_or(Next::Root, Next::Wait))
    }
}

impl Life {
    /// A lane that was dropped and is not forgotten yet.
    pub fn first_retired(&self) -> Option<GroupId> {
        self.retired.keys().next().copied()
    }

    /// One that is kept for a member that cannot be told of the drop by the root's log any more.
    pub fn first_kept_in_vain(&self) -> Option<GroupId> {
        let floor = self.log.floor(GroupId::ROOT).index;
        self.retired.iter().find(|(_, at)| **at <= floor).map(|(group, _)| *group)
    }
}

impl Server {
    /// Whether there is something to apply, or the lane whose entry is waited for.
    pub(super) fn has_next(&self) -> Result<(bool, Option<GroupId>), Failure> {
        let Some(life) = &self.life else { return Ok((false, None)) };
        Ok(match life.next(self.scenario.sabotage)? {
            Next::Root | Next::Lane(..) => (true, None),
            Next::Wait(group) => (false, Some(group)),
            Next::Nothing => (false, None),
        })
    }

    /// The next entry of the one order, if it is here. `None` also when the node goes down over it.
    pub(super) fn take_next(
        &mut self,
        outputs: &mut Outputs,
    ) -> Result<Option<(GroupId, LogEntry)>, Failure> {
        let Some(life) = &mut self.life else { return Ok(None) };
        match life.next(self.scenario.sabotage)? {
            Next::Root => Ok(life.queue.pop_front().map(|entry| (GroupId::ROOT, entry))),
            Next::Wait(_) | Next::Nothing => Ok(None),
            Next::Lane(group, index) => match life.log.entries(group, index, index.next(), u64::MAX) {
                Ok(mut entries) => Ok(entries.pop().map(|entry| (group, entry))),
                Err(error) if is_disk_error(&error) => {
                    self.stop();
                    outputs.push(Output::Crashed { why: format!("while reading a lane: {error}") });
                    Ok(None)
                }
                Err(error) => {
                    let what = format!("n{} g{group}: {error}", self.id);
                    Err(Failure::safety("what was ordered can be read", what))
                }
            },
        }
    }

    /// An entry of the root may have created or dropped lanes. Created ones are in the log before a checkpoint can hold
    /// them; what waits in a dropped one is proposed again, under the same ids.
    pub(super) fn follow_lanes(
        &mut self,
        before: &BTreeMap<GroupId, Lane>,
        outputs: &mut Outputs,
    ) -> Result<(), Failure> {
        let loses = self.is_sabotaged(Sabotage::DropLosesProposals);
        let Some(life) = &mut self.life else { return Ok(()) };
        let now = &life.model.lanes;
        let created: Vec<GroupId> = now.keys().filter(|group| !before.contains_key(group)).copied().collect();
        let dropped: Vec<GroupId> = before.keys().filter(|group| !now.contains_key(group)).copied().collect();
        let at = life.model.root;
        let mut events: Vec<Event> =
            created.iter().map(|group| Event::CreateLane { group: *group, at }).collect();
        life.is_creating |= !created.is_empty();
        for group in &dropped {
            events.push(Event::RetireLane { group: *group });
            life.retired.insert(*group, at);
            let moved: Vec<_> =
                life.in_lanes.extract_if(.., |_, (lane, _)| *lane == *group).filter(|_| !loses).collect();
            events.extend(moved.into_iter().map(|(tag, (_, data))| Event::Propose {
                group: GroupId::ROOT,
                data,
                tag,
            }));
        }
        for event in events {
            life.handle(event)?;
        }
        if self.scenario.sabotage == Some(Sabotage::CheckpointBeforeLane) {
            self.checkpoint.clone_from(&life.model);
        }
        let order = life.model.order;
        outputs.push(Output::Lanes { order, at, created, dropped });
        Ok(())
    }

    /// Forgets lanes whose logs no node needs any more: not this one after a restart from its checkpoint, and no other
    /// one, because the lanes are over, or a member that has not dropped them needs a snapshot anyway.
    pub(super) fn remove_lanes(&mut self) -> Result<(), Failure> {
        let durable = self.checkpoint.root;
        let Some(life) = &mut self.life else { return Ok(()) };
        let is_over = |group: &GroupId| life.node.status(*group).is_none_or(|status| status.is_over);
        let floor = life.log.floor(GroupId::ROOT).index;
        let over: Vec<GroupId> = life
            .retired
            .iter()
            .filter(|(group, at)| **at <= durable && (is_over(group) || **at <= floor))
            .map(|(group, _)| *group)
            .collect();
        for group in over {
            life.retired.remove(&group);
            life.handle(Event::RemoveLane { group })?;
        }
        Ok(())
    }

    /// Lanes in the log that the state machine knows to be dropped.
    pub(super) fn retired(&self, log: &dyn LogRead) -> Vec<GroupId> {
        if self.is_sabotaged(Sabotage::ForgetRetired) {
            return Vec::new();
        }
        let model = &self.checkpoint;
        let is_over = |group: &GroupId| {
            *group != GroupId::ROOT && *group <= model.last_group && !model.lanes.contains_key(group)
        };
        log.groups().into_iter().filter(is_over).collect()
    }

    /// Lanes that clients of this node know.
    pub fn lanes(&self) -> Vec<GroupId> {
        self.life.iter().flat_map(|life| life.model.lanes.keys().copied()).collect()
    }
}
