//! Asking an upstream for a file, a sibling, or a part of one.

use futures_util::StreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE, VIA};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::HttpSource;
use super::freshness::absence_of;
use super::pages::{cause_of, explain, trail_of};
use crate::model::FileEntry;
use crate::source::{
    Answer, Ask, Body, BodyError, ByteRange, Cause, FileQuestion, FileReply, Freshness, Sibling, SourceError,
};

impl HttpSource {
    pub(super) async fn ask_file(
        &self,
        question: &FileQuestion,
        ask: &Ask,
    ) -> Result<Answer<FileReply>, SourceError> {
        let url = match self.url_of(question, ask).await? {
            Answer::Found(url) => url,
            Answer::Unchanged(freshness) | Answer::Absent(freshness) => return Ok(Answer::Absent(freshness)),
        };
        let asked = format!("{}{}", question.path, question.sibling.suffix());
        let response = self
            .send(
                &asked,
                self.file_request(url, question, ask),
                self.options.file_timeout,
            )
            .await?;
        match response.status() {
            StatusCode::OK => Ok(Answer::Found(reply(response, question, None))),
            StatusCode::PARTIAL_CONTENT => {
                let part = content_range(response.headers());
                let Some(part) = part else {
                    return Err(self.failed(&asked, Cause::Nonsense("a part without a Content-Range".into())));
                };
                Ok(Answer::Found(reply(response, question, Some(part))))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => match unsatisfied(response.headers()) {
                Some(size) => Err(SourceError::RangeOutside { size }),
                None => Err(self.failed(&asked, Cause::Status(StatusCode::RANGE_NOT_SATISFIABLE))),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::Absent(absence_of(response.headers()))),
            _ => Err(self.failed(&asked, explain(response).await)),
        }
    }

    /// Where this upstream keeps the file: by the entry where it is of our making, else by our page.
    async fn url_of(&self, question: &FileQuestion, ask: &Ask) -> Result<Answer<Url>, SourceError> {
        let ours = |entry: &FileEntry| {
            entry
                .link
                .as_ref()
                .filter(|link| link.upstream == self.label)
                .map(|link| link.url.clone())
        };
        if let Some(url) = question.entry.as_deref().and_then(ours) {
            return Ok(Answer::Found(with_suffix(url, question.sibling)));
        }
        let mut absent = Freshness::default();
        for (project, _) in question.path.file_name().owners() {
            match self
                .ask_page(
                    &project,
                    &Ask {
                        validators: None,
                        ..ask.clone()
                    },
                )
                .await?
            {
                Answer::Found(reply) => {
                    if let Some(url) = reply.page.file(&question.path).and_then(ours) {
                        return Ok(Answer::Found(with_suffix(url, question.sibling)));
                    }
                    absent = reply.freshness;
                }
                Answer::Unchanged(freshness) | Answer::Absent(freshness) => absent = freshness,
            }
        }
        Ok(Answer::Absent(absent))
    }

    fn file_request(&self, url: Url, question: &FileQuestion, ask: &Ask) -> reqwest::RequestBuilder {
        let is_our_origin = url.origin() == self.index.origin();
        let method = if question.facts_only {
            Method::HEAD
        } else {
            Method::GET
        };
        let mut request = self.client.files.request(method, url);
        request = request.header(ACCEPT_ENCODING, "identity");
        if is_our_origin {
            request = request.header(VIA, ask.via.and(&self.options.pseudonym));
        }
        if let Some(range) = question.range {
            let value = match range {
                ByteRange::Between(first, last) => format!("bytes={first}-{last}"),
                ByteRange::From(first) => format!("bytes={first}-"),
                ByteRange::Last(count) => format!("bytes=-{count}"),
            };
            request = request.header(RANGE, value);
        }
        match &self.options.credentials {
            Some(credentials) if is_our_origin => credentials.sign(request),
            _ => request,
        }
    }
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
fn reply(
    response: reqwest::Response,
    question: &FileQuestion,
    part: Option<(u64, u64, Option<u64>)>,
) -> FileReply {
    let size = match part {
        Some((_, _, size)) => size,
        None => content_length(response.headers()),
    };
    let trail = trail_of(response.headers());
    let body = match question.facts_only {
        true => Body::empty(),
        false => {
            let pieces = response.bytes_stream();
            Body::Stream(Box::pin(
                pieces.map(|piece| piece.map_err(|error| BodyError::new(body_reason(&error)))),
            ))
        }
    };
    FileReply {
        body,
        size,
        part: part.map(|(offset, length, _)| (offset, length)),
        sha256: None,
        trail,
    }
}

fn body_reason(error: &reqwest::Error) -> String {
    cause_of(error).to_string()
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
