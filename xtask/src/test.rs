//! `xtask test`: every test stage, one after the other, and one line that sums them up.
//!
//! A stage that fails does not stop the others; the sum fails at the end.

use std::path::Path;
use std::process::Command;

use crate::dist;
use crate::stage::{Closing, Outcome, Stage};

/// Seeds that the simulator runs in an ordinary test run; `QUACK_SIM_SEEDS` changes it.
const SIM_SEEDS_DEFAULT: &str = "500";
/// Seeds within which every planted bug must be found.
const CANARY_SEEDS: &str = "200";
/// Seeds with some hundred changes of the lanes each.
const RESHARDS_SEEDS: &str = "40";

/// The stage that repeats a part of another one, and therefore runs only by its name.
const HOST: &str = "host";
/// The tests of processes that depend most on which DuckDB hosts the extension, a file's name in each line.
const HOST_TESTS: &str = "sql-tests/process/host-tests.txt";

/// Runs the stages called `names`, or all but `host`, and prints the sum as the last line.
pub fn run(names: &[String]) -> Result<(), String> {
    let root = dist::workspace_root()?;
    let stages = stages(&root)?;
    if let Some(unknown) = names.iter().find(|name| !stages.iter().any(|stage| stage.name == *name)) {
        let known: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
        return Err(format!("there is no test stage \"{unknown}\"; the stages are {}", known.join(", ")));
    }
    let mut results = Vec::new();
    for stage in stages {
        let is_wanted =
            if names.is_empty() { stage.name != HOST } else { names.iter().any(|name| name == stage.name) };
        if !is_wanted {
            continue;
        }
        println!("\n== {} ==", stage.title);
        let title = stage.title;
        results.push((title, stage.run(&mut std::io::stdout())?));
    }
    summarise(&results)
}

fn stages(root: &Path) -> Result<Vec<Stage>, String> {
    let seeds = std::env::var("QUACK_SIM_SEEDS").unwrap_or_else(|_| SIM_SEEDS_DEFAULT.to_owned());
    let python = std::env::var("QUACK_PYTHON").unwrap_or_else(|_| ".venv-duckdb/bin/python".to_owned());
    let host_tests =
        std::fs::read_to_string(root.join(HOST_TESTS)).map_err(|error| format!("{HOST_TESTS}: {error}"))?;
    let host_tests: Vec<String> =
        host_tests.lines().map(|name| format!("sql-tests/process/{name}")).collect();
    Ok(vec![
        Stage {
            name: "pure",
            title: "crates that do not see DuckDB",
            command: program(root, "cargo", &["test", "--quiet"]),
            closing: Closing::Libtest,
        },
        Stage {
            name: "spec",
            title: "the model of lanes, and mistakes that are planted in it",
            command: program(root, "cargo", &["run", "--quiet", "-p", "xtask", "--", "spec"]),
            closing: Closing::Libtest,
        },
        Stage {
            name: "sim",
            title: "simulated clusters",
            command: simulator(root, &["--seeds", &seeds]),
            closing: Closing::ExitCode,
        },
        Stage {
            name: "reshards",
            title: "simulated clusters whose lanes change all the time",
            command: simulator(root, &["--reshards", "--seeds", RESHARDS_SEEDS]),
            closing: Closing::ExitCode,
        },
        Stage {
            name: "canary",
            title: "planted bugs, each to be found by the simulator",
            command: simulator(root, &["--canary", "--seeds", CANARY_SEEDS]),
            closing: Closing::ExitCode,
        },
        Stage {
            name: "sql",
            title: "SQL suites on real DuckDB processes",
            command: program(
                root,
                "cargo",
                &[
                    "test",
                    "--quiet",
                    "-p",
                    "quack-sql-tests",
                    "-p",
                    "xtask",
                    "--lib",
                    "--bins",
                    "--test",
                    "suites",
                    "--test",
                    "runner",
                ],
            ),
            closing: Closing::Libtest,
        },
        Stage {
            name: "differential",
            title: "files in DuckDB's format about transactions (all: make differential)",
            command: program(
                root,
                "cargo",
                &[
                    "test",
                    "--quiet",
                    "-p",
                    "quack-sql-tests",
                    "--test",
                    "differential",
                    "--",
                    "transactions/",
                ],
            ),
            closing: Closing::Libtest,
        },
        Stage {
            name: "process",
            title: "processes, stock clients, crashes",
            command: pytest(root, &python, &["sql-tests/process".to_owned()]),
            closing: Closing::Pytest,
        },
        Stage {
            name: HOST,
            title: "processes, as far as they depend on the version of DuckDB",
            command: pytest(root, &python, &host_tests),
            closing: Closing::Pytest,
        },
    ])
}

/// pytest with more processes than there are cores: most of the time the tests wait.
fn pytest(root: &Path, python: &str, tests: &[String]) -> Command {
    let mut command = program(
        root,
        python,
        &["-m", "pytest", "-q", "--numprocesses=3", "--dist=worksteal", "--durations=10"],
    );
    command.args(tests);
    command
}

fn program(root: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root);
    command
}

fn simulator(root: &Path, arguments: &[&str]) -> Command {
    let mut command = program(root, "cargo", &["run", "--quiet", "--release", "-p", "quack-sim", "--"]);
    command.args(arguments);
    command
}

fn summarise(results: &[(&str, Outcome)]) -> Result<(), String> {
    println!();
    let (mut passed, mut failed) = (0, 0);
    for (title, outcome) in results {
        let seconds = outcome.elapsed.as_secs_f64();
        println!("{:>6} passed {:>4} failed {seconds:>8.1} s  {title}", outcome.passed, outcome.failed);
        passed += outcome.passed;
        failed += outcome.failed;
    }
    println!("{passed} passed, {failed} failed");
    // The sum has said it, and is to be the last line.
    if failed == 0 { Ok(()) } else { Err(String::new()) }
}
