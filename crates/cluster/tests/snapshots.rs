//! Copies of the store on their way: senders that lie, break off or are asked twice, receivers that do not play along.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use prost::Message as _;
use quack_node::Membership;
use quack_proto::peer::v1::{Admitted, Hello, Piece, PieceRequest, Snapshot, SnapshotRequest};

const PIECE_BYTES: usize = 1 << 20;
const CLUSTER: [u8; 16] = [7; 16];

/// Of a piece, as docs/peer-protocol.md and peer.proto describe it.
fn checksum(id: u64, number: u64, data: &[u8]) -> u32 {
    let all = [&id.to_le_bytes()[..], &number.to_le_bytes(), data].concat();
    crc32fast::hash(&all)
}

fn piece(id: u64, number: u64, bytes: &[u8]) -> Piece {
    let data = bytes.chunks(PIECE_BYTES).nth(number as usize).unwrap();
    Piece { data: Bytes::copy_from_slice(data), crc32: checksum(id, number, data) }
}

/// A store of three pieces.
fn store(of: &str) -> Vec<u8> {
    let values = [("large", "x".repeat(2 * PIECE_BYTES + 1000)), ("of", of.to_owned())];
    let values = values.map(|(key, value)| (key.to_owned(), value)).into();
    Image { position: 5, state: quack_apply::State::default().encode(), values }.to_bytes()
}

/// A leader that is one for hand-made snapshots only.
struct Sender {
    /// What it says at the beginning of a snapshot.
    says: Mutex<Snapshot>,
    bytes: Vec<u8>,
    /// How it answers: the number of the piece, how often that was asked for, and the right answer.
    #[allow(clippy::type_complexity)]
    lies: Mutex<Box<dyn Fn(u64, u64, Piece) -> Piece + Send>>,
    asked: Mutex<Vec<u64>>,
    admitted: AtomicU64,
}

impl Sender {
    fn new(id: u64, of: &str) -> Arc<Self> {
        let bytes = store(of);
        let members = Membership::new([self::id("n0").raft_id(0)], [self::id("n1").raft_id(1)]);
        let says = Snapshot {
            lanes: Vec::new(),
            id,
            cluster_id: CLUSTER.to_vec().into(),
            index: 5,
            term: 1,
            membership: members.encode(),
            length: bytes.len() as u64,
            piece_bytes: PIECE_BYTES as u32,
            version: 2,
            duckdb_version: DUCKDB.to_owned(),
        };
        Arc::new(Self {
            says: Mutex::new(says),
            bytes,
            lies: Mutex::new(Box::new(|_, _, piece| piece)),
            asked: Mutex::default(),
            admitted: AtomicU64::new(0),
        })
    }

    fn lie(&self, how: impl Fn(u64, u64, Piece) -> Piece + Send + 'static) {
        *self.lies.lock().unwrap() = Box::new(how);
    }

    fn asked_for(&self, number: u64) -> u64 {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == number).count() as u64
    }

    fn answer(&self, method: &str, body: Bytes) -> Result<Bytes, String> {
        match method {
            "hello" => {
                let cluster_id = CLUSTER.to_vec().into();
                let leader = "n0".to_owned();
                let shared = shared().to_proto();
                Ok(Hello { leader, cluster_id, shared, ..Hello::default() }.encode_to_vec().into())
            }
            "admit" => {
                let incarnation = self.admitted.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(Admitted { cluster_id: CLUSTER.to_vec().into(), incarnation }.encode_to_vec().into())
            }
            "snapshot" => Ok(self.says.lock().unwrap().encode_to_vec().into()),
            "snapshot-piece" => {
                let PieceRequest { id, number } = PieceRequest::decode(body).unwrap();
                if id != self.says.lock().unwrap().id {
                    return Err("that snapshot is over: begin another one".to_owned());
                }
                self.asked.lock().unwrap().push(number);
                let right = piece(id, number, &self.bytes);
                let given = self.lies.lock().unwrap()(number, self.asked_for(number), right);
                Ok(given.encode_to_vec().into())
            }
            _ => Ok(Bytes::new()),
        }
    }

    fn start(self: &Arc<Self>, world: &World) -> Puppet {
        let this = self.clone();
        world.puppet("n0", move |method, body| this.answer(method, body))
    }
}

fn pair() -> World {
    World::new(&["n0:voter", "n1:learner"])
}

fn damaged(piece: Piece) -> Piece {
    let mut data = piece.data.to_vec();
    data[1000] ^= 1;
    Piece { data: data.into(), ..piece }
}

#[test]
fn a_snapshot_that_cannot_be_right_is_refused_before_anything_is_touched() {
    let (world, sender) = (pair(), Sender::new(1, "n0"));
    let puppet = sender.start(&world);
    let good = sender.says.lock().unwrap().clone();
    let says = |snapshot: Snapshot| *sender.says.lock().unwrap() = snapshot;
    says(Snapshot { version: 3, ..good.clone() });
    let n1 = world.start("n1");
    let refused = |why: &str| {
        n1.wait_until_waiting_for(&format!("the snapshot of node 'n0' is refused: {why}"));
        assert_eq!(std::fs::read_dir(world.data("n1")).unwrap().count(), 1, "there is more than the lock");
    };
    refused("it has format 3, this release reads 2");
    says(Snapshot { cluster_id: vec![8; 16].into(), ..good.clone() });
    refused("it is another cluster's");
    says(Snapshot { duckdb_version: "v9".to_owned(), ..good.clone() });
    refused("it was written by DuckDB v9");
    says(Snapshot { length: 0, ..good.clone() });
    refused("it has 0 bytes in pieces of 1048576");
    says(Snapshot { piece_bytes: 4, ..good.clone() });
    refused(&format!("it has {} bytes in pieces of 4", good.length));
    says(Snapshot { membership: Bytes::from_static(b"\xff\xff"), ..good.clone() });
    refused("the membership in the log cannot be read");
    says(Snapshot { membership: Bytes::new(), ..good.clone() });
    refused("it names no members");
    assert_eq!(puppet.count("snapshot-piece"), 0);
    says(good);
    eventually("a good one is taken", || n1.runs());
    assert_eq!((n1.get("of").as_deref(), n1.incarnation()), (Some("n0"), 1));
    eventually("the sender hears of it", || puppet.count("snapshot-end") == 1);
}

#[test]
fn a_bad_piece_is_asked_for_again_and_refused_when_it_stays_bad() {
    let (world, sender) = (pair(), Sender::new(1, "n0"));
    let _puppet = sender.start(&world);
    let bytes = sender.bytes.clone();
    sender.lie(move |number, attempt, right| match (number, attempt) {
        (1, 1) => damaged(right),
        (1, 2) => piece(2, 1, &bytes),
        (1, 3) => piece(1, 0, &bytes),
        (1, 4) => Piece { data: right.data.slice(1..), crc32: checksum(1, 1, &right.data[1..]) },
        (2, _) => damaged(right),
        _ => right,
    });
    let n1 = world.start("n1");
    n1.wait_until_waiting_for("piece 2 of the snapshot is damaged");
    assert_eq!([0, 1, 2].map(|number| sender.asked_for(number)), [1, 5, 5]);
    assert_eq!(world.identity("n1"), None);
    sender.lie(|_, _, right| right);
    eventually("a good one is taken", || n1.runs());
    assert_eq!(n1.get("of").as_deref(), Some("n0"));
    assert_eq!(sender.admitted.load(Ordering::Relaxed), 1, "it is the same process");
}

#[test]
fn a_receiver_begins_again_when_its_sender_has_restarted_and_mixes_nothing() {
    let (world, former, latter) = (pair(), Sender::new(1, "before"), Sender::new(2, "after"));
    let puppet = former.start(&world);
    former.lie(|number, _, right| if number == 2 { damaged(right) } else { right });
    let n1 = world.start("n1");
    eventually("it has come to the last piece", || former.asked_for(2) > 0);
    drop(puppet);
    let _puppet = latter.start(&world);
    eventually("it has another one", || n1.runs());
    assert_eq!(n1.get("of").as_deref(), Some("after"));
    assert_eq!([0, 1, 2].map(|number| latter.asked_for(number)), [1, 1, 1]);
}

#[test]
fn a_receiver_that_is_killed_in_the_middle_starts_from_nothing() {
    let (world, sender) = (pair(), Sender::new(1, "n0"));
    let _puppet = sender.start(&world);
    sender.lie(|number, _, right| if number == 2 { damaged(right) } else { right });
    let n1 = world.start("n1");
    eventually("it has come to the last piece", || sender.asked_for(2) > 0);
    n1.kill();
    let lies_there = |name: &str| world.data("n1").join(name).exists();
    assert!(lies_there("joining") && lies_there("store.duckdb") && !lies_there("identity"));
    let mut n1 = world.listen(world.settings("n1"));
    assert!(!lies_there("joining") && !lies_there("store.duckdb"));
    sender.lie(|_, _, right| right);
    n1.go();
    eventually("it is a member", || n1.runs());
    // A new incarnation: no node knows what the former one has promised.
    assert_eq!((n1.get("of").as_deref(), n1.incarnation()), (Some("n0"), 2));
}

/// Learners that talk, in the places of those that a real leader n0 has founded its cluster with.
fn leader_and_puppets(names: &[&str]) -> (World, Node, Vec<Puppet>) {
    let members: Vec<_> = names.iter().map(|name| format!("{name}:learner")).collect();
    let members: Vec<_> = std::iter::once("n0:voter").chain(members.iter().map(String::as_str)).collect();
    let world = World::new(&members);
    let mut nodes = world.found();
    let n0 = nodes.remove(0);
    drop(nodes);
    n0.set("large", &"x".repeat(2 * PIECE_BYTES + 1000));
    let puppets = names.iter().map(|name| world.puppet(name, |_, _| Err("it is a puppet".to_owned())));
    let puppets: Vec<_> = puppets.collect();
    for puppet in &puppets {
        puppet.wait_connected(&id("n0"));
    }
    (world, n0, puppets)
}

fn begin(puppet: &Puppet) -> Result<Snapshot, String> {
    puppet.call(&id("n0"), "snapshot", SnapshotRequest {}).map(|answer| Snapshot::decode(answer).unwrap())
}

fn take(puppet: &Puppet, id: u64, number: u64) -> Result<Piece, String> {
    let answer = puppet.call(&self::id("n0"), "snapshot-piece", PieceRequest { id, number })?;
    Ok(Piece::decode(answer).unwrap())
}

#[test]
fn checkpoints_wait_while_a_snapshot_is_sent_and_the_copy_is_of_one_moment() {
    let (_world, n0, puppets) = leader_and_puppets(&["n1"]);
    let snapshot = begin(&puppets[0]).unwrap();
    assert_eq!((snapshot.version, snapshot.piece_bytes), (2, PIECE_BYTES as u32));
    let made = n0.values().checkpoints.load(Ordering::Relaxed);
    n0.set("large", "small");
    let now = || n0.handle().checkpoint(Duration::from_millis(200), &|| false);
    assert!(now().is_err(), "a checkpoint in the middle of a snapshot");
    let mut bytes = Vec::new();
    for number in 0..snapshot.length.div_ceil(PIECE_BYTES as u64) {
        let piece = take(&puppets[0], snapshot.id, number).unwrap();
        assert_eq!(piece.crc32, checksum(snapshot.id, number, &piece.data));
        bytes.extend(piece.data);
    }
    assert_eq!(n0.values().checkpoints.load(Ordering::Relaxed), made);
    assert_eq!(bytes.len() as u64, snapshot.length);
    let image = Image::from_bytes(&bytes);
    assert_eq!((image.position, image.values["large"].len()), (snapshot.index, 2 * PIECE_BYTES + 1000));
    assert!(take(&puppets[0], snapshot.id, 3).unwrap_err().contains("no piece 3"));
    let end = PieceRequest { id: snapshot.id, number: 0 };
    puppets[0].call(&id("n0"), "snapshot-end", end).unwrap();
    eventually("a checkpoint is made again", || now().is_ok());
    assert!(n0.values().checkpoints.load(Ordering::Relaxed) > made);
    assert!(take(&puppets[0], snapshot.id, 0).unwrap_err().contains("that snapshot is over"));
}

#[test]
fn a_receiver_that_begins_again_gets_another_snapshot_and_its_first_one_is_over() {
    let (_world, n0, puppets) = leader_and_puppets(&["n1"]);
    let (first, second) = (begin(&puppets[0]).unwrap(), begin(&puppets[0]).unwrap());
    assert_eq!(first.index, second.index);
    assert_ne!(first.id, second.id);
    assert!(take(&puppets[0], first.id, 0).unwrap_err().contains("that snapshot is over"));
    // It may still say so.
    let end = PieceRequest { id: first.id, number: 0 };
    puppets[0].call(&id("n0"), "snapshot-end", end).unwrap();
    assert!(take(&puppets[0], second.id, 0).is_ok());
    n0.set("key", "value");
    let third = begin(&puppets[0]).unwrap();
    assert!(third.index > second.index && third.id != second.id);
}

#[test]
fn of_two_receivers_one_waits_from_the_first_moment_on() {
    let (_world, n0, puppets) = leader_and_puppets(&["n1", "n2"]);
    let (first, second) = (&puppets[0], &puppets[1]);
    std::thread::scope(|scope| {
        // The checkpoint for the first one takes its time.
        let gate = n0.values().gate.lock().unwrap();
        let before = n0.values().begun.load(Ordering::Relaxed);
        let asking = scope.spawn(|| begin(first));
        eventually("it is being made", || n0.values().begun.load(Ordering::Relaxed) > before);
        let refused = || begin(second).is_err_and(|error| error.contains("it sends a snapshot to node 'n1'"));
        assert!(refused());
        drop(gate);
        let snapshot = asking.join().unwrap().unwrap();
        assert!(refused() && take(first, snapshot.id, 0).is_ok());
        assert!(take(second, snapshot.id, 0).is_err(), "a piece of another one's snapshot");
        let end = PieceRequest { id: snapshot.id, number: 0 };
        second.call(&id("n0"), "snapshot-end", end).unwrap();
        assert!(take(first, snapshot.id, 1).is_ok(), "another receiver has ended it");
        first.call(&id("n0"), "snapshot-end", end).unwrap();
    });
    assert!(begin(second).is_ok());
}

#[test]
fn a_sender_that_stops_is_held_by_no_snapshot() {
    let (_world, n0, puppets) = leader_and_puppets(&["n1"]);
    let node = Arc::downgrade(n0.handle());
    begin(&puppets[0]).unwrap();
    // A reference to the cluster keeps no node alive.
    let _cluster = n0.cluster.clone();
    n0.kill();
    eventually("no thread holds the node any more", || node.upgrade().is_none());
}

#[test]
fn a_cluster_in_which_nothing_was_written_takes_nodes_back_all_the_same() {
    let world = pair();
    let mut nodes = world.found();
    nodes.pop().unwrap().kill();
    world.wipe("n1");
    let n1 = world.start("n1");
    n1.ready();
    assert_eq!((n1.incarnation(), nodes[0].handle().membership().learners.len()), (1, 1));
    nodes[0].set("key", "value");
    eventually("it is one of them", || n1.get("key").is_some());
    // Its log begins where the others' do, and it finds its way back into it.
    n1.kill();
    world.start("n1").ready();
}

#[test]
fn a_real_snapshot_of_several_pieces_arrives_while_writes_go_on() {
    let world = World::new(&["n0:voter", "n1:voter", "n2:voter"]);
    let mut nodes = world.found();
    nodes[0].set("large", &"x".repeat(3 * PIECE_BYTES));
    nodes.pop().unwrap().kill();
    world.wipe("n2");
    let n2 = world.start("n2");
    let mut writes = 0;
    while !n2.runs() || writes < 20 {
        nodes[0].set(&format!("key {writes}"), "value");
        writes += 1;
    }
    n2.ready();
    eventually("n2 has all", || {
        n2.values().image.lock().unwrap().values == nodes[0].values().image.lock().unwrap().values
    });
    assert_eq!(n2.get("large").unwrap().len(), 3 * PIECE_BYTES);
    let mark = world.data("n2").join("joining");
    eventually("the store is its own", || !mark.exists());
}
