//! The writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{GroupId, LogIndex, Term};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, SECTOR_BYTES};
use crate::entry::{Floor, GroupWrite, HardState, LogEntry, LogIdentity};
use crate::error::{Error, is_full};
use crate::format::batch::Place;
use crate::format::segment::SegmentHeader;
use crate::format::{FORMAT_VERSION, batch, record, segment};
use crate::group::Position;
use crate::index::{Index, Segment, Shared};
use crate::reader::{LogRead, LogReader};
use crate::recovery::{self, Recovery};

/// Largest data and context of one entry in bytes that the log takes.
///
/// A little more than what the layers above propose, which leaves room for what they
/// wrap around a proposal; a larger one is a mistake that must not reach the disk.
pub const ENTRY_BYTES_HARD_MAX: usize = ENTRY_BYTES_MAX + (1 << 20);

/// The log of all groups of one node.
///
/// Invariants:
/// - batches carry ascending sequence numbers without gaps, across segments;
/// - every segment but the last is complete, durable and ends in a seal;
/// - every segment begins with the state of all groups at that moment, so that
///   older segments are needed for the entries in them only;
/// - once a write or sync failed, nothing is written any more; only a write for which there was no room may be repeated.
pub struct Log<D: Disk> {
    disk: D,
    config: LogConfig,
    identity: LogIdentity,
    shared: Arc<Shared<D::File>>,
    reader: LogReader<D>,
    tail: Tail<D::File>,
    /// Length in bytes of each segment file that is open.
    sizes: BTreeMap<u32, u64>,
    /// Memory for the records of a batch, and for the batch; kept between writes.
    records: Vec<u8>,
    buffer: Vec<u8>,
}

/// Where the log ends.
pub(crate) struct Tail<F> {
    /// The segment that is written to.
    pub segment: Arc<Segment<F>>,
    /// Where the next batch begins.
    pub end: u64,
    /// Up to where the file is filled with zeros.
    pub filled: u64,
    /// The last batch that was written.
    pub sequence: u64,
    /// The last batch that is durable.
    pub synced: u64,
    /// An older format, to which nothing is added.
    pub is_old: bool,
}

impl<D: Disk> std::fmt::Debug for Log<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (segment, end) = (self.tail.segment.number, self.tail.end);
        f.debug_struct("Log").field("segment", &segment).field("end", &end).finish_non_exhaustive()
    }
}

impl<D: Disk> Log<D> {
    /// Begins a log in a folder that holds none. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a log already; [`Error::Disk`].
    pub fn create(disk: D, config: LogConfig, identity: &LogIdentity) -> Result<Self, Error> {
        let names = disk.list().map_err(Error::disk("list", "."))?;
        if let Some(name) = names.iter().find(|name| SegmentHeader::parse_name(name).is_some()) {
            return Err(Error::Exists { name: name.clone() });
        }
        for name in names.iter().filter(|name| SegmentHeader::is_temporary(name)) {
            disk.remove(name).map_err(Error::disk("remove", name))?;
        }
        let index = Index::new(config.cache_bytes);
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            identity: identity.clone(),
            number: 1,
            first_sequence: 1,
            previous_end: 0,
        };
        let tail = begin_segment(&disk, &header, &index, 0)?;
        Ok(Self::assemble(disk, config, identity.clone(), index, tail, BTreeMap::new()))
    }

    /// Opens a log and reads it from begin to end.
    ///
    /// A tail that a crash left unfinished is cut off. Nothing that was ever
    /// written with `sync` is in that tail.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Foreign`], [`Error::FromTheFuture`] or
    /// [`Error::Corrupt`], before anything was changed; [`Error::Disk`].
    pub fn open(disk: D, config: LogConfig, identity: &LogIdentity) -> Result<(Self, Recovery), Error> {
        Self::open_with(disk, config, identity, &[])
    }

    /// Opens a log that must reach to the last entries that are `needed`, of the groups that it has: what a state machine
    /// has applied.
    ///
    /// # Errors
    /// Those of [`Log::open`]; [`Error::Corrupt`] also when it ends before one of them.
    pub fn open_with(
        disk: D,
        config: LogConfig,
        identity: &LogIdentity,
        needed: &[(GroupId, LogIndex)],
    ) -> Result<(Self, Recovery), Error> {
        let opened = recovery::open(&disk, &config, identity, needed)?;
        let report = opened.report;
        Ok((Self::assemble(disk, config, identity.clone(), opened.index, opened.tail, opened.sizes), report))
    }

    fn assemble(
        disk: D,
        config: LogConfig,
        identity: LogIdentity,
        mut index: Index<D::File>,
        tail: Tail<D::File>,
        mut sizes: BTreeMap<u32, u64>,
    ) -> Self {
        index.segments.insert(tail.segment.number, Arc::clone(&tail.segment));
        sizes.insert(tail.segment.number, tail.filled);
        let shared = Arc::new(Shared::new(index));
        let reader = LogReader::new(Arc::clone(&shared));
        Self { disk, config, identity, shared, reader, tail, sizes, records: Vec::new(), buffer: Vec::new() }
    }

    /// Stores what the groups ask for, all in one batch: after a crash either all
    /// of it is there or nothing. With `sync` it is durable on return, together
    /// with everything that was written before. Without changes, `sync` makes
    /// earlier writes durable.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a write does not fit to the log or is too large:
    /// nothing was written. [`Error::Full`] when there is no room for it: the caller
    /// repeats the same write, or writes nothing any more. Any other error stops the
    /// log: what is on the disk is unknown until it is opened again (Rebello et al., ATC'20).
    pub fn write(&mut self, writes: &[GroupWrite], sync: bool) -> Result<(), Error> {
        self.shared.check_poison()?;
        self.check(writes)?;
        let result = self.write_checked(writes, sync);
        result.map_err(
            |error| if matches!(error, Error::Full { .. }) { error } else { self.shared.poison(error) },
        )
    }

    fn check(&self, writes: &[GroupWrite]) -> Result<(), Error> {
        let index = self.shared.read();
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        for write in writes {
            let invalid = |reason| Err(Error::Invalid { group: write.group, reason });
            index.check(write)?;
            if !seen.insert(write.group) {
                return invalid("the group is named twice in one write".to_owned());
            }
            for entry in &write.entries {
                if entry.size_bytes() > ENTRY_BYTES_HARD_MAX {
                    let (index, size) = (entry.index, entry.size_bytes());
                    return invalid(format!(
                        "entry {index} has {size} bytes, but at most {ENTRY_BYTES_HARD_MAX} are allowed"
                    ));
                }
                bytes += entry.size_bytes() + record::ENTRY_OVERHEAD_BYTES;
            }
            // A hard state and a floor without its membership, rounded up.
            bytes += 128 + write.floor.as_ref().map_or(0, |floor| floor.membership.len());
            if bytes > batch::BODY_BYTES_MAX / SECTOR_BYTES * (SECTOR_BYTES - 1) - SECTOR_BYTES {
                return invalid(format!("one write may store at most {} bytes", batch::BODY_BYTES_MAX));
            }
        }
        Ok(())
    }

    fn write_checked(&mut self, writes: &[GroupWrite], sync: bool) -> Result<(), Error> {
        let mut positions = Vec::new();
        if writes.iter().any(|write| !is_empty(write)) {
            if self.tail.end >= self.config.segment_bytes || self.tail.is_old {
                self.rotate()?;
            }
            positions = self.encode(writes);
            self.write_batch(self.config.zero_ahead_bytes as usize)?;
        }
        if sync {
            self.sync()?;
        }
        self.publish(writes, &positions);
        Ok(())
    }

    /// Collects the records of a batch and says where each entry will lie.
    fn encode(&mut self, writes: &[GroupWrite]) -> Vec<Position> {
        let segment = self.tail.segment.number;
        let mut positions = Vec::with_capacity(writes.iter().map(|write| write.entries.len()).sum());
        let index = self.shared.read();
        let records = &mut self.records;
        records.clear();
        for write in writes {
            if write.gone {
                record::put_gone(records, write.group);
            }
            if let Some(floor) = &write.floor {
                let keep_tail = index.groups.get(&write.group).is_some_and(|group| group.keeps_tail(floor));
                record::put_floor(records, write.group, floor, keep_tail);
            }
            for entry in &write.entries {
                let at = records.len();
                record::put_entry(records, write.group, entry);
                let offset = batch::record_offset(self.tail.end, at) as u32;
                let length = (records.len() - at) as u32;
                positions.push(Position { segment, offset, length, term: entry.term });
            }
            if let Some(state) = &write.hard_state {
                record::put_hard_state(records, write.group, state);
            }
        }
        positions
    }

    /// Writes the collected records as the next batch.
    fn write_batch(&mut self, zero_ahead_bytes: usize) -> Result<(), Error> {
        let tail = &mut self.tail;
        let unsynced = u32::try_from(tail.sequence - tail.synced).unwrap_or(u32::MAX);
        let (salt, offset, sequence) = (tail.segment.salt, tail.end, tail.sequence + 1);
        batch::build(&mut self.buffer, &self.records, &Place { salt, offset, sequence, unsynced });
        let bytes = self.buffer.len();
        let end = tail.end + bytes as u64;
        // A large batch pays for its own allocation; zeros would only double the bytes.
        if end > tail.filled && bytes <= zero_ahead_bytes / 4 {
            self.buffer.resize(bytes + zero_ahead_bytes, 0);
        }
        let name = tail.segment.name();
        let mut written = tail.segment.file.write_at(tail.end, &self.buffer);
        if self.buffer.len() > bytes && written.as_ref().is_err_and(is_full) {
            self.buffer.truncate(bytes);
            written = tail.segment.file.write_at(tail.end, &self.buffer);
        }
        written.map_err(Error::disk_or_full("write", &name))?;
        let filled = tail.filled.max(tail.end + self.buffer.len() as u64);
        (tail.sequence, tail.end, tail.filled) = (tail.sequence + 1, end, filled);
        self.sizes.insert(tail.segment.number, filled);
        // One huge write must not hold its memory for ever.
        if self.buffer.capacity() > 16 << 20 {
            (self.buffer, self.records) = (Vec::new(), Vec::new());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        if self.tail.synced < self.tail.sequence {
            let segment = &self.tail.segment;
            segment.file.sync().map_err(Error::disk("sync", &segment.name()))?;
            self.tail.synced = self.tail.sequence;
        }
        Ok(())
    }

    fn publish(&self, writes: &[GroupWrite], positions: &[Position]) {
        let mut index = self.shared.write();
        let mut used = 0;
        for write in writes.iter().filter(|write| !is_empty(write)) {
            index.apply(write, &positions[used..used + write.entries.len()]);
            used += write.entries.len();
        }
        index.shrink_cache();
    }

    /// Closes the segment and begins the next one.
    ///
    /// The order matters for recovery: all batches durable; the new segment, with
    /// the state of all groups, durable under its name; the seal durable; only
    /// then batches in the new segment.
    fn rotate(&mut self) -> Result<(), Error> {
        self.sync()?;
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            identity: self.identity.clone(),
            number: self.tail.segment.number + 1,
            first_sequence: self.tail.sequence + 2,
            previous_end: self.tail.end,
        };
        // The seal comes before the new segment's first batch and is not durable yet.
        let next = begin_segment(&self.disk, &header, &self.shared.read(), 1)?;
        self.records.clear();
        record::put_seal(&mut self.records, header.number);
        self.write_batch(0)?;
        let closed = &self.tail.segment;
        closed.file.set_len(self.tail.end).map_err(Error::disk("cut", &closed.name()))?;
        self.sizes.insert(closed.number, self.tail.end);
        self.sync()?;
        self.tail = next;
        self.sizes.insert(self.tail.segment.number, self.tail.filled);
        self.shared.write().segments.insert(self.tail.segment.number, Arc::clone(&self.tail.segment));
        Ok(())
    }

    /// A handle for reading, from any thread.
    pub fn reader(&self) -> LogReader<D> {
        self.reader.clone()
    }

    /// Deletes the segments that no group needs any more. Their space comes back
    /// once every group has moved its floor beyond them.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Disk`], which stops the log only when it was a sync that failed.
    pub fn release(&mut self) -> Result<(), Error> {
        self.shared.check_poison()?;
        let needed = self.shared.read().oldest_needed().unwrap_or(u32::MAX);
        let needed = needed.min(self.tail.segment.number);
        let gone: Vec<u32> = self.sizes.range(..needed).map(|(number, _)| *number).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // The floors that make these segments unnecessary must be durable before the segments go.
        self.sync().map_err(|error| self.shared.poison(error))?;
        for number in gone {
            // Oldest first: after a crash, the remaining segments and those still needed form a chain without a gap.
            let name = SegmentHeader::file_name(number);
            self.disk.remove(&name).map_err(Error::disk("remove", &name))?;
            self.sizes.remove(&number);
            self.shared.write().segments.remove(&number);
        }
        self.disk.sync_directory().map_err(Error::disk("sync", "."))
    }

    /// Bytes that the log's files occupy.
    pub fn bytes_on_disk(&self) -> u64 {
        self.sizes.values().sum()
    }
}

fn is_empty(write: &GroupWrite) -> bool {
    write.entries.is_empty() && write.hard_state.is_none() && write.floor.is_none() && !write.gone
}

/// Creates a segment with the state of all groups as its first batch, durably.
fn begin_segment<D: Disk>(
    disk: &D,
    header: &SegmentHeader,
    index: &Index<D::File>,
    unsynced: u32,
) -> Result<Tail<D::File>, Error> {
    let mut state = Vec::new();
    for (id, group) in &index.groups {
        record::put_floor(&mut state, *id, group.floor(), false);
        record::put_tail(&mut state, *id, group.last_index());
        record::put_hard_state(&mut state, *id, &group.hard_state());
    }
    let (salt, offset, sequence) = (header.salt(), segment::HEADER_BYTES as u64, header.first_sequence);
    let mut first = Vec::new();
    batch::build(&mut first, &state, &Place { salt, offset, sequence, unsynced });
    let mut bytes = header.encode().to_vec();
    bytes.append(&mut first);

    // Under its own name the segment is complete from the first moment.
    let (name, temporary) =
        (SegmentHeader::file_name(header.number), SegmentHeader::temporary_name(header.number));
    let file = begin_file(disk, &temporary, &bytes).inspect_err(|_| {
        // It would be in the way of the next attempt. Opening the log removes it, too.
        let _ = disk.remove(&temporary);
    })?;
    disk.rename(&temporary, &name).map_err(Error::disk("rename", &temporary))?;
    disk.sync_directory().map_err(Error::disk("sync", "."))?;
    let end = bytes.len() as u64;
    let segment = Arc::new(Segment { number: header.number, salt, file });
    Ok(Tail { segment, end, filled: end, sequence, synced: sequence, is_old: false })
}

/// Creates a file that nothing depends on yet, durably.
fn begin_file<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<D::File, Error> {
    let file = disk.create(name).map_err(Error::disk_or_full("create", name))?;
    file.write_at(0, bytes).map_err(Error::disk_or_full("write", name))?;
    file.sync().map_err(Error::disk_or_full("sync", name))?;
    Ok(file)
}

impl<D: Disk> LogRead for Log<D> {
    fn groups(&self) -> Vec<GroupId> {
        self.reader.groups()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        self.reader.hard_state(group)
    }

    fn floor(&self, group: GroupId) -> Floor {
        self.reader.floor(group)
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.reader.last_index(group)
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Option<Term> {
        self.reader.term(group, index)
    }

    fn entries(
        &self,
        group: GroupId,
        low: LogIndex,
        high_exclusive: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, Error> {
        self.reader.entries(group, low, high_exclusive, bytes_max)
    }
}
