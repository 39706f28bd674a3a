//! One request to an upstream: sent, sent again where that helps, and followed along redirects that are allowed.
//!
//! Redirects are followed here and not by the client, because each hop has to be looked at: never from https to
//! http, never nearer to this machine than the index itself (`addresses`), credentials to the index's own origin
//! only, at most five of them, and for pages not to another host at all.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, percent_encode};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::HttpSource;
use super::addresses::literal_zone;
use super::causes::cause_of;
use crate::resilience::{Retry, jitter};
use crate::source::{Cause, SourceError};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// Everything that is ASCII stays as it is; what is not is encoded by any set.
const NON_ASCII: AsciiSet = AsciiSet::EMPTY;

/// What is asked for.
pub(super) struct OutgoingRequest<'a> {
    /// In words, for errors.
    pub(super) asked: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) kind: RequestKind,
    /// How long the head of the answer may take.
    pub(super) timeout: Duration,
    /// Adds headers that do not depend on the host.
    pub(super) with_headers: &'a (dyn Fn(RequestBuilder) -> RequestBuilder + Send + Sync),
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// A page or list: has to come from the index's own host.
    Page,
    /// A file or sibling: may lie anywhere that is allowed.
    File,
}

/// What came of it.
pub(super) enum Outcome {
    /// The head of an answer that is no redirect.
    Answered(Response),
    /// The index points to another host for a page.
    OtherHost(Url),
}

impl HttpSource {
    /// Sends the request until there is an answer, its time is over, or sending it again does not help.
    pub(super) async fn exchange(&self, outgoing: &OutgoingRequest<'_>) -> Result<Outcome, SourceError> {
        let deadline = Instant::now() + outgoing.timeout;
        let mut retry = Retry::new(
            if outgoing.kind == RequestKind::Page { 1 } else { 2 },
            Duration::from_millis(100),
        );
        loop {
            let began = Instant::now();
            let sent = timeout_at(deadline, self.follow(outgoing)).await;
            let sent = sent.unwrap_or_else(|_| Err(timed_out(outgoing.timeout)));
            self.counters.note(sent.is_ok(), began.elapsed());
            let may_pass = match &sent {
                Ok(Outcome::Answered(response)) => is_passing(response),
                // A kept connection may have been closed by the other side just now.
                Err(cause) => matches!(cause, Cause::ConnectionClosed(_)),
                Ok(Outcome::OtherHost(_)) => false,
            };
            let pause = if may_pass {
                retry.next_pause(jitter())
            } else {
                None
            };
            match pause.filter(|pause| Instant::now() + *pause < deadline) {
                Some(pause) => sleep(pause).await,
                None => return sent.map_err(|cause| self.failed(outgoing.asked, cause)),
            }
        }
    }

    /// Sends the request once.
    pub(super) async fn exchange_once(&self, outgoing: &OutgoingRequest<'_>) -> Result<Outcome, Cause> {
        let sent = tokio::time::timeout(outgoing.timeout, self.follow(outgoing)).await;
        sent.unwrap_or_else(|_| Err(timed_out(outgoing.timeout)))
    }

    async fn follow(&self, outgoing: &OutgoingRequest<'_>) -> Result<Outcome, Cause> {
        let mut url = outgoing.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let builder = self.request_to(&url, outgoing).await?;
            let response = builder.send().await.map_err(|error| cause_of(&error))?;
            let Some(next) = redirect_of(&response, &url)? else {
                return Ok(Outcome::Answered(response));
            };
            if outgoing.kind == RequestKind::Page && !self.is_our_host(&next) {
                return Ok(Outcome::OtherHost(next));
            }
            url = next;
        }
        Err(Cause::Forbidden(
            format!("more than {MAX_REDIRECTS} redirects").into(),
        ))
    }

    /// The request, by the client that may connect there.
    async fn request_to(&self, url: &Url, outgoing: &OutgoingRequest<'_>) -> Result<RequestBuilder, Cause> {
        let client = match outgoing.kind {
            RequestKind::Page => &self.client.pages,
            RequestKind::File if self.is_trusted_host(url) => &self.client.files,
            RequestKind::File => {
                let zone = self.zone.of(&self.index).await;
                if literal_zone(url).is_some_and(|to| !zone.may_lead_to(to)) {
                    let host = url.host_str().unwrap_or_default();
                    return Err(Cause::Forbidden(
                        format!("{host} is nearer to this machine than the index that points there").into(),
                    ));
                }
                self.client.files_from(zone)
            }
        };
        let builder = (outgoing.with_headers)(client.request(outgoing.method.clone(), url.clone()));
        Ok(match &self.options.credentials {
            Some(credentials) if url.origin() == self.index.origin() => credentials.sign(builder),
            _ => builder,
        })
    }

    /// The index's own host, or one that was named with it.
    fn is_trusted_host(&self, url: &Url) -> bool {
        let named = |host: &str| self.options.file_hosts.iter().any(|trusted| trusted == host);
        self.is_our_host(url) || url.host_str().is_some_and(named)
    }

    /// An index that redirects elsewhere is a portal, or forwards names to somebody we were not told to trust.
    fn is_our_host(&self, url: &Url) -> bool {
        url.host_str() == self.index.host_str()
    }
}

/// In whole milliseconds: nobody wants to read more of it.
fn timed_out(after: Duration) -> Cause {
    Cause::TimedOut(Duration::from_millis(
        u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    ))
}

/// Statuses of a moment's weakness. With `Retry-After` the upstream has said itself when to come again, and a tier
/// that explains itself has tried again already.
fn is_passing(response: &Response) -> bool {
    let explained = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
    matches!(response.status().as_u16(), 500 | 502 | 503 | 520)
        && !explained
        && !response.headers().contains_key(RETRY_AFTER)
}

/// Where the answer points, if it is a redirect that is allowed as far as its scheme goes.
fn redirect_of(response: &Response, from: &Url) -> Result<Option<Url>, Cause> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&response.status()) {
        return Ok(None);
    }
    let forbidden = |why: &str| Err(Cause::Forbidden(why.into()));
    let Some(location) = response.headers().get(LOCATION) else {
        return forbidden("a redirect without a place to go to");
    };
    // Bytes that are no ASCII, of whatever encoding, go on percent-encoded, as browsers send them.
    let location = percent_encode(location.as_bytes(), &NON_ASCII).to_string();
    let Ok(mut to) = from.join(&location) else {
        return forbidden("a redirect to something that is no URL");
    };
    // Credentials that a link carries are nobody's business, the place's own least of all.
    if to.set_username("").and_then(|()| to.set_password(None)).is_err() {
        return forbidden("a redirect to something without a host");
    }
    match to.scheme() {
        "https" => Ok(Some(to)),
        "http" if from.scheme() == "http" => Ok(Some(to)),
        "http" => forbidden("a redirect from https to http"),
        _ => forbidden("a redirect to something that is not http"),
    }
}
