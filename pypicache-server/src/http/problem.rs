//! Errors as the client sees them: problem documents (RFC 9457), which uv and pip print.

use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Response, StatusCode};
use pypicache_core::source::{Cause, Freshness, SourceError};
use serde_json::json;

use crate::access::Refusal;
use crate::http::respond::{RULE, Reply, full, insert};

/// How much of an explanation stands in the status line, in characters.
const REASON_LENGTH: usize = 300;

/// A problem document. `detail` says what failed, where, and what to do.
pub(crate) fn problem(status: StatusCode, title: &str, detail: &str) -> Reply {
    document(
        status,
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail }),
    )
}

fn document(status: StatusCode, document: serde_json::Value) -> Reply {
    let mut response = Response::new(full(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A problem for whoever does not read an index but talks to one: uploaders and people. As a problem document where JSON is
/// taken, else as text; the reason in the status line as well, which is all that some clients print.
pub(crate) fn problem_for(request: &HeaderMap, status: StatusCode, title: &str, detail: &str) -> Reply {
    let accept = request
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut response = match accept.contains("json") {
        true => problem(status, title, detail),
        false => {
            let mut response = Response::new(full(Bytes::from(format!("{detail}\n"))));
            *response.status_mut() = status;
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        }
    };
    tell_in_status_line(&mut response, detail);
    response
}

/// The reason phrase of HTTP/1 (RFC 9112 section 4): all that pip and twine print of an error.
fn tell_in_status_line(response: &mut Reply, detail: &str) {
    let plain = detail.chars().filter(|c| matches!(c, ' '..='~'));
    let reason: String = plain.take(REASON_LENGTH).collect();
    if let Ok(reason) = ReasonPhrase::try_from(reason.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
}

/// The answer to somebody who may not.
pub(crate) fn refused(request: &HeaderMap, refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Unknown(detail) => {
            let mut response = problem_for(
                request,
                StatusCode::UNAUTHORIZED,
                "Credentials are needed",
                detail,
            );
            let challenge = HeaderValue::from_static("Basic realm=\"pypicache\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Refusal::TooOften(wait) => {
            let seconds = wait.as_secs().max(1);
            let detail =
                format!("There were too many wrong credentials from your address; try again in {seconds} s.");
            let mut response = problem_for(
                request,
                StatusCode::TOO_MANY_REQUESTS,
                "Too many attempts",
                &detail,
            );
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Refusal::NotAllowed(detail) => problem_for(request, StatusCode::FORBIDDEN, "Not allowed", detail),
    }
}

/// The origin says that there is no such thing: 404, for as long as its word counts.
pub(crate) fn absent(what: &str, freshness: Freshness) -> Reply {
    let mut response = problem(
        StatusCode::NOT_FOUND,
        "Not found",
        &format!("The index has no {what}."),
    );
    let left = freshness.lifetime.saturating_sub(freshness.age).as_secs().min(60);
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={left}")) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// The path means nothing here.
pub(crate) fn nothing() -> Reply {
    problem(
        StatusCode::NOT_FOUND,
        "Not found",
        "There is nothing at this path. Point your installer at /simple/ of this server.",
    )
}

/// The upstream has other bytes than it lists. The tier below must not go on with what it got of them, so it is told
/// in a member of its own (RFC 9457 section 3.2).
fn wrong_bytes(detail: &str) -> Reply {
    let status = StatusCode::GATEWAY_TIMEOUT;
    let title = "Not held, and the upstream's bytes are not those of its page";
    document(
        status,
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "cause": "mismatch" }),
    )
}

/// A rule keeps it out. 451 is the status for "may not be had here, on purpose" (RFC 7725) that installers do not take for
/// something else: after 403 uv says that credentials are wrong, after 404 it asks the next index. pip prints no body, so the
/// reason stands in the status line as well. The tier below is told in a member of its own.
fn kept_out(detail: &str) -> Reply {
    let status = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;
    let title = "Kept out by a rule of the index";
    let mut response = document(
        status,
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "cause": "rule" }),
    );
    insert(response.headers_mut(), RULE, detail);
    tell_in_status_line(&mut response, detail);
    response
}

/// A request that could not be answered. Never 404: that would send installers to another index.
pub(crate) fn failed(error: &SourceError) -> Reply {
    match error {
        SourceError::Unavailable {
            cause: Cause::Mismatch(_),
            ..
        } => wrong_bytes(&error.chain()),
        SourceError::Unavailable { .. } => problem(
            StatusCode::GATEWAY_TIMEOUT,
            "Not held, and the upstream could not tell",
            &error.chain(),
        ),
        SourceError::Denied { .. } => kept_out(&error.chain()),
        SourceError::NotHeld { .. } => problem(StatusCode::GATEWAY_TIMEOUT, "Not held", &error.chain()),
        SourceError::Loop(_) => problem(StatusCode::LOOP_DETECTED, "Loop of tiers", &error.chain()),
        SourceError::RangeOutside { size } => {
            let mut response = problem(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "Range not satisfiable",
                &error.chain(),
            );
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
            response
        }
        // Paths of this machine are for the log only.
        _ => {
            tracing::error!(error = error.chain(), "this server's storage failed");
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This server's storage failed",
                "The server could not read its own storage; its log says what happened.",
            )
        }
    }
}
