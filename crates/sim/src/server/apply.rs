//! The node's apply queue, checkpoints, and the compaction behind them.

use quack_core::Event;
use quack_log::LogEntry;
use quack_types::{GroupId, LogIndex};

use super::{Output, Outputs, Server, StateAfter, Timer};
use crate::failure::Failure;
use crate::model::{self, Model};
use crate::network::Packet;
use crate::sabotage::Sabotage;

impl Server {
    /// Applies a batch of random size after a random time, if there is one.
    pub(super) fn start_applying(&mut self, outputs: &mut Outputs) {
        let Some(life) = &mut self.life else { return };
        if !life.is_applying && !life.queue.is_empty() {
            life.is_applying = true;
            let delay_us = self.random.between(100, self.scenario.apply_us_max.max(100));
            outputs.push(Output::After { delay_us, timer: Timer::Applied });
        }
    }

    pub(super) fn on_applied(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let count = self.random.between(1, self.scenario.batch_max);
        let mut touched = Vec::new();
        for _ in 0..count {
            let Some(life) = &mut self.life else { return Ok(()) };
            let Some((group, entry)) = life.queue.pop_front() else { break };
            self.apply(group, &entry, outputs);
            touched.push((group, entry.index));
        }
        if let Some(life) = &mut self.life {
            life.is_applying = false;
            for (group, index) in touched {
                let applied = life.node.handle(Event::Applied { group, index });
                applied.map_err(|error| Failure::crash("the core takes events", error.to_string()))?;
            }
        }
        self.finish_reads(outputs);
        self.start_applying(outputs);
        self.pump(outputs)
    }

    fn apply(&mut self, group: GroupId, entry: &LogEntry, outputs: &mut Outputs) {
        let deduplicates = !self.is_sabotaged(Sabotage::ApplyTwice);
        let skips = self.is_sabotaged(Sabotage::SkipEntry) && self.random.chance(2_000);
        let Some(life) = &mut self.life else { return };
        let commit = life.node.status(group).map(|status| status.commit_index).unwrap_or_default();
        let model = life.models.entry(group).or_default();
        let applied = if skips && model::decode(entry).is_some() {
            model.applied = entry.index;
            None
        } else {
            model.apply(entry, deduplicates)
        };
        let state =
            StateAfter { hash: model.hash, length: model.list.len(), last: model.list.last().copied() };
        outputs.push(Output::Entry { group, entry: entry.clone(), state, commit });
        if let Some(applied) = applied {
            outputs.push(Output::Applied {
                group,
                index: entry.index,
                id: applied.id,
                outcome: applied.outcome,
                is_first: applied.is_first,
            });
        }
    }

    /// The state machine's own checkpoint, and what follows from it.
    pub(super) fn on_checkpoint(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        let delay_us = self.random.wait(self.scenario.checkpoint_us);
        outputs.push(Output::After { delay_us, timer: Timer::Checkpoint });
        let goes_too_far = self.is_sabotaged(Sabotage::CompactBeyondCheckpoint);
        let Some(life) = &mut self.life else { return Ok(()) };
        let before = self.checkpoint.clone();
        self.checkpoint.clone_from(&life.models);
        if goes_too_far {
            self.checkpoint = before;
        }
        for (group, model) in &life.models {
            // The log is kept for the slowest member, but not without bound: who falls further
            // behind needs a snapshot.
            let replicated = life.replicated.get(group).copied().unwrap_or_default();
            let longest = LogIndex(model.applied.0.saturating_sub(self.scenario.log_entries_max));
            let event = Event::Compact { group: *group, through: model.applied.min(replicated).max(longest) };
            let taken = life.node.handle(event);
            taken.map_err(|error| Failure::crash("the core takes events", error.to_string()))?;
        }
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
        for group in self.groups() {
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
        self.checkpoint.get(&group).map(|model| model.applied).unwrap_or_default()
    }

    /// State of a group now, if the node is up.
    pub fn model(&self, group: GroupId) -> Option<Model> {
        self.life.as_ref().map(|life| life.models.get(&group).cloned().unwrap_or_default())
    }
}
