//! Who may read answers from a web page (the Fetch standard's CORS protocol): installers in browsers do, such as micropip.
//!
//! Decided once, at the end of a request's way, so that errors and redirects are as readable as what they stand for.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderMap, HeaderValue,
};

/// What pages may read of an answer beside its body: what installers look at.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Age, Cache-Status, Content-Length, Content-Range, ETag, X-PyPI-Last-Serial, X-Pypicache-Rule",
);

/// Pages and files may be read from a browser; nothing is changed from one.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Lets pages of any origin read this answer. Credentials of the browser's do not go with such requests.
pub(crate) fn allow_reading(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The same for the answer to a preflight.
pub(crate) fn allow_asking(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
}
