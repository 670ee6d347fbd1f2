//! The log's behaviour, one scenario each.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use quack_log::{
    DiskOs, ENTRY_BYTES_HARD_MAX, EntryKind, Error, Floor, GroupWrite, HardState, Log, LogConfig, LogEntry,
    LogRead, LogReader,
};
use quack_types::{GroupId, LogIndex, NodeId, RaftId, Term};
use support::{DiskMemory, config, identity};

const ROOT: GroupId = GroupId::ROOT;

fn entry(term: u64, index: u64, data: impl Into<Bytes>) -> LogEntry {
    let (term, index) = (Term(term), LogIndex(index));
    LogEntry { term, index, kind: EntryKind::Normal, data: data.into(), context: Bytes::new() }
}

fn append(group: GroupId, entries: Vec<LogEntry>) -> GroupWrite {
    GroupWrite { entries, ..GroupWrite::new(group) }
}

fn compact(log: &impl LogRead, group: GroupId, index: u64) -> GroupWrite {
    let term = log.term(group, LogIndex(index)).unwrap();
    let floor = Floor { index: LogIndex(index), term, membership: Bytes::from_static(b"m") };
    GroupWrite { floor: Some(floor), ..GroupWrite::new(group) }
}

fn data_of(log: &impl LogRead, group: GroupId, low: u64, high: u64) -> Vec<Bytes> {
    let entries = log.entries(group, LogIndex(low), LogIndex(high), u64::MAX).unwrap();
    entries.into_iter().map(|entry| entry.data).collect()
}

#[test]
fn all_groups_share_one_write_and_one_fsync() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), LogConfig::default(), &identity()).unwrap();
    let before = disk.writes_and_syncs();
    let writes: Vec<GroupWrite> = (1..=50)
        .map(|id| GroupWrite {
            hard_state: Some(HardState { term: Term(1), vote: RaftId(id), commit: LogIndex(0) }),
            ..append(GroupId(id), vec![entry(1, 1, "a"), entry(1, 2, "b")])
        })
        .collect();
    log.write(&writes, true).unwrap();
    let after = disk.writes_and_syncs();
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
    log.write(&[], true).unwrap();
    assert_eq!(disk.writes_and_syncs(), after, "nothing new, nothing to sync");
    let (log, report) = Log::open(disk.kill(), LogConfig::default(), &identity()).unwrap();
    assert_eq!(report.entries, 100);
    assert_eq!(log.groups().len(), 50);
    assert_eq!(log.hard_state(GroupId(7)).vote, RaftId(7));
    assert_eq!(data_of(&log, GroupId(50), 1, 3), ["a", "b"]);
}

#[test]
fn an_unsynced_write_becomes_durable_with_the_next_sync() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 1, "a")])], false).unwrap();
    assert_eq!(data_of(&log, ROOT, 1, 2), ["a"], "readable at once");
    let syncs = disk.writes_and_syncs().1;
    log.write(&[], true).unwrap();
    assert_eq!(disk.writes_and_syncs().1, syncs + 1);
}

#[test]
fn an_append_below_the_end_replaces_the_tail_also_after_a_restart() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, (1..=5).map(|index| entry(1, index, "old")).collect())], true).unwrap();
    log.write(&[append(ROOT, vec![entry(2, 3, "new")])], true).unwrap();
    for log in [&log, &Log::open(disk.kill(), config(), &identity()).unwrap().0] {
        assert_eq!(log.last_index(ROOT), LogIndex(3));
        assert_eq!(log.term(ROOT, LogIndex(3)), Some(Term(2)));
        assert_eq!(log.term(ROOT, LogIndex(4)), None);
        assert_eq!(data_of(log, ROOT, 1, 4), ["old", "old", "new"]);
    }
}

#[test]
fn a_floor_inside_the_log_compacts_it_and_one_beyond_replaces_it() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, (1..=5).map(|index| entry(1, index, "x")).collect())], true).unwrap();
    log.write(&[compact(&log, ROOT, 3)], true).unwrap();
    assert_eq!((log.floor(ROOT).index, log.last_index(ROOT)), (LogIndex(3), LogIndex(5)));
    assert_eq!(log.term(ROOT, LogIndex(3)), Some(Term(1)), "the floor's term stays known");
    let error = log.entries(ROOT, LogIndex(3), LogIndex(5), 100).unwrap_err();
    assert!(matches!(error, Error::Compacted { floor: LogIndex(3), .. }), "{error}");
    let error = log.entries(ROOT, LogIndex(4), LogIndex(7), 100).unwrap_err();
    assert!(matches!(error, Error::Unavailable { last: LogIndex(5), .. }), "{error}");

    // The same index in another term is another history: what follows it is void.
    let floor = Floor { index: LogIndex(4), term: Term(2), membership: Bytes::new() };
    log.write(&[GroupWrite { floor: Some(floor), ..GroupWrite::new(ROOT) }], true).unwrap();
    assert_eq!((log.floor(ROOT).index, log.last_index(ROOT)), (LogIndex(4), LogIndex(4)));
    let (log, _) = Log::open(disk.kill(), config(), &identity()).unwrap();
    assert_eq!((log.floor(ROOT).term, log.last_index(ROOT)), (Term(2), LogIndex(4)));
}

#[test]
fn the_first_membership_is_a_floor_of_index_zero() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let floor = Floor { membership: Bytes::from_static(b"voters"), ..Floor::default() };
    log.write(&[GroupWrite { floor: Some(floor.clone()), ..GroupWrite::new(ROOT) }], true).unwrap();
    let (log, _) = Log::open(disk.kill(), config(), &identity()).unwrap();
    assert_eq!(log.floor(ROOT), floor);
    assert_eq!(log.term(ROOT, LogIndex(0)), Some(Term(0)));
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 1, "a"), entry(1, 2, "b")])], true).unwrap();
    log.write(&[compact(&log, ROOT, 1)], true).unwrap();
    let before = disk.contents();
    let backwards = Floor { index: LogIndex(0), ..Floor::default() };
    let refused = [
        append(ROOT, vec![entry(1, 4, "gap")]),
        append(ROOT, vec![entry(1, 1, "below the floor")]),
        append(ROOT, vec![entry(1, 3, "x"), entry(1, 5, "gap inside")]),
        append(ROOT, vec![entry(1, 3, vec![0; ENTRY_BYTES_HARD_MAX + 1])]),
        GroupWrite { floor: Some(backwards), ..GroupWrite::new(ROOT) },
    ];
    for write in refused {
        let error = log.write(&[append(GroupId(2), vec![entry(1, 1, "fine")]), write], true).unwrap_err();
        assert!(matches!(error, Error::Invalid { group: ROOT, .. }), "{error}");
    }
    let twice = [append(ROOT, vec![entry(1, 3, "a")]), append(ROOT, vec![entry(1, 4, "b")])];
    assert!(matches!(log.write(&twice, true).unwrap_err(), Error::Invalid { .. }));
    assert_eq!(disk.contents(), before);
    log.write(&[append(ROOT, vec![entry(1, 3, "still alive")])], true).unwrap();
}

#[test]
fn entries_of_the_largest_size_come_back_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig { cache_bytes: 0, ..LogConfig::default() };
    let mut log = Log::create(DiskOs::new(folder.path()), config.clone(), &identity()).unwrap();
    let data: Vec<Bytes> =
        (0..4_u8).map(|fill| Bytes::from(vec![fill; (4 << 20) + 13 * usize::from(fill)])).collect();
    for (at, data) in data.iter().enumerate() {
        log.write(&[append(ROOT, vec![entry(1, at as u64 + 1, data.clone())])], true).unwrap();
    }
    log.write(&[append(ROOT, vec![entry(1, 5, vec![7; ENTRY_BYTES_HARD_MAX])])], true).unwrap();
    let reopened = Log::open(DiskOs::new(folder.path()), config, &identity()).unwrap().0;
    for log in [&log, &reopened] {
        assert_eq!(data_of(log, ROOT, 1, 5), data);
        let bounded = log.entries(ROOT, LogIndex(1), LogIndex(5), 9 << 20).unwrap();
        assert_eq!(bounded.len(), 2);
        assert_eq!(log.entries(ROOT, LogIndex(5), LogIndex(6), 1).unwrap().len(), 1, "at least one");
    }
}

#[test]
fn released_segments_give_their_space_back_and_hard_states_outlive_them() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let state = HardState { term: Term(4), vote: RaftId(9), commit: LogIndex(0) };
    let quiet = GroupWrite { hard_state: Some(state), ..append(GroupId(7), vec![entry(4, 1, "kept")]) };
    log.write(&[quiet], true).unwrap();
    for index in 1..=200 {
        log.write(&[append(ROOT, vec![entry(1, index, vec![1; 300])])], true).unwrap();
    }
    let full = log.bytes_on_disk();
    assert!(full > 60_000, "{full}");
    log.write(&[compact(&log, ROOT, 199)], true).unwrap();
    log.release().unwrap();
    assert_eq!(log.bytes_on_disk(), full, "group 7 still needs its entry in the first segment");

    log.write(&[compact(&log, GroupId(7), 1)], false).unwrap();
    log.release().unwrap();
    assert!(log.bytes_on_disk() < 10_000, "{}", log.bytes_on_disk());
    let sizes: u64 = disk.contents().values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(log.bytes_on_disk(), sizes);
    let (log, _) = Log::open(disk.kill(), config(), &identity()).unwrap();
    assert_eq!(log.hard_state(GroupId(7)), state);
    assert_eq!(log.floor(GroupId(7)).index, LogIndex(1));
    assert_eq!(data_of(&log, ROOT, 200, 201), [vec![1; 300]]);
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on_behind_it() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 1, "kept")])], true).unwrap();
    let end = disk.contents()["0000000001.log"].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    log.write(&[append(ROOT, vec![entry(1, 2, vec![9; 1000])])], false).unwrap();
    for keep in end + 1..end + 1000 {
        let mut contents = disk.contents();
        contents.get_mut("0000000001.log").unwrap().truncate(keep);
        let disk = DiskMemory::from_contents(&contents);
        let (mut log, report) = Log::open(disk.clone(), config(), &identity()).unwrap();
        assert!(report.bytes_cut > 0 || keep < end + 32, "cut at {keep}");
        assert_eq!(log.last_index(ROOT), LogIndex(1));
        log.write(&[append(ROOT, vec![entry(2, 2, "other")])], true).unwrap();
        let (log, report) = Log::open(disk.kill(), config(), &identity()).unwrap();
        assert_eq!((report.bytes_cut, data_of(&log, ROOT, 1, 3)), (0, vec!["kept".into(), "other".into()]));
    }
}

#[test]
fn a_log_that_ends_before_what_is_needed_is_refused_and_stays_as_it_is() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 1, "kept")])], true).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 2, vec![9; 1000])])], false).unwrap();
    let mut contents = disk.contents();
    let bytes = contents.get_mut("0000000001.log").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes.truncate(end - 500);
    let disk = DiskMemory::from_contents(&contents);
    let open = |needed| Log::open_with(disk.clone(), config(), &identity(), &[(ROOT, LogIndex(needed))]);
    let error = open(2).unwrap_err();
    assert!(error.to_string().contains("has applied entry 2 of group 1, and the log ends at 1"), "{error}");
    assert_eq!(disk.contents(), contents);
    assert_eq!(open(1).unwrap().0.last_index(ROOT), LogIndex(1));
    assert_ne!(disk.contents(), contents);
}

#[test]
fn a_log_is_inspected_as_it_would_open_and_stays_as_it_is() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    for index in 1..=200 {
        log.write(&[append(ROOT, vec![entry(1, index, vec![index as u8; 300])])], true).unwrap();
    }
    log.write(&[append(ROOT, vec![entry(1, 201, vec![9; 3000])])], false).unwrap();
    let mut contents = disk.contents();
    contents.insert("0000000099.log.new".to_owned(), vec![1; 10]);
    let (_, bytes) = contents.iter_mut().rfind(|(name, _)| name.ends_with(".log")).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes.truncate(end - 1500);
    let disk = DiskMemory::from_contents(&contents);
    let (reader, inspected) = LogReader::inspect(&disk, &config(), &identity()).unwrap();
    assert_eq!(disk.contents(), contents);
    assert_eq!(data_of(&reader, ROOT, 1, 201).len(), 200);
    let (log, opened) = Log::open(disk.clone(), config(), &identity()).unwrap();
    assert_eq!((inspected, reader.last_index(ROOT)), (opened, log.last_index(ROOT)));
    assert!(inspected.segments > 1 && inspected.bytes_cut > 0 && inspected.format > 0, "{inspected:?}");
    assert_ne!(disk.contents(), contents, "opening has mended what was inspected");
}

#[test]
fn a_batch_that_vanished_before_a_synced_one_is_refused() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), LogConfig::default(), &identity()).unwrap();
    for index in 1..=3 {
        log.write(&[append(ROOT, vec![entry(1, index, vec![index as u8; 2000])])], true).unwrap();
    }
    let mut contents = disk.contents();
    let bytes = contents.get_mut("0000000001.log").unwrap();
    let second = bytes.windows(4).enumerate().filter(|(_, window)| window == b"qbat").nth(2).unwrap().0;
    // Whole sectors of zeros look like a write that never happened, but the third batch knows better.
    let sector = second.next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    let before = DiskMemory::from_contents(&contents);
    let error = Log::open(before.clone(), LogConfig::default(), &identity()).unwrap_err();
    assert!(error.to_string().contains("a batch is gone that was durable"), "{error}");
    assert_eq!(before.contents(), contents);
}

#[test]
fn a_missing_segment_is_refused_wherever_it_was() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    for index in 1..=60 {
        log.write(&[append(ROOT, vec![entry(1, index, vec![1; 300])])], true).unwrap();
    }
    let contents = disk.contents();
    assert!(contents.len() >= 5, "{} segments", contents.len());
    for gone in contents.keys() {
        let mut contents = contents.clone();
        contents.remove(gone);
        let disk = DiskMemory::from_contents(&contents);
        let error = Log::open(disk.clone(), config(), &identity()).unwrap_err();
        assert!(error.to_string().contains("is missing"), "without {gone}: {error}");
        assert_eq!(disk.contents(), contents);
    }
}

#[test]
fn an_interrupted_rotation_is_undone_and_a_lost_seal_before_written_batches_is_refused() {
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let names = || disk.contents().into_keys().collect::<Vec<_>>();
    let mut index = 0;
    let mut before = disk.contents();
    while names().len() < 2 {
        before = disk.contents();
        index += 1;
        log.write(&[append(ROOT, vec![entry(1, index, vec![1; 300])])], true).unwrap();
    }
    // The write that began segment 2 put the seal into segment 1 and itself into segment 2.
    let (first, second) = ("0000000001.log", "0000000002.log");
    let mut unsealed = disk.contents();
    unsealed.insert(first.to_owned(), before[first].clone());
    let image = DiskMemory::from_contents(&unsealed);
    let error = Log::open(image.clone(), config(), &identity()).unwrap_err();
    assert!(error.to_string().contains("the segment ends early"), "{error}");
    assert_eq!(image.contents(), unsealed);

    // Without that write, the log has acknowledged nothing in segment 2.
    let bytes = unsealed.get_mut(second).unwrap();
    let batches: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| window == b"qbat").map(|(at, _)| at).collect();
    bytes.truncate(batches[1]);
    let image = DiskMemory::from_contents(&unsealed);
    let (mut log, _) = Log::open(image.clone(), config(), &identity()).unwrap();
    assert_eq!(log.last_index(ROOT), LogIndex(index - 1));
    assert_eq!(image.contents().len(), 1);
    log.write(&[append(ROOT, vec![entry(1, index, "again")])], true).unwrap();
    let (log, _) = Log::open(image.kill(), config(), &identity()).unwrap();
    assert_eq!(data_of(&log, ROOT, index, index + 1), ["again"]);
}

#[test]
fn a_foreign_log_one_of_a_later_format_and_a_missing_one_are_refused() {
    let disk = DiskMemory::default();
    assert!(matches!(Log::open(disk.clone(), config(), &identity()), Err(Error::Missing)));
    drop(Log::create(disk.clone(), config(), &identity()).unwrap());
    assert!(matches!(Log::create(disk.clone(), config(), &identity()), Err(Error::Exists { .. })));
    let mut others = [identity(), identity(), identity()];
    others[0].cluster_id += 1;
    others[1].node = NodeId::new("n1").unwrap();
    others[2].incarnation += 1;
    for other in others {
        let error = Log::open(disk.clone(), config(), &other).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
    let mut contents = disk.contents();
    let bytes = contents.get_mut("0000000001.log").unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..508]);
    bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    let error = Log::open(DiskMemory::from_contents(&contents), config(), &identity()).unwrap_err();
    assert!(matches!(error, Error::FromTheFuture { found: 9, .. }), "{error}");
    Log::open(disk, config(), &identity()).unwrap();
}

#[test]
fn a_stored_entry_that_rots_while_the_log_is_open_is_not_returned() {
    let disk = DiskMemory::default();
    let config = LogConfig { cache_bytes: 0, ..LogConfig::default() };
    let mut log = Log::create(disk.clone(), config, &identity()).unwrap();
    log.write(&[append(ROOT, vec![entry(1, 1, vec![5; 100])])], true).unwrap();
    assert_eq!(data_of(&log, ROOT, 1, 2), [vec![5; 100]]);
    let file = quack_log::Disk::open(&disk, "0000000001.log").unwrap();
    let at = disk.contents()["0000000001.log"].iter().rposition(|byte| *byte != 0).unwrap() - 30;
    quack_log::DiskFile::write_at(&file, at as u64, &[0xee]).unwrap();
    let error = log.entries(ROOT, LogIndex(1), LogIndex(2), 1000).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn recent_entries_are_read_without_the_disk_and_the_cache_stays_bounded() {
    let disk = DiskMemory::default();
    let mut log =
        Log::create(disk.clone(), LogConfig { cache_bytes: 1000, ..config() }, &identity()).unwrap();
    for index in 1..=20 {
        log.write(&[append(ROOT, vec![entry(1, index, vec![2; 100])])], true).unwrap();
    }
    let calls = disk.calls();
    assert_eq!(data_of(&log, ROOT, 11, 21).len(), 10);
    assert_eq!(disk.calls(), calls, "ten entries fit into the cache");
    assert_eq!(data_of(&log, ROOT, 10, 11).len(), 1);
    assert!(disk.calls() > calls, "the eleventh does not");
}

#[test]
fn readers_on_other_threads_see_whole_writes_while_the_writer_appends_and_releases() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 64 << 10, cache_bytes: 2000, ..LogConfig::default() };
    let mut log = Log::create(DiskOs::new(folder.path()), config, &identity()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = log.reader();
            let done = &done;
            scope.spawn(move || {
                // Bounded, so that a writer that panics is reported instead of waited for.
                for _ in 0..1_000_000 {
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                    let (low, last) = (reader.floor(ROOT).index.next(), reader.last_index(ROOT));
                    match reader.entries(ROOT, low, last.next(), 50_000) {
                        Ok(entries) => {
                            assert!(entries.iter().all(|entry| entry.data == entry.index.0.to_string()))
                        }
                        Err(Error::Compacted { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    assert!(last.0.is_multiple_of(2), "a write of two entries was seen in part: {last}");
                }
            });
        }
        for index in (1..4000).step_by(2) {
            let entries =
                vec![entry(1, index, index.to_string()), entry(1, index + 1, (index + 1).to_string())];
            log.write(&[append(ROOT, entries)], false).unwrap();
            if index % 500 == 1 && index > 600 {
                log.write(&[compact(&log, ROOT, index - 500)], false).unwrap();
                log.release().unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_group_that_is_gone_leaves_nothing_behind_and_may_begin_again() {
    let disk = DiskMemory::default();
    let config = LogConfig { segment_bytes: 4096, ..config() };
    let mut log = Log::create(disk.clone(), config.clone(), &identity()).unwrap();
    let (lane, other) = (GroupId(3), GroupId(4));
    let many = |group| append(group, (1..=50).map(|index| entry(1, index, vec![7; 100])).collect());
    log.write(&[many(lane), many(other)], true).unwrap();
    log.write(&[compact(&log, other, 50)], true).unwrap();
    let gone = GroupWrite { gone: true, ..GroupWrite::new(lane) };
    assert!(log.write(&[GroupWrite { gone: true, ..many(lane) }], true).is_err(), "it asks for more");
    log.write(std::slice::from_ref(&gone), true).unwrap();
    assert_eq!(log.groups(), [other]);
    assert!(log.write(&[gone], true).is_err(), "it is not there any more");
    let before = log.bytes_on_disk();
    // Into a new segment, whose state must not know of it.
    log.write(&[append(other, vec![entry(1, 51, "a")])], true).unwrap();
    log.release().unwrap();
    assert!(log.bytes_on_disk() < before / 2, "no segment is kept for it");
    let disk = disk.kill();
    let (mut log, _) = Log::open(disk.clone(), config.clone(), &identity()).unwrap();
    assert_eq!(log.groups(), [other]);
    log.write(&[append(lane, vec![entry(9, 1, "anew")])], true).unwrap();
    let (log, _) = Log::open(disk.kill(), config, &identity()).unwrap();
    assert_eq!(data_of(&log, lane, 1, 2), ["anew"]);
    assert_eq!(log.term(lane, LogIndex(1)), Some(Term(9)));
}
