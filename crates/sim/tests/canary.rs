//! The simulator must find bugs: every sabotage is caught, in the class where it belongs.
//!
//! Each of them is found within the first 200 seeds. The table skips those that are known
//! not to hit, so that the debug build is quick. When the scenarios change, make it anew
//! with `cargo run -p quack-sim --release -- --canary --seeds 200`.

use quack_sim::Class::{Crash, Liveness, Oracle, Safety};
use quack_sim::{Class, Sabotage, run};

/// The first seed of `first .. first + 8` that fails with the sabotage, its class and rule.
fn catch(sabotage: Sabotage, first: u64) -> Option<(u64, Class, &'static str)> {
    // The panics of a sabotaged core are expected and caught.
    std::panic::set_hook(Box::new(|_| {}));
    (first..first + 8).find_map(|seed| {
        let failure = run(seed, Some(sabotage), false).result.err()?;
        Some((seed, failure.class, failure.rule))
    })
}

#[test]
fn every_sabotage_is_caught() {
    // The second column is the first seed of a sweep from 0 that finds the bug.
    let expected: [(Sabotage, u64, &[Class]); 32] = [
        (Sabotage::AckBeforeFsync, 2, &[Crash, Safety, Oracle]),
        (Sabotage::SkipFsync, 0, &[Crash, Safety, Oracle]),
        (Sabotage::LyingDisk, 0, &[Crash, Safety, Oracle]),
        (Sabotage::ForgetVote, 130, &[Safety]),
        (Sabotage::ApplyTwice, 0, &[Safety]),
        (Sabotage::CompactBeyondCheckpoint, 0, &[Safety]),
        (Sabotage::AcknowledgeEarly, 0, &[Oracle]),
        (Sabotage::StaleRead, 0, &[Oracle]),
        (Sabotage::SkipEntry, 0, &[Safety, Liveness]),
        (Sabotage::ReadBeforeApplied, 0, &[Oracle]),
        (Sabotage::NeverRetry, 0, &[Liveness]),
        (Sabotage::ForgetPosition, 0, &[Safety]),
        (Sabotage::RetryUnderNewId, 0, &[Safety]),
        (Sabotage::ForgetBoot, 0, &[Oracle]),
        (Sabotage::VoteWithLostMemory, 4, &[Crash, Safety, Oracle]),
        (Sabotage::SnapshotTooNew, 10, &[Safety]),
        (Sabotage::SnapshotWithFirstMembers, 4, &[Safety]),
        (Sabotage::SnapshotWithoutIds, 16, &[Safety]),
        (Sabotage::SeedCutsTail, 9, &[Safety]),
        (Sabotage::SeedForgetsVote, 9, &[Safety]),
        (Sabotage::ReadByLease, 1, &[Oracle]),
        (Sabotage::ApplyEarly, 0, &[Safety]),
        (Sabotage::CutIgnoresTerm, 168, &[Safety]),
        (Sabotage::OrderByArrival, 2, &[Safety]),
        (Sabotage::CutDoesNotWait, 0, &[Safety]),
        (Sabotage::DropLosesProposals, 1, &[Liveness]),
        (Sabotage::HonourLateCut, 0, &[Safety]),
        (Sabotage::SnapshotLanesTooNew, 9, &[Safety]),
        (Sabotage::CheckpointWithoutLanes, 2, &[Safety]),
        (Sabotage::ReuseLaneNumber, 0, &[Safety]),
        (Sabotage::CheckpointBeforeLane, 15, &[Safety]),
        (Sabotage::ForgetRetired, 0, &[Safety]),
    ];
    assert_eq!(expected.map(|(sabotage, ..)| sabotage), Sabotage::ALL, "none is left out");
    for (sabotage, first, classes) in expected {
        let name = sabotage.name();
        match catch(sabotage, first) {
            Some((seed, class, rule)) => {
                println!("{name}: seed {seed}: {class:?}: {rule}");
                assert!(classes.contains(&class), "{name} is caught as {class:?}: {rule}");
            }
            None => panic!("{name} is not caught"),
        }
    }
}
