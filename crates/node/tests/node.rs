//! A cluster of one on a real folder.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quack_core::Refusal;
use quack_log::LogConfig;
use quack_node::{NodeConfig, NodeState, ProposeError, WaitError};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{GroupId, LogIndex};
use support::{LONG, config, encode, image, never, start, start_with, write};

#[test]
fn a_proposal_is_answered_with_the_outcome_of_its_own_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    let first = write(&node, "a").unwrap();
    let second = write(&node, "b").unwrap();
    // Index 1 is the leader's own first entry.
    assert_eq!((first.as_str(), second.as_str()), ("a at 2", "b at 3"));
    assert_eq!(control.state.lock().unwrap().texts, ["a", "b"]);
    assert_eq!(node.applied(), LogIndex(3));
}

#[test]
fn a_restart_replays_what_the_last_checkpoint_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig { checkpoint_on_stop: false, ..config() };
    let (node, _) = start_with(folder.path(), config.clone());
    write(&node, "a").unwrap();
    node.checkpoint(LONG, &never).unwrap();
    write(&node, "b").unwrap();
    let boot = node.identity().boot;
    let early = node.next_proposal_id();
    node.stop();

    let (node, control) = start_with(folder.path(), config);
    assert_eq!(control.state.lock().unwrap().texts, ["a", "b"]);
    assert_eq!(node.identity().boot, boot + 1);
    assert!(node.next_proposal_id() > early, "ids never repeat");
    assert_eq!(write(&node, "c").unwrap(), "c at 5");
    assert_eq!(control.batches.load(Ordering::Relaxed), 2, "only b was replayed");
}

#[test]
fn a_stop_makes_a_checkpoint_and_the_next_start_replays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    write(&node, "a").unwrap();
    node.stop();
    node.stop();
    assert_eq!(control.checkpoints.load(Ordering::Relaxed), 1);
    assert!(matches!(write(&node, "late").unwrap_err(), ProposeError::Stopped));
    assert!(matches!(node.linearize(LONG, &never).unwrap_err(), WaitError::Stopped));
    assert_eq!(node.status(|_| None)[0].state, NodeState::Stopped);
    let (_node, control) = start(folder.path());
    assert_eq!(control.state.lock().unwrap().texts, ["a"]);
    assert_eq!(control.batches.load(Ordering::Relaxed), 0);
}

#[test]
fn status_shows_a_leader_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    write(&node, "a").unwrap();
    let rows = node.status(|_| None);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.group_name.as_str(), row.role, row.state), ("default", "leader", NodeState::Ok));
    assert_eq!((row.leader_id.as_deref(), row.voters.as_slice()), (Some("n0"), &["n0".to_owned()][..]));
    assert_eq!(
        (row.last_index, row.commit_index, row.applied_index),
        (LogIndex(2), LogIndex(2), LogIndex(2))
    );
    assert!(row.initialized && row.linearizable_read_safe && row.learners.is_empty() && row.reason.is_none());
    assert_eq!(node.linearize(LONG, &never).unwrap(), LogIndex(2));
}

#[test]
fn a_read_waits_longer_for_an_entry_that_is_applied_than_for_the_leader() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    write(&node, "a").unwrap();
    control.apply_slow.store(1000, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let written = scope.spawn(|| write(&node, "slow"));
        while node.status(|_| None)[0].commit_index < LogIndex(3) {
            std::thread::yield_now();
        }
        assert_eq!(node.linearize(Duration::from_millis(200), &never).unwrap(), LogIndex(3));
        written.join().unwrap().unwrap();
    });
}

#[test]
fn sixteen_proposers_share_log_writes_and_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    // A slow machine lets entries pile up behind it.
    control.apply_slow.store(2, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let node = &node;
            scope.spawn(move || {
                for at in 0..50 {
                    write(node, &format!("{client}-{at}")).unwrap();
                }
            });
        }
    });
    let texts: BTreeSet<String> = control.state.lock().unwrap().texts.iter().cloned().collect();
    assert_eq!(texts.len(), 800);
    let batches = control.batches.load(Ordering::Relaxed);
    assert!(batches < 400, "{batches} batches for 800 proposals");
    assert!(control.largest_batch.load(Ordering::Relaxed) >= 4);
}

#[test]
fn an_answered_write_is_in_every_image_that_a_kill_could_leave() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig {
        checkpoint_log_bytes: 20_000,
        log: LogConfig { segment_bytes: 16 << 10, ..LogConfig::default() },
        ..config()
    };
    let (node, control) = start_with(folder.path(), config.clone());
    let answered = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (node, answered) = (&node, &answered);
            scope.spawn(move || {
                for at in 0..300 {
                    let text = format!("{client}-{at}-{}", "x".repeat(at % 90));
                    write(node, &text).unwrap();
                    answered.lock().unwrap().insert(text);
                }
            });
        }
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(15));
            let before = answered.lock().unwrap().clone();
            // A checkpoint between the copies would delete log that the older store needs: hold it off.
            control.checkpoint_blocked.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
            let copy = image(folder.path());
            control.checkpoint_blocked.store(false, Ordering::Relaxed);
            let (_node, control) = start_with(copy.path(), config.clone());
            let texts = control.state.lock().unwrap().texts.clone();
            let found: BTreeSet<String> = texts.iter().cloned().collect();
            assert_eq!(found.len(), texts.len(), "something was applied twice");
            assert!(found.is_superset(&before), "{} answered, {} found", before.len(), found.len());
        }
    });
    assert_eq!(answered.lock().unwrap().len(), 1200);
}

#[test]
fn checkpoints_by_log_bytes_keep_the_log_small() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig {
        checkpoint_log_bytes: 64 << 10,
        log: LogConfig { segment_bytes: 32 << 10, zero_ahead_bytes: 0, ..LogConfig::default() },
        ..config()
    };
    let (node, control) = start_with(folder.path(), config.clone());
    let text = "y".repeat(5000);
    for _ in 0..200 {
        write(&node, &text).unwrap();
    }
    node.checkpoint(LONG, &never).unwrap();
    assert!(control.checkpoints.load(Ordering::Relaxed) >= 8);
    let bytes = || -> u64 {
        std::fs::read_dir(folder.path().join("log"))
            .unwrap()
            .map(|item| item.unwrap().metadata().unwrap().len())
            .sum()
    };
    let until = Instant::now() + LONG;
    while bytes() > 100_000 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(bytes() <= 100_000, "{} bytes of a million are left", bytes());
    node.stop();
    let (_node, control) = start_with(folder.path(), config);
    assert_eq!(control.state.lock().unwrap().texts.len(), 200);
}

#[test]
fn what_the_machine_still_needs_stays_in_the_log_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    write(&node, "part one").unwrap();
    control.needed.store(2, Ordering::Relaxed);
    write(&node, "more").unwrap();
    assert_eq!(node.checkpoint(LONG, &never).unwrap(), LogIndex(3));
    node.stop();
    let (node, control) = start(folder.path());
    assert_eq!(node.status(|_| None)[0].snapshot_index, LogIndex(1));
    assert_eq!(write(&node, "read 2").unwrap(), "part one");
    control.needed.store(0, Ordering::Relaxed);
    node.checkpoint(LONG, &never).unwrap();
    let error = write(&node, "read 2").unwrap_err();
    assert!(error.to_string().contains("compacted"), "{error}");
}

#[test]
fn a_slow_checkpoint_does_not_hold_up_applying() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    write(&node, "a").unwrap();
    control.checkpoint_slow.store(600, Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| node.checkpoint(LONG, &never).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        for _ in 0..20 {
            write(&node, "b").unwrap();
        }
        assert_eq!(control.checkpoints.load(Ordering::Relaxed), 1);
        assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    });
}

#[test]
fn a_blocked_checkpoint_is_repeated_without_spinning() {
    let folder = tempfile::tempdir().unwrap();
    let config = NodeConfig { checkpoint_log_bytes: 12_000, ..config() };
    let (node, control) = start_with(folder.path(), config);
    control.checkpoint_blocked.store(true, Ordering::Relaxed);
    for _ in 0..100 {
        write(&node, &"z".repeat(76)).unwrap();
    }
    let tries = control.checkpoints.load(Ordering::Relaxed);
    assert!((2..=60).contains(&tries), "{tries} tries for a hundred entries");
    assert_eq!(node.status(|_| None)[0].snapshot_index, LogIndex(0));
    let held = || node.status(|_| None)[0].log_held_by.join("; ");
    assert_eq!(held(), "a checkpoint that has to wait: a client writes");
    control.checkpoint_blocked.store(false, Ordering::Relaxed);
    node.checkpoint(LONG, &never).unwrap();
    assert_eq!(held(), "");
}

#[test]
fn a_copy_of_the_store_keeps_checkpoints_away_for_a_bounded_log_only() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        NodeConfig { checkpoint_log_bytes: 20_000, held_log_bytes_max: 100_000, ..support::config() };
    let (node, control) = start_with(folder.path(), config);
    write(&node, "a row").unwrap();
    let hold = node.hold_checkpoints("a test", LONG).unwrap();
    let made = control.checkpoints.load(Ordering::Relaxed);
    for _ in 0..4 {
        write(&node, &"x".repeat(20_000)).unwrap();
    }
    assert_eq!(node.status(|_| None)[0].log_held_by, ["a test"]);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((hold.is_over(), control.checkpoints.load(Ordering::Relaxed)), (false, made));
    for _ in 0..4 {
        write(&node, &"x".repeat(20_000)).unwrap();
    }
    let deadline = Instant::now() + LONG;
    while control.checkpoints.load(Ordering::Relaxed) == made {
        assert!(Instant::now() < deadline, "the log is kept for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(hold.is_over(), "before the checkpoint, so that no copy has a part of it");
    drop(hold);
    assert!(!node.hold_checkpoints("a test", LONG).unwrap().is_over());
}

#[test]
fn a_local_error_latches_the_node_and_its_files_stay() {
    for (text, expected) in
        [("fail", "the disk of the store is full"), ("panic", "a bug in the state machine")]
    {
        let folder = tempfile::tempdir().unwrap();
        let (node, control) = start(folder.path());
        write(&node, "a").unwrap();
        let error = write(&node, text).unwrap_err();
        assert!(error.is_outcome_unknown() && error.to_string().contains(expected), "{error}");
        let error = write(&node, "b").unwrap_err();
        assert!(matches!(&error, ProposeError::Degraded { reason } if reason.contains(expected)), "{error}");
        let row = &node.status(|_| None)[0];
        assert_eq!(row.state, NodeState::Degraded);
        assert!(row.reason.as_ref().unwrap().contains(expected) && !row.linearizable_read_safe);
        assert!(matches!(node.linearize(LONG, &never), Err(WaitError::Degraded { .. })));
        assert!(matches!(node.checkpoint(LONG, &never), Err(WaitError::Degraded { .. })));
        node.stop();
        assert_eq!(control.checkpoints.load(Ordering::Relaxed), 0, "a degraded node writes no checkpoint");
        assert_eq!(node.status(|_| None)[0].state, NodeState::Degraded, "the reason stays visible");
    }
}

#[test]
fn a_node_without_memory_for_an_entry_waits_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    control.node.set(std::sync::Arc::downgrade(&node)).unwrap();
    control.starves.store(3, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| write(&node, "large"));
        let deadline = Instant::now() + LONG;
        while node.serves() {
            assert!(Instant::now() < deadline, "it does not say that it waits");
            std::thread::sleep(Duration::from_millis(1));
        }
        let reason = node.degraded().unwrap();
        assert!(
            reason.contains("7 GiB") && reason.contains("goes on by itself") && !reason.contains("disk"),
            "{reason}"
        );
        assert!(matches!(write(&node, "refused"), Err(ProposeError::Degraded { .. })));
        assert_eq!(waits.join().unwrap().unwrap(), "large at 2");
    });
    assert_eq!((node.serves(), node.degraded()), (true, None));
    write(&node, "another").unwrap();
    // One that is to stop does not wait for memory.
    control.starves.store(u64::MAX, Ordering::Relaxed);
    let id = node.next_proposal_id();
    let waiter = node.propose(GroupId::ROOT, id, encode(id, "large"), &never).unwrap();
    let began = Instant::now();
    node.stop();
    assert!(began.elapsed() < LONG && waiter.wait(LONG, &never).is_err());
}

#[test]
fn a_failed_checkpoint_latches_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let (node, control) = start(folder.path());
    control.checkpoint_fails.store(true, Ordering::Relaxed);
    let error = node.checkpoint(LONG, &never).unwrap_err();
    assert!(error.to_string().contains("the store cannot be written"), "{error}");
    assert!(matches!(write(&node, "a"), Err(ProposeError::Degraded { .. })));
}

#[test]
fn a_slow_machine_pushes_back_and_an_impatient_client_knows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        NodeConfig { proposed_bytes_max: 32 << 20, proposed_wait: Duration::from_millis(30), ..config() };
    let (node, control) = start_with(folder.path(), config);
    control.apply_slow.store(300, Ordering::Relaxed);
    let first = node.next_proposal_id();
    let waiter = node.propose(GroupId::ROOT, first, encode(first, &"w".repeat(20 << 20)), &never).unwrap();
    let second = node.next_proposal_id();
    let large = encode(second, &"w".repeat(20 << 20));
    let error = node.propose(GroupId::ROOT, second, large.clone(), &never).unwrap_err();
    assert!(matches!(error, ProposeError::Busy { .. }), "{error}");
    let error = node.propose(GroupId::ROOT, second, large, &|| true).unwrap_err();
    assert!(matches!(error, ProposeError::Interrupted), "{error}");
    let error = waiter.wait(Duration::from_millis(10), &never).unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    node.wait_applied(LogIndex(2), LONG, &never).unwrap();
    control.apply_slow.store(0, Ordering::Relaxed);
    write(&node, "small").unwrap();
}

#[test]
fn impossible_proposals_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _) = start(folder.path());
    let id = node.next_proposal_id();
    let error = node.propose(GroupId::ROOT, id, bytes::Bytes::new(), &never).unwrap_err();
    assert_eq!(error, ProposeError::Refused(Refusal::Empty));
    let error = node.propose(GroupId::ROOT, id, vec![0; ENTRY_BYTES_MAX + 1].into(), &never).unwrap_err();
    assert!(matches!(error, ProposeError::Refused(Refusal::TooLarge { .. })), "{error}");
}

#[test]
fn stop_answers_those_who_wait_and_never_hangs() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let (node, control) = start(folder.path());
        control.apply_slow.store(round % 4, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while write(&node, "x").is_ok() {});
            }
            std::thread::sleep(Duration::from_millis(round));
            let start = Instant::now();
            node.stop();
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        });
        // The lock is free again.
        drop(start(folder.path()));
    }
}
