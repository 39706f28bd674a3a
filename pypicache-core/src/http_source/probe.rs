//! Whether there is an index at an upstream's URL at all. The commonest slip is a URL without `simple/`: then every page is a 404,
//! which would be told as "there is no such project".
//!
//! A page, or an answer of a tier of ours, is proof enough. Until there was one, the first 404 has the upstream asked for its
//! root once, which is the project list of an index. No proof from there, and its 404s mean "could not tell".

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, VIA};
use http::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::HttpSource;
use super::exchange::{Outcome, OutgoingRequest, RequestKind};
use crate::simple::{self, Format};
use crate::source::{Cause, RequestContext, SourceError};

/// How much of a root that is HTML is read, in bytes. Lists say in their head what they are.
const LOOKED_AT: usize = 64 * 1024;

/// How long a URL without an index is not asked again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What is known of an upstream.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// A std mutex: held for a read or a write.
    state: Mutex<State>,
    /// One asks, the others wait for what it finds out.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Unknown,
    /// It answered as an index does.
    Index,
    /// It did not, as it was asked at this time; with a URL below it where an index is.
    NoIndex(Instant, Option<Url>),
}

impl Proof {
    pub(super) fn given() -> Self {
        let proof = Self::default();
        proof.give();
        proof
    }

    /// It has answered like an index.
    pub(super) fn give(&self) {
        self.set(State::Index);
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn get(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpSource {
    /// Before a 404 counts: an error where there is no index that could have said it.
    pub(super) async fn check_index(&self, asked: &str, context: &RequestContext) -> Result<(), SourceError> {
        let no_index = match self.known_state() {
            Some(known) => known,
            None => {
                let _one = self.proof.asking.lock().await;
                match self.known_state() {
                    Some(known) => known,
                    None => self.probe(context).await,
                }
            }
        };
        let Some(meant) = no_index else { return Ok(()) };
        let hint = match meant {
            Some(url) => format!("did you mean {}?", self.shown(url.as_str())),
            None => "check its URL, which ends in /simple/ with most indexes; if it is right, and there is no list of projects \
                     at it, set root-list = false for its source"
                .to_owned(),
        };
        let reason = format!("there is no index at this URL: {hint}");
        Err(self.failed(asked, Cause::InvalidResponse(reason.into())))
    }

    /// Whether there is no index, as far as that is known: the inner value is where one is.
    fn known_state(&self) -> Option<Option<Option<Url>>> {
        match self.proof.get() {
            State::Index => Some(None),
            State::NoIndex(since, meant) if since.elapsed() < REMEMBERED => Some(Some(meant)),
            State::NoIndex(..) | State::Unknown => None,
        }
    }

    async fn probe(&self, context: &RequestContext) -> Option<Option<Url>> {
        match self.answers_like_an_index(&self.index, context).await {
            Some(true) => {
                self.proof.give();
                return None;
            }
            // It cannot be asked now, or shows its list to nobody.
            None => return None,
            Some(false) => {}
        }
        let below = self.index.join("simple/").ok();
        let meant = match below {
            Some(url) if self.answers_like_an_index(&url, context).await == Some(true) => Some(url),
            _ => None,
        };
        tracing::warn!(upstream = %self.label, "there is no index at this upstream's URL; its 404s mean nothing until there is");
        self.proof.set(State::NoIndex(Instant::now(), meant.clone()));
        Some(meant)
    }

    /// Whether there is a project list at the URL; `None` where that cannot be told.
    async fn answers_like_an_index(&self, url: &Url, context: &RequestContext) -> Option<bool> {
        let outgoing = OutgoingRequest {
            asked: "what it is",
            method: Method::GET,
            url: url.clone(),
            kind: RequestKind::Page,
            timeout: context.timeout_within(self.options.page_timeout),
            with_headers: &|builder| {
                builder
                    .header(ACCEPT, simple::ACCEPT)
                    .header(VIA, context.via.and(&self.options.pseudonym))
            },
        };
        let mut response = match self.exchange_once(&outgoing).await {
            Ok(Outcome::Answered(response)) => response,
            // Sent somewhere else: no index, or one that wants to be logged in to.
            Ok(Outcome::OtherHost(_)) => return Some(false),
            Err(_) => return None,
        };
        match response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && !is_refusal(status) => return Some(false),
            _ => return None,
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let content_type = content_type.unwrap_or_default();
        match Format::of_content_type(&content_type) {
            None => Some(false),
            // The type says it; the list itself may be large.
            Some(_) if content_type.contains("pypi.simple") => Some(true),
            Some(_) => {
                let mut front = Vec::new();
                while front.len() < LOOKED_AT
                    && let Ok(Some(piece)) = response.chunk().await
                {
                    front.extend_from_slice(&piece);
                }
                Some(simple::is_html_list(&front, response.url()))
            }
        }
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::TOO_MANY_REQUESTS
    )
}
