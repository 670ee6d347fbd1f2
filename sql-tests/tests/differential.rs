//! Every file of `duckdb/` as one named test in each world.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use quack_sql_tests::duckdb_format::parse;
use quack_sql_tests::duckdb_format::run::{self, Outcome};
use quack_sql_tests::duckdb_format::world::{Kind, World};
use quack_sql_tests::environment::Environment;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("duckdb");
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for path in files(&root) {
        let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("").display().to_string();
        for kind in Kind::ALL {
            let (environment, path, root, short) =
                (environment.clone(), path.clone(), root.clone(), name.clone());
            trials.push(Trial::ignorable_test(format!("{kind}::{name}"), move || {
                match outcome(&environment, kind, &path, &short, &root.join("data")) {
                    Outcome::Passed => Ok(Completion::Completed),
                    Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
                    Outcome::Failed(message) => Err(Failed::from(format!("{}: {message}", path.display()))),
                }
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn outcome(environment: &Environment, kind: Kind, path: &Path, name: &str, data: &Path) -> Outcome {
    let run = || -> Result<Outcome, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let script = parse::parse(&text)?;
        let scratch =
            tempfile::Builder::new().prefix("quack-duckdb-").tempdir().map_err(|error| error.to_string())?;
        let world = World::start(environment, kind, scratch.path()).map_err(|error| error.to_string())?;
        Ok(run::run(&script, name, world, data))
    };
    run().unwrap_or_else(Outcome::Failed)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "test") {
            found.push(path);
        }
    }
    found.sort();
    found
}
