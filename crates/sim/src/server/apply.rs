//! The node's state machine: it follows the one order, makes checkpoints, and the logs are compacted behind them.

use quack_core::Event;
use quack_log::LogEntry;
use quack_types::{GroupId, LogIndex};

use super::{Output, Outputs, Server, StateAfter, Timer};
use crate::failure::Failure;
use crate::model::{self, Model};
use crate::network::Packet;
use crate::sabotage::Sabotage;

/// How long a node waits for an entry of a lane that another one has forgotten before it asks for a snapshot.
const PATIENCE_US: u64 = 5_000_000;

impl Server {
    /// Applies a batch of random size after a random time, if there is one.
    pub(super) fn start_applying(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let is_busy = self.life.as_ref().is_none_or(|life| life.is_applying || life.is_creating);
        if is_busy {
            return Ok(());
        }
        let (has_next, waits_for) = self.has_next()?;
        let Some(life) = &mut self.life else { return Ok(()) };
        if waits_for.is_some() && life.waits_since.is_none() {
            life.waits_since = Some(life.model.order);
            outputs.push(Output::After { delay_us: PATIENCE_US, timer: Timer::Patience });
        }
        if has_next {
            life.is_applying = true;
            let delay_us = self.random.between(100, self.scenario.apply_us_max.max(100));
            outputs.push(Output::After { delay_us, timer: Timer::Applied });
        }
        Ok(())
    }

    /// What was ordered comes, or a snapshot does: a node that has joined from an old one may need what all others have
    /// forgotten, because they had dropped the lane before they knew of it.
    pub(super) fn on_patience(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let (_, waits_for) = self.has_next()?;
        let peer = self.raft_id();
        let Some(life) = &mut self.life else { return Ok(()) };
        let has_moved = life.waits_since.take() != Some(life.model.order);
        let is_forgotten =
            |group: &GroupId| life.node.status(*group).is_some_and(|status| status.is_forgotten);
        if let Some(group) = waits_for.filter(|group| !has_moved && is_forgotten(group)) {
            outputs.push(Output::SnapshotNeeded { group, peer });
        }
        self.start_applying(outputs)
    }

    /// A batch may end anywhere in the order, also in the midst of a cut; a change of lanes ends it.
    pub(super) fn on_applied(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let count = self.random.between(1, self.scenario.batch_max);
        for _ in 0..count {
            let Some((group, entry)) = self.take_next(outputs)? else { break };
            if self.apply(group, &entry, outputs)? {
                break;
            }
        }
        if let Some(life) = &mut self.life {
            life.is_applying = false;
            let root = life.model.root;
            life.handle(Event::Applied { group: GroupId::ROOT, index: root })?;
        }
        self.finish_reads(outputs);
        self.start_applying(outputs)?;
        self.pump(outputs)
    }

    /// Says whether the lanes are other ones now.
    fn apply(&mut self, group: GroupId, entry: &LogEntry, outputs: &mut Outputs) -> Result<bool, Failure> {
        let skips = self.is_sabotaged(Sabotage::SkipEntry) && self.random.chance(2_000);
        let differs = self.is_sabotaged(Sabotage::DecideDifferently) && self.random.chance(2_000);
        let sabotage = self.scenario.sabotage;
        let Some(life) = &mut self.life else { return Ok(false) };
        let commit = life.node.status(group).map(|status| status.commit_index).unwrap_or_default();
        let model = &mut life.model;
        let before = (group == GroupId::ROOT).then(|| model.lanes.clone());
        let proposal = model::decode(entry);
        let applied = if skips && proposal.is_some() {
            model.skip(group, entry.index);
            None
        } else if differs && proposal.is_some_and(|proposal| proposal.reshard.is_none()) {
            model.refuse(group, entry.index);
            None
        } else {
            model.apply(group, entry, sabotage)
        };
        if group == GroupId::ROOT {
            life.at_root.clone_from(&model.lanes);
        }
        let state = StateAfter {
            order: model.order,
            hash: model.hash,
            length: model.list.len(),
            last: model.list.last().copied(),
            is_reshard: applied.is_some_and(|applied| applied.is_first)
                && proposal.is_some_and(|proposal| proposal.reshard.is_some()),
        };
        outputs.push(Output::Entry { group, entry: entry.clone(), state, commit });
        if let Some(applied) = applied {
            life.in_lanes.remove(&applied.id);
            outputs.push(Output::Applied {
                group,
                index: entry.index,
                id: applied.id,
                outcome: applied.outcome,
                is_first: applied.is_first,
            });
        }
        let Some(before) = before.filter(|before| *before != model.lanes) else { return Ok(false) };
        self.follow_lanes(&before, outputs)?;
        Ok(true)
    }

    /// The state machine's own checkpoint, and what follows from it.
    pub(super) fn on_checkpoint(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let delay_us = self.random.wait(self.scenario.checkpoint_us);
        outputs.push(Output::After { delay_us, timer: Timer::Checkpoint });
        let forgets_lanes = self.is_sabotaged(Sabotage::CheckpointWithoutLanes);
        let Some(life) = &mut self.life else { return Ok(()) };
        if life.is_creating {
            // The next one holds the lanes that are not in the log yet.
            return Ok(());
        }
        if self.scenario.sabotage != Some(Sabotage::CompactBeyondCheckpoint) {
            self.checkpoint.clone_from(&life.model);
            if forgets_lanes {
                self.checkpoint.lanes.clone_from(&life.at_root);
            }
        }
        for (group, applied) in life.model.place().groups() {
            // The log is kept for the slowest member, but not without bound: who falls further
            // behind needs a snapshot.
            let replicated = life.replicated.get(&group).copied().unwrap_or_default();
            let longest = LogIndex(applied.0.saturating_sub(self.scenario.log_entries_max));
            life.handle(Event::Applied { group, index: applied })?;
            life.handle(Event::Compact { group, through: applied.min(replicated).max(longest) })?;
        }
        self.remove_lanes()?;
        self.pump(outputs)?;
        self.release(outputs)
    }

    fn release(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if let Err(error) = life.log.release() {
            if !super::is_disk_error(&error) {
                return Err(Failure::safety("the log releases segments", format!("n{}: {error}", self.id)));
            }
            self.stop();
            outputs.push(Output::Crashed { why: error.to_string() });
        }
        Ok(())
    }

    /// A leader knows how far every member is, and tells the others.
    pub(super) fn tell_replicated(&mut self, outputs: &mut Outputs) {
        for group in std::iter::once(GroupId::ROOT).chain(self.lanes()) {
            let Some(life) = &mut self.life else { return };
            let Some(index) = life.node.status(group).and_then(|status| status.replicated_index) else {
                continue;
            };
            if life.told.get(&group).is_some_and(|told| *told >= index) {
                continue;
            }
            life.told.insert(group, index);
            self.on_replicated(group, index);
            outputs.push(Output::Tell { packet: Packet::Replicated { group, index } });
        }
    }

    pub(super) fn on_replicated(&mut self, group: GroupId, index: LogIndex) {
        if let Some(life) = &mut self.life {
            let known = life.replicated.entry(group).or_default();
            *known = (*known).max(index);
        }
    }

    /// Up to where a group's state survives a crash of the node.
    pub fn durable(&self, group: GroupId) -> LogIndex {
        self.checkpoint.applied(group).unwrap_or_default()
    }

    /// How far a group is applied now.
    pub fn applied(&self, group: GroupId) -> LogIndex {
        self.model().and_then(|model| model.applied(group)).unwrap_or_default()
    }

    /// State of the node now, if it is up.
    pub fn model(&self) -> Option<&Model> {
        self.life.as_ref().map(|life| &life.model)
    }
}
