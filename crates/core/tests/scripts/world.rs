//! A few nodes, a network that delivers when told to, disks that work at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use quack_core::{Config, Durable, Event, Membership, Node, PeerMessage, Persist};
use quack_types::{GroupId, LogIndex, RaftId};

use crate::memory_log::MemoryLog;
use crate::show;

/// One node with what survives its crash.
#[derive(Default)]
pub struct Member {
    pub log: MemoryLog,
    pub node: Option<Node<MemoryLog>>,
    pub boot: u64,
    pub applied: BTreeMap<GroupId, LogIndex>,
    /// A write on a disk that hangs.
    pub stuck: Option<Persist>,
    pub is_disk_stuck: bool,
    /// The state machine does not apply what it is given.
    pub is_lagging: bool,
}

#[derive(Default)]
pub struct World {
    pub members: BTreeMap<u64, Member>,
    pub groups: Vec<(GroupId, Membership)>,
    pub in_flight: VecDeque<(RaftId, PeerMessage)>,
    /// From, to: messages on these ways are lost.
    pub cut: BTreeSet<(u64, u64)>,
    /// Proposals made so far by each node, over all its lives.
    pub proposed: BTreeMap<u64, u64>,
    pub output: String,
}

/// More rounds than any script needs: a livelock fails instead of hanging.
const ROUNDS_MAX: usize = 10_000;

impl World {
    pub fn say(&mut self, line: impl AsRef<str>) {
        self.output.push_str(line.as_ref());
        self.output.push('\n');
    }

    pub fn member(&mut self, id: u64) -> Result<&mut Member, String> {
        self.members.get_mut(&id).ok_or(format!("there is no node {id}"))
    }

    pub fn node(&mut self, id: u64) -> Result<&mut Node<MemoryLog>, String> {
        self.member(id)?.node.as_mut().ok_or(format!("node {id} is down"))
    }

    pub fn start(&mut self, id: u64) -> Result<(), String> {
        self.start_before(id, &[])
    }

    /// The state machine has lanes that the log does not have yet.
    pub fn start_before(&mut self, id: u64, unborn: &[GroupId]) -> Result<(), String> {
        let groups = self.groups.clone();
        let member = self.members.entry(id).or_default();
        member.boot += 1;
        let last_lane = unborn.last().copied().unwrap_or(GroupId::ROOT);
        let config =
            Config { boot: member.boot, last_lane, unborn: unborn.to_vec(), ..Config::new(RaftId(id)) };
        let applied: Vec<_> = member.applied.iter().map(|(group, index)| (*group, *index)).collect();
        match Node::new(config, &groups, &applied, &[], member.log.clone()) {
            Ok(node) => member.node = Some(node),
            Err(error) => self.say(format!("n{id} does not start: {error}")),
        }
        Ok(())
    }

    pub fn handle(&mut self, id: u64, event: Event) -> Result<(), String> {
        self.node(id)?.handle(event).map_err(|error| error.to_string())?;
        self.pump(id)
    }

    /// Runs rounds of one node until it has no more work, or its disk hangs.
    pub fn pump(&mut self, id: u64) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let member = self.member(id)?;
            let Some(node) = member.node.as_mut() else { return Ok(()) };
            if member.stuck.is_some() || !node.has_work() {
                return Ok(());
            }
            let effects = node.effects().map_err(|error| error.to_string())?;
            let is_stuck = member.is_disk_stuck && effects.persist.must_sync;
            self.post(id, effects.send_now);
            for answer in effects.answers {
                self.say(format!("n{id} answer {}", show::answer(&answer)));
            }
            for note in effects.notes {
                self.say(format!("n{id} note {}", show::note(&note)));
            }
            if is_stuck {
                self.say(format!("n{id} disk hangs with {} writes", effects.persist.writes.len()));
                self.member(id)?.stuck = Some(effects.persist);
                return Ok(());
            }
            self.written(id, effects.persist)?;
        }
        Err(format!("node {id} never comes to rest"))
    }

    /// A write has become durable.
    pub fn written(&mut self, id: u64, persist: Persist) -> Result<(), String> {
        let member = self.member(id)?;
        member.log.write(&persist.writes);
        let durable = self.node(id)?.persisted(persist).map_err(|error| error.to_string())?;
        self.durable(id, durable)
    }

    fn durable(&mut self, id: u64, durable: Durable) -> Result<(), String> {
        self.post(id, durable.send);
        for answer in durable.answers {
            self.say(format!("n{id} answer {}", show::answer(&answer)));
        }
        for note in durable.notes {
            self.say(format!("n{id} note {}", show::note(&note)));
        }
        for need in durable.snapshots_needed {
            self.say(format!("n{id} g{} snapshot needed by n{}", need.group, need.peer));
        }
        for committed in durable.apply {
            let group = committed.group;
            let Some(last) = committed.entries.last().map(|entry| entry.index) else { continue };
            let entries: Vec<String> = committed.entries.iter().map(show::entry).collect();
            self.say(format!("n{id} g{group} apply {}", entries.join(" ")));
            if self.member(id)?.is_lagging {
                continue;
            }
            self.member(id)?.applied.insert(group, last);
            let event = Event::Applied { group, index: last };
            self.node(id)?.handle(event).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn post(&mut self, from: u64, messages: Vec<PeerMessage>) {
        for message in messages {
            if !self.cut.contains(&(from, message.to.0)) {
                self.in_flight.push_back((RaftId(from), message));
            }
        }
    }

    /// Delivers the oldest message; false when there is none.
    pub fn deliver_one(&mut self, is_shown: bool) -> Result<bool, String> {
        let Some((from, message)) = self.in_flight.pop_front() else { return Ok(false) };
        let to = message.to.0;
        let is_up = self.members.get(&to).is_some_and(|member| member.node.is_some());
        if is_shown {
            let mut line = String::new();
            let _ = write!(line, "n{from} -> n{to} g{} {}", message.group, show::message(&message.bytes));
            self.say(line + if is_up { "" } else { " (lost)" });
        }
        if is_up {
            self.handle(to, Event::Message { from, group: message.group, bytes: message.bytes })?;
        }
        Ok(true)
    }

    /// Delivers until nothing moves any more.
    pub fn stabilize(&mut self, is_shown: bool) -> Result<(), String> {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.pump(id)?;
        }
        for _ in 0..ROUNDS_MAX {
            if !self.deliver_one(is_shown)? {
                return Ok(());
            }
        }
        Err("the cluster never comes to rest".to_owned())
    }
}
