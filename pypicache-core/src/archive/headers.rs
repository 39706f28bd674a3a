//! The few headers of METADATA that a page repeats (core metadata specification: RFC 822 style).

/// The value of `Requires-Python`, if there is one.
///
/// ```
/// let metadata = b"Metadata-Version: 2.1\nName: six\nRequires-Python: >=3.8\n\nRequires-Python: not a header\n";
/// assert_eq!(pypicache_core::archive::requires_python(metadata).as_deref(), Some(">=3.8"));
/// ```
#[must_use]
pub fn requires_python(metadata: &[u8]) -> Option<Box<str>> {
    let text = String::from_utf8_lossy(metadata);
    let headers = text.lines().take_while(|line| !line.is_empty());
    let value = headers
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("requires-python"));
    value
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
        .map(Into::into)
}
