//! One virtual node: a shell around the real core and the real log, as production's.
//!
//! It follows the crate page of quack-core step by step. What the shell of a process
//! does with threads and timers, this one does by asking the world for a later call
//! ([`Output::After`]); a call that a crash has made void is ignored by its life number.

mod apply;
mod requests;

use std::collections::{BTreeMap, VecDeque};

use quack_core::{Config, Event, Membership, Node, Note, Persist};
use quack_log::{GroupWrite, Log, LogConfig, LogEntry, LogIdentity, LogReader};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId};

use crate::disk::{CRASHED, VirtualDisk};
use crate::failure::Failure;
use crate::model::Model;
use crate::network::Packet;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;

/// What a node wants of the world.
#[derive(Debug)]
pub enum Output {
    /// Send a packet.
    Send { to: u64, packet: Packet },
    /// Call back.
    After { delay_us: u64, timer: Timer },
    /// A proposal is applied here; whoever waits for it may know.
    Applied { group: GroupId, index: LogIndex, id: ProposalId, outcome: u64 },
    /// A proposal cannot be taken now.
    Refused { group: GroupId, id: ProposalId },
    /// A proposal was taken; only a sabotaged shell calls that an answer.
    Taken { group: GroupId, id: ProposalId },
    /// A read is answered with the list's length and content.
    Read { tag: u64, list: Vec<ProposalId> },
    /// A read cannot be answered now.
    ReadRefused { tag: u64 },
    /// The log took a write.
    Written { write: GroupWrite },
    /// An entry was applied.
    Entry { group: GroupId, entry: LogEntry, state: StateAfter, commit: LogIndex },
    /// Members changed.
    Membership { group: GroupId, index: LogIndex, membership: Membership },
    /// The disk's fuse has burnt: the node is down.
    Crashed { why: String },
    /// For the event log.
    Said { line: String },
}

/// What a node waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The fsync under way returns.
    Synced,
    /// The state machine is done with a batch.
    Applied,
    /// The next checkpoint.
    Checkpoint,
}

/// A node with what survives its crashes.
pub struct Server {
    pub id: u64,
    pub disk: VirtualDisk,
    /// State of each group as of the last checkpoint; its writing is atomic.
    checkpoint: BTreeMap<GroupId, Model>,
    boot: u64,
    random: Random,
    scenario: Scenario,
    /// `None` while the node is down.
    pub life: Option<Life>,
    /// Counts lives and deaths, so that calls for an earlier life are known.
    pub life_number: u64,
    has_log: bool,
}

/// What a crash takes away.
pub struct Life {
    pub node: Node<LogReader<VirtualDisk>>,
    pub log: Log<VirtualDisk>,
    models: BTreeMap<GroupId, Model>,
    /// Committed and not yet applied.
    queue: VecDeque<(GroupId, LogEntry)>,
    is_applying: bool,
    /// The write that is on its way to the disk.
    syncing: Option<Persist>,
    /// Reads that wait for an index to be applied: tag, group, index.
    reads: Vec<(u64, GroupId, LogIndex)>,
    /// What every member is known to hold.
    replicated: BTreeMap<GroupId, LogIndex>,
    /// Replicated indexes that were already told to the others.
    told: BTreeMap<GroupId, LogIndex>,
}

/// State of a group right after an entry, as far as the checks want it.
#[derive(Debug, Clone, Copy)]
pub struct StateAfter {
    /// Hash of the whole history.
    pub hash: u64,
    /// Length of the list.
    pub length: usize,
    /// Its last element.
    pub last: Option<ProposalId>,
}

type Outputs = Vec<Output>;

impl Server {
    pub fn new(id: u64, scenario: &Scenario, random: &Random) -> Self {
        let name = format!("node {id}");
        let disk = VirtualDisk::new(random.fork(&format!("disk {id}")));
        if scenario.sabotage == Some(Sabotage::LyingDisk) {
            disk.lie();
        }
        Self {
            id,
            disk,
            checkpoint: BTreeMap::new(),
            boot: 0,
            random: random.fork(&name),
            scenario: scenario.clone(),
            life: None,
            life_number: 0,
            has_log: false,
        }
    }

    fn is_sabotaged(&self, sabotage: Sabotage) -> bool {
        self.scenario.sabotage == Some(sabotage)
    }

    /// Every group of the cluster.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.scenario.groups).map(GroupId)
    }

    fn identity(&self) -> Result<LogIdentity, Failure> {
        let node = NodeId::new(format!("n{}", self.id));
        let node = node.map_err(|error| Failure::crash("the simulator itself", error.to_string()))?;
        Ok(LogIdentity { cluster_id: 7, node, incarnation: 0 })
    }

    fn log_config(&self) -> LogConfig {
        // Small, so that segments change and reads miss the cache within a short run.
        let segment_bytes = self.scenario.segment_bytes;
        LogConfig {
            segment_bytes,
            cache_bytes: segment_bytes as usize / 8,
            zero_ahead_bytes: segment_bytes / 4,
        }
    }

    /// Starts the node from its disk. The very first start makes the log and the world
    /// does not disturb it: a cluster is born under supervision.
    pub fn start(&mut self) -> Result<Outputs, Failure> {
        self.life_number += 1;
        self.boot += 1;
        let mut outputs = Vec::new();
        let identity = self.identity()?;
        let opened = if self.has_log {
            Log::open(self.disk.clone(), self.log_config(), &identity).map(|(log, recovery)| {
                outputs.push(Output::Said { line: format!("opens its log: {recovery:?}") });
                log
            })
        } else {
            Log::create(self.disk.clone(), self.log_config(), &identity)
        };
        let log = match opened {
            Ok(log) => log,
            Err(error) if error.to_string().contains(CRASHED) => {
                self.stop();
                return Ok(vec![Output::Crashed { why: "while opening the log".to_owned() }]);
            }
            Err(error) if self.has_log && is_disk_error(&error) => {
                self.stop();
                return Ok(vec![Output::Crashed { why: error.to_string() }]);
            }
            Err(error) => return Err(Failure::safety("the log opens after a crash", error.to_string())),
        };
        self.has_log = true;
        let node = self.start_core(&log)?;
        self.life = Some(Life {
            node,
            log,
            models: self.checkpoint.clone(),
            queue: VecDeque::new(),
            is_applying: false,
            syncing: None,
            reads: Vec::new(),
            replicated: BTreeMap::new(),
            told: BTreeMap::new(),
        });
        let delay_us = self.random.wait(self.scenario.checkpoint_us);
        outputs.push(Output::After { delay_us, timer: Timer::Checkpoint });
        self.pump(&mut outputs)?;
        Ok(outputs)
    }

    fn start_core(&mut self, log: &Log<VirtualDisk>) -> Result<Node<LogReader<VirtualDisk>>, Failure> {
        let voters: Vec<RaftId> = (1..=self.scenario.nodes).map(RaftId).collect();
        let members = Membership::new(voters, []);
        let groups: Vec<_> = self.groups().map(|group| (group, members.clone())).collect();
        if self.is_sabotaged(Sabotage::ForgetPosition) {
            for model in self.checkpoint.values_mut() {
                model.applied = LogIndex(model.applied.0.saturating_sub(1));
            }
        }
        let applied: Vec<_> = self.checkpoint.iter().map(|(group, model)| (*group, model.applied)).collect();
        let seed = self.scenario.seed.wrapping_mul(31) ^ (self.boot << 8) ^ self.id;
        let config = Config { boot: self.boot, seed, ..Config::new(RaftId(self.id)) };
        Node::new(config, &groups, &applied, log.reader()).map_err(|error| {
            Failure::safety("a node comes back after a crash", format!("n{}: {error}", self.id))
        })
    }

    /// The node is gone; its disk keeps what it must.
    pub fn stop(&mut self) {
        self.life = None;
        self.life_number += 1;
        self.disk.crash();
    }

    /// An event for the core.
    pub fn handle(&mut self, event: Event) -> Result<Outputs, Failure> {
        let mut outputs = Vec::new();
        if let Some(life) = &mut self.life {
            life.node
                .handle(event)
                .map_err(|error| Failure::crash("the core takes events", error.to_string()))?;
            self.pump(&mut outputs)?;
        }
        Ok(outputs)
    }

    /// A timer of this life has run out.
    pub fn on_timer(&mut self, timer: Timer) -> Result<Outputs, Failure> {
        let mut outputs = Vec::new();
        match timer {
            Timer::Synced => self.on_synced(&mut outputs)?,
            Timer::Applied => self.on_applied(&mut outputs)?,
            Timer::Checkpoint => self.on_checkpoint(&mut outputs)?,
        }
        Ok(outputs)
    }

    /// Runs rounds of the core until it has no work or a write is on its way.
    fn pump(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
        loop {
            let Some(life) = &mut self.life else { return Ok(()) };
            if life.syncing.is_some() || !life.node.has_work() {
                return Ok(());
            }
            let effects =
                life.node.effects().map_err(|error| Failure::crash("rounds alternate", error.to_string()))?;
            self.send(effects.send_now, outputs);
            self.note(effects.notes, outputs)?;
            self.answer(effects.answers, outputs);
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
        self.random.between(low, high.max(low))
    }

    fn on_synced(&mut self, outputs: &mut Outputs) -> Result<(), Failure> {
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
        let durable = durable.map_err(|error| Failure::crash("rounds alternate", error.to_string()))?;
        for committed in durable.apply {
            life.queue.extend(committed.entries.into_iter().map(|entry| (committed.group, entry)));
        }
        self.send(durable.send, outputs);
        self.note(durable.notes, outputs)?;
        self.answer(durable.answers, outputs);
        if let Some(need) = durable.snapshots_needed.first() {
            // Compaction stays behind the slowest member, so nobody may ever need one.
            let what =
                format!("n{} wants to send n{} a snapshot of group {}", self.id, need.peer, need.group);
            return Err(Failure::safety("compaction waits for every member", what));
        }
        self.tell_replicated(outputs);
        self.start_applying(outputs);
        Ok(())
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

fn is_disk_error(error: &quack_log::Error) -> bool {
    matches!(error, quack_log::Error::Disk { .. } | quack_log::Error::Poisoned { .. })
}
