//! Lines for people and programs that read a command's output.
//!
//! Nobody may be reading any more (`pypicache why six | head -1`), and that is no reason to end the work half-way: what cannot be
//! written is dropped. Names, reasons and answers come from servers and archives of others, so whatever would steer a
//! terminal is escaped.

use std::fmt::{self, Write as _};
use std::io::Write;

/// Writes a line to standard output.
macro_rules! print_line {
    ($($part:tt)*) => { $crate::output::write(&mut anstream::stdout(), format_args!($($part)*)) };
}

/// Writes a line to standard error.
macro_rules! report_line {
    ($($part:tt)*) => { $crate::output::write(&mut anstream::stderr(), format_args!($($part)*)) };
}

pub(crate) use {print_line, report_line};

pub(crate) fn write(to: &mut dyn Write, line: fmt::Arguments<'_>) {
    let mut line = escaped(&line.to_string());
    line.push('\n');
    let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
}

/// Text that moves no cursor, changes no colour and reorders no letters (Unicode TR 36 section 3.2).
fn escaped(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    let mut plain = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match steers(c) {
            // Writing to a String does not fail.
            true => drop(write!(plain, "{}", c.escape_unicode())),
            false => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(escaped("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(escaped("\x1b[2Jx\r\u{7}"), "\\u{1b}[2Jx\\u{d}\\u{7}");
        assert_eq!(
            escaped("evil\u{202e}gpj.exe\u{9b}1m"),
            "evil\\u{202e}gpj.exe\\u{9b}1m"
        );
    }
}
