//! `pypicache`: commands over the core and server crates. Parses, calls, prints one chain of reasons, returns a code.

// The standard macros panic where nobody reads any more.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod backup_command;
mod config_command;
mod data;
mod import_command;
mod logging;
mod manage_command;
mod output;
mod serve_command;
mod server;
mod token_command;
mod why_command;

use std::process::ExitCode;

use clap::Parser as _;

use pypicache_core::hosted_source::ManageAction;

use args::{Command, CommandLine, ConfigCommand};

use output::report_line;

/// Everything went well.
const OK: u8 = 0;
/// It did not.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; clap ends with the same code.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let _lines = logging::start(&command_line.logging);
    let code = match command_line.command {
        Command::Serve(options) => serve_command::serve(&options.into_overrides()),
        Command::Config {
            command: ConfigCommand::Check(options),
        } => config_command::check(options),
        Command::Token { command } => token_command::token(command),
        Command::Yank(options) => {
            let reason = options.reason;
            manage_command::change(options.files, &ManageAction::Yank { reason })
        }
        Command::Unyank(files) => manage_command::change(files, &ManageAction::Unyank),
        Command::Restore(files) => manage_command::change(files, &ManageAction::Restore),
        Command::Delete(options) => manage_command::delete(options),
        Command::Status(options) => {
            let (status, reason) = (options.status, options.reason);
            manage_command::status(
                &options.server,
                &options.project,
                &ManageAction::Status { status, reason },
            )
        }
        Command::Show(options) => manage_command::show(&options),
        Command::Import(options) => import_command::import(&options),
        Command::Backup { command } => backup_command::backup(command),
        Command::Why(options) => why_command::why(&options),
    };
    ExitCode::from(code)
}

/// An error and all that caused it, in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Says what is wrong with how the command was called.
fn wrong_use<T>(problem: &str) -> Result<T, u8> {
    report_line!("error: {problem}");
    Err(WRONG_USE)
}

/// Prints the whole chain of reasons, once.
fn print_error(error: &dyn std::error::Error) {
    report_line!("error: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        report_line!("  caused by: {cause}");
        next = cause.source();
    }
}
