//! Every file of `duckdb/` as one named test in each world, and the table of all by area.
//!
//! `cargo test -p quack-sql-tests --test differential -- transactions/` runs the files of an area.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use quack_sql_tests::duckdb_format::suite::Suite;
use quack_sql_tests::duckdb_format::world::Kind;
use quack_sql_tests::environment::Environment;

/// Files mostly wait, for disks and for leaders, so that more of them run than there are processors.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suite = Environment::read()
        .and_then(|environment| Suite::new(environment, &package.join("duckdb"), &package.join("..")));
    let suite = match suite {
        Ok(suite) => Arc::new(suite),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for file in &suite.files {
        for kind in Kind::ALL {
            let (suite, file) = (Arc::clone(&suite), file.clone());
            trials.push(Trial::ignorable_test(format!("{kind}::{file}"), move || {
                match suite.run(&file, kind) {
                    Ok(None) => Ok(Completion::Completed),
                    Ok(Some(reason)) => Ok(Completion::ignored_with(reason)),
                    Err(message) => Err(Failed::from(message)),
                }
            }));
        }
    }
    let list = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if list {
        return ExitCode::SUCCESS;
    }
    let (report, problems) = suite.finish();
    println!("{report}");
    for problem in &problems {
        println!("PROBLEM {problem}");
    }
    if problems.is_empty() { conclusion.exit_code() } else { ExitCode::FAILURE }
}
