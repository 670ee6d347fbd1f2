//! The simulator must find bugs: every sabotage is caught, in the class where it belongs.
//!
//! Each of them is found within the first 200 seeds. The table says where to look first, so
//! that the debug build is quick. When the scenarios change, the test looks further and takes
//! longer; make the table anew with `cargo run -p quack-sim --release -- --canary --seeds 200`.

use quack_sim::Class::{Crash, Liveness, Oracle, Safety};
use quack_sim::{Class, Sabotage, run};

/// A seed below 200 that fails with the sabotage, its class and rule; looks at `first` first.
fn catch(sabotage: Sabotage, first: u64) -> Option<(u64, Class, &'static str)> {
    (first..200).chain(0..first).find_map(|seed| {
        let failure = run(seed, Some(sabotage), false).result.err()?;
        Some((seed, failure.class, failure.rule))
    })
}

#[test]
fn every_sabotage_is_caught() {
    // The second column is the first seed of a sweep from 0 that finds the bug.
    let expected: [(Sabotage, u64, &[Class]); 33] = [
        (Sabotage::AckBeforeFsync, 4, &[Crash, Safety, Oracle]),
        (Sabotage::SkipFsync, 0, &[Crash, Safety, Oracle]),
        (Sabotage::LyingDisk, 0, &[Crash, Safety, Oracle]),
        (Sabotage::ForgetVote, 130, &[Safety]),
        (Sabotage::ApplyTwice, 0, &[Safety]),
        (Sabotage::CompactBeyondCheckpoint, 0, &[Safety]),
        (Sabotage::AcknowledgeEarly, 0, &[Oracle]),
        (Sabotage::StaleRead, 0, &[Oracle]),
        (Sabotage::SkipEntry, 2, &[Safety, Liveness]),
        (Sabotage::DecideDifferently, 2, &[Safety]),
        (Sabotage::ReadBeforeApplied, 1, &[Oracle]),
        (Sabotage::NeverRetry, 0, &[Liveness]),
        (Sabotage::ForgetPosition, 0, &[Safety]),
        (Sabotage::RetryUnderNewId, 0, &[Safety]),
        (Sabotage::ForgetBoot, 0, &[Safety, Oracle]),
        (Sabotage::VoteWithLostMemory, 4, &[Crash, Safety, Oracle]),
        (Sabotage::SnapshotTooNew, 10, &[Safety]),
        (Sabotage::SnapshotWithFirstMembers, 4, &[Safety]),
        (Sabotage::SnapshotWithoutIds, 20, &[Safety]),
        (Sabotage::SeedCutsTail, 15, &[Safety]),
        (Sabotage::SeedForgetsVote, 9, &[Safety]),
        (Sabotage::ReadByLease, 0, &[Oracle]),
        (Sabotage::ApplyEarly, 0, &[Safety]),
        (Sabotage::CutIgnoresTerm, 60, &[Safety]),
        (Sabotage::OrderByArrival, 12, &[Safety]),
        (Sabotage::CutDoesNotWait, 0, &[Safety]),
        (Sabotage::DropLosesProposals, 1, &[Liveness]),
        (Sabotage::HonourLateCut, 0, &[Safety]),
        (Sabotage::SnapshotLanesTooNew, 11, &[Safety]),
        (Sabotage::CheckpointWithoutLanes, 0, &[Safety]),
        (Sabotage::ReuseLaneNumber, 0, &[Safety]),
        (Sabotage::CheckpointBeforeLane, 80, &[Safety]),
        (Sabotage::ForgetRetired, 0, &[Safety]),
    ];
    assert_eq!(expected.map(|(sabotage, ..)| sabotage), Sabotage::ALL, "none is left out");
    // The panics of a sabotaged core are expected and caught: only those of the test are shown.
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = expected.map(|(sabotage, first, _)| catch(sabotage, first));
    std::panic::set_hook(show);
    for ((sabotage, _, classes), caught) in expected.into_iter().zip(caught) {
        let name = sabotage.name();
        let Some((seed, class, rule)) = caught else { panic!("{name} is not caught") };
        println!("{name}: seed {seed}: {class:?}: {rule}");
        assert!(classes.contains(&class), "{name} is caught as {class:?}: {rule}");
    }
}
