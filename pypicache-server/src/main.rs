//! `pypicache-server [CONFIG]`: the server alone, for a team's host. `pypicache serve` is the same with flags.

// The standard macros panic where nobody reads any more.
#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use pypicache_server::config::{Configuration, Overrides};
use pypicache_server::observe::log::writer;
use pypicache_server::run::run;

#[tokio::main]
async fn main() -> ExitCode {
    let (writer, _lines) = writer();
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(tracing::Level::INFO)
        .init();
    let config = std::env::args_os().nth(1).map(PathBuf::from);
    let overrides = Overrides {
        config,
        ..Overrides::default()
    };
    let configuration = match Configuration::load(&overrides) {
        Ok(configuration) => configuration,
        Err(error) => return fail(&error, 2),
    };
    let scheme = if configuration.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let ready = |address| {
        let version = env!("CARGO_PKG_VERSION");
        report(&format!(
            "pypicache-server {version} listening on {scheme}://{address}/"
        ))
    };
    match run(configuration, move || Configuration::load(&overrides), ready).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// Prints the whole chain of reasons, once.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    report(&format!("error: {error}"));
    let mut next = error.source();
    while let Some(cause) = next {
        report(&format!("  caused by: {cause}"));
        next = cause.source();
    }
    ExitCode::from(code)
}

/// A line on standard error, if anybody reads it.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
