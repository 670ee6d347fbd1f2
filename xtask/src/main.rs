//! Build steps that cargo has no word for; `make` calls them.
//!
//! `xtask dist` turns the built library into a loadable DuckDB extension, `xtask test` runs every test stage
//! and adds up the results, `xtask spec` checks the model in `spec/`, and `xtask planted` checks the tests.
//! Nothing here knows what the extension does.

mod dist;
mod footer;
mod planted;
mod spec;
mod stage;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: xtask <command>\n\
    \n\
    dist                   make the extension repository and dist/bin from the release build\n\
    loadable LIBRARY FILE  make a file that DuckDB loads from a library, with its symbols\n\
    planted [FAULT ...]    put known faults back (all by default), and have the tests find each of them\n\
    spec                   check the model of lanes and its mutants\n\
    test [STAGE ...]       run the test stages (all of them by default) and sum up the results\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((command, [])) if command == "dist" => dist::run(),
        Some((command, [])) if command == "spec" => spec::run(),
        Some((command, [library, file])) if command == "loadable" => {
            dist::add_footer(library.as_ref(), file.as_ref())
        }
        Some((command, names)) if command == "planted" => planted::run(names),
        Some((command, names)) if command == "test" => test::run(names),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            if !message.is_empty() {
                eprintln!("xtask: {message}");
            }
            ExitCode::FAILURE
        }
    }
}
