//! The few headers of METADATA that matter here (core metadata specification: RFC 822 style).

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
    let text = String::from_utf8_lossy(metadata);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    let first = lines.by_ref().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    let value = more.fold(first, |value, line| format!("{value} {}", line.trim()));
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The value of `Requires-Python`, if there is one.
#[must_use]
pub fn requires_python(metadata: &[u8]) -> Option<Box<str>> {
    header(metadata, "Requires-Python").map(Into::into)
}
