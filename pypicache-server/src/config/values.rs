//! Single values of a configuration file, checked: names, patterns of names, sizes, times. Errors name file, line and key.

use std::time::Duration;

use pypicache_core::model::NamePattern;
use toml::Spanned;

use super::file::{ConfigFile, RawDuration, RawSize};
use super::{ConfigError, duration, size};

/// Path segments that mean something else.
const RESERVED: [&str; 8] = [
    "simple",
    "files",
    "held",
    "metrics",
    "legacy",
    "integrity",
    "_",
    "-",
];

pub(super) fn checked_name(
    file: &ConfigFile,
    name: &Spanned<String>,
    key: &str,
) -> Result<String, ConfigError> {
    let text = name.get_ref();
    let plain = !text.is_empty()
        && text.len() <= 40
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || RESERVED.contains(&text.as_str()) {
        return Err(file.wrong(
            &name.span(),
            key,
            format!("{text:?} is no name: use lower-case letters, digits and '-' (not simple, files, held, metrics, legacy, integrity)"),
        ));
    }
    Ok(text.clone())
}

/// A size in bytes, where one was written.
pub(super) fn bytes(
    file: &ConfigFile,
    key: &str,
    raw: &Option<Spanned<RawSize>>,
) -> Result<Option<u64>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let bytes = match raw.get_ref() {
        RawSize::Bytes(bytes) => Some(*bytes),
        RawSize::Text(text) => size::parse(text),
    };
    match bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(file.wrong(
            &raw.span(),
            key,
            "this is no size: write \"50 GB\", \"500 MiB\" or a number of bytes",
        )),
    }
}

/// Names, and fronts of names.
pub(super) fn patterns(
    file: &ConfigFile,
    key: &str,
    given: &[Spanned<String>],
) -> Result<Vec<NamePattern>, ConfigError> {
    let read = |pattern: &Spanned<String>| {
        NamePattern::parse(pattern.get_ref()).map_err(|error| {
            let problem = format!("{error}; write a name, or the front of one with '*' behind it");
            file.wrong(&pattern.span(), key, problem)
        })
    };
    given.iter().map(read).collect()
}

/// The time that was written, or the usual one.
pub(super) fn time_or(
    file: &ConfigFile,
    key: &str,
    raw: &Option<Spanned<RawDuration>>,
    usual: Duration,
) -> Result<Duration, ConfigError> {
    raw.as_ref().map_or(Ok(usual), |given| time(file, key, given))
}

pub(super) fn time(
    file: &ConfigFile,
    key: &str,
    given: &Spanned<RawDuration>,
) -> Result<Duration, ConfigError> {
    let parsed = match given.get_ref() {
        RawDuration::Seconds(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        RawDuration::Text(text) => duration::parse(text),
    };
    parsed.ok_or_else(|| {
        let problem = "this is no time: write a number of seconds, \"10 min\" or \"30 days\"";
        file.wrong(&given.span(), key, problem)
    })
}
