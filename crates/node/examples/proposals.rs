//! Proposals per second of a cluster of one, beside the ceiling: write and fdatasync of the same bytes.
//! Usage: `cargo run --release -p quack-node --example proposals [folder]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_log::{Disk, DiskFile, DiskOs};
use quack_node::{
    Applied, Checkpointed, Checkpointer, DataFolder, GroupEntry, LaneTable, LocalError, NoTransport,
    NodeConfig, NodeHandle, ReadLog, StateMachine,
};
use quack_types::{Digests, GroupId, LogIndex, Mark, NodeId, Place, ProposalId, RaftId};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does nothing with an entry but tell who proposed it. Its checkpoints cost nothing, but let the log go.
#[derive(Clone, Default)]
struct Nothing {
    batches: Arc<AtomicU64>,
    applied: Arc<AtomicU64>,
    lanes: Arc<LaneTable>,
    digests: Digests,
}

impl StateMachine for Nothing {
    fn place(&self) -> Place {
        Place::default()
    }

    fn lanes(&self) -> Arc<LaneTable> {
        self.lanes.clone()
    }

    fn apply(&mut self, entries: &[GroupEntry], _log: &ReadLog<'_>) -> Result<Vec<Applied>, LocalError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mark = |GroupEntry { entry, .. }: &GroupEntry| Mark { root: entry.index, digest: entry.index.0 };
        self.digests.marks.extend(entries.iter().map(mark));
        self.applied.store(entries.last().map_or(0, |last| last.entry.index.0), Ordering::Relaxed);
        let applied = |GroupEntry { entry, .. }: &GroupEntry| {
            let part =
                |at: usize| entry.data[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
            let id = ProposalId { origin: RaftId(part(0)), boot: part(8), sequence: part(16) };
            Applied { id: Some(id), outcome: Bytes::new() }
        };
        Ok(entries.iter().map(applied).collect())
    }

    fn digests(&mut self) -> Digests {
        std::mem::take(&mut self.digests)
    }

    fn checkpointer(&self) -> Arc<dyn Checkpointer> {
        Arc::new(self.clone())
    }
}

impl Checkpointer for Nothing {
    fn checkpoint(&self, _held_back_bytes: u64) -> Result<Checkpointed, LocalError> {
        let durable = Place::of_root(LogIndex(self.applied.load(Ordering::Relaxed)));
        Ok(Checkpointed { durable, ..Checkpointed::default() })
    }
}

/// What the clients saw.
struct Measured {
    rate: f64,
    batch: f64,
    /// Median, 99th percentile and worst time of a proposal in microseconds.
    percentiles: [u128; 3],
}

/// One after the other: write, fdatasync, into a file that is filled with zeros.
fn ceiling(folder: &Path, size: usize, count: usize) -> Result<f64, Failure> {
    let disk = DiskOs::new(folder);
    let file = disk.create("ceiling")?;
    file.write_at(0, &vec![0; size * count])?;
    file.sync()?;
    let bytes = vec![0x5a; size];
    let start = Instant::now();
    for at in 0..count {
        file.write_at((at * size) as u64, &bytes)?;
        file.sync()?;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    disk.remove("ceiling")?;
    Ok(rate)
}

fn proposals(folder: &Path, clients: usize, size: usize, seconds: f64) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let folder = DataFolder::open(folder.path(), &NodeId::new("n0")?)?;
    let machine = Nothing::default();
    let batches = Arc::clone(&machine.batches);
    let alone = quack_node::Membership::new([folder.identity().raft_id()], []);
    let node =
        NodeHandle::start(NodeConfig::default(), folder, Box::new(machine), Box::new(NoTransport), alone)?;
    node.wait_until_ready(Duration::from_secs(10), &|| false)?;
    let start = Instant::now();
    let run = || -> Result<Vec<Duration>, Failure> {
        let mut times = Vec::new();
        while start.elapsed().as_secs_f64() < seconds {
            let id = node.next_proposal_id();
            let mut data = vec![0x5a; size];
            for (at, part) in [id.origin.0, id.boot, id.sequence].into_iter().enumerate() {
                data[at * 8..at * 8 + 8].copy_from_slice(&part.to_le_bytes());
            }
            let begin = Instant::now();
            node.propose(GroupId::ROOT, id, data.into(), &|| false)?
                .wait(Duration::from_secs(10), &|| false)?;
            times.push(begin.elapsed());
        }
        Ok(times)
    };
    let results: Vec<Result<Vec<Duration>, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".into())))
            .collect()
    });
    let elapsed = start.elapsed().as_secs_f64();
    let mut times: Vec<Duration> = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    times.sort();
    node.stop();
    let count = times.len() as f64;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    Ok(Measured {
        rate: count / elapsed,
        batch: count / batches.load(Ordering::Relaxed) as f64,
        percentiles: [at(0.5), at(0.99), at(1.0)],
    })
}

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    for size in [100, 16 << 10, 256 << 10] {
        let scratch = tempfile::tempdir_in(&folder)?;
        let ceiling = ceiling(scratch.path(), size, if size > 100_000 { 500 } else { 3000 })?;
        println!("{size:7} B: one write and fdatasync after the other {ceiling:8.0}/s");
        for clients in [1, 4, 16, 64] {
            let Measured { rate, batch, percentiles: [median, p99, worst] } =
                proposals(&folder, clients, size, 2.0)?;
            let ratio = rate / ceiling;
            println!(
                "          {clients:2} clients {rate:8.0} proposals/s  {ratio:5.2} of it, {batch:5.1} per batch, us: median {median}, p99 {p99}, worst {worst}"
            );
        }
    }
    Ok(())
}
