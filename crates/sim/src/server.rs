//! One virtual node: a shell around the real core and the real log, as production's.
//!
//! It follows the crate page of quack-core step by step. What the shell of a process
//! does with threads and timers, this one does by asking the world for a later call
//! ([`Output::After`]); a call that a crash has made void is ignored by its life number.

mod apply;
mod lanes;
mod requests;
mod rounds;
mod seed;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quack_core::{Config, Event, Membership, Node, Persist};
use quack_log::{GroupWrite, Log, LogConfig, LogEntry, LogIdentity, LogRead, LogReader};
use quack_types::{GroupId, LogIndex, NodeId, ProposalId, RaftId};

use crate::disk::{CRASHED, VirtualDisk};
use crate::failure::Failure;
use crate::model::{Lane, Model, Operation};
use crate::network::Packet;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;

pub use seed::Snapshot;

/// The Raft identity of a node. A node that has lost its disk gets another one.
pub fn raft_id(node: u64, incarnation: u64) -> RaftId {
    RaftId(100 * incarnation + node)
}

/// The node behind a Raft identity, in any incarnation.
pub fn node_of(raft: RaftId) -> u64 {
    raft.0 % 100
}

/// What a node wants of the world.
#[derive(Debug)]
pub enum Output {
    /// Send a packet.
    Send { to: RaftId, packet: Packet },
    /// Send a packet to all other nodes.
    Tell { packet: Packet },
    /// A peer cannot be helped with the log of this node.
    SnapshotNeeded { group: GroupId, peer: RaftId },
    /// Call back.
    After { delay_us: u64, timer: Timer },
    /// A proposal is applied here; a client that waits for it may get the outcome.
    Applied { group: GroupId, index: LogIndex, id: ProposalId, outcome: u64, is_first: bool },
    /// A proposal cannot be taken now.
    Refused { id: ProposalId },
    /// A proposal was taken; only a sabotaged shell calls that an answer.
    Taken { id: ProposalId },
    /// A read is answered with the list's length and content.
    Read { tag: u64, list: Vec<Operation> },
    /// A read cannot be answered now.
    ReadRefused { tag: u64 },
    /// The log took a write.
    Written { write: GroupWrite },
    /// The log is about to forget a group.
    Forgets { group: GroupId },
    /// Entries are committed.
    Committed { group: GroupId, entries: Vec<LogEntry> },
    /// The entry `at` of the root, which is applied as number `order`, has changed the lanes.
    Lanes { order: u64, at: LogIndex, created: Vec<GroupId>, dropped: Vec<GroupId> },
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
    /// It may have waited for too long.
    Patience,
}

/// A node with what survives its crashes.
pub struct Server {
    pub id: u64,
    /// How often it has lost its disk.
    pub incarnation: u64,
    pub disk: VirtualDisk,
    /// A snapshot that has arrived whole and is not installed yet. It survives crashes.
    seed: Option<Snapshot>,
    /// It has nothing to start from until a snapshot arrives.
    pub is_empty: bool,
    /// State as of the last checkpoint; its writing is atomic.
    pub checkpoint: Model,
    boot: u64,
    random: Random,
    scenario: Scenario,
    /// `None` while the node is down.
    pub life: Option<Life>,
    /// Counts lives and deaths, so that calls for an earlier life are known.
    pub life_number: u64,
    has_log: bool,
    /// Chance that an fsync takes very long.
    pub stalls: u64,
}

/// What a crash takes away.
pub struct Life {
    pub node: Node<LogReader<VirtualDisk>>,
    pub log: Log<VirtualDisk>,
    model: Model,
    /// Lanes as they were behind the last entry of the root.
    at_root: BTreeMap<GroupId, Lane>,
    /// Entries of the root that are committed and not yet applied.
    queue: VecDeque<LogEntry>,
    is_applying: bool,
    /// Lanes are not in the log yet; nothing behind their creation is applied, or durable.
    is_creating: bool,
    /// The place in the order at which it began to wait for a lane's entry, when it will look again.
    waits_since: Option<u64>,
    /// This node's proposals that are on the road of a lane, and what is in them.
    in_lanes: BTreeMap<ProposalId, (GroupId, Bytes)>,
    /// Lanes that were dropped and may still serve others, with the root's entry that dropped them.
    retired: BTreeMap<GroupId, LogIndex>,
    /// The write that is on its way to the disk.
    syncing: Option<Persist>,
    /// Reads that wait for an index of the root to be applied.
    reads: Vec<(u64, LogIndex)>,
    /// What every member is known to hold.
    replicated: BTreeMap<GroupId, LogIndex>,
    /// Replicated indexes that were already told to the others.
    told: BTreeMap<GroupId, LogIndex>,
    /// Proposals of this life.
    sequence: u64,
}

impl Life {
    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        self.node.handle(event).map_err(|error| Failure::crash("the core takes events", error.to_string()))
    }
}

/// State of a node right after an entry, as far as the checks want it.
#[derive(Debug, Clone, Copy)]
pub struct StateAfter {
    /// How many entries of the one order are applied.
    pub order: u64,
    /// Hash of the whole history.
    pub hash: u64,
    /// Length of the list.
    pub length: usize,
    /// Its last element.
    pub last: Option<Operation>,
    /// Whether the entry has said how many lanes there are to be.
    pub is_reshard: bool,
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
            incarnation: 0,
            disk,
            seed: None,
            is_empty: false,
            checkpoint: Model::default(),
            boot: 0,
            random: random.fork(&name),
            scenario: scenario.clone(),
            life: None,
            life_number: 0,
            has_log: false,
            stalls: scenario.stalls,
        }
    }

    /// Who it is now in Raft.
    pub fn raft_id(&self) -> RaftId {
        raft_id(self.id, self.incarnation)
    }

    fn is_sabotaged(&self, sabotage: Sabotage) -> bool {
        self.scenario.sabotage == Some(sabotage)
    }

    fn identity(&self) -> Result<LogIdentity, Failure> {
        let node = NodeId::new(format!("n{}", self.id));
        let node = node.map_err(|error| Failure::crash("the simulator itself", error.to_string()))?;
        Ok(LogIdentity { cluster_id: 7, node, incarnation: self.incarnation })
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
        // A crash may have come between the first files of a new log and the end of its making.
        let is_begun = self.disk.has_files();
        let opened = if self.has_log || is_begun {
            Log::open(self.disk.clone(), self.log_config(), &identity).map(|(log, recovery)| {
                outputs.push(Output::Said { line: format!("opens its log: {recovery:?}") });
                log
            })
        } else {
            Log::create(self.disk.clone(), self.log_config(), &identity)
        };
        let mut log = match opened {
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
        if !self.install(&mut log, &mut outputs)? {
            return Ok(outputs);
        }
        self.check_lanes(&log)?;
        let retired = self.retired(&log);
        let node = self.start_core(&log, &retired)?;
        self.life = Some(Life {
            node,
            log,
            model: self.checkpoint.clone(),
            at_root: self.checkpoint.lanes.clone(),
            queue: VecDeque::new(),
            is_applying: false,
            is_creating: false,
            waits_since: None,
            in_lanes: BTreeMap::new(),
            retired: retired.into_iter().map(|group| (group, self.checkpoint.root)).collect(),
            syncing: None,
            reads: Vec::new(),
            replicated: BTreeMap::new(),
            told: BTreeMap::new(),
            sequence: 0,
        });
        let delay_us = self.random.wait(self.scenario.checkpoint_us);
        outputs.push(Output::After { delay_us, timer: Timer::Checkpoint });
        self.pump(&mut outputs)?;
        Ok(outputs)
    }

    /// A lane that is in the checkpoint and not in the log would be waited for in vain.
    fn check_lanes(&self, log: &Log<VirtualDisk>) -> Result<(), Failure> {
        let groups = log.groups();
        let Some(lane) = self.checkpoint.lanes.keys().find(|lane| !groups.contains(lane)) else {
            return Ok(());
        };
        let what = format!("n{}: lane {lane} is in its checkpoint and not in its log", self.id);
        Err(Failure::safety("a node comes back after a crash", what))
    }

    fn first_members(&self) -> Membership {
        let voters: Vec<RaftId> = (1..=self.scenario.nodes).map(|node| raft_id(node, 0)).collect();
        Membership::new(voters, [])
    }

    fn start_core(
        &mut self,
        log: &Log<VirtualDisk>,
        retired: &[GroupId],
    ) -> Result<Node<LogReader<VirtualDisk>>, Failure> {
        let groups = [(GroupId::ROOT, self.first_members())];
        if self.is_sabotaged(Sabotage::ForgetPosition) {
            self.checkpoint.root = LogIndex(self.checkpoint.root.0.saturating_sub(1));
        }
        let applied: Vec<_> = self.checkpoint.place().groups().collect();
        let seed = self.scenario.seed.wrapping_mul(31) ^ (self.boot << 8) ^ self.raft_id().0;
        let config = Config {
            boot: self.boot,
            seed,
            message_bytes_max: self.scenario.message_bytes_max,
            uncommitted_bytes_max: self.scenario.uncommitted_bytes_max,
            proposals_bytes_max: self.scenario.proposals_bytes_max as usize,
            forwarded_bytes_max: self.scenario.forwarded_bytes_max as usize,
            last_lane: self.checkpoint.last_group,
            unborn: self
                .checkpoint
                .lanes
                .keys()
                .copied()
                .filter(|lane| !log.groups().contains(lane))
                .collect(),
            ..Config::new(self.raft_id())
        };
        Node::new(config, &groups, &applied, retired, log.reader()).map_err(|error| {
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
            life.handle(event)?;
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
            Timer::Patience => self.on_patience(&mut outputs)?,
        }
        Ok(outputs)
    }
}

fn is_disk_error(error: &quack_log::Error) -> bool {
    matches!(error, quack_log::Error::Disk { .. } | quack_log::Error::Poisoned { .. })
}
