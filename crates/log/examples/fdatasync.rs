//! Measures what an fdatasync costs for a growing file, a sparse one, and one filled with zeros ahead,
//! and what the log itself reaches. Usage: `cargo run --release -p quack-log --example fdatasync [folder]`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_log::{Disk, DiskFile, DiskOs, EntryKind, GroupWrite, Log, LogConfig, LogEntry, LogIdentity};
use quack_types::{GroupId, LogIndex, NodeId, Term};

fn report(name: &str, size: usize, mut times: Vec<Duration>) {
    let total: Duration = times.iter().sum();
    let count = times.len();
    times.sort();
    println!(
        "{name:24} {size:7} B  {:7.0}/s  median {:4} us  p99 {:5} us",
        count as f64 / total.as_secs_f64(),
        times[count / 2].as_micros(),
        times[count * 99 / 100].as_micros()
    );
}

fn raw(disk: &DiskOs, how: &str, size: usize, count: usize) -> std::io::Result<()> {
    let file = disk.create("probe")?;
    let total = size * count;
    match how {
        "sparse" => file.set_len(total as u64)?,
        "zeros" => file.write_at(0, &vec![0; total])?,
        _ => {}
    }
    file.sync()?;
    let bytes = vec![0x5a; size];
    let mut times = Vec::with_capacity(count);
    for at in 0..count {
        let start = Instant::now();
        file.write_at((at * size) as u64, &bytes)?;
        file.sync()?;
        times.push(start.elapsed());
    }
    disk.remove("probe")?;
    report(how, size, times);
    Ok(())
}

fn log(
    folder: &std::path::Path,
    zero_ahead_bytes: u64,
    size: usize,
    count: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir_in(folder)?;
    let identity = LogIdentity { cluster_id: 1, node: NodeId::new("n0")?, incarnation: 0 };
    let config = LogConfig { zero_ahead_bytes, ..LogConfig::default() };
    let mut log = Log::create(DiskOs::new(folder.path()), config, &identity)?;
    let data = Bytes::from(vec![0x5a; size]);
    let mut times = Vec::with_capacity(count);
    for index in 1..=count as u64 {
        let (term, index) = (Term(1), LogIndex(index));
        let entry =
            LogEntry { term, index, kind: EntryKind::Normal, data: data.clone(), context: Bytes::new() };
        let start = Instant::now();
        log.write(&[GroupWrite { entries: vec![entry], ..GroupWrite::new(GroupId::ROOT) }], true)?;
        times.push(start.elapsed());
    }
    report(if zero_ahead_bytes == 0 { "log, growing" } else { "log, zeros ahead" }, size, times);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::tempdir_in(&folder)?;
    for (size, count) in [(300, 3000), (4096, 3000), (100_000, 600), (1 << 20, 100)] {
        for how in ["growing", "sparse", "zeros"] {
            raw(&DiskOs::new(scratch.path()), how, size, count)?;
        }
        log(&folder, 0, size, count)?;
        log(&folder, LogConfig::default().zero_ahead_bytes, size, count)?;
    }
    Ok(())
}
