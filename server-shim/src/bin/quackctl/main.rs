//! `quackctl`: makes and checks certificates and configurations, asks a node how it is, and works with data folders in which
//! no process does.
//!
//! Its exit codes are in `docs/exit-codes.md`.

mod arguments;
mod certificates;
mod cp_metadata;
mod export;
mod inspect;
mod output;
mod recover;
mod restore;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, CertCommand, Command, CpMetadataCommand};
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let output = match arguments.command {
        Command::Cert { command: CertCommand::Init(arguments) } => certificates::init(&arguments),
        Command::Cert { command: CertCommand::Issue(arguments) } => certificates::issue(&arguments),
        Command::Cert { command: CertCommand::Check(arguments) } => certificates::check(&arguments),
        Command::CpMetadata { command: CpMetadataCommand::ValidateConfig { files } } => {
            cp_metadata::validate_config(&files)
        }
        Command::CpMetadata { command: CpMetadataCommand::GenerateLocalConfigs(arguments) } => {
            cp_metadata::generate_local_configs(&arguments)
        }
        Command::CpMetadata { command: CpMetadataCommand::Status(arguments) } => {
            cp_metadata::status(&arguments)
        }
        Command::Inspect(folder) => inspect::inspect(&folder.data_dir),
        Command::Recover(arguments) => recover::recover(&arguments),
        Command::Restore(arguments) => restore::restore(&arguments),
        Command::Export(arguments) => export::export(&arguments),
    };
    output.print(arguments.json)
}

/// A wrong command line is a broken rule; help and version are not.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nothing can be told when standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == "--json") {
        return Output::invalid(error.to_string().trim_end().to_owned()).print(true);
    }
    let _ = error.print();
    quack_admin::ExitCode::Validation.into()
}
