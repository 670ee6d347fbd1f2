//! `quackd`: a DuckDB process that loads the extension like any user, serves one data folder, and ends on SIGTERM or
//! SIGINT.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod options;
mod refresher;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use quack_admin::config::{self, Configuration};
use quack_admin::{certificate, exit_code_of};
use quack_host::duckdb;
use rustix::fs::Mode;

use crate::options::{Command, USAGE};

/// Exit status for a wrong command line.
const USAGE_EXIT: u8 = 2;

/// What files of this process do not permit to others: anything. DuckDB's temporary files hold rows, too.
const UMASK: u32 = 0o077;

fn main() -> ExitCode {
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    let configuration = match Command::parse(std::env::args().skip(1), std::env::var("CONFIG_FILE").ok()) {
        Ok(Command::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Flags(configuration)) => *configuration,
        Ok(Command::File(path)) => match load(&path) {
            Ok(configuration) => configuration,
            Err(code) => return code,
        },
        Err(message) => {
            eprintln!("quackd: {message}\n\n{USAGE}");
            return ExitCode::from(USAGE_EXIT);
        }
    };
    match start_logging(&configuration).and_then(|()| serve::run(&configuration)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("quackd: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and checks a file; prints what is wrong with it.
fn load(path: &Path) -> Result<Configuration, ExitCode> {
    let (configuration, findings) = config::load(path, certificate::unix_seconds_now());
    for finding in &findings {
        eprintln!("quackd: {finding}");
    }
    match (configuration, exit_code_of(&findings)) {
        (Some(configuration), quack_admin::ExitCode::Ok) => Ok(configuration),
        (_, code) => Err(code.into()),
    }
}

/// Logs go to standard error; what the environment says about them goes before the configuration. The extension, which
/// logs by itself, is told the same.
fn start_logging(configuration: &Configuration) -> Result<(), String> {
    let environment = quack_logging::Settings::from_environment().map_err(|error| error.to_string())?;
    let directives = environment.directives.unwrap_or_else(|| configuration.log_level.clone());
    let format = environment.format.unwrap_or(configuration.log_format);
    quack_logging::start(&directives, format).map_err(|error| error.to_string())?;
    quack_logging::name_node(configuration.name());
    duckdb::tell_extension(quack_logging::DIRECTIVES_VARIABLE, &directives)?;
    duckdb::tell_extension(quack_logging::FORMAT_VARIABLE, format.as_str())
}
