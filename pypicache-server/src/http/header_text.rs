//! Header values that are written anew for each response, into memory that many of them share: a value is a piece of
//! a larger buffer, so it takes no allocation of its own, and neither do its clones.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use bytes::BytesMut;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The size of such a buffer. It is used again once the values in it are gone.
const ROOM: usize = 4096;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(ROOM));
}

/// The text as a value; `None` where it holds something that a header must not.
pub(crate) fn value(text: fmt::Arguments<'_>) -> Option<HeaderValue> {
    BUFFER.with_borrow_mut(|buffer| {
        let written = buffer.write_fmt(text);
        let bytes = buffer.split().freeze();
        written.ok()?;
        HeaderValue::from_maybe_shared(bytes).ok()
    })
}

/// Inserts text that holds nothing a header must not; what does is left out.
pub(crate) fn write(headers: &mut HeaderMap, name: HeaderName, text: fmt::Arguments<'_>) {
    if let Some(value) = value(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails;

    impl fmt::Display for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn values_are_apart_and_odd_text_is_none() {
        let values: Vec<_> = (0..2000)
            .filter_map(|n| value(format_args!("value {n}")))
            .collect();
        assert_eq!(values.len(), 2000);
        for (number, value) in values.iter().enumerate() {
            assert_eq!(value, &format!("value {number}"));
        }
        let long = "x".repeat(3 * ROOM);
        assert_eq!(value(format_args!("{long}")).unwrap(), long);
        for odd in ["a\nb", "a\0b"] {
            assert_eq!(value(format_args!("{odd}")), None);
        }
        assert_eq!(value(format_args!("{Fails}")), None);
        assert_eq!(value(format_args!("next")).unwrap(), "next");
    }
}
