//! Looking things up in the log, from any thread.

use std::sync::Arc;

use quack_types::{GroupId, LogIndex, Term};

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile};
use crate::entry::{Floor, HardState, LogEntry, LogIdentity};
use crate::error::Error;
use crate::format::segment::SegmentHeader;
use crate::format::{batch, record};
use crate::group::{Group, Position};
use crate::index::{Index, Segment, Shared, Source};
use crate::recovery::{self, Recovery};

/// Reads are joined up to this many bytes, so that a replay does not ask the disk once per entry.
const READ_BYTES_MAX: usize = 1 << 20;

/// Lookups that [`crate::Log`] and [`LogReader`] share.
///
/// A reader sees a write from the moment that [`crate::Log::write`] returns, and never a part of it.
pub trait LogRead {
    /// All groups that were ever written, in the order of their ids.
    fn groups(&self) -> Vec<GroupId>;
    /// The hard state; the default one when the group is unknown.
    fn hard_state(&self, group: GroupId) -> HardState;
    /// The floor; index 0 when nothing was compacted or the group is unknown.
    fn floor(&self, group: GroupId) -> Floor;
    /// The last index; that of the floor when there is no entry.
    fn last_index(&self, group: GroupId) -> LogIndex;
    /// The term of an entry, or of the floor; `None` outside of both.
    fn term(&self, group: GroupId, index: LogIndex) -> Option<Term>;
    /// The entries from `low` until before `high_exclusive`, as many as fit into
    /// `bytes_max` bytes of data, but at least one.
    ///
    /// # Errors
    /// [`Error::Compacted`] or [`Error::Unavailable`] when the range reaches out
    /// of the log; [`Error::Disk`] or [`Error::Corrupt`] when stored bytes cannot
    /// be read; [`Error::Poisoned`].
    fn entries(
        &self,
        group: GroupId,
        low: LogIndex,
        high_exclusive: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, Error>;
}

/// A handle for reading. Cheap to clone; usable while the writer appends.
pub struct LogReader<D: Disk> {
    shared: Arc<Shared<D::File>>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Disk> std::fmt::Debug for LogReader<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl<D: Disk> LogReader<D> {
    pub(crate) fn new(shared: Arc<Shared<D::File>>) -> Self {
        Self { shared }
    }

    /// Reads a log that nothing writes to from begin to end, and leaves it as it is: what a crash left unfinished is
    /// passed over.
    ///
    /// # Errors
    /// Those of [`crate::Log::open`].
    pub fn inspect(disk: &D, config: &LogConfig, identity: &LogIdentity) -> Result<(Self, Recovery), Error> {
        let (index, report) = recovery::inspect(disk, config, identity)?;
        Ok((Self::new(Arc::new(Shared::new(index))), report))
    }

    fn ask<T>(&self, group: GroupId, question: impl FnOnce(&Group) -> T) -> T {
        match self.shared.read().groups.get(&group) {
            Some(group) => question(group),
            None => question(&Group::default()),
        }
    }
}

impl<D: Disk> LogRead for LogReader<D> {
    fn groups(&self) -> Vec<GroupId> {
        self.shared.read().groups.keys().copied().collect()
    }

    fn hard_state(&self, group: GroupId) -> HardState {
        self.ask(group, Group::hard_state)
    }

    fn floor(&self, group: GroupId) -> Floor {
        self.ask(group, |group| group.floor().clone())
    }

    fn last_index(&self, group: GroupId) -> LogIndex {
        self.ask(group, Group::last_index)
    }

    fn term(&self, group: GroupId, index: LogIndex) -> Option<Term> {
        self.ask(group, |group| group.term(index))
    }

    fn entries(
        &self,
        group: GroupId,
        low: LogIndex,
        high_exclusive: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<LogEntry>, Error> {
        self.shared.check_poison()?;
        let sources = find(&self.shared.read(), group, low, high_exclusive, bytes_max)?;
        // The lock is released: the disk is read without holding up the writer. A segment
        // that is released meanwhile stays readable through its open file.
        load(group, sources)
    }
}

/// Where the wanted entries are.
fn find<F>(
    index: &Index<F>,
    id: GroupId,
    low: LogIndex,
    high: LogIndex,
    bytes_max: u64,
) -> Result<Vec<Source<F>>, Error> {
    let unknown = Group::default();
    let group = index.groups.get(&id).unwrap_or(&unknown);
    let (floor, last) = (group.floor().index, group.last_index());
    if low >= high {
        return Ok(Vec::new());
    }
    if low <= floor {
        return Err(Error::Compacted { group: id, index: low, floor });
    }
    if high.0 > last.0 + 1 {
        return Err(Error::Unavailable { group: id, index: LogIndex(high.0 - 1), last });
    }
    let mut sources = Vec::new();
    let mut bytes = 0;
    for at in (low.0..high.0).map(LogIndex) {
        let Some(position) = group.position(at) else {
            return Err(Error::Unavailable { group: id, index: at, last });
        };
        bytes += (position.length as usize).saturating_sub(record::ENTRY_OVERHEAD_BYTES) as u64;
        if bytes > bytes_max && !sources.is_empty() {
            break;
        }
        sources.push(match (group.cached(at), index.segments.get(&position.segment)) {
            (Some(entry), _) => Source::Memory(entry.clone()),
            (None, Some(segment)) => Source::Disk(at, position, Arc::clone(segment)),
            (None, None) => {
                let name = SegmentHeader::file_name(position.segment);
                return Err(Error::corrupt(&name, 0, "the segment is gone, but an entry in it is needed"));
            }
        });
    }
    Ok(sources)
}

fn load<F: DiskFile>(group: GroupId, sources: Vec<Source<F>>) -> Result<Vec<LogEntry>, Error> {
    let mut entries = Vec::with_capacity(sources.len());
    let mut at = 0;
    while at < sources.len() {
        match &sources[at] {
            Source::Memory(entry) => {
                entries.push(entry.clone());
                at += 1;
            }
            Source::Disk(_, first, segment) => {
                let run = neighbours(&sources[at..], first);
                read_run(group, segment, &sources[at..at + run], &mut entries)?;
                at += run;
            }
        }
    }
    Ok(entries)
}

/// How many of the sources lie close together behind the first one in the same segment.
fn neighbours<F>(sources: &[Source<F>], first: &Position) -> usize {
    let close = |source: &&Source<F>| match source {
        Source::Memory(_) => false,
        Source::Disk(_, position, _) => {
            position.segment == first.segment && (position.end() - first.offset) as usize <= READ_BYTES_MAX
        }
    };
    // An entry larger than the bound is read alone.
    sources.iter().take_while(close).count().max(1)
}

fn read_run<F: DiskFile>(
    group: GroupId,
    segment: &Segment<F>,
    run: &[Source<F>],
    entries: &mut Vec<LogEntry>,
) -> Result<(), Error> {
    let places = || {
        run.iter().filter_map(|source| match source {
            Source::Disk(index, position, _) => Some((*index, *position)),
            Source::Memory(_) => None,
        })
    };
    let begin = places().next().map_or(0, |(_, position)| position.offset);
    let end = places().last().map_or(begin, |(_, position)| position.end());
    let mut bytes = vec![0; (end - begin) as usize];
    let count =
        segment.file.read_at(u64::from(begin), &mut bytes).map_err(Error::disk("read", &segment.name()))?;
    for (index, position) in places() {
        let corrupt = |reason: &str| Error::corrupt(&segment.name(), u64::from(position.offset), reason);
        let from = (position.offset - begin) as usize;
        let to = (position.end() - begin) as usize;
        if to > count {
            return Err(corrupt("the file ends inside an entry"));
        }
        let bytes = batch::clean(&bytes[from..to], u64::from(position.offset));
        match record::parse(&bytes).map_err(corrupt)? {
            Some((record::Record::Entry(owner, entry), _))
                if owner == group && entry.index == index && entry.term == position.term =>
            {
                entries.push(entry);
            }
            _ => return Err(corrupt("another record lies where an entry should be")),
        }
    }
    Ok(())
}
