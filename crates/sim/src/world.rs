//! The virtual world: time, and who is called when.
//!
//! One thread, one queue ordered by time and then by the order of asking. The safety
//! phase has every fault of the scenario; then they end, and the cluster must get
//! well by itself: that is the liveness phase (`liveness.rs`).

mod clients;
mod faults;
mod liveness;
mod reseed;

use std::collections::{BTreeMap, BTreeSet};

use quack_core::{Cut, Event, proposal_id};
use quack_log::LogEntry;
use quack_types::{GroupId, LogIndex, ProposalId, RaftId, Term};

use self::reseed::Repairs;
use crate::client::Client;
use crate::event_log::EventLog;
use crate::failure::Failure;
use crate::invariants::{Invariants, Seen};
use crate::network::{Network, Packet};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::server::{Output, Server, Snapshot, StateAfter, Timer, node_of};

/// What is to happen at a time.
#[derive(Debug)]
enum Due {
    Tick {
        node: u64,
    },
    Packet {
        from: RaftId,
        to: RaftId,
        packet: Packet,
    },
    Timer {
        node: u64,
        life_number: u64,
        timer: Timer,
    },
    Unreachable {
        node: u64,
        peer: RaftId,
    },
    Client {
        client: usize,
        generation: u64,
    },
    Restart {
        node: u64,
    },
    /// A snapshot is on its way to a node that is down.
    Snapshot {
        node: u64,
        snapshot: Snapshot,
    },
    /// The hard end of a node whose fuse is lit.
    PowerOff {
        node: u64,
        life_number: u64,
    },
    Crash,
    Partition,
    Heal,
    Transfer,
    Membership,
    Pause,
    DiskLoss,
    Repair,
    Calm,
    LookForRecovery,
}

/// What a run has done, for the closing line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Acknowledged appends.
    pub appends: u64,
    /// Answered reads.
    pub reads: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// Partitions of the network.
    pub partitions: u64,
    /// Packets sent, and lost.
    pub packets: (u64, u64),
    /// Leaders that were elected.
    pub elections: u64,
    /// Membership entries that took effect somewhere.
    pub membership_changes: u64,
    /// Proposals that a node refused because it kept too many.
    pub refusals: u64,
    /// Entries that were applied and dropped, because their proposal had been applied before.
    pub duplicates: u64,
    /// Times that a node stood still.
    pub pauses: u64,
    /// Disks that were lost.
    pub disk_losses: u64,
    /// Snapshots that were sent.
    pub snapshots: u64,
    /// Appends that said how many lanes there are to be.
    pub reshards: u64,
    /// Lanes that were created, and dropped.
    pub lanes: (u64, u64),
    /// Cuts that brought entries of lanes into the one order.
    pub cuts: u64,
    /// Entries that came by lanes.
    pub lane_entries: u64,
    /// Highest floor of any log: the log was compacted.
    pub floor: LogIndex,
    /// Virtual time in microseconds from the end of the faults to full recovery.
    pub recovery_us: u64,
    /// Virtual time in microseconds of the whole run.
    pub time_us: u64,
}

/// One run.
pub struct World {
    scenario: Scenario,
    now_us: u64,
    queue: BTreeMap<(u64, u64), Due>,
    asked: u64,
    servers: Vec<Server>,
    clients: Vec<Client>,
    network: Network,
    random: Random,
    oracle: Oracle,
    invariants: Invariants,
    /// What happened.
    pub log: EventLog,
    summary: Summary,
    is_calm: bool,
    is_recovered: bool,
    /// Highest leader term that was counted.
    leader_terms: BTreeMap<GroupId, u64>,
    /// Votes that were written: who, in which term, for whom.
    votes: BTreeSet<(RaftId, Term, RaftId)>,
    /// Refused proposals: they must not turn up in any log.
    refused: BTreeSet<ProposalId>,
    /// How far the one order has been applied by any node, and the lanes there.
    order: u64,
    lanes: BTreeSet<GroupId>,
    /// The last entry of the order that has changed them.
    lanes_order: u64,
    /// Until when each node stands still.
    paused_until_us: Vec<u64>,
    repairs: Repairs,
}

impl World {
    /// Prepares a run.
    pub fn new(scenario: Scenario, log: EventLog) -> Self {
        let random = Random::new(scenario.seed);
        let servers = (1..=scenario.nodes).map(|id| Server::new(id, &scenario, &random)).collect();
        let clients = (0..scenario.clients).map(|number| Client::new(number, &random)).collect();
        let network = Network::new(&scenario, random.fork("network"));
        Self {
            now_us: 0,
            queue: BTreeMap::new(),
            asked: 0,
            servers,
            clients,
            network,
            random: random.fork("world"),
            oracle: Oracle::default(),
            invariants: Invariants::new(scenario.nodes),
            log,
            summary: Summary::default(),
            is_calm: false,
            is_recovered: false,
            leader_terms: BTreeMap::new(),
            votes: BTreeSet::new(),
            refused: BTreeSet::new(),
            order: 0,
            lanes: BTreeSet::new(),
            lanes_order: 0,
            paused_until_us: vec![0; scenario.nodes as usize],
            repairs: Repairs::new(scenario.nodes),
            scenario,
        }
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Result<Summary, Failure> {
        self.log.say(0, format_args!("{:?}", self.scenario));
        for node in 1..=self.scenario.nodes {
            self.start(node)?;
            let sync_errors = self.scenario.sync_errors;
            self.server(node).disk.fail_syncs(sync_errors);
            self.after(0, Due::Tick { node });
        }
        for client in 0..self.clients.len() {
            let pause = self.clients[client].think(&self.scenario);
            self.after(pause, Due::Client { client, generation: 0 });
        }
        self.plan_faults();
        self.after(reseed::REPAIR_US, Due::Repair);
        self.after(self.scenario.safety_us, Due::Calm);
        while !self.is_recovered {
            let Some(((time_us, _), due)) = self.queue.pop_first() else {
                return Err(Failure::crash("the simulator itself", "nothing is left to happen"));
            };
            self.now_us = time_us;
            self.happen(due)?;
        }
        self.check_end()?;
        self.summary.appends = self.oracle.appends;
        self.summary.reads = self.oracle.reads;
        self.summary.packets = (self.network.sent, self.network.lost);
        self.summary.time_us = self.now_us;
        self.log.say(self.now_us, format_args!("{:?}", self.summary));
        Ok(self.summary)
    }

    fn after(&mut self, delay_us: u64, due: Due) {
        self.asked += 1;
        self.queue.insert((self.now_us + delay_us, self.asked), due);
    }

    fn server(&mut self, node: u64) -> &mut Server {
        &mut self.servers[node as usize - 1]
    }

    fn happen(&mut self, due: Due) -> Result<(), Failure> {
        // A node that stands still does everything later, in the same order.
        let node = match &due {
            Due::Tick { node } | Due::Timer { node, .. } | Due::Unreachable { node, .. } => Some(*node),
            Due::Packet { to, .. } => Some(node_of(*to)),
            _ => None,
        };
        if let Some(node) = node.filter(|node| self.is_paused(*node)) {
            let delay_us = self.paused_until_us[node as usize - 1] - self.now_us;
            self.after(delay_us, due);
            return Ok(());
        }
        match due {
            Due::Tick { node } => self.on_tick(node),
            Due::Packet { from, to, packet } => {
                let node = node_of(to);
                if self.server(node).raft_id() != to {
                    return Ok(());
                }
                let outputs = self.server(node).on_packet(from, packet)?;
                self.follow(node, outputs)
            }
            Due::Timer { node, life_number, timer } => {
                if self.server(node).life_number != life_number {
                    return Ok(());
                }
                let outputs = self.server(node).on_timer(timer)?;
                self.follow(node, outputs)
            }
            Due::Unreachable { node, peer } => {
                let outputs = self.server(node).handle(Event::PeerUnreachable { peer })?;
                self.follow(node, outputs)
            }
            Due::Client { client, generation } => self.on_client(client, generation),
            Due::Restart { node } => self.on_restart(node),
            Due::Snapshot { node, snapshot } => self.on_snapshot(node, snapshot),
            Due::PowerOff { node, life_number } => self.on_power_off(node, life_number),
            Due::Crash => self.on_crash(),
            Due::Partition => self.on_partition(),
            Due::Heal => self.on_heal(),
            Due::Transfer => self.on_transfer(),
            Due::Membership => self.on_membership(),
            Due::Pause => self.on_pause(),
            Due::DiskLoss => self.on_disk_loss(),
            Due::Repair => self.on_repair(),
            Due::Calm => self.on_calm(),
            Due::LookForRecovery => self.look_for_recovery(),
        }
    }

    fn is_paused(&self, node: u64) -> bool {
        self.paused_until_us[node as usize - 1] > self.now_us
    }

    fn on_tick(&mut self, node: u64) -> Result<(), Failure> {
        // Each clock has its own speed, up to a tenth off or, in some runs, up to twice as
        // fast or slow, and jitters.
        let mut clock = Random::new(self.scenario.seed ^ node);
        let percent =
            if self.scenario.skews_clocks { clock.between(50, 200) } else { clock.between(90, 110) };
        let jitter = self.random.below(self.scenario.tick_us / 10);
        self.after(self.scenario.tick_us * percent / 100 + jitter, Due::Tick { node });
        let outputs = self.server(node).handle(Event::Tick)?;
        self.follow(node, outputs)
    }

    fn start(&mut self, node: u64) -> Result<(), Failure> {
        self.log.say(self.now_us, format_args!("n{node} starts"));
        let outputs = self.server(node).start()?;
        if let Some(life) = &self.servers[node as usize - 1].life {
            self.invariants.observe(&Seen::Restarted { node, log: &life.log })?;
        }
        self.follow(node, outputs)
    }

    /// Does what a node wants, and shows it to the checks.
    fn follow(&mut self, node: u64, outputs: Vec<Output>) -> Result<(), Failure> {
        for output in outputs {
            self.follow_one(node, output)?;
        }
        let Some(life) = &mut self.servers[node as usize - 1].life else { return Ok(()) };
        for status in life.node.take_changed().into_iter().filter_map(|(_, status)| status) {
            if status.role == quack_core::Role::Leader {
                let counted = self.leader_terms.entry(status.group).or_default();
                if *counted < status.term.0 {
                    *counted = status.term.0;
                    self.summary.elections += 1;
                }
            }
            self.summary.floor = self.summary.floor.max(status.snapshot_index);
            self.invariants.observe(&Seen::Status { node, status: &status, log: &life.log })?;
        }
        Ok(())
    }

    fn follow_one(&mut self, node: u64, output: Output) -> Result<(), Failure> {
        let now_us = self.now_us;
        match output {
            Output::Send { to, packet } => {
                self.send(node, to, packet);
                Ok(())
            }
            Output::Tell { packet } => {
                for other in (1..=self.scenario.nodes).filter(|other| *other != node) {
                    let to = self.server(other).raft_id();
                    self.send(node, to, packet.clone());
                }
                Ok(())
            }
            Output::SnapshotNeeded { group, peer } => self.on_snapshot_needed(node, group, peer),
            Output::After { delay_us, timer } => {
                let life_number = self.server(node).life_number;
                self.after(delay_us, Due::Timer { node, life_number, timer });
                Ok(())
            }
            Output::Written { write } => {
                let (group, entries, floor) =
                    (write.group, write.entries.len(), write.floor.as_ref().map(|f| f.index));
                let state = write.hard_state;
                self.log.say(
                    now_us,
                    format_args!("n{node} g{group} writes {entries} entries, {state:?}, floor {floor:?}"),
                );
                self.tempt(node, write.hard_state);
                self.repairs.note_written(&write);
                self.invariants.observe(&Seen::Written { node, write: &write })
            }
            Output::Forgets { group } => {
                self.log.say(now_us, format_args!("n{node} g{group} is forgotten"));
                self.invariants.observe(&Seen::Forgets { node, group })
            }
            Output::Committed { group, entries } => {
                self.invariants.observe(&Seen::Committed { node, group, entries: &entries })
            }
            Output::Lanes { order, at, created, dropped } => {
                self.on_lanes(node, order, at, &created, &dropped)
            }
            Output::Entry { group, entry, state, commit } => {
                self.on_entry(node, group, &entry, state, commit)
            }
            Output::Membership { group, index, membership } => {
                self.log.say(now_us, format_args!("n{node} g{group} members at {index}: {membership:?}"));
                self.summary.membership_changes += 1;
                self.repairs.note_members(group, index, &membership);
                self.invariants.observe(&Seen::Membership { node, group, index, membership: &membership })
            }
            Output::Crashed { why } => self.on_down(node, &why),
            Output::Said { line } => {
                self.log.say(now_us, format_args!("n{node} {line}"));
                Ok(())
            }
            Output::Applied { group, index, id, outcome, is_first } => {
                self.summary.duplicates += u64::from(!is_first);
                self.on_answer(node, id, outcome, Some((group, index)))
            }
            Output::Taken { id } => self.on_answer(node, id, 0, None),
            Output::Refused { id } => self.on_refused(node, id),
            Output::Read { tag, list } => self.on_read(node, tag, &list),
            Output::ReadRefused { tag } => self.on_read_refused(node, tag),
        }
    }

    /// A node has applied an entry.
    fn on_entry(
        &mut self,
        node: u64,
        group: GroupId,
        entry: &LogEntry,
        state: StateAfter,
        commit: LogIndex,
    ) -> Result<(), Failure> {
        let (index, term) = (entry.index, entry.term);
        let StateAfter { order, hash, .. } = state;
        self.log.say(
            self.now_us,
            format_args!("n{node} g{group} applies {index}/{term} as number {order}, state {hash:016x}"),
        );
        if order > self.order {
            self.order = order;
            self.summary.reshards += u64::from(state.is_reshard);
            self.summary.lane_entries += u64::from(group != GroupId::ROOT);
            let is_cut = group == GroupId::ROOT && matches!(Cut::of(entry), Ok(Some(_)));
            self.summary.cuts += u64::from(is_cut);
        }
        self.repairs.note_applied(group, index);
        if let Some(id) = proposal_id(entry).filter(|id| self.refused.contains(id)) {
            let what = format!("group {group}: {id} was refused, and n{node} applies it at {index}");
            return Err(Failure::safety("a refused proposal is in no log", what));
        }
        self.invariants.observe(&Seen::Applied { node, group, entry, state, commit })?;
        self.oracle.applied(state.length, state.last)
    }

    /// A node has applied an entry that creates or drops lanes.
    fn on_lanes(
        &mut self,
        node: u64,
        order: u64,
        at: LogIndex,
        created: &[GroupId],
        dropped: &[GroupId],
    ) -> Result<(), Failure> {
        self.log.say(
            self.now_us,
            format_args!("n{node} creates lanes {created:?} and drops {dropped:?} at {at}"),
        );
        if self.lanes_order < order {
            self.lanes_order = order;
            self.lanes.extend(created);
            self.lanes.retain(|lane| !dropped.contains(lane));
            self.summary.lanes.0 += created.len() as u64;
            self.summary.lanes.1 += dropped.len() as u64;
        }
        self.invariants.observe(&Seen::Lanes { node, order, created, dropped })
    }

    fn send(&mut self, from: u64, to: RaftId, packet: Packet) {
        let delays = self.network.send(from, node_of(to));
        if delays.is_empty() {
            self.log.say(self.now_us, format_args!("n{from} -> n{to} lost"));
            if let Some(delay_us) = self.network.report() {
                self.after(delay_us, Due::Unreachable { node: from, peer: to });
            }
        }
        let from = self.server(from).raft_id();
        for delay_us in delays {
            self.after(delay_us, Due::Packet { from, to, packet: packet.clone() });
        }
    }
}
