//! Log lines on standard error.

use tracing_subscriber::fmt;

use crate::args::{LogFormat, LoggingArgs};

pub(crate) fn start(options: &LoggingArgs) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => tracing::Level::WARN,
        (_, true) => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    };
    let lines = fmt().with_writer(std::io::stderr).with_max_level(level);
    match options.log_format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
