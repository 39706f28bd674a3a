//! What a source answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Body, CacheStatus, FileRequest, Freshness, LocalFile, SourceError};
use crate::model::{ProjectList, ProjectPage, Sha256};

/// A source's word. "Could not tell" is not among these: that is a [`super::SourceError`].
#[derive(Debug, Clone)]
pub enum Answer<T> {
    /// Here it is.
    Found(T),
    /// What the client holds (its [`super::RequestContext::validators`]) is still right, for this long.
    NotModified(Freshness),
    /// The origin says that there is no such thing; its word counts for this long.
    NotFound(Freshness),
}

impl<T> Answer<T> {
    /// The found thing, `None` for both other words.
    #[must_use]
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(reply) => Some(reply),
            Self::NotModified(_) | Self::NotFound(_) => None,
        }
    }

    /// The same word about another thing.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Found(reply) => Answer::Found(change(reply)),
            Self::NotModified(freshness) => Answer::NotModified(freshness),
            Self::NotFound(freshness) => Answer::NotFound(freshness),
        }
    }
}

/// What proves that a held page is still the upstream's (RFC 9110 section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// Who gave them: they mean nothing to another upstream.
    pub upstream: Arc<str>,
    /// The entity tag, quotes and weakness mark included.
    pub etag: Option<String>,
    /// The `Last-Modified` date, as received.
    pub last_modified: Option<String>,
}

/// A project's page with what has to be known to keep it.
#[derive(Debug, Clone)]
pub struct PageReply {
    /// The page; equal pages of one source may be one value, and caches compare by pointer first.
    pub page: Arc<ProjectPage>,
    /// Its age and lifetime.
    pub freshness: Freshness,
    /// What to ask with next time.
    pub validators: Option<Validators>,
    /// Which caches it passed.
    pub cache_status: CacheStatus,
}

/// A project list with its age.
#[derive(Debug, Clone)]
pub struct ListReply {
    /// The list.
    pub list: Arc<ProjectList>,
    /// Its age and lifetime.
    pub freshness: Freshness,
    /// Which caches it passed.
    pub cache_status: CacheStatus,
}

/// A file, a sibling, or a part of one.
#[derive(Debug)]
pub struct FileReply {
    /// The bytes: all of `part` where it is set, else all of the file; empty if only facts were asked for.
    pub body: Body,
    /// The whole file's length in bytes, where known.
    pub size: Option<u64>,
    /// Which part the body is, as (offset, length); `None` for the whole.
    pub part: Option<(u64, u64)>,
    /// The whole file's digest, where known: the strong validator.
    pub sha256: Option<Sha256>,
    /// The upstream says that these bytes are an encoding of the file (`Content-Encoding`), asked not to or not. They
    /// may be the file all the same: only its digest tells.
    pub encoded: bool,
    /// Which caches it passed.
    pub cache_status: CacheStatus,
}

impl FileReply {
    /// The answer of a source that has all of the file at hand: the asked part of it, or its facts only.
    pub fn of_whole(body: Body, sha256: Sha256, request: &FileRequest) -> Result<Self, SourceError> {
        let size = match &body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(file) => file.length,
            Body::Stream(_) => {
                return Ok(Self {
                    body,
                    size: None,
                    part: None,
                    sha256: Some(sha256),
                    encoded: false,
                    cache_status: CacheStatus::default(),
                });
            }
        };
        let part = match request.range {
            Some(range) => Some(range.within(size).ok_or(SourceError::RangeOutside { size })?),
            None => None,
        };
        let (offset, length) = part.unwrap_or((0, size));
        let body = match body {
            _ if request.head_only => Body::empty(),
            Body::File(file) => Body::File(LocalFile {
                offset: file.offset + offset,
                length,
                ..file
            }),
            // `within` keeps both inside the bytes, which are in memory.
            Body::Bytes(bytes) => Body::Bytes(bytes.slice(usize_of(offset)..usize_of(offset + length))),
            stream => stream,
        };
        Ok(Self {
            body,
            size: Some(size),
            part,
            sha256: Some(sha256),
            encoded: false,
            cache_status: CacheStatus::default(),
        })
    }
}

/// For positions inside bytes that are in memory.
fn usize_of(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A complete file on this machine's disk, already verified.
#[derive(Debug, Clone)]
pub struct HeldFile {
    /// Open for reading.
    pub file: Arc<std::fs::File>,
    /// Length in bytes.
    pub size: u64,
    /// What the bytes were verified against.
    pub sha256: Sha256,
}
