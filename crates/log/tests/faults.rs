//! The disk fails at every call in turn, in the middle of everything the log does.
#![allow(clippy::unwrap_used)]

mod support;

use quack_log::{Error, Log};
use support::model::{Model, apply, random_writes, read_all};
use support::{Dice, DiskMemory, config, identity};

/// Works until the disk fails. Returns the states that the log may hold afterwards.
fn work(disk: &DiskMemory, fail_at: u64) -> (Vec<Model>, bool) {
    let mut dice = Dice(11);
    let mut states = vec![Model::new()];
    disk.fail_at(Some(fail_at));
    let mut log = match Log::create(disk.clone(), config(), &identity()) {
        Ok(log) => log,
        Err(error) => {
            assert!(matches!(error, Error::Disk { .. }), "{error}");
            return (states, true);
        }
    };
    for round in 0..40 {
        let mut state = states.last().unwrap().clone();
        let writes = random_writes(&state, &mut dice, 700);
        apply(&mut state, &writes);
        let sync = round % 3 != 0;
        states.push(state);
        if let Err(error) = log.write(&writes, sync) {
            assert!(
                error.to_string().contains("injected failure") || error.to_string().contains("could not")
            );
            let again = log.write(&writes, true).unwrap_err();
            assert!(matches!(again, Error::Poisoned { .. }), "{again}");
            assert!(matches!(log.release().unwrap_err(), Error::Poisoned { .. }));
            assert!(matches!(read_all(&log), Err(Error::Poisoned { .. }) | Ok(_)));
            return (states, true);
        }
        if sync {
            states.drain(..states.len() - 1);
        }
        if round % 7 == 6 && log.release().is_err() {
            return (states, true);
        }
    }
    (states, false)
}

#[test]
fn a_failed_call_loses_nothing_synced_and_the_log_opens_again() {
    let mut dice = Dice(5);
    let mut failures = 0;
    for fail_at in 1.. {
        let disk = DiskMemory::default();
        let (states, failed) = work(&disk, fail_at);
        if !failed {
            break;
        }
        failures += 1;
        for image in [disk.kill(), disk.crash(&mut dice), disk.crash(&mut dice)] {
            match Log::open(image, config(), &identity()) {
                Ok((log, _)) => assert!(states.contains(&read_all(&log).unwrap()), "call {fail_at}"),
                // Only when not even the creation was finished.
                Err(Error::Missing) => assert_eq!(states, [Model::new()], "call {fail_at}"),
                Err(error) => panic!("call {fail_at}: {error}"),
            }
        }
    }
    assert!(failures > 80, "only {failures} calls");
}

#[test]
fn a_failed_call_while_opening_leaves_a_log_that_opens() {
    let mut dice = Dice(6);
    let disk = DiskMemory::default();
    let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
    let mut states = vec![Model::new()];
    for _ in 0..40 {
        let mut state = states.last().unwrap().clone();
        let writes = random_writes(&state, &mut dice, 700);
        log.write(&writes, false).unwrap();
        apply(&mut state, &writes);
        states.push(state);
    }
    let mut failures = 0;
    for fail_at in 1.. {
        let image = disk.crash(&mut dice);
        image.fail_at(Some(fail_at));
        let failed = Log::open(image.clone(), config(), &identity()).is_err();
        image.fail_at(None);
        let (log, _) = Log::open(image, config(), &identity()).unwrap();
        assert!(states.contains(&read_all(&log).unwrap()), "call {fail_at}");
        if !failed {
            break;
        }
        failures += 1;
    }
    assert!(failures > 8, "only {failures} calls");
}

#[test]
fn a_write_without_room_is_repeated_and_nothing_is_lost() {
    let mut dice = Dice(7);
    let mut waits = 0;
    // To create the log takes the first two.
    for first in 3.. {
        let mut of_work = Dice(11);
        let disk = DiskMemory::default();
        disk.fill(first..first + 3);
        let mut log = Log::create(disk.clone(), config(), &identity()).unwrap();
        let mut states = vec![Model::new()];
        let before = waits;
        for round in 0..40 {
            let mut state = states.last().unwrap().clone();
            let writes = random_writes(&state, &mut of_work, 700);
            apply(&mut state, &writes);
            let sync = round % 3 != 0;
            states.push(state);
            while let Err(error) = log.write(&writes, sync) {
                assert!(matches!(error, Error::Full { .. }), "{error}");
                waits += 1;
                assert_eq!(
                    read_all(&log).unwrap(),
                    states[states.len() - 2],
                    "what is not written does not show"
                );
                for image in [disk.kill(), disk.crash(&mut dice), disk.lose_power()] {
                    image.fill(0..0);
                    let (log, _) = Log::open(image, config(), &identity()).unwrap();
                    assert!(states.contains(&read_all(&log).unwrap()), "call {first}, round {round}");
                }
            }
            if sync {
                states.drain(..states.len() - 1);
            }
            if round % 7 == 6 {
                log.release().unwrap();
            }
        }
        assert_eq!(&read_all(&log).unwrap(), states.last().unwrap());
        let (log, _) = Log::open(disk.kill(), config(), &identity()).unwrap();
        assert_eq!(&read_all(&log).unwrap(), states.last().unwrap());
        if waits == before {
            break;
        }
    }
    assert!(waits > 80, "only {waits} waits");
}
