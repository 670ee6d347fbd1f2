//! `quackd`: a DuckDB process that loads the extension like any user, serves one data folder, and ends on SIGTERM or
//! SIGINT.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod duckdb;
mod options;
mod refresher;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use quack_admin::config::{self, Configuration, LogFormat};
use quack_admin::{certificate, exit_code_of};
use tracing_subscriber::EnvFilter;

use crate::options::{Command, USAGE};

/// Exit status for a wrong command line.
const USAGE_EXIT: u8 = 2;

fn main() -> ExitCode {
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
    start_logging(&configuration);
    match serve::run(&configuration) {
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

/// Logs go to standard error; `RUST_LOG` goes before the configuration.
fn start_logging(configuration: &Configuration) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&configuration.log_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match configuration.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
