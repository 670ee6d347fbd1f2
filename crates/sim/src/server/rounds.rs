//! Rounds of the core: what it wants written is written, what had to wait for that is done.

use quack_core::{Committed, Note, Persist};
use quack_types::{GroupId, RaftId};

use super::{Output, Outputs, Server, Timer, is_disk_error};
use crate::disk::CRASHED;
use crate::failure::Failure;
use crate::sabotage::Sabotage;

impl Server {
    /// Runs rounds of the core until it has no work or a write is on its way.
    pub(super) fn pump(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        loop {
            let Some(life) = &mut self.life else { return Ok(()) };
            if life.syncing.is_some() {
                return Ok(());
            }
            if !life.node.has_work() {
                // The lanes that were asked for are in the log.
                return if std::mem::take(&mut life.is_creating) {
                    self.start_applying(outputs)
                } else {
                    Ok(())
                };
            }
            let effects =
                life.node.effects().map_err(|error| Failure::crash("rounds alternate", error.to_string()))?;
            self.send(effects.send_now, outputs);
            self.note(effects.notes, outputs)?;
            self.answer(effects.answers, outputs)?;
            if effects.persist.writes.is_empty() {
                self.finish(effects.persist, outputs)?;
            } else if !self.write(effects.persist, outputs)? {
                return Ok(());
            }
        }
    }

    /// Writes to the log; false when the node goes down over it.
    fn write(&mut self, persist: Persist, outputs: &mut Outputs) -> Result<bool, Failure> {
        let mut writes = persist.writes.clone();
        if self.is_sabotaged(Sabotage::ForgetVote) {
            let states = writes.iter_mut().filter_map(|write| write.hard_state.as_mut());
            states.for_each(|state| state.vote = RaftId(0));
        }
        let skips =
            [Sabotage::SkipFsync, Sabotage::AckBeforeFsync].into_iter().any(|bug| self.is_sabotaged(bug));
        let gone = writes.iter().filter(|write| write.gone);
        outputs.extend(gone.map(|write| Output::Forgets { group: write.group }));
        let Some(life) = &mut self.life else { return Ok(false) };
        let must_sync = persist.must_sync && !skips;
        if let Err(error) = life.log.write(&writes, must_sync) {
            if !is_disk_error(&error) {
                return Err(Failure::safety(
                    "the log takes what raft writes",
                    format!("n{}: {error}", self.id),
                ));
            }
            self.stop();
            outputs.push(Output::Crashed { why: error.to_string() });
            return Ok(false);
        }
        if self.scenario.sabotage == Some(Sabotage::ApplyEarly) {
            let root = writes.iter().filter(|write| write.group == GroupId::ROOT);
            life.queue.extend(root.flat_map(|write| write.entries.iter().cloned()));
        }
        outputs.extend(writes.into_iter().map(|write| Output::Written { write }));
        if self.is_sabotaged(Sabotage::AckBeforeFsync) {
            self.finish(persist, outputs)?;
            let delay_us = self.sync_delay_us();
            outputs.push(Output::After { delay_us, timer: Timer::Synced });
            return Ok(true);
        }
        if !persist.must_sync {
            self.finish(persist, outputs)?;
            return Ok(true);
        }
        if let Some(life) = &mut self.life {
            life.syncing = Some(persist);
        }
        let delay_us = self.sync_delay_us();
        outputs.push(Output::After { delay_us, timer: Timer::Synced });
        Ok(true)
    }

    fn sync_delay_us(&mut self) -> u64 {
        let (low, high) = self.scenario.sync_us;
        let stall_us = if self.stalls > 0 && self.random.chance(self.stalls) {
            self.random.below(self.scenario.stall_us_max)
        } else {
            0
        };
        self.random.between(low, high.max(low)) + stall_us
    }

    pub(super) fn on_synced(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        if self.is_sabotaged(Sabotage::AckBeforeFsync) {
            // The fsync that should have come first.
            let failed = self.life.as_mut().is_some_and(|life| life.log.write(&[], true).is_err());
            if failed {
                self.stop();
                outputs.push(Output::Crashed { why: "a late fsync failed".to_owned() });
            }
            return Ok(());
        }
        if let Some(persist) = self.life.as_mut().and_then(|life| life.syncing.take()) {
            self.finish(persist, outputs)?;
        }
        self.pump(outputs)
    }

    /// The core's write is durable.
    fn finish(&mut self, persist: Persist, outputs: &mut Outputs) -> Result<(), Failure> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let durable = life.node.persisted(persist);
        let mut durable = durable.map_err(|error| Failure::crash("rounds alternate", error.to_string()))?;
        if self.scenario.sabotage == Some(Sabotage::ApplyEarly) {
            durable.apply.clear();
        }
        for Committed { group, entries } in durable.apply {
            if group == GroupId::ROOT {
                life.queue.extend(entries.iter().cloned());
            }
            outputs.push(Output::Committed { group, entries });
        }
        self.send(durable.send, outputs);
        self.note(durable.notes, outputs)?;
        self.answer(durable.answers, outputs)?;
        let needs = durable.snapshots_needed.into_iter();
        outputs.extend(needs.map(|need| Output::SnapshotNeeded { group: need.group, peer: need.peer }));
        self.tell_replicated(outputs);
        self.start_applying(outputs)
    }

    fn note(&mut self, notes: Vec<Note>, outputs: &mut Outputs) -> Result<(), Failure> {
        for note in notes {
            match note {
                Note::GroupPoisoned { group, reason } => {
                    // A log that cannot be read because the machine is going down is no bug.
                    if reason.contains(CRASHED) {
                        self.stop();
                        outputs.push(Output::Crashed { why: "while reading the log".to_owned() });
                        return Ok(());
                    }
                    let what = format!("group {group} on n{}: {reason}", self.id);
                    return Err(Failure::crash("no group is poisoned", what));
                }
                Note::MessageRefused { from, group, reason } => {
                    let what =
                        format!("n{} refuses a message of n{from} for group {group}: {reason}", self.id);
                    return Err(Failure::safety("nodes understand each other", what));
                }
                Note::MembershipChanged { group, index, membership } => {
                    outputs.push(Output::Membership { group, index, membership });
                }
                Note::RoleChanged { .. } | Note::Compacted { .. } | Note::Raft { .. } => {
                    outputs.push(Output::Said { line: format!("{note:?}") });
                }
            }
        }
        Ok(())
    }
}
