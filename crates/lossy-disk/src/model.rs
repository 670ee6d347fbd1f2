//! Files and folders in memory, twice: as processes see them, and as a loss of power leaves them.
//!
//! What POSIX promises is all that is kept: `fsync` of a file keeps its bytes and its length, `fsync` of a folder keeps the
//! names in it. A name and the bytes behind it are independent, so a renamed file that was not synced may be there and be
//! empty. What was not synced may survive too, by [`Luck`]: any page of a file, and the oldest changes of names, as file
//! systems write their journals in order. Each folder at the top is a disk of its own, and its name is durable.
//!
//! Source: POSIX.1-2024, `fsync`; Pillai and others, "All File Systems Are Not Created Equal" (OSDI 2014).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// The number of a file or a folder, as the kernel knows it.
pub type Number = u64;

/// The folder that is mounted.
pub const ROOT: Number = 1;
/// Bytes that survive together or not at all.
pub const PAGE_BYTES: usize = 4096;

/// Why an operation is refused; each is the error of POSIX of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Exists,
    IsFolder,
    Missing,
    NotEmpty,
    NotFolder,
}

/// How much of what was not synced a loss of power leaves: 0 is nothing, 100 is all, and what lies between is drawn from the
/// seed, page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Luck {
    pub percent: u64,
    pub seed: u64,
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn is_lucky(&mut self, luck: Luck) -> bool {
        self.next() % 100 < luck.percent
    }
}

/// Bytes as processes see them and as they are on the disk.
#[derive(Debug, Default)]
struct Bytes {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that differ, by number, and whether the length does.
    dirty: BTreeSet<usize>,
    is_resized: bool,
}

impl Bytes {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.resize(end);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / PAGE_BYTES..=(end - 1) / PAGE_BYTES);
    }

    fn resize(&mut self, length: usize) {
        let former = self.seen.len();
        self.seen.resize(length, 0);
        self.is_resized = true;
        // What is cut off and written again must not show what was there before.
        if length < former && !length.is_multiple_of(PAGE_BYTES) {
            self.dirty.insert(length / PAGE_BYTES);
        }
        self.dirty.extend(former / PAGE_BYTES..length.div_ceil(PAGE_BYTES));
    }

    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            self.keep(page);
        }
        self.is_resized = false;
    }

    /// Copies what processes see of a page to the disk, whose file may be too short for it.
    fn keep(&mut self, page: usize) {
        let start = page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(self.seen.len());
        if start < end {
            self.durable.resize(self.durable.len().max(end), 0);
            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }

    fn lose(&mut self, luck: Luck, draw: &mut Draw) {
        if self.is_resized && draw.is_lucky(luck) {
            self.durable.resize(self.seen.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            if draw.is_lucky(luck) {
                self.keep(page);
            }
        }
        self.seen.clone_from(&self.durable);
        self.is_resized = false;
    }
}

type Names = BTreeMap<OsString, Number>;

#[derive(Debug)]
enum Content {
    File(Bytes),
    Folder { seen: Names, durable: Names },
}

#[derive(Debug)]
struct Inode {
    content: Content,
    mode: u16,
    /// The folder at the top that it lies in; `ROOT` has none.
    disk: Number,
    /// Handles of processes: what they hold is there without a name, too.
    opened: u64,
}

/// A name in a folder that leads somewhere else now, or nowhere.
#[derive(Debug)]
struct Change {
    folder: Number,
    name: OsString,
    to: Option<Number>,
}

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub number: Number,
    pub is_folder: bool,
    pub bytes: u64,
    pub mode: u16,
}

/// All files.
#[derive(Debug)]
pub struct Model {
    inodes: BTreeMap<Number, Inode>,
    next: Number,
    /// What changed names and is not durable yet, oldest first; changes of one operation stand or fall together.
    journal: Vec<Vec<Change>>,
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self { inodes: BTreeMap::new(), next: ROOT, journal: Vec::new() };
        model.add(Content::Folder { seen: Names::new(), durable: Names::new() }, 0o755, ROOT);
        model
    }
}

impl Model {
    fn add(&mut self, content: Content, mode: u16, disk: Number) -> Number {
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, Inode { content, mode, disk, opened: 0 });
        number
    }

    fn inode(&self, number: Number) -> Result<&Inode, Refusal> {
        self.inodes.get(&number).ok_or(Refusal::Missing)
    }

    fn bytes(&mut self, number: Number) -> Result<&mut Bytes, Refusal> {
        match self.inodes.get_mut(&number).map(|inode| &mut inode.content) {
            Some(Content::File(bytes)) => Ok(bytes),
            Some(Content::Folder { .. }) => Err(Refusal::IsFolder),
            None => Err(Refusal::Missing),
        }
    }

    fn names(&mut self, folder: Number) -> Result<(&mut Names, &mut Names), Refusal> {
        match self.inodes.get_mut(&folder).map(|inode| &mut inode.content) {
            Some(Content::Folder { seen, durable }) => Ok((seen, durable)),
            Some(Content::File(_)) => Err(Refusal::NotFolder),
            None => Err(Refusal::Missing),
        }
    }

    /// Changes names for processes, and notes it for the disk. The names at the top are durable at once.
    fn change(&mut self, changes: Vec<Change>) -> Result<(), Refusal> {
        for change in &changes {
            let (seen, durable) = self.names(change.folder)?;
            point(seen, change);
            if change.folder == ROOT {
                point(durable, change);
            }
        }
        self.journal.push(changes.into_iter().filter(|change| change.folder != ROOT).collect());
        Ok(())
    }

    pub fn status(&self, number: Number) -> Result<Status, Refusal> {
        let inode = self.inode(number)?;
        let (is_folder, bytes) = match &inode.content {
            Content::File(bytes) => (false, bytes.seen.len() as u64),
            Content::Folder { .. } => (true, 0),
        };
        Ok(Status { number, is_folder, bytes, mode: inode.mode })
    }

    pub fn find(&mut self, folder: Number, name: &OsStr) -> Result<Number, Refusal> {
        self.names(folder)?.0.get(name).copied().ok_or(Refusal::Missing)
    }

    /// Names and numbers in a folder.
    pub fn list(&mut self, folder: Number) -> Result<Vec<(OsString, Number)>, Refusal> {
        Ok(self.names(folder)?.0.iter().map(|(name, number)| (name.clone(), *number)).collect())
    }

    pub fn create(
        &mut self,
        folder: Number,
        name: &OsStr,
        mode: u16,
        is_folder: bool,
    ) -> Result<Number, Refusal> {
        if self.find(folder, name).is_ok() {
            return Err(Refusal::Exists);
        }
        let content = if is_folder {
            Content::Folder { seen: Names::new(), durable: Names::new() }
        } else {
            Content::File(Bytes::default())
        };
        let disk = if folder == ROOT { self.next } else { self.inode(folder)?.disk };
        let number = self.add(content, mode, disk);
        self.change(vec![Change { folder, name: name.to_owned(), to: Some(number) }])?;
        Ok(number)
    }

    /// Takes a name away; `is_folder` says what the caller takes it for.
    pub fn remove(&mut self, folder: Number, name: &OsStr, is_folder: bool) -> Result<(), Refusal> {
        let number = self.find(folder, name)?;
        match (&self.inode(number)?.content, is_folder) {
            (Content::File(_), true) => return Err(Refusal::NotFolder),
            (Content::Folder { .. }, false) => return Err(Refusal::IsFolder),
            (Content::Folder { seen, .. }, true) if !seen.is_empty() => return Err(Refusal::NotEmpty),
            _ => {}
        }
        self.change(vec![Change { folder, name: name.to_owned(), to: None }])
    }

    pub fn rename(
        &mut self,
        from: (Number, &OsStr),
        to: (Number, &OsStr),
        replaces: bool,
    ) -> Result<(), Refusal> {
        let number = self.find(from.0, from.1)?;
        if let Ok(there) = self.find(to.0, to.1) {
            if !replaces {
                return Err(Refusal::Exists);
            }
            match (self.status(number)?.is_folder, &self.inode(there)?.content) {
                (true, Content::File(_)) => return Err(Refusal::NotFolder),
                (false, Content::Folder { .. }) => return Err(Refusal::IsFolder),
                (true, Content::Folder { seen, .. }) if !seen.is_empty() => return Err(Refusal::NotEmpty),
                _ => {}
            }
            if there == number {
                return Ok(());
            }
        }
        self.change(vec![
            Change { folder: from.0, name: from.1.to_owned(), to: None },
            Change { folder: to.0, name: to.1.to_owned(), to: Some(number) },
        ])
    }

    pub fn read(&mut self, number: Number, offset: u64, length: usize) -> Result<&[u8], Refusal> {
        let seen = &self.bytes(number)?.seen;
        let start = (offset as usize).min(seen.len());
        Ok(&seen[start..(start + length).min(seen.len())])
    }

    pub fn write(&mut self, number: Number, offset: u64, bytes: &[u8]) -> Result<(), Refusal> {
        self.bytes(number)?.write(offset as usize, bytes);
        Ok(())
    }

    pub fn resize(&mut self, number: Number, length: u64) -> Result<(), Refusal> {
        self.bytes(number)?.resize(length as usize);
        Ok(())
    }

    pub fn set_mode(&mut self, number: Number, mode: u16) -> Result<(), Refusal> {
        self.inodes.get_mut(&number).ok_or(Refusal::Missing)?.mode = mode;
        Ok(())
    }

    pub fn opened(&mut self, number: Number) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.opened += 1;
        }
    }

    pub fn closed(&mut self, number: Number) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.opened = inode.opened.saturating_sub(1);
        }
        self.forget_what_has_no_name();
    }

    /// Makes a file's bytes durable, or the names in a folder.
    pub fn sync(&mut self, number: Number) -> Result<(), Refusal> {
        if !self.status(number)?.is_folder {
            self.bytes(number)?.sync();
            return Ok(());
        }
        for operation in &mut self.journal {
            for change in operation.extract_if(.., |change| change.folder == number) {
                if let Some(Content::Folder { durable, .. }) =
                    self.inodes.get_mut(&number).map(|inode| &mut inode.content)
                {
                    point(durable, &change);
                }
            }
        }
        self.journal.retain(|operation| !operation.is_empty());
        Ok(())
    }

    /// Makes everything on a disk durable.
    pub fn sync_disk(&mut self, name: &OsStr) -> Result<(), Refusal> {
        let disk = self.find(ROOT, name)?;
        let own = self.inodes.iter().filter(|(_, inode)| inode.disk == disk).map(|(number, _)| *number);
        own.collect::<Vec<_>>().into_iter().try_for_each(|number| self.sync(number))
    }

    /// The power of a disk, the folder of this name at the top, is lost. No process works with it.
    pub fn lose_power(&mut self, name: &OsStr, luck: Luck) -> Result<(), Refusal> {
        let disk = self.find(ROOT, name)?;
        let mut draw = Draw(luck.seed);
        let belongs = |inodes: &BTreeMap<Number, Inode>, change: &Change| {
            inodes.get(&change.folder).is_some_and(|inode| inode.disk == disk)
        };
        let (own, others) = std::mem::take(&mut self.journal)
            .into_iter()
            .partition(|operation| operation.iter().any(|change| belongs(&self.inodes, change)));
        self.journal = others;
        let own: Vec<Vec<Change>> = own;
        // The first operation that is not lucky ends the journal.
        for operation in own.iter().take_while(|_| draw.is_lucky(luck)) {
            for change in operation {
                point(self.names(change.folder)?.1, change);
            }
        }
        for inode in self.inodes.values_mut().filter(|inode| inode.disk == disk) {
            inode.opened = 0;
            match &mut inode.content {
                Content::File(bytes) => bytes.lose(luck, &mut draw),
                Content::Folder { seen, durable } => seen.clone_from(durable),
            }
        }
        self.forget_what_has_no_name();
        Ok(())
    }

    /// Drops what no name leads to, no handle, and nothing that a loss of power brings back.
    fn forget_what_has_no_name(&mut self) {
        let mut kept = BTreeSet::from([ROOT]);
        let pending = self.journal.iter().flatten().filter_map(|change| change.to);
        let held = self.inodes.iter().filter(|(_, inode)| inode.opened > 0).map(|(number, _)| *number);
        let mut left: Vec<Number> = pending.chain(held).chain([ROOT]).collect();
        while let Some(number) = left.pop() {
            kept.insert(number);
            if let Some(Inode { content: Content::Folder { seen, durable }, .. }) = self.inodes.get(&number) {
                left.extend(seen.values().chain(durable.values()).filter(|number| !kept.contains(number)));
            }
        }
        self.inodes.retain(|number, _| kept.contains(number));
    }
}

fn point(names: &mut Names, change: &Change) {
    match change.to {
        Some(number) => names.insert(change.name.clone(), number),
        None => names.remove(&change.name),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NONE: Luck = Luck { percent: 0, seed: 1 };
    const ALL: Luck = Luck { percent: 100, seed: 1 };

    /// A disk, and a folder in it whose name is durable.
    fn disk() -> (Model, Number) {
        let mut model = Model::default();
        let top = model.create(ROOT, OsStr::new("disk"), 0o755, true).unwrap();
        let folder = model.create(top, OsStr::new("folder"), 0o755, true).unwrap();
        model.sync(top).unwrap();
        (model, folder)
    }

    fn file(model: &mut Model, folder: Number, name: &str, bytes: &[u8]) -> Number {
        let number = model.create(folder, OsStr::new(name), 0o644, false).unwrap();
        model.write(number, 0, bytes).unwrap();
        number
    }

    fn lose(model: &mut Model, luck: Luck) {
        model.lose_power(OsStr::new("disk"), luck).unwrap();
    }

    fn held(model: &mut Model, folder: Number, name: &str) -> Option<Vec<u8>> {
        let number = model.find(folder, OsStr::new(name)).ok()?;
        Some(model.read(number, 0, usize::MAX / 2).unwrap().to_vec())
    }

    #[test]
    fn a_file_is_there_once_both_its_bytes_and_its_name_are_synced() {
        for (syncs_file, syncs_folder, expected) in [
            (false, false, None),
            (true, false, None),
            (false, true, Some(b"".to_vec())),
            (true, true, Some(b"text".to_vec())),
        ] {
            let (mut model, folder) = disk();
            let number = file(&mut model, folder, "a", b"text");
            if syncs_file {
                model.sync(number).unwrap();
            }
            if syncs_folder {
                model.sync(folder).unwrap();
            }
            lose(&mut model, NONE);
            assert_eq!(held(&mut model, folder, "a"), expected);
        }
    }

    #[test]
    fn a_rename_that_is_not_synced_leaves_the_former_file() {
        let (mut model, folder) = disk();
        for name in ["a", "b"] {
            let number = file(&mut model, folder, name, name.as_bytes());
            model.sync(number).unwrap();
        }
        model.sync(folder).unwrap();
        let rename = |model: &mut Model| {
            model.rename((folder, OsStr::new("b")), (folder, OsStr::new("a")), true).unwrap();
        };
        rename(&mut model);
        assert_eq!(held(&mut model, folder, "a"), Some(b"b".to_vec()));
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, folder, "a"), Some(b"a".to_vec()));
        assert_eq!(held(&mut model, folder, "b"), Some(b"b".to_vec()));
        rename(&mut model);
        model.sync(folder).unwrap();
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, folder, "a"), Some(b"b".to_vec()));
        assert_eq!(held(&mut model, folder, "b"), None);
    }

    #[test]
    fn what_was_written_after_the_sync_is_lost_page_by_page() {
        let (mut model, folder) = disk();
        let number = file(&mut model, folder, "a", &[1; 4 * PAGE_BYTES]);
        model.sync(number).unwrap();
        model.sync(folder).unwrap();
        let pages = |model: &mut Model| -> BTreeSet<Vec<u8>> {
            let bytes = held(model, folder, "a").unwrap();
            bytes.chunks(PAGE_BYTES).map(<[u8]>::to_vec).collect()
        };
        model.write(number, 0, &[2; 4 * PAGE_BYTES]).unwrap();
        lose(&mut model, NONE);
        assert_eq!(pages(&mut model), BTreeSet::from([vec![1; PAGE_BYTES]]));
        let mut mixed = 0;
        for seed in 0..20 {
            model.write(number, 0, &[2; 4 * PAGE_BYTES]).unwrap();
            lose(&mut model, Luck { percent: 50, seed });
            mixed += usize::from(pages(&mut model).len() == 2);
            model.write(number, 0, &[1; 4 * PAGE_BYTES]).unwrap();
            model.sync(number).unwrap();
        }
        assert!(mixed > 10, "{mixed} of 20 are mixed");
        model.write(number, 0, &[2; 4 * PAGE_BYTES]).unwrap();
        lose(&mut model, ALL);
        assert_eq!(pages(&mut model), BTreeSet::from([vec![2; PAGE_BYTES]]));
    }

    #[test]
    fn a_cut_is_undone_unless_it_is_synced_and_what_grows_again_is_empty() {
        let (mut model, folder) = disk();
        let number = file(&mut model, folder, "a", b"0123456789");
        model.sync(number).unwrap();
        model.sync(folder).unwrap();
        model.resize(number, 4).unwrap();
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, folder, "a"), Some(b"0123456789".to_vec()));
        model.resize(number, 4).unwrap();
        model.resize(number, 6).unwrap();
        model.sync(number).unwrap();
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, folder, "a"), Some(b"0123\0\0".to_vec()));
    }

    #[test]
    fn a_new_folder_is_gone_with_all_that_is_synced_in_it_unless_its_name_is() {
        let (mut model, folder) = disk();
        let inner = model.create(folder, OsStr::new("inner"), 0o755, true).unwrap();
        let number = file(&mut model, inner, "a", b"text");
        model.sync(number).unwrap();
        model.sync(inner).unwrap();
        lose(&mut model, NONE);
        assert_eq!(model.find(folder, OsStr::new("inner")), Err(Refusal::Missing));
        assert_eq!(model.status(number), Err(Refusal::Missing));
    }

    #[test]
    fn other_disks_keep_their_power_and_removed_files_are_forgotten() {
        let (mut model, _) = disk();
        let other = model.create(ROOT, OsStr::new("other"), 0o755, true).unwrap();
        let number = file(&mut model, other, "a", b"text");
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, other, "a"), Some(b"text".to_vec()));
        model.opened(number);
        model.remove(other, OsStr::new("a"), false).unwrap();
        model.sync(other).unwrap();
        assert_eq!(model.read(number, 0, 4), Ok(&b"text"[..]), "a process holds it");
        model.closed(number);
        assert_eq!(model.status(number), Err(Refusal::Missing));
    }

    #[test]
    fn a_whole_disk_can_be_synced() {
        let (mut model, folder) = disk();
        let inner = model.create(folder, OsStr::new("inner"), 0o755, true).unwrap();
        file(&mut model, inner, "a", b"text");
        model.sync_disk(OsStr::new("disk")).unwrap();
        lose(&mut model, NONE);
        assert_eq!(held(&mut model, inner, "a"), Some(b"text".to_vec()));
    }

    #[test]
    fn what_posix_refuses_is_refused() {
        let (mut model, folder) = disk();
        file(&mut model, folder, "a", b"");
        let name = OsStr::new("a");
        assert_eq!(model.create(folder, name, 0o644, false), Err(Refusal::Exists));
        assert_eq!(model.remove(folder, name, true), Err(Refusal::NotFolder));
        let inner = model.create(folder, OsStr::new("inner"), 0o755, true).unwrap();
        file(&mut model, inner, "b", b"");
        assert_eq!(model.remove(folder, OsStr::new("inner"), true), Err(Refusal::NotEmpty));
        assert_eq!(model.remove(folder, OsStr::new("inner"), false), Err(Refusal::IsFolder));
        assert_eq!(model.rename((folder, name), (folder, OsStr::new("inner")), true), Err(Refusal::IsFolder));
        assert_eq!(model.rename((folder, name), (inner, OsStr::new("b")), false), Err(Refusal::Exists));
    }
}
