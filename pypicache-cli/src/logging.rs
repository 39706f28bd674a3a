//! Log lines on standard error.

use pypicache_server::observe::log::writer;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::fmt;

use crate::args::{LogFormat, LoggingArgs};

/// Lines are written as long as the guard is there.
pub(crate) fn start(options: &LoggingArgs) -> WorkerGuard {
    let level = match (options.quiet, options.verbose) {
        (true, _) => tracing::Level::WARN,
        (_, true) => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    };
    let (writer, guard) = writer();
    let lines = fmt().with_writer(writer).with_max_level(level);
    match options.log_format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    guard
}
