//! From a source's reply to a response: status, headers, body.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, Response, StatusCode};
use pypicache_core::source::{Body, BodyError, CacheStatus, FileReply, Freshness, Hop};

use crate::http::condition;
use crate::http::file_body::FileBody;
use crate::http::header_text::{self, write};
use crate::http::negotiate::Representation;
use crate::http::render::Rendered;

/// What goes out: bytes in memory, a local file, or a stream.
pub(crate) type ReplyBody = Either<Full<Bytes>, Either<FileBody, UnsyncBoxBody<Bytes, BodyError>>>;

/// A response of ours.
pub(crate) type Reply = Response<ReplyBody>;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Which rules keep something out of the answer, or all of it.
pub(crate) const RULE: HeaderName = HeaderName::from_static("x-pypicache-rule");
const LAST_SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");

/// A file's bytes never change under their name.
const IMMUTABLE: &str = "max-age=365000000, immutable, public";

/// Room for all fields of a response at once: a map that grows field by field is built several times.
const FIELDS: usize = 16;

/// The longest lifetime that a stale page is sent with, in seconds.
const STALE_LIFETIME: u64 = 60;

/// Bytes in memory as a body.
pub(crate) fn full(bytes: Bytes) -> ReplyBody {
    Either::Left(Full::new(bytes))
}

/// A page or list, or 304 where the client has this very revision.
pub(crate) fn page(
    rendered: Rendered,
    representation: Representation,
    freshness: Freshness,
    serial: Option<u64>,
    request: &HeaderMap,
) -> Reply {
    // A revision that the client has in another encoding is this revision all the same.
    let known = match request.contains_key(IF_NONE_MATCH) {
        true => rendered
            .etags
            .all()
            .iter()
            .find(|etag| condition::matches(request, etag)),
        false => None,
    };
    let unchanged = known.is_some();
    let etag = known
        .unwrap_or(rendered.etags.of(representation.encoding))
        .clone();
    let mut response = Response::new(full(if unchanged { Bytes::new() } else { rendered.body }));
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.reserve(FIELDS);
    if !unchanged {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(representation.content_type),
        );
        if let Some(encoding) = representation.encoding.name() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(ETAG, etag);
    let lifetime = lifetime_of(freshness);
    write(headers, CACHE_CONTROL, format_args!("max-age={lifetime}, public"));
    headers.insert(AGE, freshness.age.as_secs().into());
    if let Some(serial) = serial {
        headers.insert(LAST_SERIAL, serial.into());
    }
    response
}

/// In seconds. Who does not look at the age must not take a stale page for good for long.
fn lifetime_of(freshness: Freshness) -> u64 {
    let told = freshness.lifetime.as_secs();
    if freshness.is_fresh() {
        told
    } else {
        told.min(STALE_LIFETIME)
    }
}

/// A file, a sibling, or a part of one.
pub(crate) fn file(reply: FileReply, request: &HeaderMap, head_only: bool) -> Reply {
    let etag = etag_of(&reply);
    let unchanged = etag
        .as_ref()
        .is_some_and(|etag| condition::matches(request, etag));
    let length = reply.part.map(|(_, length)| length).or(reply.size);
    let mut response = Response::new(match unchanged || head_only {
        true => full(Bytes::new()),
        false => body(reply.body),
    });
    let headers = response.headers_mut();
    headers.reserve(FIELDS);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if let Some((offset, length)) = reply.part {
        let last = offset + length.saturating_sub(1);
        match reply.size {
            Some(size) => write(
                headers,
                CONTENT_RANGE,
                format_args!("bytes {offset}-{last}/{size}"),
            ),
            None => write(headers, CONTENT_RANGE, format_args!("bytes {offset}-{last}/*")),
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Adds what the tiers did (RFC 9211): those above first, then this one's caches.
pub(crate) fn add_cache_status(response: &mut Reply, cache_status: &CacheStatus, pseudonym: &str) {
    let headers = response.headers_mut();
    if let Some(notice) = &cache_status.notice {
        write(headers, RULE, format_args!("kept out: {notice}"));
    }
    if cache_status.received.is_some() || !cache_status.hops.is_empty() {
        let members = Members {
            cache_status,
            pseudonym,
        };
        write(headers, CACHE_STATUS, format_args!("{members}"));
    }
}

/// The members of a `Cache-Status` field.
struct Members<'a> {
    cache_status: &'a CacheStatus,
    pseudonym: &'a str,
}

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(received) = &self.cache_status.received {
            f.write_str(received)?;
            between = ", ";
        }
        for Hop { cache, outcome } in &self.cache_status.hops {
            write!(
                f,
                "{between}\"{}/{cache}\"; {}",
                self.pseudonym,
                outcome.cache_status()
            )?;
            between = ", ";
        }
        Ok(())
    }
}

fn body(body: Body) -> ReplyBody {
    match body {
        Body::Bytes(bytes) => full(bytes),
        Body::File(file) => Either::Right(Either::Left(FileBody::new(file))),
        Body::Stream(stream) => {
            let frames = StreamBody::new(stream.map(|piece| piece.map(Frame::data)));
            Either::Right(Either::Right(UnsyncBoxBody::new(frames)))
        }
    }
}

/// The same response for HEAD: all headers, no body. The length that hyper would count is written to disk first.
pub(crate) fn without_body(mut response: Reply) -> Reply {
    use hyper::body::Body as _;
    if let Some(length) = response.body().size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
        && response.status() != StatusCode::NOT_MODIFIED
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    let empty = Empty::new().map_err(|never| match never {});
    response.map(|_| Either::Right(Either::Right(UnsyncBoxBody::new(empty))))
}

/// Inserts text that holds nothing a header must not; what does is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    write(headers, name, format_args!("{value}"));
}

/// The digest as an entity tag: what `If-Range` has to name.
pub(crate) fn etag_of(reply: &FileReply) -> Option<HeaderValue> {
    header_text::value(format_args!("\"{}\"", reply.sha256?))
}

/// A JSON document that nobody keeps.
pub(crate) fn json_document(document: &serde_json::Value) -> Reply {
    let mut response = Response::new(full(Bytes::from(format!("{document}\n"))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
