//! A store of keys and values in one file, under the real applier: what DuckDB is to a node, small enough to look into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quack_apply::sequence::SequenceState;
use quack_apply::store::ErrorKind;
use quack_apply::{Applier, Lane, Placement, State, Store, StoreError, entry};
use quack_cluster::{Cluster, Host};
use quack_node::{
    Applied, Checkpointed, Checkpointer, GroupEntry, LaneInfo, LaneTable, LocalError, NodeHandle, ReadLog,
    StateMachine,
};
use quack_proto::log::v1::{Boot, Ddl, Outcome, Rows, Step, Transaction, Write, entry::Body, outcome, step};
use quack_types::{Digests, GroupId, LogIndex, Mark, Place};

use super::{LONG, eventually};

/// Beside the store, for a node that is to decide differently than before it was stopped: the key that it refuses.
pub const REFUSES: &str = "refuses";

/// All that the store holds, and its file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    #[prost(uint64, tag = "1")]
    pub position: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub state: Vec<u8>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub values: BTreeMap<String, String>,
}

impl Image {
    /// With a checksum in front: a file of pieces of two checkpoints is no image.
    pub fn to_bytes(&self) -> Vec<u8> {
        let image = self.encode_to_vec();
        [&crc32fast::hash(&image).to_be_bytes()[..], &image].concat()
    }

    fn read(path: &Path) -> Self {
        let Ok(bytes) = std::fs::read(path) else { return Self::default() };
        if bytes.is_empty() { Self::default() } else { Self::from_bytes(&bytes) }
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (checksum, image) = bytes.split_at(4);
        assert_eq!(checksum, crc32fast::hash(image).to_be_bytes(), "the store is damaged");
        Self::decode(image).unwrap()
    }
}

/// The store as a test reaches it.
#[derive(Default)]
pub struct Values {
    pub image: Mutex<Image>,
    /// What verifications have led to, by their numbers.
    hashes: Mutex<BTreeMap<u64, String>>,
    /// Checkpoints that have begun, and that have ended.
    pub begun: AtomicU64,
    pub checkpoints: AtomicU64,
    /// It refuses this key, which others take.
    pub refuses: Mutex<Option<String>>,
    /// It takes for ever to hash what it holds.
    pub hashes_slowly: AtomicBool,
    pub verifications_begun: AtomicU64,
    /// A test that holds it delays the next checkpoint.
    pub gate: Mutex<()>,
    path: PathBuf,
    node: OnceLock<Weak<NodeHandle>>,
}

impl Values {
    pub fn open(path: &Path) -> Arc<Self> {
        let refuses = Mutex::new(std::fs::read_to_string(path.with_file_name(REFUSES)).ok());
        let image = Mutex::new(Image::read(path));
        Arc::new(Self { image, refuses, path: path.to_owned(), ..Self::default() })
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.image.lock().unwrap().values.get(key).cloned()
    }

    /// Changes a value past the log, as a damaged disk would.
    pub fn tamper(&self, key: &str, value: &str) {
        self.image.lock().unwrap().values.insert(key.to_owned(), value.to_owned());
    }

    /// Decides differently than others about a key.
    pub fn refuse(&self, key: &str) {
        *self.refuses.lock().unwrap() = Some(key.to_owned());
    }

    /// The numbers of the verifications that it has made.
    pub fn verifications(&self) -> Vec<u64> {
        self.hashes.lock().unwrap().keys().copied().collect()
    }

    pub fn hash(&self) -> String {
        let values = Image { values: self.image.lock().unwrap().values.clone(), ..Image::default() };
        format!("{:08x}", crc32fast::hash(&values.encode_to_vec()))
    }
}

/// Understands one statement: a key, a blank, a value; and the same as a row, which changes no lanes.
struct Tables {
    shared: Arc<Values>,
    open: Option<BTreeMap<String, String>>,
}

impl Tables {
    fn set(&mut self, text: &str) -> Result<(), StoreError> {
        let (key, value) = text.split_once(' ').ok_or_else(unknown)?;
        if self.shared.refuses.lock().unwrap().as_deref() == Some(key) {
            return Err(StoreError::new(ErrorKind::CONSTRAINT, "this store has rules of its own"));
        }
        self.open.as_mut().unwrap().insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

fn unknown() -> StoreError {
    StoreError::new(ErrorKind::NOT_IMPLEMENTED, "this store has no tables")
}

impl Store for Tables {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.open = Some(self.shared.image.lock().unwrap().values.clone());
        Ok(())
    }

    fn commit(&mut self, index: LogIndex, state: &[u8]) -> Result<(), StoreError> {
        let mut image = self.shared.image.lock().unwrap();
        *image = Image { position: index.0, state: state.to_vec(), values: self.open.take().unwrap() };
        Ok(())
    }

    fn rollback(&mut self) {
        self.open = None;
    }

    fn find(&mut self, _: &Rows, _: bool) -> Result<bool, StoreError> {
        Err(unknown())
    }

    fn change_found(&mut self) -> Result<(), StoreError> {
        Err(unknown())
    }

    fn forget_found(&mut self) {}

    fn has_key(&mut self, _: &Rows) -> Result<bool, StoreError> {
        Err(unknown())
    }

    fn change_places(&mut self, _: &Rows) -> Result<(), StoreError> {
        Err(unknown())
    }

    fn insert(&mut self, rows: &Rows) -> Result<(), StoreError> {
        self.set(&String::from_utf8_lossy(&rows.chunk))
    }

    fn ddl(&mut self, ddl: &Ddl) -> Result<(), StoreError> {
        self.set(&ddl.sql)
    }

    /// A key that begins with "lane-" needs the lane that is its value.
    fn placements(&mut self) -> Result<Vec<Placement>, StoreError> {
        let values = self.open.as_ref().unwrap();
        let lanes: BTreeSet<&String> =
            values.iter().filter(|(key, _)| key.starts_with("lane-")).map(|(_, value)| value).collect();
        Ok(lanes.into_iter().map(|group| Placement { group: group.clone(), tables: 1 }).collect())
    }

    fn sequence(&mut self, _: &str, _: &str) -> Result<Option<SequenceState>, StoreError> {
        Err(unknown())
    }

    fn move_sequence(&mut self, _: &str, _: &str, _: &SequenceState, _: bool) -> Result<(), StoreError> {
        Err(unknown())
    }
}

/// What a client's rows would be.
pub fn row(key: &str, value: &str) -> Body {
    let rows = Rows { count: 1, chunk: format!("{key} {value}").into(), ..Rows::default() };
    let write = step::Kind::Write(Write { inserted: vec![rows], ..Write::default() });
    Body::Transaction(Transaction { parts: 0, steps: vec![Step { kind: Some(write) }] })
}

/// What a client's statement would carry.
pub fn statement(key: &str, value: &str) -> Body {
    let ddl = step::Kind::Ddl(Ddl { sql: format!("{key} {value}"), ..Ddl::default() });
    Body::Transaction(Transaction { parts: 0, steps: vec![Step { kind: Some(ddl) }] })
}

pub struct Machine {
    applier: Applier<Tables>,
    values: Arc<Values>,
    cluster: Arc<Cluster>,
    lanes: Arc<LaneTable>,
}

/// The lanes as the applier has them; the same as before when nothing has changed.
fn table(applier: &Applier<Tables>, before: &Arc<LaneTable>) -> Arc<LaneTable> {
    let lanes = &applier.state().lanes;
    let info = |(group, lane): (GroupId, &Lane)| {
        (group, LaneInfo { name: lane.name.clone(), tables: lane.tables, created: lane.created })
    };
    let now = LaneTable {
        groups_enabled: applier.state().groups_enabled,
        last_group: lanes.last_group(),
        lanes: lanes.iter().map(info).collect(),
    };
    if now == **before { Arc::clone(before) } else { Arc::new(now) }
}

impl Machine {
    pub fn open(values: Arc<Values>, cluster: Arc<Cluster>) -> Self {
        let Image { position, state, .. } = values.image.lock().unwrap().clone();
        let tables = Tables { shared: values.clone(), open: None };
        let applier = Applier::open(tables, LogIndex(position), &state).unwrap();
        cluster.members_said(applier.members());
        let lanes = table(&applier, &Arc::default());
        Self { applier, values, cluster, lanes }
    }
}

impl StateMachine for Machine {
    fn place(&self) -> Place {
        self.applier.state().place()
    }

    fn lanes(&self) -> Arc<LaneTable> {
        Arc::clone(&self.lanes)
    }

    fn apply(&mut self, entries: &[GroupEntry], log: &ReadLog<'_>) -> Result<Vec<Applied>, LocalError> {
        let mut decisions = Vec::new();
        for entry in entries {
            let applied = self.applier.apply(std::slice::from_ref(entry), log);
            decisions.extend(applied.map_err(|error| LocalError::new(error.message))?);
            let number = entry::verification(&entry.entry.data);
            self.values.verifications_begun.fetch_add(u64::from(number.is_some()), Ordering::Relaxed);
            if let Some(number) = number.filter(|_| !self.values.hashes_slowly.load(Ordering::Relaxed)) {
                self.values.hashes.lock().unwrap().insert(number, self.values.hash());
            }
        }
        self.cluster.members_said(self.applier.members());
        self.lanes = table(&self.applier, &self.lanes);
        let applied = decisions.into_iter().map(|decision| Applied {
            outcome: decision.outcome.map_or_else(Bytes::new, |outcome| outcome.encode_to_vec().into()),
            id: Some(decision.id),
        });
        Ok(applied.collect())
    }

    fn digests(&mut self) -> Digests {
        self.applier.take_digests()
    }

    fn checkpointer(&self) -> Arc<dyn Checkpointer> {
        Arc::new(Checkpoints(self.values.clone()))
    }
}

struct Checkpoints(Arc<Values>);

impl Checkpointer for Checkpoints {
    /// Writes the file in place, as DuckDB does: who copies it meanwhile has a bad copy.
    fn checkpoint(&self, _: u64) -> Result<Checkpointed, LocalError> {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        drop(self.0.gate.lock().unwrap());
        let image = self.0.image.lock().unwrap().clone();
        let state = State::decode(LogIndex(image.position), &image.state).unwrap();
        let durable = state.place();
        // The node must know that it has applied what the checkpoint holds.
        eventually("the checkpoint's entries are applied", || {
            let node = self.0.node.get().and_then(Weak::upgrade);
            node.is_none_or(|node| node.applied() >= durable.root)
        });
        let bytes = image.to_bytes();
        let file = File::options().write(true).create(true).truncate(false).open(&self.0.path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        self.0.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(Checkpointed { durable, ..Checkpointed::default() })
    }
}

/// What the cluster asks of a node's process.
pub struct TestHost {
    pub node: Arc<NodeHandle>,
    pub values: Arc<Values>,
}

impl TestHost {
    pub fn new(node: Arc<NodeHandle>, values: Arc<Values>) -> Self {
        let _ = values.node.set(Arc::downgrade(&node));
        Self { node, values }
    }

    pub fn announce_boot(&self) -> Result<(), String> {
        self.propose(Body::Boot(Boot {}))
    }

    fn propose_within(&self, body: Body, time: Duration) -> Result<(), String> {
        self.propose_in(GroupId::ROOT, body, time)
    }

    pub fn propose_in(&self, group: GroupId, body: Body, time: Duration) -> Result<(), String> {
        self.propose_saying(group, body, time, self.node.decided())
    }

    /// Proposes an entry that says what this node has decided.
    pub fn propose_saying(
        &self,
        group: GroupId,
        body: Body,
        time: Duration,
        decided: Option<Mark>,
    ) -> Result<(), String> {
        let id = self.node.next_proposal_id();
        let pending = self.node.propose(group, id, entry::encode(id, 0, decided, body), &|| false);
        let outcome = pending.and_then(|pending| pending.wait(time, &|| false));
        match Outcome::decode(outcome.map_err(|error| error.to_string())?).unwrap().kind {
            Some(outcome::Kind::Refused(refused)) => Err(refused.message),
            Some(_) => Ok(()),
            None => Err("it has no effect: its proposer's life is over".to_owned()),
        }
    }
}

impl Host for TestHost {
    fn propose(&self, decision: Body) -> Result<(), String> {
        self.propose_within(decision, LONG)
    }

    fn verified(&self, number: u64) -> Result<Option<String>, String> {
        Ok(self.values.hashes.lock().unwrap().get(&number).cloned())
    }

    fn store_file(&self) -> Result<Arc<File>, String> {
        File::open(&self.values.path).map(Arc::new).map_err(|error| error.to_string())
    }
}
