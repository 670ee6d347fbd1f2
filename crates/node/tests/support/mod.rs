//! A state machine in memory that counts, remembers, and checkpoints into a file.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use quack_node::{
    Applied, Checkpointed, Checkpointer, DataFolder, GroupEntry, LaneInfo, LaneTable, LocalError, Membership,
    NoTransport, NodeConfig, NodeHandle, ProposeError, ReadLog, StateMachine,
};
use quack_types::{Claim, Digests, GroupId, LogIndex, Mark, NodeId, Place, ProposalId, RaftId};

pub const LONG: Duration = Duration::from_secs(20);

/// The members of a cluster of one.
pub fn alone() -> Membership {
    Membership::new([node_id().raft_id(0)], [])
}

pub fn never() -> bool {
    false
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub place: Place,
    pub texts: Vec<String>,
    pub lanes: Arc<LaneTable>,
    pub digest: u64,
}

impl State {
    fn push(&mut self, text: String) {
        let bytes = text.bytes().chain([0]);
        self.digest =
            bytes.fold(self.digest, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.texts.push(text);
    }

    /// What a checkpoint keeps, one line each: root, last group, lanes; then the texts.
    fn to_text(&self) -> String {
        let lane = |(group, lane): (&GroupId, &LaneInfo)| {
            format!("{group} {} {} {}", lane.name, lane.created, self.place.lanes[group])
        };
        let lanes: Vec<String> = self.lanes.lanes.iter().map(lane).collect();
        let head = format!("{}\n{}\n{}", self.place.root, self.lanes.last_group, lanes.join(","));
        format!("{head}\n{}\n", self.texts.join("\n"))
    }

    fn from_text(text: &str) -> Self {
        let mut lines = text.lines();
        let mut number = || lines.next().unwrap_or("0").parse::<u64>().unwrap();
        let (root, last_group) = (LogIndex(number()), GroupId(number()));
        let mut place = Place::of_root(root);
        let mut table = LaneTable { last_group, ..LaneTable::default() };
        for lane in lines.next().unwrap_or_default().split(',').filter(|lane| !lane.is_empty()) {
            let [group, name, created, applied] = lane.split(' ').collect::<Vec<_>>()[..] else { panic!() };
            let number = |text: &str| text.parse::<u64>().unwrap();
            let created = LogIndex(number(created));
            table.lanes.insert(GroupId(number(group)), LaneInfo { name: name.into(), tables: 1, created });
            place.lanes.insert(GroupId(number(group)), LogIndex(number(applied)));
        }
        let mut state = Self { place, lanes: Arc::new(table), ..Self::default() };
        lines.for_each(|text| state.push(text.to_owned()));
        state
    }

    /// From now on there are lanes with these names.
    fn set_lanes(&mut self, names: &[&str], created: LogIndex) {
        let mut table = (*self.lanes).clone();
        table.lanes.retain(|_, lane| names.contains(&&*lane.name));
        self.place.lanes.retain(|group, _| table.lanes.contains_key(group));
        for name in names {
            if table.named(name).is_none() {
                table.last_group = GroupId(table.last_group.0.max(GroupId::ROOT.0) + 1);
                let lane = LaneInfo { name: (*name).into(), tables: 1, created };
                table.lanes.insert(table.last_group, lane);
                self.place.lanes.insert(table.last_group, LogIndex(0));
            }
        }
        self.lanes = Arc::new(table);
    }
}

/// Switches and counters that a test holds on to.
#[derive(Debug, Default)]
pub struct Control {
    pub state: Mutex<State>,
    /// Entries that ask for it fail, panic, or take long.
    pub batches: AtomicU64,
    pub largest_batch: AtomicU64,
    pub checkpoints: AtomicU64,
    /// A checkpoint takes this many milliseconds.
    pub checkpoint_slow: AtomicU64,
    pub checkpoint_fails: AtomicBool,
    pub checkpoint_blocked: AtomicBool,
    /// What `Checkpointed::needed` says; 0 is none.
    pub needed: AtomicU64,
    /// In the log of which group; 0 is the root's.
    pub needed_in: AtomicU64,
    pub apply_slow: AtomicU64,
    /// It decides otherwise than it should.
    pub differs: AtomicBool,
    /// So often there is no memory for an entry that is large.
    pub starves: AtomicU64,
    pub node: OnceLock<Weak<NodeHandle>>,
}

pub struct Model {
    control: Arc<Control>,
    path: PathBuf,
    digests: Digests,
}

struct ModelCheckpointer {
    control: Arc<Control>,
    path: PathBuf,
    last: Mutex<Checkpointed>,
}

pub fn encode(id: ProposalId, text: &str) -> Bytes {
    let mut bytes = Vec::new();
    for part in [id.origin.0, id.boot, id.sequence] {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    bytes.extend_from_slice(text.as_bytes());
    Bytes::from(bytes)
}

fn decode(data: &[u8]) -> (ProposalId, String) {
    let part = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
    let id = ProposalId { origin: RaftId(part(0)), boot: part(8), sequence: part(16) };
    (id, String::from_utf8_lossy(&data[24..]).into_owned())
}

/// What a text says about an earlier digest: its own origin's, or that of another one.
fn claim_of(text: &str) -> Option<(Option<RaftId>, Mark)> {
    let [root, digest, origin] = text.strip_prefix("said ")?.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let number = |text: &str| text.parse::<u64>().unwrap();
    let mark = Mark { root: LogIndex(number(root)), digest: number(digest) };
    Some(((origin != "self").then(|| RaftId(number(origin))), mark))
}

/// The text that says what a digest was.
pub fn said(mark: Mark, origin: &str) -> String {
    format!("said {} {} {origin}", mark.root, mark.digest)
}

impl Model {
    pub fn open(folder: &Path) -> (Self, Arc<Control>) {
        let path = folder.join("model");
        let state = match std::fs::read_to_string(&path) {
            Ok(text) => State::from_text(&text),
            Err(_) => State::default(),
        };
        let control = Arc::new(Control { state: Mutex::new(state), ..Control::default() });
        (Self { control: Arc::clone(&control), path, digests: Digests::default() }, control)
    }
}

impl StateMachine for Model {
    fn place(&self) -> Place {
        self.control.state.lock().unwrap().place.clone()
    }

    fn lanes(&self) -> Arc<LaneTable> {
        Arc::clone(&self.control.state.lock().unwrap().lanes)
    }

    fn apply(&mut self, entries: &[GroupEntry], log: &ReadLog<'_>) -> Result<Vec<Applied>, LocalError> {
        std::thread::sleep(Duration::from_millis(self.control.apply_slow.load(Ordering::Relaxed)));
        self.control.batches.fetch_add(1, Ordering::Relaxed);
        self.control.largest_batch.fetch_max(entries.len() as u64, Ordering::Relaxed);
        let mut state = self.control.state.lock().unwrap();
        let mut outcomes = Vec::new();
        for GroupEntry { group, entry } in entries {
            let Some(applied) = state.place.of(*group) else { continue };
            assert!(entry.index > applied, "entry {} came twice", entry.index);
            if entry.data.is_empty() {
                state.place.root = entry.index;
                continue;
            }
            let (id, text) = decode(&entry.data);
            match text.as_str() {
                "fail" => return Err(LocalError::new("the disk of the store is full")),
                "panic" => panic!("a bug in the state machine"),
                "large" => {
                    let node = self.control.node.get().and_then(Weak::upgrade).unwrap();
                    while self.control.starves.load(Ordering::Relaxed) > 0 {
                        if !node.wait_for_memory("it needs 7 GiB") {
                            return Err(LocalError::new("it needs 7 GiB"));
                        }
                        self.control.starves.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                _ => {}
            }
            let outcome = match text.strip_prefix("read ") {
                Some(place) => {
                    // Of another group it is named first.
                    let (of, index) = place.rsplit_once(' ').unwrap_or(("", place));
                    let of = of.parse().map_or(*group, GroupId);
                    let index = LogIndex(index.parse().unwrap());
                    let earlier = log(of, index).map_err(LocalError::new)?;
                    decode(&earlier.data).1
                }
                None => format!("{text} at {}", entry.index),
            };
            if *group == GroupId::ROOT {
                state.place.root = entry.index;
            } else {
                state.place.lanes.insert(*group, entry.index);
            }
            if let Some(names) = text.strip_prefix("lanes") {
                state.set_lanes(&names.split_whitespace().collect::<Vec<_>>(), entry.index);
            }
            if let Some((origin, mark)) = claim_of(&text) {
                let origin = origin.unwrap_or(id.origin);
                self.digests.claims.push(Claim { origin, mark });
            }
            let differs = self.control.differs.load(Ordering::Relaxed);
            state.push(if differs { format!("{text}, differently") } else { text });
            if *group == GroupId::ROOT {
                self.digests.marks.push(Mark { root: entry.index, digest: state.digest });
            }
            outcomes.push(Applied { id: Some(id), outcome: Bytes::from(outcome) });
        }
        Ok(outcomes)
    }

    fn digests(&mut self) -> Digests {
        std::mem::take(&mut self.digests)
    }

    fn checkpointer(&self) -> Arc<dyn Checkpointer> {
        let last = Mutex::new(Checkpointed { durable: self.place(), ..Checkpointed::default() });
        Arc::new(ModelCheckpointer { control: Arc::clone(&self.control), path: self.path.clone(), last })
    }
}

impl Checkpointer for ModelCheckpointer {
    fn checkpoint(&self, _held_back_bytes: u64) -> Result<Checkpointed, LocalError> {
        self.control.checkpoints.fetch_add(1, Ordering::Relaxed);
        if self.control.checkpoint_fails.load(Ordering::Relaxed) {
            return Err(LocalError::new("the store cannot be written"));
        }
        if self.control.checkpoint_blocked.load(Ordering::Relaxed) {
            let last = self.last.lock().unwrap().clone();
            return Ok(Checkpointed { blocked: Some("a client writes".to_owned()), ..last });
        }
        let state = self.control.state.lock().unwrap().clone();
        std::thread::sleep(Duration::from_millis(self.control.checkpoint_slow.load(Ordering::Relaxed)));
        let text = state.to_text();
        let temporary = self.path.with_extension("new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(&temporary, &self.path).unwrap();
        let needed = self.control.needed.load(Ordering::Relaxed);
        let group = GroupId(self.control.needed_in.load(Ordering::Relaxed)).max(GroupId::ROOT);
        let needed: BTreeMap<_, _> = (needed > 0).then_some((group, LogIndex(needed))).into_iter().collect();
        let unfinished =
            if needed.is_empty() { Vec::new() } else { vec![(node_id().raft_id(0), needed.clone())] };
        let made = Checkpointed { durable: state.place, needed, unfinished, blocked: None };
        *self.last.lock().unwrap() = made.clone();
        Ok(made)
    }
}

pub fn node_id() -> NodeId {
    NodeId::new("n0").unwrap()
}

pub fn config() -> NodeConfig {
    NodeConfig { tick: Duration::from_millis(20), ..NodeConfig::default() }
}

pub fn start_with(folder: &Path, config: NodeConfig) -> (Arc<NodeHandle>, Arc<Control>) {
    let folder = DataFolder::open(folder, &node_id()).unwrap();
    let (model, control) = Model::open(folder.path());
    let node = NodeHandle::start(config, folder, Box::new(model), Box::new(NoTransport), alone()).unwrap();
    node.wait_until_ready(LONG, &never).unwrap();
    (node, control)
}

pub fn start(folder: &Path) -> (Arc<NodeHandle>, Arc<Control>) {
    start_with(folder, config())
}

/// Proposes a text and waits for its outcome.
pub fn write(node: &NodeHandle, text: &str) -> Result<String, ProposeError> {
    let id = node.next_proposal_id();
    let outcome = node.propose(GroupId::ROOT, id, encode(id, text), &never)?.wait(LONG, &never)?;
    Ok(String::from_utf8_lossy(&outcome).into_owned())
}

/// What a kill would leave of a folder, copied while the node works.
pub fn image(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("log")).unwrap();
    // The store first: the log, which is copied later, reaches at least as far as the store's position.
    for name in ["identity", "model"] {
        let _ = std::fs::copy(folder.join(name), copy.path().join(name));
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.join("log")).unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let _ = std::fs::copy(folder.join("log").join(&name), copy.path().join("log").join(&name));
    }
    copy
}
