//! Random histories with crashes, torn and lost writes, and flipped bits.
//!
//! After every crash the log holds what it held after one of its writes, and that
//! write is not older than the last synced one. With a bit flipped anywhere, it
//! holds that, or it refuses; and a refusal changes nothing.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use quack_log::{Error, Log, LogRead};
use support::model::{Model, apply, random_writes, read_all};
use support::{Dice, DiskMemory, config, identity};

/// The states after each write since the last one that is surely durable.
struct History {
    states: Vec<Model>,
}

impl History {
    fn check(&self, log: &impl LogRead) -> Result<Model, Error> {
        let found = read_all(log)?;
        assert!(
            self.states.contains(&found),
            "the log holds {found:#?}, which is none of the {} states that it may hold: {:#?}",
            self.states.len(),
            self.states
        );
        Ok(found)
    }

    fn is(state: Model) -> Self {
        Self { states: vec![state] }
    }
}

/// What one run met, so that a run that met nothing is noticed.
#[derive(Default)]
struct Met {
    crashes: usize,
    cuts: usize,
    refusals: usize,
    survivals: usize,
}

fn run(seed: u64, steps: usize, met: &mut Met) {
    let mut dice = Dice(seed);
    let mut disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let mut history = History::is(Model::new());
    for _ in 0..steps {
        match dice.below(16) {
            0..=10 => {
                let mut state = history.states.last().unwrap().clone();
                let writes = random_writes(&state, &mut dice, 900);
                let sync = dice.below(3) == 0;
                log.write(&writes, sync).unwrap();
                apply(&mut state, &writes);
                history.states.push(state);
                if sync {
                    history.states.drain(..history.states.len() - 1);
                }
            }
            11 => log.release().unwrap(),
            12 => assert_eq!(&read_all(&log.reader()).unwrap(), history.states.last().unwrap()),
            13 => {
                drop(log);
                let (reopened, report) = Log::open(disk.clone(), config(), &identity()).unwrap();
                assert_eq!(report.bytes_cut, 0);
                log = reopened;
                assert_eq!(&read_all(&log).unwrap(), history.states.last().unwrap());
                history = History::is(history.states.pop().unwrap());
            }
            _ => {
                met.crashes += 1;
                let image = disk.crash(&mut dice);
                for _ in 0..4 {
                    open_flipped(&image, &history, &mut dice, met);
                }
                drop(log);
                disk = image;
                let (reopened, report) = Log::open(disk.clone(), config(), &identity()).unwrap();
                met.cuts += usize::from(report.bytes_cut > 0);
                log = reopened;
                history = History::is(history.check(&log).unwrap());
            }
        }
    }
}

fn open_flipped(image: &DiskMemory, history: &History, dice: &mut Dice, met: &mut Met) {
    let mut contents = image.contents();
    let names: Vec<String> = contents.keys().cloned().collect();
    let bytes = contents.get_mut(&names[dice.below(names.len())]).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    bytes[at] ^= 1 << dice.below(8);
    let disk = DiskMemory::from_contents(&contents);
    match Log::open(disk.clone(), config(), &identity()) {
        Err(_) => {
            met.refusals += 1;
            assert_eq!(disk.contents(), contents, "a refusal must not change the disk");
        }
        Ok((log, _)) => {
            met.survivals += 1;
            history.check(&log).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn synced_entries_survive_every_crash_and_a_flipped_bit_is_never_believed(seed in any::<u64>()) {
        run(seed, 80, &mut Met::default());
    }
}

#[test]
fn the_random_histories_meet_what_they_are_for() {
    let mut met = Met::default();
    for seed in 0..60 {
        run(seed, 80, &mut met);
    }
    assert!(met.crashes > 200, "{} crashes", met.crashes);
    assert!(met.cuts > 100, "{} cut tails", met.cuts);
    assert!(met.refusals > 300, "{} refusals", met.refusals);
    assert!(met.survivals > 50, "{} survivals", met.survivals);
}

/// Entries of the log in which every bit is flipped; `make log-flips` takes a thousand.
fn flipped_entries() -> usize {
    std::env::var("QUACK_FLIPPED_ENTRIES").map_or(24, |count| count.parse().unwrap())
}

#[test]
fn each_flipped_bit_of_a_synced_log_is_refused_or_harmless() {
    let mut dice = Dice(7);
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let mut state = Model::new();
    let mut entries = 0;
    while entries < flipped_entries() {
        let writes = random_writes(&state, &mut dice, 120);
        log.write(&writes, true).unwrap();
        apply(&mut state, &writes);
        entries += writes.iter().map(|write| write.entries.len()).sum::<usize>();
    }
    drop(log);
    let contents = disk.contents();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let flip = |first: usize| {
        let (mut refused, mut harmless) = (0u64, 0u64);
        for (name, bytes) in &contents {
            for bit in (first..bytes.len() * 8).step_by(threads) {
                let mut bad = contents.clone();
                bad.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
                match Log::open(DiskMemory::from_contents(&bad), config(), &identity()) {
                    Err(_) => refused += 1,
                    Ok((log, _)) => {
                        harmless += 1;
                        assert_eq!(read_all(&log).unwrap(), state, "{name} bit {bit}");
                    }
                }
            }
        }
        (refused, harmless)
    };
    let counts = std::thread::scope(|scope| {
        let flip = &flip;
        let flips: Vec<_> = (0..threads).map(|first| scope.spawn(move || flip(first))).collect();
        flips.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let refused: u64 = counts.iter().map(|(refused, _)| refused).sum();
    let harmless: u64 = counts.iter().map(|(_, harmless)| harmless).sum();
    println!(
        "{entries} entries: {} bits flipped, {refused} refused, {harmless} harmless",
        refused + harmless
    );
    // Bits of zeros ahead do no harm, where there are any; all others are noticed.
    assert!(refused > 8 * 1000, "{refused} refused, {harmless} harmless");
}

#[test]
fn what_a_restart_after_a_failed_sync_vouches_for_is_on_the_disk() {
    let (mut failed, mut kept) = (0, 0);
    for seed in 0..30 {
        for call in 1..12 {
            let mut dice = Dice(seed);
            let disk = DiskMemory::default();
            let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
            let mut state = Model::new();
            for sync in [true, false, true, false] {
                let writes = random_writes(&state, &mut dice, 900);
                log.write(&writes, sync).unwrap();
                apply(&mut state, &writes);
            }
            let writes = random_writes(&state, &mut dice, 900);
            disk.fail_at(Some(call));
            let result = log.write(&writes, true);
            disk.fail_at(None);
            drop(log);
            if result.is_ok() {
                continue;
            }
            failed += 1;
            // The page cache still has what was not written.
            let (log, _) = Log::open(disk.clone(), config(), &identity()).unwrap();
            let vouched = read_all(&log).unwrap();
            drop(log);
            let (log, _) = Log::open(disk.lose_power(), config(), &identity()).unwrap();
            assert!(
                read_all(&log).unwrap() == vouched,
                "seed {seed}, call {call}: the log holds something else"
            );
            apply(&mut state, &writes);
            kept += usize::from(vouched == state);
        }
    }
    assert!(failed > 50 && kept > 10, "{failed} writes have failed, {kept} of them were there all the same");
}
