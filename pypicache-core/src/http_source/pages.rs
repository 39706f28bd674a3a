//! Asking an upstream for pages and its project list, and understanding the answer.

use std::error::Error as _;
use std::sync::Arc;

use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, TRANSFER_ENCODING, VIA,
};
use http::{HeaderMap, Method, StatusCode, Version};
use reqwest::RequestBuilder;
use url::Url;

use super::REQUEST_ID;
use super::bodies::{Buffer, read_page_body};
use super::causes::explain;
use super::exchange::{Outcome, OutgoingRequest, RequestKind};
use super::freshness::{absence_of, freshness_of};
use super::{Empty, Forbidden, HttpSource, PYPI};
use crate::model::{ProjectName, ProjectPage, ProjectStatus};
use crate::offload::offload_in_place;
use crate::simple::{self, Format, PageContext, ReadPageError};
use crate::source::{
    Answer, CacheMode, CacheStatus, Cause, ListReply, PageReply, RequestContext, SourceError, Validators,
};

/// PyPI's counter of changes.
const LAST_SERIAL: &str = "x-pypi-last-serial";

/// How the story of a loop begins that another tier tells.
const LOOP_OPENING: &str = "the upstreams form a loop: ";

/// A page's answer as received, whole.
struct Received {
    format: Format,
    headers: HeaderMap,
    url: Url,
    /// Whether the transport told where the body ends.
    is_delimited: bool,
    body: Buffer,
}

/// From so many bytes on, reading a page takes long enough for others to notice.
const LARGE: usize = 256 * 1024;

impl HttpSource {
    pub(super) async fn request_page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let asked = format!("the page of {project}");
        let mut url = self
            .index
            .join(&format!("{project}/"))
            .map_err(|error| self.failed(&asked, Cause::InvalidResponse(error.to_string().into())))?;
        url.set_query(self.index.query());
        let received = match self.get(&asked, url, context).await? {
            Answer::Found(received) => received,
            Answer::NotModified(freshness) => {
                self.proof.give();
                return Ok(Answer::NotModified(freshness));
            }
            Answer::NotFound(freshness) => {
                self.check_index(&asked, context).await?;
                return Ok(Answer::NotFound(freshness));
            }
        };
        let path_of = |origin: &Url, path: &str, filename: Option<&str>| self.path_of(origin, path, filename);
        let page_context = PageContext {
            project,
            base: &received.url,
            upstream: &self.label,
            path_of: &path_of,
            is_delimited: received.is_delimited,
            last_serial: serial_of(&received.headers),
        };
        let read = offload_in_place(received.body.len() > LARGE, || {
            simple::read_page(received.format, &received.body, &page_context)
        });
        let freshness = freshness_of(&received.headers);
        let mut page = match read {
            Err(ReadPageError::Empty) if self.options.empty == Empty::Absent => {
                return Ok(Answer::NotFound(freshness));
            }
            Ok(page) if self.options.empty == Empty::Absent && is_empty(&page) => {
                return Ok(Answer::NotFound(freshness));
            }
            read => read.map_err(|error| self.invalid(&asked, &error))?,
        };
        self.proof.give();
        self.hide_links(&mut page);
        if !page.left_out.is_empty() {
            tracing::warn!(%project, upstream = %self.label, left_out = %page.left_out, "a page lists what cannot be served");
        }
        self.preconnect(&page);
        Ok(Answer::Found(PageReply {
            page: Arc::new(page),
            freshness,
            validators: self.validators(&received.headers),
            cache_status: cache_status_of(&received.headers),
        }))
    }

    /// What is secret in the index's URL may stand in the page's links, and these are kept.
    fn hide_links(&self, page: &mut ProjectPage) {
        if self.secrets.is_empty() {
            return;
        }
        for link in page.files.iter_mut().filter_map(|file| file.link.as_mut()) {
            link.url = self.secrets.hidden(&link.url).into();
        }
    }

    pub(super) async fn request_projects(
        &self,
        context: &RequestContext,
    ) -> Result<Answer<ListReply>, SourceError> {
        let asked = "the project list";
        let received = match self.get(asked, self.index.clone(), context).await? {
            Answer::Found(received) => received,
            Answer::NotModified(freshness) => return Ok(Answer::NotModified(freshness)),
            Answer::NotFound(freshness) => return Ok(Answer::NotFound(freshness)),
        };
        let (format, is_delimited) = (received.format, received.is_delimited);
        let mut list = simple::read_list(format, &received.body, &received.url, is_delimited)
            .map_err(|error| self.invalid(asked, &error))?;
        self.proof.give();
        list.last_serial = list.last_serial.or_else(|| serial_of(&received.headers));
        let (freshness, cache_status) = (
            freshness_of(&received.headers),
            cache_status_of(&received.headers),
        );
        Ok(Answer::Found(ListReply {
            list: Arc::new(list),
            freshness,
            cache_status,
        }))
    }

    /// Asks for one document and sorts the answer by its status.
    async fn get(
        &self,
        asked: &str,
        url: Url,
        context: &RequestContext,
    ) -> Result<Answer<Received>, SourceError> {
        let outgoing = OutgoingRequest {
            asked,
            method: Method::GET,
            url: url.clone(),
            kind: RequestKind::Page,
            timeout: context.timeout_within(self.options.page_timeout),
            with_headers: &|builder| self.dress_page(builder, context),
        };
        let response = match self.exchange(&outgoing).await? {
            Outcome::Answered(response) => response,
            Outcome::OtherHost(to) if forwards(&url, &to) => {
                return Ok(Answer::NotFound(absence_of(&HeaderMap::new())));
            }
            Outcome::OtherHost(to) => {
                let host = to.host_str().unwrap_or_default();
                let reason = format!("it redirects to another host, {host}");
                return Err(self.failed(asked, Cause::InvalidResponse(reason.into())));
            }
        };
        match response.status() {
            StatusCode::OK => self.receive(asked, response).await.map(Answer::Found),
            StatusCode::NOT_MODIFIED if context.validators.is_some() => {
                Ok(Answer::NotModified(freshness_of(response.headers())))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                if is_word_of_a_tier(response.headers()) {
                    self.proof.give();
                }
                Ok(Answer::NotFound(absence_of(response.headers())))
            }
            StatusCode::FORBIDDEN if self.options.forbidden == Forbidden::Absent => {
                Ok(Answer::NotFound(absence_of(response.headers())))
            }
            StatusCode::LOOP_DETECTED => Err(self.in_a_loop(response).await),
            _ => Err(self.failed(asked, explain(response).await)),
        }
    }

    /// A tier above noticed that the request came back to it.
    pub(super) async fn in_a_loop(&self, response: reqwest::Response) -> SourceError {
        SourceError::Loop(match explain(response).await {
            Cause::Relayed(story) => story.trim_start_matches(LOOP_OPENING).into(),
            _ => format!("{} says so", self.label).into(),
        })
    }

    fn dress_page(&self, mut builder: RequestBuilder, context: &RequestContext) -> RequestBuilder {
        builder = builder
            .header(ACCEPT, simple::ACCEPT)
            .header(VIA, context.via.and(&self.options.pseudonym));
        if let Some(id) = &context.request_id {
            builder = builder.header(REQUEST_ID, id.clone());
        }
        if context.cache_mode == CacheMode::NoCache {
            builder = builder.header(CACHE_CONTROL, "no-cache");
        }
        if let Some(validators) = context
            .validators
            .as_ref()
            .filter(|validators| validators.upstream == self.label)
        {
            if let Some(etag) = &validators.etag {
                builder = builder.header(IF_NONE_MATCH, etag);
            }
            if let Some(date) = &validators.last_modified {
                builder = builder.header(IF_MODIFIED_SINCE, date);
            }
        }
        builder
    }

    /// Takes in the body of a 200 that can be an index's answer.
    async fn receive(&self, asked: &str, mut response: reqwest::Response) -> Result<Received, SourceError> {
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map_or_else(String::new, |value| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        });
        let Some(format) = Format::of_content_type(&content_type) else {
            let reason = format!(
                "its type is {:?}",
                content_type.chars().take(100).collect::<String>()
            );
            return Err(self.failed(asked, Cause::InvalidResponse(reason.into())));
        };
        let (headers, url) = (response.headers().clone(), response.url().clone());
        let is_delimited = is_delimited(&response);
        let body = read_page_body(&mut response, self.options.page_limit)
            .await
            .map_err(|cause| self.failed(asked, cause))?;
        Ok(Received {
            format,
            headers,
            url,
            is_delimited,
            body,
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

    fn invalid(&self, asked: &str, error: &simple::ReadPageError) -> SourceError {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            text = format!("{text}: {error}");
            next = error.source();
        }
        self.failed(asked, Cause::InvalidResponse(text.into()))
    }
}

/// Whether a 404 is how a tier of ours says that its origin has no such project: with the reason, and for how long it counts. (What
/// it says of a path that means nothing to it counts for no time.)
fn is_word_of_a_tier(headers: &HeaderMap) -> bool {
    let says = |name, word: &[u8]| {
        let value = headers
            .get(name)
            .map(|value: &http::HeaderValue| value.as_bytes());
        value.is_some_and(|value| value.windows(word.len()).any(|part| part == word))
    };
    says(CONTENT_TYPE, b"application/problem+json") && says(CACHE_CONTROL, b"max-age")
}

/// A page that says nothing at all.
fn is_empty(page: &ProjectPage) -> bool {
    let has_versions = page
        .versions
        .as_ref()
        .is_some_and(|versions| !versions.is_empty());
    page.files.is_empty() && !has_versions && page.status == ProjectStatus::default()
}

/// Whether something but the end of the connection ends the body (RFC 9112 section 6.3): a length, chunks, HTTP/2. The client
/// takes the length away from what it unpacks, whose own end shows; so what counts is that the connection does not end with it.
fn is_delimited(response: &reqwest::Response) -> bool {
    let headers = response.headers();
    let closes = headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .to_ascii_lowercase()
            .windows(5)
            .any(|word| word == b"close")
    });
    let ends_with_connection = match response.version() {
        Version::HTTP_09 | Version::HTTP_10 => true,
        Version::HTTP_11 => closes,
        _ => false,
    };
    !ends_with_connection || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

fn serial_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(LAST_SERIAL)?.to_str().ok()?.trim().parse().ok()
}

/// Whether an index without the project sends its clients on to PyPI for it, as some private ones do. That is
/// how they say "not here"; who is to be asked next is for this tier's configuration to say.
fn forwards(asked: &Url, to: &Url) -> bool {
    let name = |url: &Url| {
        url.path()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .map(str::to_owned)
    };
    let is_pypi = Url::parse(PYPI).is_ok_and(|pypi| {
        pypi.host() == to.host() && pypi.scheme() == to.scheme() && to.path().starts_with(pypi.path())
    });
    is_pypi && name(asked) == name(to)
}

/// What the tiers above say they did.
pub(super) fn cache_status_of(headers: &HeaderMap) -> CacheStatus {
    let received = headers.get("cache-status").and_then(|value| value.to_str().ok());
    CacheStatus {
        received: received.map(Into::into),
        ..CacheStatus::default()
    }
}
