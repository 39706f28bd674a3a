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
use super::exchange::{Errand, Outcome, Subject};
use super::freshness::absence_of;
use super::pages::trail_of;
use crate::model::FileEntry;
use crate::source::{
    Answer, Ask, Body, ByteRange, Cause, FileQuestion, FileReply, Freshness, Reach, Sibling, SourceError,
};

impl HttpSource {
    pub(super) async fn ask_file(
        &self,
        question: &FileQuestion,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        if let Some(url) = question.entry.as_deref().and_then(|entry| self.link_of(entry)) {
            let response = self.fetch(&url, question, ask).await?;
            if !may_have_expired(&response, &url) {
                return self.understand(response, question).await;
            }
            tracing::debug!(file = %question.path, status = %response.status(), "a link does not hold any more; the page is asked for a new one");
            let renewed = Ask {
                reach: Reach::Revalidate,
                ..ask.clone()
            };
            return match self.listed_url(question, &renewed).await {
                Ok(Answer::Found(new)) if new != url => {
                    self.understand(self.fetch(&new, question, ask).await?, question)
                        .await
                }
                _ => self.understand(response, question).await,
            };
        }
        match self.listed_url(question, ask).await? {
            Answer::Found(url) => {
                self.understand(self.fetch(&url, question, ask).await?, question)
                    .await
            }
            Answer::Unchanged(freshness) | Answer::Absent(freshness) => Ok(Answer::Absent(freshness)),
        }
    }

    /// Where this upstream keeps the file, if the entry is of its making.
    pub(super) fn link_of(&self, entry: &FileEntry) -> Option<Url> {
        let link = entry.link.as_ref()?;
        let is_ours = link.upstream == self.label;
        Url::parse(&link.url).ok().filter(|_| is_ours)
    }

    /// The same by this upstream's own page.
    async fn listed_url(&self, question: &FileQuestion, ask: &Ask) -> Result<Answer<Url>, SourceError> {
        let mut absent = Freshness::default();
        for (project, _) in question.path.file_name().owners() {
            match self.ask_page(&project, &ask.without_validators()).await? {
                Answer::Found(reply) => {
                    let entry = reply.page.file(&question.path);
                    if let Some(url) = entry.and_then(|entry| self.link_of(entry)) {
                        return Ok(Answer::Found(url));
                    }
                    absent = reply.freshness;
                }
                Answer::Unchanged(freshness) | Answer::Absent(freshness) => absent = freshness,
            }
        }
        Ok(Answer::Absent(absent))
    }

    async fn fetch(&self, url: &Url, question: &FileQuestion, ask: &Ask) -> Result<Response, SourceError> {
        self.files_used.begin();
        let asked = asked(question);
        let method = if question.facts_only {
            Method::HEAD
        } else {
            Method::GET
        };
        let errand = Errand {
            asked: &asked,
            method,
            url: with_suffix(url.clone(), question.sibling),
            subject: Subject::File,
            timeout: ask.patience_within(self.options.file_timeout),
            dress: &|request| self.dress_file(request, question, ask),
        };
        match self.exchange(&errand).await? {
            Outcome::Answered(response) => Ok(response),
            Outcome::Elsewhere(to) => {
                let reason = format!("a redirect to {}", to.host_str().unwrap_or_default());
                Err(self.failed(asked, Cause::Forbidden(reason.into())))
            }
        }
    }

    fn dress_file(&self, mut request: RequestBuilder, question: &FileQuestion, ask: &Ask) -> RequestBuilder {
        request = request
            .header(ACCEPT_ENCODING, "identity")
            .header(VIA, ask.via.and(&self.options.pseudonym));
        if let Some(id) = &ask.request {
            request = request.header(REQUEST_ID, id.clone());
        }
        match question.range {
            Some(ByteRange::Between(first, last)) => request.header(RANGE, format!("bytes={first}-{last}")),
            Some(ByteRange::From(first)) => request.header(RANGE, format!("bytes={first}-")),
            Some(ByteRange::Last(count)) => request.header(RANGE, format!("bytes=-{count}")),
            None => request,
        }
    }

    /// What the answer's status and headers say.
    async fn understand(
        &self,
        response: Response,
        question: &FileQuestion,
    ) -> Result<Answer<FileReply>, SourceError> {
        let failed = |cause| Err(self.failed(asked(question), cause));
        match response.status() {
            StatusCode::OK if is_a_page_instead(response.headers(), question) => {
                failed(Cause::Nonsense("its type is \"text/html\"".into()))
            }
            StatusCode::OK => Ok(Answer::Found(reply(response, question, None))),
            StatusCode::PARTIAL_CONTENT => match content_range(response.headers()) {
                _ if is_encoded(response.headers()) => {
                    failed(Cause::Nonsense("a part of an encoded file".into()))
                }
                None => failed(Cause::Nonsense("a part without a Content-Range".into())),
                part => Ok(Answer::Found(reply(response, question, part))),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => match unsatisfied(response.headers()) {
                Some(size) => Err(SourceError::RangeOutside { size }),
                None => failed(Cause::Status(StatusCode::RANGE_NOT_SATISFIABLE)),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::Absent(absence_of(response.headers()))),
            StatusCode::LOOP_DETECTED => Err(self.in_a_loop(response).await),
            _ => failed(explain(response).await),
        }
    }
}

fn asked(question: &FileQuestion) -> String {
    format!("{}{}", question.path, question.sibling.suffix())
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
fn is_a_page_instead(headers: &HeaderMap, question: &FileQuestion) -> bool {
    let known = |entry: &FileEntry| entry.hashes.get_sha256().is_some();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim_start().starts_with("text/html"))
        && !question.entry.as_deref().is_some_and(known)
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok());
    encoding.is_some_and(|value| !value.trim().eq_ignore_ascii_case("identity"))
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
fn reply(response: Response, question: &FileQuestion, part: Option<(u64, u64, Option<u64>)>) -> FileReply {
    let encoded = is_encoded(response.headers());
    let size = match part {
        Some((_, _, size)) => size,
        None if encoded => None,
        None => content_length(response.headers()),
    };
    let trail = trail_of(response.headers());
    let body = match question.facts_only {
        true => Body::empty(),
        false => Body::Stream(Box::pin(stream_file(response))),
    };
    FileReply {
        body,
        size,
        part: part.map(|(offset, length, _)| (offset, length)),
        sha256: None,
        encoded,
        trail,
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
