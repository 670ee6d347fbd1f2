//! The virtual world: time, and who is called when.
//!
//! One thread, one queue ordered by time and then by the order of asking. The safety
//! phase has every fault of the scenario; then they end, and the cluster must get
//! well by itself: that is the liveness phase (`liveness.rs`).

mod clients;
mod faults;
mod liveness;

use std::collections::{BTreeMap, BTreeSet};

use quack_core::Event;
use quack_types::{GroupId, LogIndex, RaftId, Term};

use crate::client::Client;
use crate::event_log::EventLog;
use crate::failure::Failure;
use crate::invariants::{Invariants, Seen};
use crate::network::{Network, Packet};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::server::{Output, Server, Timer};

/// What is to happen at a time.
#[derive(Debug)]
enum Due {
    Tick {
        node: u64,
    },
    Packet {
        from: u64,
        to: u64,
        packet: Packet,
    },
    Timer {
        node: u64,
        life_number: u64,
        timer: Timer,
    },
    Client {
        client: usize,
        generation: u64,
    },
    Restart {
        node: u64,
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
    votes: BTreeSet<(u64, Term, RaftId)>,
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
        match due {
            Due::Tick { node } => self.on_tick(node),
            Due::Packet { from, to, packet } => {
                let outputs = self.server(to).on_packet(from, packet)?;
                self.follow(to, outputs)
            }
            Due::Timer { node, life_number, timer } => {
                if self.server(node).life_number != life_number {
                    return Ok(());
                }
                let outputs = self.server(node).on_timer(timer)?;
                self.follow(node, outputs)
            }
            Due::Client { client, generation } => self.on_client(client, generation),
            Due::Restart { node } => self.on_restart(node),
            Due::PowerOff { node, life_number } => self.on_power_off(node, life_number),
            Due::Crash => self.on_crash(),
            Due::Partition => self.on_partition(),
            Due::Heal => self.on_heal(),
            Due::Transfer => self.on_transfer(),
            Due::Membership => self.on_membership(),
            Due::Calm => self.on_calm(),
            Due::LookForRecovery => self.look_for_recovery(),
        }
    }

    fn on_tick(&mut self, node: u64) -> Result<(), Failure> {
        // Each clock has its own speed, up to a tenth off, and jitters.
        let drift = Random::new(self.scenario.seed ^ node).between(0, self.scenario.tick_us / 5);
        let jitter = self.random.below(self.scenario.tick_us / 10);
        let delay_us = self.scenario.tick_us * 9 / 10 + drift + jitter;
        self.after(delay_us, Due::Tick { node });
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
        let Some(life) = &self.servers[node as usize - 1].life else { return Ok(()) };
        for status in life.node.statuses() {
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
                self.invariants.observe(&Seen::Written { node, write: &write })
            }
            Output::Entry { group, entry, state, commit } => {
                let (index, term, hash) = (entry.index, entry.term, state.hash);
                self.log
                    .say(now_us, format_args!("n{node} g{group} applies {index}/{term}, state {hash:016x}"));
                self.invariants.observe(&Seen::Applied { node, group, entry: &entry, state, commit })?;
                self.oracle.applied(group, state.length, state.last)
            }
            Output::Membership { group, index, membership } => {
                self.log.say(now_us, format_args!("n{node} g{group} members at {index}: {membership:?}"));
                self.summary.membership_changes += 1;
                self.invariants.observe(&Seen::Membership { node, group, index, membership: &membership })
            }
            Output::Crashed { why } => self.on_down(node, &why),
            Output::Said { line } => {
                self.log.say(now_us, format_args!("n{node} {line}"));
                Ok(())
            }
            Output::Applied { group, index, id, outcome } => {
                self.on_answer(node, group, id, outcome, Some(index))
            }
            Output::Taken { group, id } => self.on_answer(node, group, id, 0, None),
            Output::Refused { group, id } => self.on_refused(node, group, id),
            Output::Read { tag, list } => self.on_read(node, tag, &list),
            Output::ReadRefused { tag } => self.on_read_refused(node, tag),
        }
    }

    fn send(&mut self, from: u64, to: u64, packet: Packet) {
        let delays = self.network.send(from, to);
        if delays.is_empty() {
            self.log.say(self.now_us, format_args!("n{from} -> n{to} lost"));
        }
        for delay_us in delays {
            self.after(delay_us, Due::Packet { from, to, packet: packet.clone() });
        }
    }
}
