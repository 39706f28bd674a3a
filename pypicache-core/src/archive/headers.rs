//! The few headers of METADATA that matter here (core metadata specification: the email format, as Python reads it).

/// The value of the first header of this name, continuation lines joined; `None` where it is missing or empty.
///
/// ```
/// use pypicache_core::archive::header;
/// let metadata = b"Metadata-Version: 2.1\nName: six\nSummary: two\n  lines\n\nVersion: not a header\n";
/// assert_eq!(header(metadata, "name").as_deref(), Some("six"));
/// assert_eq!(header(metadata, "Summary").as_deref(), Some("two lines"));
/// assert_eq!(header(metadata, "Version"), None);
/// ```
#[must_use]
pub fn header(metadata: &[u8], name: &str) -> Option<String> {
    headers(metadata, name).next().filter(|value| !value.is_empty())
}

/// The values of all headers of this name, in order.
pub fn headers(metadata: &[u8], name: &str) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(metadata);
    let mut headers = Vec::<(bool, String)>::new();
    // Written by mistake, and no part of the first name.
    for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((true, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        // A line that is no header ends them, as an empty one does.
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_graphic());
        let Some((found, value)) = line.split_once(':').filter(|(found, _)| is_name(found)) else {
            break;
        };
        headers.push((found.eq_ignore_ascii_case(name), value.trim().to_owned()));
    }
    let named = headers.into_iter().filter(|(is_named, _)| *is_named);
    named.map(|(_, value)| value.trim().to_owned())
}

/// The value of `Requires-Python`, if there is one.
#[must_use]
pub fn requires_python(metadata: &[u8]) -> Option<Box<str>> {
    header(metadata, "Requires-Python").map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's `email` package makes of the same bytes, as `packaging.metadata` uses it.
    #[test]
    fn headers_are_read_as_python_reads_them() {
        for (metadata, expected) in [
            ("A: 1\nA: 2\n", &["1", "2"][..]),
            ("a: 1\r\nB: 2\r\nA:3\r\n\r\nA: body\r\n", &["1", "3"]),
            ("A:\n  folded\n\tmore\nB: 1\n", &["folded more"]),
            ("A: one\n \n  two\nA: 3\n", &["one  two", "3"]),
            ("B: x\n A: continued\nA: 1\n", &["1"]),
            ("A: 1\nno header\nA: body\n", &["1"]),
            ("A: 1\nA b: 2\nA: body\n", &["1"]),
            ("A : 1\nA: body\n", &[]),
            ("A: x: y\n", &["x: y"]),
            ("\u{feff}A: 1\n", &["1"]),
            ("\nA: body\n", &[]),
            ("A:\n", &[""]),
            ("", &[]),
        ] {
            let values: Vec<_> = headers(metadata.as_bytes(), "A").collect();
            assert_eq!(values, expected, "{metadata:?}");
        }
        assert_eq!(header(b"A:\n", "A"), None);
        assert_eq!(
            header(b"A: caf\xc3\xa9 \xff\n", "A").as_deref(),
            Some("café \u{fffd}")
        );
    }
}
