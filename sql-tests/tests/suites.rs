//! Every `.test` file below this package as one named test, in parallel.
//!
//! `cargo test -p quack-sql-tests -- insert` runs those whose name contains `insert`.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use quack_sql_tests::environment::Environment;
use quack_sql_tests::suite;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (environment, cases) = match (Environment::read(), suite::cases(root)) {
        (Ok(environment), Ok(cases)) => (environment, cases),
        (Err(message), _) | (_, Err(message)) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |case: suite::Case| {
        let environment = environment.clone();
        let name = case.name.clone();
        Trial::test(name, move || suite::run(&environment, &case).map_err(Failed::from))
    };
    let trials = cases.into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
