//! What went wrong, in our words: out of transport errors, statuses, and what other tiers explain.

use std::error::Error;
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::timeout;

use super::addresses::ResolveError;
use crate::source::Cause;

/// How much of an explanation is read from an upstream's error, in bytes.
const EXPLANATION_LIMIT: usize = 4096;

/// How long an explanation is waited for.
const EXPLANATION_PATIENCE: Duration = Duration::from_millis(300);

/// What a transport error means to us; the telling part of it is deep in its chain.
pub(super) fn cause_of(error: &reqwest::Error) -> Cause {
    let mut deepest: &(dyn Error + 'static) = error;
    loop {
        if let Some(error) = deepest.downcast_ref::<ResolveError>() {
            return match error {
                ResolveError::Unknown { .. } => Cause::Name(error.to_string().into()),
                ResolveError::Guarded { .. } => Cause::Forbidden(error.to_string().into()),
            };
        }
        if let Some(error) = tls_error(deepest) {
            return Cause::Tls(error.to_string().into());
        }
        match deepest.source() {
            Some(next) => deepest = next,
            None => break,
        }
    }
    let text = deepest.to_string();
    match error.is_connect() {
        true if error.is_timeout() => Cause::Connect("nobody answers at its address".into()),
        true => Cause::Connect(text.into()),
        false => Cause::ConnectionClosed(text.into()),
    }
}

/// rustls's errors come wrapped in those of the operating system, once or twice, which do not name them as their source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let wrapper = error.downcast_ref::<std::io::Error>()?;
    tls_error(wrapper.get_ref()?)
}

/// What a status that is no answer means; a tier's own explanation is handed on.
pub(super) async fn explain(mut response: reqwest::Response) -> Cause {
    let status = response.status();
    // What a status means where nothing is explained.
    let unexplained = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Cause::Refused(status)
        }
        status => Cause::Status(status),
    };
    if matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    ) {
        return unexplained;
    }
    if let Some(wait) = wait_of(response.headers())
        && matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        )
    {
        return Cause::Busy { status, wait };
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_none_or(|value| !value.starts_with("application/problem+json")) {
        return unexplained;
    }
    let mut body = Vec::new();
    while let Ok(Ok(Some(piece))) = timeout(EXPLANATION_PATIENCE, response.chunk()).await {
        body.extend_from_slice(&piece);
        if body.len() > EXPLANATION_LIMIT {
            return unexplained;
        }
    }
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
        /// A member of our own: tiers say so where the bytes are wrong.
        cause: Option<String>,
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        return unexplained;
    };
    let detail: String = problem.detail.chars().filter(|c| !c.is_control()).collect();
    match problem.cause.as_deref() {
        Some("mismatch") => Cause::Mismatch(detail.into()),
        Some("rule") => Cause::Denied(detail.into()),
        _ if status == StatusCode::FORBIDDEN => unexplained,
        _ => Cause::Relayed(detail.into()),
    }
}

/// How long `Retry-After` (RFC 9110 section 10.2.3) asks to wait: seconds, or a date, which is compared with the answer's own
/// `Date`, so that it does not matter how right this machine's clock is.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .map(str::trim)
    };
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(wanted).ok()?;
    let date = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = date.unwrap_or_else(std::time::SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let wait = |retry_after: &str, date: &str| {
            let value = |text: &str| HeaderValue::from_str(text).unwrap();
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value(retry_after)), (DATE, value(date))]);
            wait_of(&headers).map(|wait| wait.as_secs())
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait("120", date), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:51:07 GMT", date), Some(90));
        assert_eq!(wait("Sun, 06 Nov 1994 08:40:00 GMT", date), Some(0));
        assert_eq!(wait("soon", date), None);
    }
}
