//! The model behind the kernel's requests.

use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::model::{Luck, Model, PAGE_BYTES, Refusal, Status};

/// The kernel asks each time: after a loss of power nothing that it remembers holds.
const TTL: Duration = Duration::ZERO;
/// Room for 64 GiB, so that no process takes the disk for full.
const BLOCKS: u64 = 16 << 20;
const FILES: u64 = 1 << 20;
const NAME_BYTES_MAX: u32 = 255;

/// Mounts, and does what standard input says until it ends.
///
/// # Errors
/// When the folder cannot be mounted, which takes root and `/dev/fuse`.
pub fn run() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("call it as: lossy-disk FOLDER"));
    };
    let model = Arc::new(Mutex::new(Model::default()));
    let session = fuser::spawn_mount(Disk(model.clone()), &folder, &Config::default())?;
    let mut answers = io::stdout();
    writeln!(answers, "ok")?;
    for line in io::stdin().lock().lines() {
        match command(&mut locked(&model), &line?) {
            Ok(()) => writeln!(answers, "ok")?,
            Err(error) => writeln!(answers, "error: {error}")?,
        }
    }
    session.umount_and_join()
}

fn command(model: &mut Model, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    let (name, done) = match words[..] {
        ["lose", name, percent, seed] => {
            let luck = Luck { percent: number(percent)?, seed: number(seed)? };
            (name, model.lose_power(OsStr::new(name), luck))
        }
        ["sync", name] => (name, model.sync_disk(OsStr::new(name))),
        _ => return Err(format!("unknown command: {line}")),
    };
    done.map_err(|refusal| format!("{name}: {refusal:?}"))
}

fn locked(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Disk(Arc<Mutex<Model>>);

impl Disk {
    fn model(&self) -> MutexGuard<'_, Model> {
        locked(&self.0)
    }

    fn create(&self, folder: INodeNo, name: &OsStr, mode: u32, is_folder: bool) -> Result<FileAttr, Errno> {
        let mut model = self.model();
        let number = model.create(folder.0, name, permissions(mode), is_folder).map_err(errno)?;
        model.status(number).map(attributes).map_err(errno)
    }
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Exists => Errno::EEXIST,
        Refusal::IsFolder => Errno::EISDIR,
        Refusal::Missing => Errno::ENOENT,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::NotFolder => Errno::ENOTDIR,
    }
}

fn attributes(status: Status) -> FileAttr {
    let kind = if status.is_folder { FileType::Directory } else { FileType::RegularFile };
    // Times are not kept: no program under test looks at them.
    let time = UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(status.number),
        size: status.bytes,
        blocks: status.bytes.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: status.mode,
        nlink: if status.is_folder { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PAGE_BYTES as u32,
        flags: 0,
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Refusal>) {
    match result {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut model = self.model();
        match model.find(parent.0, name).and_then(|number| model.status(number)) {
            Ok(status) => reply.entry(&TTL, &attributes(status), Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.model().status(ino.0) {
            Ok(status) => reply.attr(&TTL, &attributes(status)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut model = self.model();
        let sized = size.map_or(Ok(()), |size| model.resize(ino.0, size));
        let set = sized.and_then(|()| mode.map_or(Ok(()), |mode| model.set_mode(ino.0, permissions(mode))));
        match set.and_then(|()| model.status(ino.0)) {
            Ok(status) => reply.attr(&TTL, &attributes(status)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn mkdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        match self.create(parent, name, mode & !umask, true) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match Disk::create(self, parent, name, mode & !umask, false) {
            Ok(attributes) => {
                self.model().opened(attributes.ino.0);
                reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.model().remove(parent.0, name, false));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.model().remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replaces = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        done(reply, self.model().rename((parent.0, name), (newparent.0, newname), replaces));
    }

    fn open(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.model().opened(ino.0);
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.model().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut model = self.model();
        let is_synced = flags.0 & libc::O_DSYNC != 0;
        let written = model.write(ino.0, offset, data);
        match written.and_then(|()| if is_synced { model.sync(ino.0) } else { Ok(()) }) {
            Ok(()) => reply.written(data.len() as u32),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.model().closed(ino.0);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(reply, self.model().sync(ino.0));
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(reply, self.model().sync(ino.0));
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut model = self.model();
        let names = match model.list(ino.0) {
            Ok(names) => names,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        let own = [".", ".."].map(|name| (name.into(), ino.0));
        for (place, (name, number)) in own.into_iter().chain(names).enumerate().skip(offset as usize) {
            let is_folder = model.status(number).is_ok_and(|status| status.is_folder);
            let kind = if is_folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(number), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut model = self.model();
        let end = offset + length;
        match (mode, model.status(ino.0)) {
            (0, Ok(status)) if status.bytes < end => done(reply, model.resize(ino.0, end)),
            (0 | libc::FALLOC_FL_KEEP_SIZE, Ok(_)) => reply.ok(),
            (_, Ok(_)) => reply.error(Errno::EOPNOTSUPP),
            (_, Err(refusal)) => reply.error(errno(refusal)),
        }
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(
            BLOCKS,
            BLOCKS,
            BLOCKS,
            FILES,
            FILES,
            PAGE_BYTES as u32,
            NAME_BYTES_MAX,
            PAGE_BYTES as u32,
        );
    }
}
