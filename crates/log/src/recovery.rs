//! Reading the log back at start, and the verdict about what a crash left.
//!
//! A batch that does not check is one of two things. If it may be what a crash
//! left of a write that was never acknowledged, the log is cut there. If it was
//! durable once, cutting would lose acknowledged entries in silence, so the log
//! refuses to open. Two kinds of evidence tell them apart:
//! - a later batch that says that the bad one was durable before it was written
//!   (Alagappan et al., FAST'18, section 3.3.3, find this for every entry but the last);
//! - the bad batch itself: its marks say whether each of its sectors was written to
//!   its end (see `format::batch`). This decides the last one.
//!
//! Everything is checked before anything is changed. [`inspect`] ends there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quack_types::{GroupId, LogIndex};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile};
use crate::entry::LogIdentity;
use crate::error::Error;
use crate::format::FORMAT_VERSION;
use crate::format::batch::{self, BatchHeader, Found};
use crate::format::record::{self, Located, Record};
use crate::format::segment::{self, SegmentHeader};
use crate::group::{Group, Position};
use crate::index::{Index, Segment};
use crate::log::Tail;

/// What opening a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Segments in the log.
    pub segments: usize,
    /// Batches that were read.
    pub batches: u64,
    /// Entry records that were read, including those that were replaced or compacted later.
    pub entries: u64,
    /// Bytes of unfinished writes at the end, which opening cuts off.
    pub bytes_cut: u64,
    /// The format of the newest segment.
    pub format: u32,
}

/// An opened log.
pub(crate) struct Opened<F> {
    pub index: Index<F>,
    pub tail: Tail<F>,
    pub sizes: BTreeMap<u32, u64>,
    pub report: Recovery,
}

/// One segment file, read into memory.
struct Loaded<F> {
    name: String,
    header: SegmentHeader,
    salt: u64,
    file: F,
    bytes: Vec<u8>,
}

/// How a segment ends.
enum End {
    /// In a seal, so that another segment follows; the segment's length.
    Sealed(u64),
    /// In the open; where the next batch goes.
    Open(u64),
}

/// A log that was read to its end, and found to be good.
struct Scanned<F> {
    scan: Scan<F>,
    /// The segment that the next batch goes to, and where it goes there.
    last: Loaded<F>,
    end: u64,
    /// Files that the log does not need any more.
    stale: Vec<String>,
}

/// Reads, checks, and only then repairs the log, in which the last entries that are `needed` must be.
pub(crate) fn open<D: Disk>(
    disk: &D,
    config: &LogConfig,
    identity: &LogIdentity,
    needed: &[(GroupId, LogIndex)],
) -> Result<Opened<D::File>, Error> {
    let Scanned { scan, last, end, stale } = scan(disk, config, identity)?;
    for (id, index) in needed {
        if let Some(ends) = scan.index.groups.get(id).map(Group::last_index).filter(|ends| ends < index) {
            let reason = format!(
                "the state machine has applied entry {index} of group {id}, and the log ends at {ends}: it has lost entries"
            );
            return Err(Error::corrupt(&last.name, end, reason));
        }
    }
    remove(disk, stale)?;
    scan.finish(last, end)
}

/// Reads and checks the log, and leaves it as it is.
pub(crate) fn inspect<D: Disk>(
    disk: &D,
    config: &LogConfig,
    identity: &LogIdentity,
) -> Result<(Index<D::File>, Recovery), Error> {
    let Scanned { mut scan, last, end, .. } = scan(disk, config, identity)?;
    scan.report.bytes_cut = unfinished_bytes(&last, end);
    scan.keep(last, end);
    Ok((scan.index, scan.report))
}

fn scan<D: Disk>(disk: &D, config: &LogConfig, identity: &LogIdentity) -> Result<Scanned<D::File>, Error> {
    let names = disk.list().map_err(Error::disk("list", "."))?;
    let chain = newest_chain(&names);
    let Some(last) = chain.last().copied() else { return Err(Error::Missing) };
    let mut scan = Scan::new(config);
    let mut next = None;
    let mut dropped = None;
    let mut tail = None;
    for (at, number) in chain.iter().enumerate() {
        let loaded = match next.take() {
            Some(loaded) => loaded,
            None => load(disk, *number, identity)?,
        };
        if let Some(follower) = chain.get(at + 1) {
            next = Some(load(disk, *follower, identity)?);
        }
        match scan.segment(&loaded, next.as_ref())? {
            End::Sealed(length) => scan.keep(loaded, length),
            End::Open(end) => {
                // Only the last segment ends in the open, or the one before a newborn that is dropped.
                dropped = next.take().map(|newborn| newborn.name);
                tail = Some((loaded, end));
                break;
            }
        }
    }
    let Some((last_read, end)) = tail else {
        let name = SegmentHeader::file_name(last + 1);
        return Err(Error::corrupt(
            &name,
            0,
            "the segment is missing: the one before it says that it exists",
        ));
    };
    scan.check_complete(chain[0])?;

    let keep = |name: &String| scan.sizes.keys().any(|number| SegmentHeader::file_name(*number) == *name);
    let stale = names.into_iter().filter(|name| {
        let ours = SegmentHeader::parse_name(name).is_some() || SegmentHeader::is_temporary(name);
        ours && *name != last_read.name && !keep(name)
    });
    let stale = dropped.into_iter().chain(stale).collect();
    scan.report.format = last_read.header.version;
    Ok(Scanned { scan, last: last_read, end, stale })
}

/// Numbers of the segments up to the newest one without a gap. Older ones are what
/// is left of a release that a crash interrupted.
fn newest_chain(names: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| SegmentHeader::parse_name(name)).collect();
    numbers.sort_unstable();
    let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
    numbers.split_off(gap.map_or(0, |at| at + 1))
}

fn load<D: Disk>(disk: &D, number: u32, identity: &LogIdentity) -> Result<Loaded<D::File>, Error> {
    let name = SegmentHeader::file_name(number);
    let file = disk.open(&name).map_err(Error::disk("open", &name))?;
    let length = file.len().map_err(Error::disk("measure", &name))?;
    if length > u64::from(u32::MAX) {
        return Err(Error::corrupt(&name, 0, "the file is larger than any segment"));
    }
    let mut bytes = vec![0; length as usize];
    let count = file.read_at(0, &mut bytes).map_err(Error::disk("read", &name))?;
    bytes.truncate(count);
    let header = SegmentHeader::decode(&name, &bytes)?;
    if header.identity != *identity {
        let describe = |id: &LogIdentity| {
            format!("node '{}' (incarnation {}) of cluster {:032x}", id.node, id.incarnation, id.cluster_id)
        };
        return Err(Error::Foreign { name, found: describe(&header.identity), expected: describe(identity) });
    }
    if header.number != number {
        return Err(Error::corrupt(
            &name,
            0,
            format!("the file is segment {} under another name", header.number),
        ));
    }
    let salt = header.salt();
    Ok(Loaded { name, header, salt, file, bytes })
}

/// Removes files twice named at most once, and makes that durable.
fn remove<D: Disk>(disk: &D, mut names: Vec<String>) -> Result<(), Error> {
    names.sort();
    names.dedup();
    for name in &names {
        disk.remove(name).map_err(Error::disk("remove", name))?;
    }
    if names.is_empty() { Ok(()) } else { disk.sync_directory().map_err(Error::disk("sync", ".")) }
}

/// What was learned so far while reading the segments in order.
struct Scan<F> {
    index: Index<F>,
    sizes: BTreeMap<u32, u64>,
    report: Recovery,
    /// Sequence number that the next batch must have; 0 before the first segment.
    sequence_next: u64,
    /// Where the segment before ended.
    previous_end: u64,
    /// Where the batches of this segment begin of which no later one says that they were durable.
    unproved: VecDeque<usize>,
}

impl<F: DiskFile> Scan<F> {
    fn new(config: &LogConfig) -> Self {
        let index = Index::new(config.cache_bytes);
        let report = Recovery::default();
        Self {
            index,
            sizes: BTreeMap::new(),
            report,
            sequence_next: 0,
            previous_end: 0,
            unproved: VecDeque::new(),
        }
    }

    /// Reads one segment and says how it ends.
    fn segment(&mut self, loaded: &Loaded<F>, next: Option<&Loaded<F>>) -> Result<End, Error> {
        let corrupt = |offset, reason: &str| Error::corrupt(&loaded.name, offset, reason);
        let first = self.sequence_next == 0;
        if first {
            self.sequence_next = loaded.header.first_sequence;
        } else if self.sequence_next != loaded.header.first_sequence
            || self.previous_end != loaded.header.previous_end
        {
            return Err(corrupt(0, "the segment does not continue the one before it"));
        }
        self.report.segments += 1;
        let mut offset = segment::HEADER_BYTES;
        let (header, records) = match batch::inspect(&loaded.bytes, offset, loaded.salt) {
            Found::Whole(header) => self.read_batch(loaded, offset, header)?,
            // It was durable before the segment got its name.
            _ => return Err(corrupt(offset as u64, "the state at the begin of the segment does not check")),
        };
        self.take_state(loaded, records, first)?;
        self.unproved.clear();
        offset += header.total_bytes();
        loop {
            match batch::inspect(&loaded.bytes, offset, loaded.salt) {
                Found::Whole(header) => {
                    let (header, records) = self.read_batch(loaded, offset, header)?;
                    let begin = offset as u64;
                    offset += header.total_bytes();
                    if self.take_records(loaded, begin, records)? {
                        self.previous_end = begin;
                        return Ok(End::Sealed(offset as u64));
                    }
                }
                bad => return self.judge(loaded, next, offset, &bad).map(End::Open),
            }
        }
    }

    /// A batch does not check: cut the log here, or refuse it.
    fn judge(
        &self,
        loaded: &Loaded<F>,
        next: Option<&Loaded<F>>,
        offset: usize,
        found: &Found,
    ) -> Result<u64, Error> {
        let corrupt = |reason: String| Error::corrupt(&loaded.name, offset as u64, reason);
        if let Found::Damaged(reason) = found {
            return Err(corrupt((*reason).to_owned()));
        }
        let witness = batch::find_witness(&loaded.bytes, offset, loaded.salt, self.sequence_next);
        if let Some(witness) = witness {
            return Err(corrupt(format!(
                "a batch is gone that was durable before the one at byte {witness}"
            )));
        }
        if let Some(next) = next {
            // A rotation was interrupted before its seal was durable, or acknowledged batches are gone.
            let interrupted = next.header.previous_end == offset as u64
                && next.header.first_sequence == self.sequence_next + 1
                && is_newborn(next, self.sequence_next);
            if !interrupted {
                return Err(corrupt(format!("the segment ends early: '{}' follows it", next.name)));
            }
        }
        Ok(offset as u64)
    }

    /// Checks a whole batch's place in the order and decodes its records.
    fn read_batch(
        &mut self,
        loaded: &Loaded<F>,
        offset: usize,
        header: BatchHeader,
    ) -> Result<(BatchHeader, Vec<Located>), Error> {
        let corrupt = |reason: String| Error::corrupt(&loaded.name, offset as u64, reason);
        if header.sequence != self.sequence_next {
            let (found, expected) = (header.sequence, self.sequence_next);
            return Err(corrupt(format!("batch {found} lies where batch {expected} should be")));
        }
        self.sequence_next += 1;
        self.report.batches += 1;
        let proved = self.unproved.len().saturating_sub(header.unsynced as usize);
        self.unproved.drain(..proved);
        self.unproved.push_back(offset);
        let begin = offset + batch::HEADER_BYTES;
        // The batch's last byte is a mark.
        let end = offset + header.total_bytes() - 1;
        let body = batch::clean(&loaded.bytes[begin..end], begin as u64);
        let records = record::parse_all(&body).map_err(|reason| corrupt(reason.to_owned()))?;
        Ok((header, records))
    }

    /// Takes the state at a segment's begin: it is the truth in the first segment, and a check in the others.
    fn take_state(&mut self, loaded: &Loaded<F>, records: Vec<Located>, first: bool) -> Result<(), Error> {
        let corrupt = |reason: &str| Error::corrupt(&loaded.name, segment::HEADER_BYTES as u64, reason);
        let mut tails = 0;
        for Located { record, .. } in records {
            let groups = &mut self.index.groups;
            let agrees = match record {
                Record::Floor(id, floor, _) if first => {
                    groups.entry(id).or_default().set_floor(floor, false);
                    true
                }
                Record::Tail(id, last) if first => {
                    groups.entry(id).or_default().expect_until(last);
                    true
                }
                Record::HardState(id, state) if first => {
                    groups.entry(id).or_default().set_hard_state(state);
                    true
                }
                Record::Floor(id, floor, _) => groups.get(&id).is_some_and(|group| *group.floor() == floor),
                Record::HardState(id, state) => {
                    groups.get(&id).is_some_and(|group| group.hard_state() == state)
                }
                Record::Tail(id, last) => {
                    tails += 1;
                    groups.get(&id).is_some_and(|group| group.last_index() == last)
                }
                Record::Entry(..) | Record::Gone(_) | Record::Seal(_) => false,
            };
            if !agrees {
                return Err(corrupt("the state at the begin of the segment contradicts the log before it"));
            }
        }
        if !first && tails != self.index.groups.len() {
            return Err(corrupt("the state at the begin of the segment lacks a group"));
        }
        Ok(())
    }

    /// Takes the records of an ordinary batch. True when it seals the segment.
    fn take_records(&mut self, loaded: &Loaded<F>, begin: u64, records: Vec<Located>) -> Result<bool, Error> {
        let corrupt = |reason: String| Error::corrupt(&loaded.name, begin, reason);
        for Located { record, at, length } in records {
            let groups = &mut self.index.groups;
            match record {
                Record::Floor(id, floor, keep_tail) => {
                    let group = groups.entry(id).or_default();
                    if floor.index < group.floor().index || keep_tail && floor.index > group.last_index() {
                        let index = floor.index;
                        return Err(corrupt(format!(
                            "group {id}: the floor {index} does not fit to the log"
                        )));
                    }
                    group.set_floor(floor, keep_tail);
                }
                Record::HardState(id, state) => groups.entry(id).or_default().set_hard_state(state),
                Record::Entry(id, entry) => {
                    let group = groups.entry(id).or_default();
                    let (floor, last) = (group.floor().index, group.last_index());
                    if entry.index <= floor || entry.index > last.next() {
                        let index = entry.index;
                        return Err(corrupt(format!(
                            "group {id}: entry {index} does not follow a log that starts after {floor} and ends at {last}"
                        )));
                    }
                    let offset = batch::record_offset(begin, at) as u32;
                    let segment = loaded.header.number;
                    group.append(
                        entry.index,
                        Position { segment, offset, length: length as u32, term: entry.term },
                    );
                    self.report.entries += 1;
                }
                Record::Gone(id) => {
                    if groups.remove(&id).is_none() {
                        return Err(corrupt(format!("group {id} goes without having been there")));
                    }
                }
                Record::Seal(next) if next == loaded.header.number + 1 => return Ok(true),
                Record::Seal(next) => return Err(corrupt(format!("the seal names segment {next}"))),
                Record::Tail(..) => return Err(corrupt("a tail record lies inside the segment".to_owned())),
            }
        }
        Ok(false)
    }

    fn keep(&mut self, loaded: Loaded<F>, length: u64) {
        let number = loaded.header.number;
        self.sizes.insert(number, length);
        let segment = Segment { number, salt: loaded.salt, file: loaded.file };
        self.index.segments.insert(number, Arc::new(segment));
    }

    /// Refuses when entries that the first segment counts on are in no segment.
    fn check_complete(&self, first: u32) -> Result<(), Error> {
        let missing = |(id, group): (&GroupId, &crate::group::Group)| Some((*id, group.first_missing()?));
        match self.index.groups.iter().find_map(missing) {
            None => Ok(()),
            Some((id, index)) => {
                let name = SegmentHeader::file_name(first.saturating_sub(1));
                let reason = format!("the segment is missing, and entry {index} of group {id} with it");
                Err(Error::corrupt(&name, 0, reason))
            }
        }
    }

    /// Cuts the unfinished tail off and makes durable what is taken for durable from now on.
    fn finish(mut self, loaded: Loaded<F>, end: u64) -> Result<Opened<F>, Error> {
        let mut filled = loaded.bytes.len() as u64;
        self.report.bytes_cut = unfinished_bytes(&loaded, end);
        if self.report.bytes_cut > 0 {
            loaded.file.set_len(end).map_err(Error::disk("cut", &loaded.name))?;
            filled = end;
        }
        // Batches that were written without sync may have survived in the page cache only. After a failed sync the system
        // takes them for written there, and a sync that succeeds says nothing of them: they are written again.
        let from = self.unproved.front().copied().unwrap_or(end as usize);
        if let Some(unproved) = loaded.bytes.get(from..end as usize).filter(|bytes| !bytes.is_empty()) {
            loaded.file.write_at(from as u64, unproved).map_err(Error::disk("write", &loaded.name))?;
        }
        loaded.file.sync().map_err(Error::disk("sync", &loaded.name))?;
        let sequence = self.sequence_next - 1;
        let segment =
            Arc::new(Segment { number: loaded.header.number, salt: loaded.salt, file: loaded.file });
        let is_old = loaded.header.version < FORMAT_VERSION;
        let tail = Tail { segment, end, filled, sequence, synced: sequence, is_old };
        Ok(Opened { index: self.index, tail, sizes: self.sizes, report: self.report })
    }
}

/// How many bytes behind the last batch a crash has left.
fn unfinished_bytes<F>(loaded: &Loaded<F>, end: u64) -> u64 {
    let rest = loaded.bytes.get(end as usize..).unwrap_or_default();
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Whether a segment holds nothing but the state that it was born with.
fn is_newborn<F>(loaded: &Loaded<F>, sequence_seal: u64) -> bool {
    let at = segment::HEADER_BYTES;
    let Found::Whole(header) = batch::inspect(&loaded.bytes, at, loaded.salt) else { return false };
    let at = at + header.total_bytes();
    batch::inspect(&loaded.bytes, at, loaded.salt) == Found::Torn
        && batch::find_witness(&loaded.bytes, at, loaded.salt, sequence_seal).is_none()
}
