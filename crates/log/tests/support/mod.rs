//! A disk in memory that crashes, tears, loses, fails and flips bits, and a model of the log.
//!
//! Fault model: that of `quack_log::Disk`. A crash keeps or loses every sector of
//! unsynced writes on its own, or a prefix of the sector; or it keeps a prefix of all, cut at any byte; the
//! file's length is anywhere between the synced and the last one. Names that were
//! not made durable by `sync_directory` keep their old or their new meaning.
#![allow(dead_code, clippy::unwrap_used)]

pub mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use quack_log::{Disk, DiskFile, LogConfig, LogIdentity, SECTOR_BYTES};
use quack_types::NodeId;

/// SplitMix64 (Steele et al., OOPSLA'14).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

#[derive(Clone, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that a failed sync was to make durable: the system takes them for written, and until they are written again
    /// no sync makes them durable (Rebello et al., ATC'20).
    given_up: BTreeSet<usize>,
}

impl Bytes {
    fn differing(&self) -> BTreeSet<usize> {
        let sector = |bytes: &[u8], at: usize| -> Vec<u8> {
            bytes.iter().skip(at * SECTOR_BYTES).take(SECTOR_BYTES).copied().collect()
        };
        let sectors = self.live.len().div_ceil(SECTOR_BYTES);
        (0..sectors).filter(|at| sector(&self.live, *at) != sector(&self.durable, *at)).collect()
    }

    fn sync(&mut self) {
        let former = std::mem::take(&mut self.durable);
        self.durable.clone_from(&self.live);
        for at in self.given_up.iter().map(|sector| sector * SECTOR_BYTES) {
            for at in at..(at + SECTOR_BYTES).min(self.durable.len()) {
                self.durable[at] = former.get(at).copied().unwrap_or(0);
            }
        }
    }
}

#[derive(Clone, Default)]
struct World {
    files: Vec<Bytes>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    calls: u64,
    fail_at: Option<u64>,
    /// Calls that need room, and which of them find none.
    growths: u64,
    full: std::ops::Range<u64>,
    syncs: u64,
    writes: u64,
}

impl World {
    /// Counts a call; the chosen one fails.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.fail_at == Some(self.calls) { Err(io::Error::other("injected failure")) } else { Ok(()) }
    }

    /// Counts a call that needs room.
    fn grow(&mut self) -> io::Result<()> {
        self.call()?;
        self.growths += 1;
        if self.full.contains(&self.growths) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk. Clones share it.
#[derive(Clone, Default)]
pub struct DiskMemory(Arc<Mutex<World>>);

pub struct FileMemory {
    world: Arc<Mutex<World>>,
    id: usize,
}

impl DiskMemory {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Makes the call with this number, counted from now, fail.
    pub fn fail_at(&self, call: Option<u64>) {
        let mut world = self.world();
        world.calls = 0;
        world.fail_at = call;
    }

    /// Lets the calls with these numbers, counted from now among those that need room, find none.
    pub fn fill(&self, calls: std::ops::Range<u64>) {
        let mut world = self.world();
        world.growths = 0;
        world.full = calls;
    }

    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    pub fn writes_and_syncs(&self) -> (u64, u64) {
        let world = self.world();
        (world.writes, world.syncs)
    }

    /// All files by name with what a running system sees.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        world.names.iter().map(|(name, id)| (name.clone(), world.files[*id].live.clone())).collect()
    }

    /// A disk that holds exactly these files, all durable.
    pub fn from_contents(contents: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut world = World::default();
        for (name, bytes) in contents {
            world.names.insert(name.clone(), world.files.len());
            world.files.push(Bytes { live: bytes.clone(), durable: bytes.clone(), ..Bytes::default() });
        }
        world.names_durable = world.names.clone();
        Self(Arc::new(Mutex::new(world)))
    }

    /// What a crash of the machine at this moment might leave.
    pub fn crash(&self, dice: &mut Dice) -> Self {
        let world = self.world();
        let mut left = BTreeMap::new();
        let names: Vec<&String> = world.names.keys().chain(world.names_durable.keys()).collect();
        let images: Vec<Vec<u8>> = world.files.iter().map(|file| crash_image(file, dice)).collect();
        for name in names {
            let (new, old) = (world.names.get(name), world.names_durable.get(name));
            let chosen = if dice.below(2) == 0 { new } else { old };
            if let Some(id) = if new == old { new } else { chosen } {
                left.insert(name.clone(), images[*id].clone());
            }
        }
        Self::from_contents(&left)
    }

    /// What a loss of power leaves when nothing that was not synced has reached the disk.
    pub fn lose_power(&self) -> Self {
        let world = self.world();
        let durable = |(name, id): (&String, &usize)| (name.clone(), world.files[*id].durable.clone());
        Self::from_contents(&world.names_durable.iter().map(durable).collect())
    }

    /// What stays when only the process dies: everything.
    pub fn kill(&self) -> Self {
        Self::from_contents(&self.contents())
    }
}

fn crash_image(file: &Bytes, dice: &mut Dice) -> Vec<u8> {
    let (old, new) = (&file.durable, &file.live);
    let longest = old.len().max(new.len());
    let byte = |bytes: &Vec<u8>, at: usize| bytes.get(at).copied().unwrap_or(0);
    let prefix = (dice.below(2) == 0).then(|| dice.below(longest + 1));
    let mut image = Vec::with_capacity(longest);
    for begin in (0..longest).step_by(SECTOR_BYTES) {
        let keep = dice.below(3) > 0;
        let cut = begin + if dice.below(4) == 0 { dice.below(SECTOR_BYTES) } else { SECTOR_BYTES };
        for at in begin..(begin + SECTOR_BYTES).min(longest) {
            let take_new = prefix.map_or(keep && at < cut, |prefix| at < prefix);
            image.push(if take_new { byte(new, at) } else { byte(old, at) });
        }
    }
    let shortest = old.len().min(new.len());
    image.truncate(shortest + dice.below(longest - shortest + 1));
    image
}

impl Disk for DiskMemory {
    type File = FileMemory;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.call()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<FileMemory> {
        let mut world = self.world();
        world.grow()?;
        if world.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = world.files.len();
        world.files.push(Bytes::default());
        world.names.insert(name.to_owned(), id);
        Ok(FileMemory { world: Arc::clone(&self.0), id })
    }

    fn open(&self, name: &str) -> io::Result<FileMemory> {
        let mut world = self.world();
        world.call()?;
        let id = world.find(name)?;
        Ok(FileMemory { world: Arc::clone(&self.0), id })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.find(name)?;
        world.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let id = world.find(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.names_durable = world.names.clone();
        Ok(())
    }
}

impl DiskFile for FileMemory {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world.lock().unwrap();
        world.call()?;
        let bytes = &world.files[self.id].live;
        let from = (offset as usize).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world.lock().unwrap();
        let result = world.grow();
        world.writes += 1;
        // A failed write may have written a part.
        let bytes = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let live = &mut world.files[self.id].live;
        let end = offset as usize + bytes.len();
        if live.len() < end {
            live.resize(end, 0);
        }
        live[offset as usize..end].copy_from_slice(bytes);
        let written = offset as usize / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        world.files[self.id].given_up.retain(|sector| !written.contains(sector));
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world.lock().unwrap();
        world.call()?;
        world.files[self.id].live.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut world = self.world.lock().unwrap();
        world.call()?;
        Ok(world.files[self.id].live.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world.lock().unwrap();
        if let Err(error) = world.call() {
            let differing = world.files[self.id].differing();
            world.files[self.id].given_up.extend(differing);
            return Err(error);
        }
        world.syncs += 1;
        world.files[self.id].sync();
        Ok(())
    }
}

pub fn identity() -> LogIdentity {
    LogIdentity { cluster_id: 0x1234_5678_9abc_def0 << 32, node: NodeId::new("n0").unwrap(), incarnation: 1 }
}

/// Segments of a few batches, a cache of a few entries, and zeros ahead.
pub fn config() -> LogConfig {
    LogConfig { segment_bytes: 4096, cache_bytes: 600, zero_ahead_bytes: 2048 }
}
