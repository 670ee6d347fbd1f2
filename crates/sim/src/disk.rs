//! A disk in memory that loses and tears what was not synced.
//!
//! # Fault model
//!
//! Every file has a durable image and the writes since its last sync; every name has
//! a durable meaning and the changes since the folder's last sync. Reads see all.
//!
//! At a crash:
//! - each sector ([`SECTOR_BYTES`]) of each unsynced write is kept or lost on its own,
//!   in any order; a kept one may be torn: a prefix of it is new, the rest is old;
//! - the length is the durable one, or grows as far as kept sectors or kept length
//!   changes reach; what was never written reads as zeros;
//! - each unsynced creation, removal or rename is kept or undone on its own.
//!
//! A crash can come between any two operations: [`VirtualDisk::burn_after`] lets the
//! n-th operation from now fail with [`CRASHED`], and every later one, until
//! [`VirtualDisk::crash`]. A sync can fail with an I/O error; then what it was to
//! sync stays unsynced and may be half there.
//!
//! What a sync has reported as done is never lost, unless the run is sabotaged
//! ([`VirtualDisk::lie`]). Bits do not flip: the log refuses them, as its own tests
//! show, and then the node is rebuilt like one that has lost its disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quack_log::{Disk, DiskFile, SECTOR_BYTES};

use crate::random::Random;

/// Text of the error with which operations fail between the fuse and the crash.
pub const CRASHED: &str = "the virtual machine has crashed";

/// One node's disk. Clones are the same disk; it survives crashes.
#[derive(Clone)]
pub struct VirtualDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    files: BTreeMap<u64, Image>,
    /// Names as of the last sync of the folder, and now.
    durable_names: BTreeMap<String, u64>,
    names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_file: u64,
    /// Operations until the crash.
    fuse: Option<u64>,
    /// Chance of a failing sync, per million.
    sync_errors: u64,
    random: Random,
    is_lying: bool,
}

#[derive(Default, Clone)]
struct Image {
    durable: Vec<u8>,
    live: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Link { name: String, file: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, file: u64 },
}

impl VirtualDisk {
    /// An empty disk whose syncs do not fail.
    pub fn new(random: Random) -> Self {
        let state = State {
            files: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_file: 1,
            fuse: None,
            sync_errors: 0,
            random,
            is_lying: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The operation after the next `operations` ones fails, and all that follow.
    pub fn burn_after(&self, operations: u64) {
        self.lock().fuse = Some(operations);
    }

    /// From now on syncs do nothing and claim success. Sabotage only.
    pub fn lie(&self) {
        self.lock().is_lying = true;
    }

    /// From now on syncs fail with this chance, per million.
    pub fn fail_syncs(&self, per_million: u64) {
        self.lock().sync_errors = per_million;
    }

    /// Whether a log has been begun on it.
    pub fn has_files(&self) -> bool {
        self.lock().names.keys().any(|name| name.ends_with(".log"))
    }

    /// The power goes and comes back: what was not synced is kept, lost or torn.
    pub fn crash(&self) {
        self.lock().crash();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        state.burn()?;
        operation(&mut state)
    }
}

impl State {
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other(CRASHED)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn crash(&mut self) {
        self.fuse = None;
        // Most crashes are extreme in one direction or the other; those find the most.
        let keep_per_million = [0, 100_000, 500_000, 900_000, 1_000_000][self.random.below(5) as usize];
        let mut names = std::mem::take(&mut self.durable_names);
        for change in std::mem::take(&mut self.pending_names) {
            if self.random.chance(keep_per_million) {
                change.apply(&mut names);
            }
        }
        self.durable_names.clone_from(&names);
        self.names = names;
        let random = &mut self.random;
        for image in self.files.values_mut() {
            image.crash(random, keep_per_million);
        }
        // Files without a name are gone: no process holds them open any more.
        let named: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
    }

    fn image(&mut self, file: u64) -> io::Result<&mut Image> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::other("the file was open before the crash"))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Unlink { name } => {
                names.remove(name);
            }
            NameChange::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Image {
    fn crash(&mut self, random: &mut Random, keep_per_million: u64) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Length(length) => {
                    if random.chance(keep_per_million) {
                        self.durable.resize(length, 0);
                    }
                }
                Pending::Write { offset, bytes } => {
                    self.keep_sectors(random, keep_per_million, offset, &bytes)
                }
            }
        }
        self.live.clone_from(&self.durable);
    }

    fn keep_sectors(&mut self, random: &mut Random, keep_per_million: u64, offset: usize, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let begin = offset + done;
            let sector = SECTOR_BYTES - begin % SECTOR_BYTES;
            let whole = sector.min(bytes.len() - done);
            if random.chance(keep_per_million) {
                // One in ten is torn.
                let kept =
                    if random.chance(100_000) { random.below(whole as u64 + 1) as usize } else { whole };
                put(&mut self.durable, begin, &bytes[done..done + kept]);
            }
            done += whole;
        }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

/// An open file.
pub struct VirtualFile {
    disk: VirtualDisk,
    file: u64,
}

impl Disk for VirtualDisk {
    type File = VirtualFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.operate(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<VirtualFile> {
        self.operate(|state| {
            if state.names.contains_key(name) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            let file = state.next_file;
            state.next_file += 1;
            state.files.insert(file, Image::default());
            state.change_name(NameChange::Link { name: name.to_owned(), file });
            Ok(VirtualFile { disk: self.clone(), file })
        })
    }

    fn open(&self, name: &str) -> io::Result<VirtualFile> {
        self.operate(|state| {
            let file = *state.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(VirtualFile { disk: self.clone(), file })
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|state| {
            if !state.names.contains_key(name) {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            state.change_name(NameChange::Unlink { name: name.to_owned() });
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|state| {
            let file = *state.names.get(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            state.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.operate(|state| {
            if !state.is_lying {
                state.pending_names.clear();
                state.durable_names = state.names.clone();
            }
            Ok(())
        })
    }
}

impl DiskFile for VirtualFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.operate(|state| {
            let live = &state.image(self.file)?.live;
            let begin = (offset as usize).min(live.len());
            let count = buffer.len().min(live.len() - begin);
            buffer[..count].copy_from_slice(&live[begin..begin + count]);
            Ok(count)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.operate(|state| {
            let image = state.image(self.file)?;
            put(&mut image.live, offset as usize, bytes);
            image.pending.push(Pending::Write { offset: offset as usize, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operate(|state| {
            let image = state.image(self.file)?;
            image.live.resize(len as usize, 0);
            image.pending.push(Pending::Length(len as usize));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.operate(|state| Ok(state.image(self.file)?.live.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate(|state| {
            if state.sync_errors > 0 && state.random.chance(state.sync_errors) {
                return Err(io::Error::other("the virtual disk cannot sync"));
            }
            let is_lying = state.is_lying;
            let image = state.image(self.file)?;
            if !is_lying {
                for pending in std::mem::take(&mut image.pending) {
                    match pending {
                        Pending::Write { offset, bytes } => put(&mut image.durable, offset, &bytes),
                        Pending::Length(length) => image.durable.resize(length, 0),
                    }
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &VirtualDisk, name: &str) -> Option<Vec<u8>> {
        let file = disk.open(name).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        for seed in 0..200 {
            let disk = VirtualDisk::new(Random::new(seed));
            let file = disk.create("a").unwrap();
            file.write_at(0, &[1; 2000]).unwrap();
            file.sync().unwrap();
            disk.sync_directory().unwrap();
            disk.crash();
            assert_eq!(content(&disk, "a"), Some(vec![1; 2000]), "seed {seed}");
        }
    }

    #[test]
    fn what_was_not_synced_is_kept_lost_and_torn_by_sector() {
        let (mut kept, mut lost, mut mixed, mut torn, mut vanished) = (0, 0, 0, 0, 0);
        for seed in 0..500 {
            let disk = VirtualDisk::new(Random::new(seed));
            disk.create("a").unwrap().write_at(0, &[1; 2 * SECTOR_BYTES]).unwrap();
            disk.crash();
            let Some(mut bytes) = content(&disk, "a") else {
                vanished += 1;
                continue;
            };
            bytes.resize(2 * SECTOR_BYTES, 0);
            let ones = |sector: usize| {
                bytes[sector * SECTOR_BYTES..][..SECTOR_BYTES].iter().filter(|byte| **byte == 1).count()
            };
            match (ones(0), ones(1)) {
                (SECTOR_BYTES, SECTOR_BYTES) => kept += 1,
                (0, 0) => lost += 1,
                (0, SECTOR_BYTES) | (SECTOR_BYTES, 0) => mixed += 1,
                _ => torn += 1,
            }
        }
        assert!(
            kept > 20 && lost > 5 && mixed > 5 && torn > 5 && vanished > 20,
            "{kept} {lost} {mixed} {torn} {vanished}"
        );
    }

    #[test]
    fn a_burnt_fuse_fails_everything_until_the_crash() {
        let disk = VirtualDisk::new(Random::new(1));
        let file = disk.create("a").unwrap();
        disk.burn_after(1);
        file.write_at(0, b"x").unwrap();
        assert!(file.sync().is_err() && disk.list().is_err());
        disk.crash();
        assert!(disk.list().is_ok());
    }

    #[test]
    fn a_lying_disk_loses_what_it_has_synced() {
        let lost = (0..50).filter(|seed| {
            let disk = VirtualDisk::new(Random::new(*seed));
            disk.lie();
            let file = disk.create("a").unwrap();
            file.write_at(0, &[1; 100]).unwrap();
            file.sync().unwrap();
            disk.sync_directory().unwrap();
            disk.crash();
            content(&disk, "a") != Some(vec![1; 100])
        });
        assert!(lost.count() > 10);
    }
}
