//! Asking an upstream for pages and its project list, and understanding the answer.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VIA,
};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::HttpSource;
use super::freshness::{absence_of, freshness_of};
use crate::model::ProjectName;
use crate::simple::{self, Format, PageContext};
use crate::source::{Answer, Ask, Cause, ListReply, PageReply, Reach, SourceError, Trail, Validators};

/// PyPI's counter of changes.
const LAST_SERIAL: &str = "x-pypi-last-serial";

/// How much of an explanation is read from an upstream's error.
const EXPLANATION_LIMIT: usize = 4096;

/// A page's answer as received, whole.
struct Received {
    format: Format,
    headers: HeaderMap,
    url: Url,
    body: Vec<u8>,
}

impl HttpSource {
    pub(super) async fn ask_page(
        &self,
        project: &ProjectName,
        ask: &Ask,
    ) -> Result<Answer<PageReply>, SourceError> {
        let asked = format!("the page of {project}");
        let url = self
            .index
            .join(&format!("{project}/"))
            .map_err(|error| self.failed(&asked, Cause::Nonsense(error.to_string().into())))?;
        let received = match self.get(&asked, url, ask).await? {
            Answer::Found(received) => received,
            Answer::Unchanged(freshness) => return Ok(Answer::Unchanged(freshness)),
            Answer::Absent(freshness) => return Ok(Answer::Absent(freshness)),
        };
        let path_of = |url: &Url| self.path_of(url);
        let last_serial = received
            .headers
            .get(LAST_SERIAL)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let context = PageContext {
            project,
            base: &received.url,
            upstream: &self.label,
            path_of: &path_of,
            last_serial,
        };
        let page = simple::read_page(received.format, &received.body, &context)
            .map_err(|error| self.nonsense(&asked, &error))?;
        Ok(Answer::Found(PageReply {
            page: Arc::new(page),
            freshness: freshness_of(&received.headers),
            validators: self.validators(&received.headers),
            trail: trail_of(&received.headers),
        }))
    }

    pub(super) async fn ask_projects(&self, ask: &Ask) -> Result<Answer<ListReply>, SourceError> {
        let asked = "the project list";
        let received = match self.get(asked, self.index.clone(), ask).await? {
            Answer::Found(received) => received,
            Answer::Unchanged(freshness) => return Ok(Answer::Unchanged(freshness)),
            Answer::Absent(freshness) => return Ok(Answer::Absent(freshness)),
        };
        let list = simple::read_list(received.format, &received.body)
            .map_err(|error| self.nonsense(asked, &error))?;
        let (freshness, trail) = (freshness_of(&received.headers), trail_of(&received.headers));
        Ok(Answer::Found(ListReply {
            list: Arc::new(list),
            freshness,
            trail,
        }))
    }

    /// Asks for one document and sorts the answer by its status.
    async fn get(&self, asked: &str, url: Url, ask: &Ask) -> Result<Answer<Received>, SourceError> {
        let response = self
            .send(asked, self.page_request(url, ask), self.options.page_timeout)
            .await?;
        match response.status() {
            StatusCode::OK => self.receive(asked, response).await.map(Answer::Found),
            StatusCode::NOT_MODIFIED if ask.validators.is_some() => {
                Ok(Answer::Unchanged(freshness_of(response.headers())))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE if self.is_our_host(response.url()) => {
                Ok(Answer::Absent(absence_of(response.headers())))
            }
            _ => Err(self.failed(asked, explain(response).await)),
        }
    }

    /// Sends a request and waits for the answer's head. A connection that breaks before is tried once more: a
    /// kept one may have been closed by the other side just now.
    pub(super) async fn send(
        &self,
        asked: &str,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<reqwest::Response, SourceError> {
        let again = request.try_clone();
        let twice = async {
            match (request.send().await, again) {
                (Err(error), Some(again)) if matches!(cause_of(&error), Cause::Broken(_)) => {
                    again.send().await
                }
                (sent, _) => sent,
            }
        };
        match tokio::time::timeout(timeout, twice).await {
            Ok(sent) => sent.map_err(|error| self.failed(asked, cause_of(&error))),
            Err(_) => Err(self.failed(asked, Cause::TimedOut(timeout))),
        }
    }

    fn page_request(&self, url: Url, ask: &Ask) -> reqwest::RequestBuilder {
        let mut request = self.client.pages.get(url);
        request = request
            .header(ACCEPT, simple::ACCEPT)
            .header(VIA, ask.via.and(&self.options.pseudonym));
        if ask.reach == Reach::Revalidate {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        if let Some(validators) = ask
            .validators
            .as_ref()
            .filter(|validators| validators.upstream == self.label)
        {
            if let Some(etag) = &validators.etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(date) = &validators.last_modified {
                request = request.header(IF_MODIFIED_SINCE, date);
            }
        }
        match &self.options.credentials {
            Some(credentials) => credentials.sign(request),
            None => request,
        }
    }

    /// Takes in the body of a 200 that can be an index's answer.
    async fn receive(&self, asked: &str, mut response: reqwest::Response) -> Result<Received, SourceError> {
        if !self.is_our_host(response.url()) {
            let host = response.url().host_str().unwrap_or_default().to_owned();
            return Err(self.failed(
                asked,
                Cause::Nonsense(format!("it redirects to another host, {host}").into()),
            ));
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let Some(format) = Format::of_content_type(content_type) else {
            let reason = format!(
                "its type is {:?}",
                content_type.chars().take(100).collect::<String>()
            );
            return Err(self.failed(asked, Cause::Nonsense(reason.into())));
        };
        let (headers, url) = (response.headers().clone(), response.url().clone());
        let mut body = BytesMut::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.failed(asked, cause_of(&error)))?
        {
            if body.len() + piece.len() > self.options.page_limit {
                let reason = format!("it is larger than {} bytes", self.options.page_limit);
                return Err(self.failed(asked, Cause::Nonsense(reason.into())));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Received {
            format,
            headers,
            url,
            body: body.into(),
        })
    }

    fn validators(&self, headers: &HeaderMap) -> Option<Validators> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (etag, last_modified) = (text(ETAG), text(LAST_MODIFIED));
        (etag.is_some() || last_modified.is_some()).then(|| Validators {
            upstream: self.label.clone(),
            etag,
            last_modified,
        })
    }

    /// An index that redirects elsewhere is a portal, or forwards names to somebody we were not told to trust.
    fn is_our_host(&self, url: &Url) -> bool {
        url.host_str() == self.index.host_str()
    }

    pub(super) fn failed(&self, asked: impl std::fmt::Display, cause: Cause) -> SourceError {
        SourceError::unavailable(asked, &self.label, cause)
    }

    fn nonsense(&self, asked: &str, error: &simple::ReadPageError) -> SourceError {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            text = format!("{text}: {error}");
            next = error.source();
        }
        self.failed(asked, Cause::Nonsense(text.into()))
    }
}

/// What a transport error means to us; the telling part of it is deep in its chain.
pub(super) fn cause_of(error: &reqwest::Error) -> Cause {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    let text: Arc<str> = deepest.to_string().into();
    if error.is_connect() {
        Cause::Connect(text)
    } else if error.is_redirect() {
        Cause::Nonsense(text)
    } else if error.is_timeout() {
        Cause::Broken("it stalled".into())
    } else {
        Cause::Broken(text)
    }
}

/// What a status that is no answer means; a tier's own explanation is handed on.
pub(super) async fn explain(response: reqwest::Response) -> Cause {
    let status = response.status();
    if matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    ) {
        return Cause::Refused(status);
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_none_or(|value| !value.starts_with("application/problem+json")) {
        return Cause::Status(status);
    }
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: Option<String>,
    }
    let read = response
        .bytes()
        .await
        .ok()
        .filter(|bytes| bytes.len() <= EXPLANATION_LIMIT);
    let problem = read.and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    match problem.and_then(|problem| problem.detail) {
        Some(detail) => Cause::Relayed(
            detail
                .chars()
                .filter(|c| !c.is_control())
                .collect::<String>()
                .into(),
        ),
        None => Cause::Status(status),
    }
}

/// What the tiers above say they did.
pub(super) fn trail_of(headers: &HeaderMap) -> Trail {
    let received = headers.get("cache-status").and_then(|value| value.to_str().ok());
    Trail {
        received: received.map(Into::into),
        steps: Vec::new(),
    }
}
