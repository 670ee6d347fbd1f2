//! The simulator's command line.

use std::process::ExitCode;
use std::time::Instant;

use quack_sim::{Failure, Outcome, Sabotage, Scenario, Summary, run_scenario};

const USAGE: &str = "\
quack-sim: runs virtual clusters and checks them

  --seeds N          run the seeds 0 to N-1 (default 100), stop at the first failure
  --first S          begin at seed S instead of 0
  --seed S           run one seed
  --trace            with --seed: print everything that happens
  --reshards         many changes of the lanes in every run, under a mixed load
  --twice            run every seed twice and compare the event logs byte for byte
  --sabotage NAME    put in a bug on purpose; the run should fail
  --canary           every bug on purpose: the first seed that finds it; fails if none of --seeds does

Exit code: 0 fine, 127 crash, 128 no progress, 129 safety broken, 130 promise to a client broken, 2 usage";

struct Options {
    first: u64,
    count: u64,
    is_traced: bool,
    is_twice: bool,
    is_canary: bool,
    has_many_reshards: bool,
    sabotage: Option<Sabotage>,
}

impl Options {
    fn run(&self, seed: u64, sabotage: Option<Sabotage>, keeps_log: bool) -> Outcome {
        let scenario = Scenario::new(seed, sabotage);
        let scenario = if self.has_many_reshards { scenario.with_many_reshards() } else { scenario };
        run_scenario(scenario, keeps_log)
    }
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if !options.is_traced {
        // A panic is caught, classed and reported with its seed; its backtrace says nothing more.
        std::panic::set_hook(Box::new(|_| {}));
    }
    if options.is_canary { canary(&options) } else { sweep(&options) }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        first: 0,
        count: 100,
        is_traced: false,
        is_twice: false,
        is_canary: false,
        has_many_reshards: false,
        sabotage: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("'{text}' is not a number"));
        match argument.as_str() {
            "--seeds" => options.count = number(value()?)?,
            "--first" => options.first = number(value()?)?,
            "--seed" => (options.first, options.count) = (number(value()?)?, 1),
            "--trace" => options.is_traced = true,
            "--canary" => options.is_canary = true,
            "--reshards" => options.has_many_reshards = true,
            "--twice" => options.is_twice = true,
            "--sabotage" => {
                let name = value()?;
                let names = || Sabotage::ALL.map(Sabotage::name).join(", ");
                options.sabotage =
                    Some(Sabotage::parse(&name).ok_or_else(|| format!("'{name}' is none of {}", names()))?);
            }
            other => return Err(format!("'{other}' is unknown")),
        }
    }
    Ok(options)
}

fn sweep(options: &Options) -> ExitCode {
    let begin = Instant::now();
    let mut total = Summary::default();
    let mut slowest_recovery_us = 0;
    for seed in options.first..options.first + options.count {
        let keeps_log = options.is_traced || options.is_twice;
        let outcome = options.run(seed, options.sabotage, keeps_log);
        if options.is_traced {
            outcome.lines.iter().for_each(|line| println!("{line}"));
        }
        if options.is_twice && options.run(seed, options.sabotage, true) != outcome {
            println!("seed {seed}: two runs differ: something is not decided by the seed");
            return ExitCode::from(127);
        }
        match outcome.result {
            Ok(summary) => {
                total = add(total, summary);
                slowest_recovery_us = slowest_recovery_us.max(summary.recovery_us);
            }
            Err(failure) => return fail(seed, options, &failure),
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "sim: {} seeds passed in {seconds:.1} s: {} appends and {} reads answered, {} reshards, {} lanes created, {} \
         dropped, {} cuts, {} entries of lanes, {} elections, {} crashes, {} \
         partitions, {} pauses, {} lost disks, {} snapshots, {} refusals, {} duplicates, {} membership entries, {} packets ({} lost), {} virtual seconds, slowest recovery {:.1} s{}",
        options.count,
        total.appends,
        total.reads,
        total.reshards,
        total.lanes.0,
        total.lanes.1,
        total.cuts,
        total.lane_entries,
        total.elections,
        total.crashes,
        total.partitions,
        total.pauses,
        total.disk_losses,
        total.snapshots,
        total.refusals,
        total.duplicates,
        total.membership_changes,
        total.packets.0,
        total.packets.1,
        total.time_us / 1_000_000,
        slowest_recovery_us as f64 / 1e6,
        if options.is_twice { ", every one twice with equal event logs" } else { "" },
    );
    ExitCode::SUCCESS
}

/// The checks are worth what they find.
fn canary(options: &Options) -> ExitCode {
    let mut is_blind = false;
    for sabotage in Sabotage::ALL {
        let name = sabotage.name();
        let fails =
            |seed| options.run(seed, Some(sabotage), false).result.err().map(|failure| (seed, failure));
        match (options.first..options.first + options.count).find_map(fails) {
            Some((seed, failure)) => println!("{name}: seed {seed}: {:?}: {}", failure.class, failure.rule),
            None => {
                println!("{name}: not found in {} seeds", options.count);
                is_blind = true;
            }
        }
    }
    if is_blind { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn fail(seed: u64, options: &Options, failure: &Failure) -> ExitCode {
    println!("seed {seed} failed: {failure}");
    if !options.is_traced {
        let Outcome { lines, .. } = options.run(seed, options.sabotage, true);
        println!("the last events:");
        lines.iter().rev().take(20).rev().for_each(|line| println!("{line}"));
    }
    let sabotage = options.sabotage.map(|sabotage| format!(" --sabotage {}", sabotage.name()));
    let sabotage = sabotage.unwrap_or_default();
    let reshards = if options.has_many_reshards { " --reshards" } else { "" };
    println!("see all of it: cargo run -p quack-sim --release -- --seed {seed} --trace{reshards}{sabotage}");
    ExitCode::from(failure.class.exit_code())
}

fn add(left: Summary, right: Summary) -> Summary {
    Summary {
        appends: left.appends + right.appends,
        reads: left.reads + right.reads,
        reshards: left.reshards + right.reshards,
        lanes: (left.lanes.0 + right.lanes.0, left.lanes.1 + right.lanes.1),
        cuts: left.cuts + right.cuts,
        lane_entries: left.lane_entries + right.lane_entries,
        crashes: left.crashes + right.crashes,
        partitions: left.partitions + right.partitions,
        packets: (left.packets.0 + right.packets.0, left.packets.1 + right.packets.1),
        elections: left.elections + right.elections,
        duplicates: left.duplicates + right.duplicates,
        refusals: left.refusals + right.refusals,
        pauses: left.pauses + right.pauses,
        disk_losses: left.disk_losses + right.disk_losses,
        snapshots: left.snapshots + right.snapshots,
        membership_changes: left.membership_changes + right.membership_changes,
        floor: left.floor.max(right.floor),
        recovery_us: left.recovery_us + right.recovery_us,
        time_us: left.time_us + right.time_us,
    }
}
