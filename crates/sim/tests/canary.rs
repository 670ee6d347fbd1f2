//! The simulator must find bugs: every sabotage is caught, in the class where it belongs.
//!
//! The seeds are few so that the debug build is quick; `first` skips those that are known
//! not to hit. When the scenarios change, find it anew with
//! `cargo run -p quack-sim --release -- --seeds 1000 --sabotage <name>`.

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
    let expected: [(Sabotage, u64, &[Class]); 12] = [
        (Sabotage::AckBeforeFsync, 0, &[Crash, Safety, Oracle]),
        (Sabotage::SkipFsync, 0, &[Crash, Safety, Oracle]),
        (Sabotage::LyingDisk, 0, &[Crash, Safety, Oracle]),
        (Sabotage::ForgetVote, 303, &[Safety]),
        (Sabotage::ApplyTwice, 0, &[Safety]),
        (Sabotage::CompactBeyondCheckpoint, 0, &[Safety]),
        (Sabotage::AcknowledgeEarly, 0, &[Oracle]),
        (Sabotage::StaleRead, 0, &[Oracle]),
        (Sabotage::SkipEntry, 0, &[Safety]),
        (Sabotage::ReadBeforeApplied, 0, &[Oracle]),
        (Sabotage::NeverRetry, 0, &[Liveness]),
        (Sabotage::ForgetPosition, 0, &[Safety]),
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
