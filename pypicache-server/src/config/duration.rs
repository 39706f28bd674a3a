//! Durations as people write them: `10 min`, `30 days`, plain seconds.

use std::time::Duration;

/// Reads a duration; `None` where it cannot be read.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let seconds = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "ms" => 0.001,
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("1.8", 1800),
            ("300 ms", 300),
            ("10min", 600_000),
            ("30 days", 2_592_000_000),
            ("1 week", 604_800_000),
        ] {
            assert_eq!(parse(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "min", "-1 s", "1 fortnight", "1e999", "1..2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
