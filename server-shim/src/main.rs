//! `quackd`: a DuckDB process that loads the extension like any user, serves one data folder, and ends on SIGTERM or
//! SIGINT.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod duckdb;
mod options;

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::duckdb::Database;
use crate::options::{Options, USAGE};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("quackd: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("quackd: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    // Before the server starts, so that a signal that comes early is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let database = Database::open()?;
    database.execute(&options.load_statement()?)?;
    let row = database.first_row(&options.serve_statement())?;
    println!(
        "listening at {} with token {}",
        row.first().map_or("", String::as_str),
        row.last().map_or("", String::as_str)
    );
    if let Some(signal) = signals.forever().next() {
        println!("stopping on signal {signal}");
    }
    let uri = row.first().cloned().unwrap_or_default();
    database.execute(&format!("CALL quack_stop({})", options::quote(&uri)))
}
