//! Asking an upstream for a file, a sibling, or a part of one.

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, VIA,
};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::HttpSource;
use super::REQUEST_ID;
use super::bodies::stream_file;
use super::causes::explain;
use super::exchange::{Outcome, OutgoingRequest, RequestKind};
use super::freshness::absence_of;
use super::pages::cache_status_of;
use crate::model::FileEntry;
use crate::source::{
    Answer, Body, ByteRange, CacheMode, Cause, FileReply, FileRequest, Freshness, RequestContext, Sibling,
    SourceError,
};

impl HttpSource {
    /// A file, a sibling, a part, or the facts about one. Ranges and HEAD are cheaper ways to ask, and an upstream that
    /// refuses them, or answers them wrongly, has said nothing about the file: then the whole is asked for.
    pub(super) async fn request_file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let answer = self.request_file_once(request, context).await;
        if !(request.head_only || request.range.is_some()) || !says_nothing(&answer, request) {
            return answer;
        }
        tracing::debug!(file = %request.path, "a range or HEAD was not answered; the whole is asked for");
        let whole = FileRequest {
            range: None,
            head_only: false,
            ..request.clone()
        };
        let answer = self.request_file_once(&whole, context).await?;
        Ok(answer.map(|reply| match request.head_only {
            true => FileReply {
                body: Body::empty(),
                ..reply
            },
            false => reply,
        }))
    }

    async fn request_file_once(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(url) = request.entry.as_deref().and_then(|entry| self.link_of(entry)) {
            let response = self.fetch(&url, request, context).await?;
            if !may_have_expired(&response, &url) {
                return self.understand(response, request).await;
            }
            tracing::debug!(file = %request.path, status = %response.status(), "a link does not hold any more; the page is asked for a new one");
            let renewed = RequestContext {
                cache_mode: CacheMode::NoCache,
                ..context.clone()
            };
            return match self.listed_url(request, &renewed).await {
                Ok(Answer::Found(new)) if new != url => {
                    self.understand(self.fetch(&new, request, context).await?, request)
                        .await
                }
                _ => self.understand(response, request).await,
            };
        }
        match self.listed_url(request, context).await? {
            Answer::Found(url) => {
                self.understand(self.fetch(&url, request, context).await?, request)
                    .await
            }
            Answer::NotModified(freshness) | Answer::NotFound(freshness) => Ok(Answer::NotFound(freshness)),
        }
    }

    /// Where this upstream keeps the file, if the entry is of its making.
    pub(super) fn link_of(&self, entry: &FileEntry) -> Option<Url> {
        let link = entry.link.as_ref()?;
        let is_ours = link.upstream == self.label;
        match self.secrets.is_empty() {
            true => Url::parse(&link.url),
            false => Url::parse(&self.secrets.revealed(&link.url)),
        }
        .ok()
        .filter(|_| is_ours)
    }

    /// The same by this upstream's own page.
    async fn listed_url(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<Url>, SourceError> {
        let mut absent = Freshness::default();
        let name = request.path.file_name();
        let owners = name.owners().into_iter().map(|(project, _)| project);
        let listed_by = request.listed_by.clone();
        for project in listed_by.into_iter().chain(owners).chain(name.other_owners()) {
            match self.request_page(&project, &context.without_validators()).await? {
                Answer::Found(reply) => {
                    let entry = reply.page.file(&request.path);
                    if let Some(url) = entry.and_then(|entry| self.link_of(entry)) {
                        return Ok(Answer::Found(url));
                    }
                    absent = reply.freshness;
                }
                Answer::NotModified(freshness) | Answer::NotFound(freshness) => absent = freshness,
            }
        }
        Ok(Answer::NotFound(absent))
    }

    async fn fetch(
        &self,
        url: &Url,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Response, SourceError> {
        self.files_used.begin();
        let asked = asked(request);
        let method = if request.head_only {
            Method::HEAD
        } else {
            Method::GET
        };
        let outgoing = OutgoingRequest {
            asked: &asked,
            method,
            url: with_suffix(url.clone(), request.sibling),
            kind: RequestKind::File,
            timeout: context.timeout_within(self.options.file_timeout),
            with_headers: &|builder| self.dress_file(builder, request, context),
        };
        match self.exchange(&outgoing).await? {
            Outcome::Answered(response) => Ok(response),
            Outcome::OtherHost(to) => {
                let reason = format!("a redirect to {}", to.host_str().unwrap_or_default());
                Err(self.failed(asked, Cause::Forbidden(reason.into())))
            }
        }
    }

    fn dress_file(
        &self,
        mut builder: RequestBuilder,
        request: &FileRequest,
        context: &RequestContext,
    ) -> RequestBuilder {
        builder = builder
            .header(ACCEPT_ENCODING, "identity")
            .header(VIA, context.via.and(&self.options.pseudonym));
        if let Some(id) = &context.request_id {
            builder = builder.header(REQUEST_ID, id.clone());
        }
        match request.range {
            Some(ByteRange::Between(first, last)) => builder.header(RANGE, format!("bytes={first}-{last}")),
            Some(ByteRange::From(first)) => builder.header(RANGE, format!("bytes={first}-")),
            Some(ByteRange::Last(count)) => builder.header(RANGE, format!("bytes=-{count}")),
            None => builder,
        }
    }

    /// What the answer's status and headers say.
    async fn understand(
        &self,
        response: Response,
        request: &FileRequest,
    ) -> Result<Answer<FileReply>, SourceError> {
        let failed = |cause| Err(self.failed(asked(request), cause));
        match response.status() {
            StatusCode::OK if is_a_page_instead(response.headers(), request) => {
                failed(Cause::InvalidResponse("its type is \"text/html\"".into()))
            }
            StatusCode::OK => Ok(Answer::Found(reply(response, request, None))),
            StatusCode::PARTIAL_CONTENT => match content_range(response.headers()) {
                _ if is_encoded(response.headers()) => {
                    failed(Cause::InvalidResponse("a part of an encoded file".into()))
                }
                None => failed(Cause::InvalidResponse("a part without a Content-Range".into())),
                // All of it, under the status for parts.
                Some((0, length, Some(size))) if length == size => {
                    Ok(Answer::Found(reply(response, request, None)))
                }
                Some(part) if !is_asked_part(part, request.range) => {
                    failed(Cause::InvalidResponse("another part than was asked for".into()))
                }
                part => Ok(Answer::Found(reply(response, request, part))),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => match unsatisfied(response.headers()) {
                Some(size) if !could_be_satisfied(size, request) => Err(SourceError::RangeOutside { size }),
                Some(size) => failed(Cause::InvalidResponse(
                    format!("a range refused that lies inside its {size} bytes").into(),
                )),
                None => failed(Cause::Status(StatusCode::RANGE_NOT_SATISFIABLE)),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::NotFound(absence_of(response.headers()))),
            StatusCode::LOOP_DETECTED => Err(self.in_a_loop(response).await),
            _ => failed(explain(response).await),
        }
    }
}

/// Whether the answer to a range or a HEAD leaves open what the file is.
fn says_nothing(answer: &Result<Answer<FileReply>, SourceError>, request: &FileRequest) -> bool {
    match answer {
        // An upstream that does not know of the file says so to everything but a plain GET, too.
        Ok(Answer::NotFound(_)) => true,
        Ok(Answer::Found(reply)) => request.head_only && reply.size.is_none(),
        Ok(Answer::NotModified(_)) => false,
        Err(SourceError::Unavailable { cause, .. }) => matches!(
            cause,
            Cause::Status(_) | Cause::Refused(_) | Cause::InvalidResponse(_) | Cause::ConnectionClosed(_)
        ),
        Err(_) => false,
    }
}

/// Whether the part is the one that was asked for (RFC 9110 section 15.3.7).
fn is_asked_part((offset, length, size): (u64, u64, Option<u64>), asked: Option<ByteRange>) -> bool {
    match (asked, size) {
        (None, _) => false,
        (Some(range), Some(size)) => range.within(size) == Some((offset, length)),
        (Some(ByteRange::Between(first, last)), None) => {
            offset == first && length <= last.saturating_sub(first).saturating_add(1)
        }
        (Some(ByteRange::From(first)), None) => offset == first,
        (Some(ByteRange::Last(count)), None) => length <= count,
    }
}

/// Whether a range that was refused lies inside the file, by what the refusal or the page says of its size.
fn could_be_satisfied(size: u64, request: &FileRequest) -> bool {
    let is_inside = |size| request.range.is_none_or(|range| range.within(size).is_some());
    let listed = request.entry.as_deref().and_then(|entry| entry.size);
    is_inside(size) || listed.is_some_and(|listed| listed != size && is_inside(listed))
}

fn asked(request: &FileRequest) -> String {
    format!("{}{}", request.path, request.sibling.suffix())
}

/// Whether the answer is how object stores say that a link of some time ago holds no longer, or how an index
/// says that the file lies elsewhere by now.
fn may_have_expired(response: &Response, url: &Url) -> bool {
    match response.status().as_u16() {
        403 | 410 => true,
        400 | 401 | 404 => url.query().is_some(),
        _ => false,
    }
}

/// A portal's page in the place of a file whose digest nobody told.
fn is_a_page_instead(headers: &HeaderMap, request: &FileRequest) -> bool {
    let known = |entry: &FileEntry| entry.hashes.get_sha256().is_some();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim_start().starts_with("text/html"))
        && !request.entry.as_deref().is_some_and(known)
}

/// Whether the bytes are said to be in a coding that can be undone. Words that are none (`aws-chunked`, `identity`) say
/// nothing about the bytes; codings that are not undone here show in the digest.
fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    let codings = encodings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings
        .map(<[u8]>::trim_ascii)
        .any(|coding| coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip"))
}

/// Where the file or its sibling, which lives beside it, is fetched from; the query (a signature, say) stays.
fn with_suffix(mut url: Url, sibling: Sibling) -> Url {
    // Object stores read a literal plus as a space.
    let path = format!("{}{}", url.path().replace('+', "%2B"), sibling.suffix());
    url.set_path(&path);
    url.set_fragment(None);
    url
}

/// `part`: offset, length and the whole size where it was told.
fn reply(response: Response, request: &FileRequest, part: Option<(u64, u64, Option<u64>)>) -> FileReply {
    let encoded = is_encoded(response.headers());
    let size = match part {
        Some((_, _, size)) => size,
        None if encoded => None,
        None => content_length(response.headers()),
    };
    let cache_status = cache_status_of(response.headers());
    let body = match request.head_only {
        true => Body::empty(),
        false => Body::Stream(Box::pin(stream_file(response))),
    };
    FileReply {
        body,
        size,
        part: part.map(|(offset, length, _)| (offset, length)),
        sha256: None,
        encoded,
        cache_status,
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `bytes 0-99/1000` as (offset, length, size).
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some((first, length, size.trim().parse().ok()))
}

/// The size in a 416's `bytes */1000`.
fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value
        .trim()
        .strip_prefix("bytes")?
        .trim_start()
        .strip_prefix("*/")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_of_all_kinds() {
        let of =
            |value: &str| content_range(&HeaderMap::from_iter([(CONTENT_RANGE, value.parse().unwrap())]));
        assert_eq!(of("bytes 0-99/1000"), Some((0, 100, Some(1000))));
        assert_eq!(of("bytes 5-5/*"), Some((5, 1, None)));
        for bad in [
            "bytes 9-5/10",
            "0-1/2",
            "bytes */10",
            "bytes 0-18446744073709551615/1",
            "bytes a-b/c",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sibling_keeps_the_query() {
        let url = Url::parse("https://files.example/a/six.whl?sig=1#sha256=00").unwrap();
        assert_eq!(
            with_suffix(url, Sibling::Metadata).as_str(),
            "https://files.example/a/six.whl.metadata?sig=1"
        );
    }
}
