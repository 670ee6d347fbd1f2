//! A copy of the store, in pieces, from a member to a node that joins.
//!
//! The sender makes a checkpoint and keeps the next ones away while it sends: what the last checkpoint refers to does
//! not change in the file meanwhile. The receiver asks for one piece after the other, so that it sets the pace, and asks
//! again for what did not arrive. Every piece carries a checksum that also covers the snapshot's id and the piece's
//! number; DuckDB checks its own blocks when they are read.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use quack_node::{Floor, Membership, Seed, create_private};
use quack_proto::peer::v1::{Admitted, LaneFloor, Piece, PieceRequest, Snapshot, SnapshotRequest};
use quack_types::{GroupId, LogIndex, NodeId, Term};

use crate::calls;
use crate::cluster::{Cluster, Phase};
use crate::error::Error;
use crate::sending::{PIECE_BYTES, Source, checksum};

/// The format of a snapshot.
const VERSION: u32 = 2;
/// How long a sender may take to begin: it makes a checkpoint.
const BEGIN_TIME: Duration = Duration::from_secs(60);
/// How long one piece may take.
const PIECE_TIME: Duration = Duration::from_secs(10);
/// How often a piece is asked for again.
const PIECE_ATTEMPTS: u32 = 5;

fn lane_floor((group, floor): &(GroupId, Floor)) -> LaneFloor {
    LaneFloor {
        group: group.0,
        index: floor.index.0,
        term: floor.term.0,
        membership: floor.membership.clone(),
    }
}

/// Where the receiver's logs begin, the root's first.
fn floors(snapshot: &Snapshot) -> Vec<(GroupId, Floor)> {
    let floor = |index, term, membership: &Bytes| Floor {
        index: LogIndex(index),
        term: Term(term),
        membership: membership.clone(),
    };
    let root = (GroupId::ROOT, floor(snapshot.index, snapshot.term, &snapshot.membership));
    let lane = |lane: &LaneFloor| (GroupId(lane.group), floor(lane.index, lane.term, &lane.membership));
    std::iter::once(root).chain(snapshot.lanes.iter().map(lane)).collect()
}

impl Cluster {
    /// Begins to send a snapshot.
    pub(crate) fn begin_snapshot(&self, to: &NodeId) -> Result<Snapshot, String> {
        let running = self.running().ok_or("it is not a member yet")?;
        if let Some(reason) = running.node.degraded() {
            return Err(format!("it is degraded: {reason}"));
        }
        let reserved = self.snapshots.reserve(to, Instant::now())?;
        running.node.checkpoint(BEGIN_TIME, &|| self.is_stopped()).map_err(|error| error.to_string())?;
        let file = running.host.store_file()?;
        let hold = running
            .node
            .hold_checkpoints(&format!("a snapshot to node '{to}'"), BEGIN_TIME)
            .map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| format!("the store cannot be read: {error}"))?.len();
        let identity = running.node.identity();
        let Some(((_, root), lanes)) = hold.floors.split_first() else {
            return Err("it does not know where its log begins".to_owned());
        };
        // Different in every life of every member, by its identity and its boot, and counted within one.
        let id = identity.raft_id().0 ^ (identity.boot << 48) ^ reserved.number;
        let snapshot = Snapshot {
            id,
            cluster_id: identity.cluster_id.to_be_bytes().to_vec().into(),
            index: root.index.0,
            term: root.term.0,
            membership: root.membership.clone(),
            lanes: lanes.iter().map(lane_floor).collect(),
            length,
            piece_bytes: PIECE_BYTES,
            version: VERSION,
            duckdb_version: self.settings.duckdb_version.clone(),
        };
        tracing::info!(to = %to, index = snapshot.index, bytes = length, "sending a snapshot");
        let now = Instant::now();
        reserved.publish(Source { id, file, length, began: now, used: now, hold })?;
        Ok(snapshot)
    }

    /// Fetches a snapshot and makes this node the member that it has been admitted as.
    pub(crate) fn fetch(&self, from: &NodeId, admitted: &Admitted) -> Result<(), Error> {
        let network =
            self.network.get().ok_or_else(|| Error::Change("the network has not started".to_owned()))?;
        let answer =
            calls::call(network, &admitted.cluster_id, from, "snapshot", &SnapshotRequest {}, BEGIN_TIME)?;
        let snapshot = Snapshot::decode(answer).map_err(|error| Error::Change(error.to_string()))?;
        self.check(from, &snapshot, admitted)?;
        // From here on, no founder can take this node into a new cluster.
        let Some(folder) = self.take_empty() else { return Ok(()) };
        let began = Instant::now();
        let received =
            folder.begin_join().map_err(Error::from).and_then(|path| self.receive(from, &snapshot, &path));
        if let Err(error) = received {
            self.enter(Phase::Empty(folder));
            return Err(error);
        }
        let end = PieceRequest { id: snapshot.id, number: 0 };
        let ended = calls::call(network, &snapshot.cluster_id, from, "snapshot-end", &end, PIECE_TIME);
        if let Err(error) = ended {
            tracing::debug!(%error, "the sender will notice by itself that the snapshot has arrived");
        }
        let cluster_id = u128::from_be_bytes(snapshot.cluster_id[..].try_into().unwrap_or_default());
        let (incarnation, floors) = (admitted.incarnation, floors(&snapshot));
        let folder = folder.join(&Seed { cluster_id, incarnation, floors })?;
        self.received.ended(began.elapsed());
        tracing::info!(index = snapshot.index, bytes = snapshot.length, "snapshot received");
        self.enter(Phase::Born(Some(folder)));
        Ok(())
    }

    fn check(&self, from: &NodeId, snapshot: &Snapshot, admitted: &Admitted) -> Result<(), Error> {
        let refuse =
            |what: String| Err(Error::Change(format!("the snapshot of node '{from}' is refused: {what}")));
        if snapshot.version != VERSION {
            return refuse(format!("it has format {}, this release reads {VERSION}", snapshot.version));
        }
        if snapshot.cluster_id != admitted.cluster_id || snapshot.cluster_id.len() != 16 {
            return refuse("it is another cluster's".to_owned());
        }
        if self.former().is_some_and(|former| former.to_be_bytes()[..] != snapshot.cluster_id[..]) {
            return refuse("this node belonged to another cluster".to_owned());
        }
        if snapshot.duckdb_version != self.settings.duckdb_version {
            return refuse(format!("it was written by DuckDB {}", snapshot.duckdb_version));
        }
        // Index 0 is that of a cluster in which no table has been written yet.
        if snapshot.length == 0 || snapshot.piece_bytes != PIECE_BYTES {
            let pieces = snapshot.piece_bytes;
            return refuse(format!("it has {} bytes in pieces of {pieces}", snapshot.length));
        }
        for (_, floor) in floors(snapshot) {
            match Membership::decode(&floor.membership) {
                Ok(members) if !members.is_empty() => {}
                Ok(_) => return refuse("it names no members".to_owned()),
                Err(error) => return refuse(error.to_string()),
            }
        }
        Ok(())
    }

    /// Writes the store, durably.
    fn receive(&self, from: &NodeId, snapshot: &Snapshot, path: &Path) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::Change(format!("cannot write '{}': {error}", path.display()));
        let mut file = create_private(path).map_err(failed)?;
        let pieces = snapshot.length.div_ceil(u64::from(PIECE_BYTES));
        for number in 0..pieces {
            let data = self.receive_piece(from, snapshot, number)?;
            file.write_all(&data).map_err(failed)?;
            if number % 64 == 0 {
                self.say(format!("a snapshot from node '{from}': {number} of {pieces} MiB are here"));
            }
        }
        file.sync_all().map_err(failed)
    }

    fn receive_piece(&self, from: &NodeId, snapshot: &Snapshot, number: u64) -> Result<Bytes, Error> {
        let network =
            self.network.get().ok_or_else(|| Error::Change("the network has not started".to_owned()))?;
        let request = PieceRequest { id: snapshot.id, number };
        let whole =
            snapshot.length.saturating_sub(number * u64::from(PIECE_BYTES)).min(u64::from(PIECE_BYTES));
        let mut last = None;
        for _ in 0..PIECE_ATTEMPTS {
            if self.is_stopped() {
                return Err(Error::Stopped { waiting: self.waiting_for() });
            }
            match calls::call(network, &snapshot.cluster_id, from, "snapshot-piece", &request, PIECE_TIME) {
                Ok(answer) => match Piece::decode(answer) {
                    Ok(piece)
                        if piece.data.len() as u64 == whole
                            && piece.crc32 == checksum(snapshot.id, number, &piece.data) =>
                    {
                        self.received.piece(piece.data.len());
                        return Ok(piece.data);
                    }
                    _ => last = Some(Error::Change(format!("piece {number} of the snapshot is damaged"))),
                },
                Err(error @ quack_net::CallError::Refused { .. }) => return Err(error.into()),
                Err(error) => last = Some(error.into()),
            }
            self.wait_a_moment(Duration::from_millis(100));
        }
        Err(last.unwrap_or_else(|| Error::Change("the snapshot did not arrive".to_owned())))
    }
}
