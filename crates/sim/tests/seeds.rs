//! A modest number of runs; `make test` has the sweep through the release binary.

#![allow(clippy::unwrap_used)]

use quack_sim::run;

#[test]
fn every_seed_passes() {
    for seed in 0..12 {
        if let Err(failure) = run(seed, None, false).result {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_event_log_twice() {
    for seed in [3, 1_000_003] {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(first.lines.len() > 1_000, "there is something to compare: {} lines", first.lines.len());
        assert!(first == second, "seed {seed}: two runs differ");
    }
}

#[test]
fn different_seeds_give_different_runs() {
    assert_ne!(run(1, None, false).result.unwrap(), run(2, None, false).result.unwrap());
}
