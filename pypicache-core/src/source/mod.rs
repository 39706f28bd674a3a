//! The trait that everything which answers for projects and files implements.
//!
//! A source is asked three things: which projects there are, what a project's page says, and for a file or a
//! sibling of it. Sources that wrap sources (cached, chained, mirrored) are sources again, so a stack of any
//! depth is one value. This module defines the request ([`RequestContext`], [`FileRequest`]), the answer ([`Answer`],
//! [`PageReply`], [`FileReply`]) and what may go wrong ([`SourceError`]); it asks nobody itself.
//!
//! Writing is not part of it: uploading belongs to the one type that can do it.
//!
//! Imports: `model`.

mod answer;
mod body;
mod error;
mod freshness;
mod request;

use std::fmt::{Debug, Display};
use std::sync::Arc;

use async_trait::async_trait;

pub use answer::{Answer, FileReply, HeldFile, ListReply, PageReply, Validators};
pub use body::{Body, BodyError, LocalFile, READ_CHUNK};
pub use error::{Cause, SourceError};
pub use freshness::{CacheStatus, Freshness, Hop, Outcome};
pub use request::{ByteRange, CacheMode, FileRequest, RequestContext, Sibling, Via, View};

use crate::model::{FilePath, ProjectName};

/// Anything that answers for projects and their files.
///
/// # Contract
///
/// * **Absence is an answer, inability is an error.** [`Answer::NotFound`] means that the origin, live or within
///   the lifetime of its last word, says there is no such thing. Whoever could not find out returns a
///   [`SourceError`]. Fallback and the guard against dependency confusion rest on this.
/// * A page answers for *all* of a project; a source never returns half of one.
/// * A file that a page lists is answered for by its [`FilePath`]; the source finds the project by itself
///   (from the file's name) where the request does not carry the page's entry.
/// * Dropping the returned future, or the body, cancels nothing that others wait for.
///
/// # Clones and wrappers
///
/// Sources are shared as `Arc<dyn IndexSource>`. A wrapper forwards every method and prints the source it
/// wraps, so that one log line shows a whole stack. There are no default methods on purpose: a wrapper that
/// forgot one would answer wrongly in silence. Short forms live in [`IndexSourceExt`].
#[async_trait]
pub trait IndexSource: Debug + Display + Send + Sync + 'static {
    /// The projects this source has, or, for a cache, those of its origin.
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError>;

    /// One project's page.
    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError>;

    /// One file, or a sibling of it, or a part of one.
    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError>;
}

/// Short forms of the requests, the same for every source.
///
/// Implemented for all; not to be implemented by hand.
#[async_trait]
pub trait IndexSourceExt: IndexSource {
    /// The page in the ordinary way, `None` where the project does not exist.
    async fn get_page(&self, project: &ProjectName) -> Result<Option<PageReply>, SourceError> {
        Ok(self.page(project, &RequestContext::default()).await?.found())
    }

    /// The whole file in the ordinary way, `None` where it does not exist.
    async fn get_file(&self, path: &FilePath) -> Result<Option<FileReply>, SourceError> {
        Ok(self
            .file(&FileRequest::whole(path.clone()), &RequestContext::default())
            .await?
            .found())
    }
}

impl<S: IndexSource + ?Sized> IndexSourceExt for S {}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: IndexSource + ?Sized> IndexSource for Arc<S> {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        (**self).projects(context).await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        (**self).page(project, context).await
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        (**self).file(request, context).await
    }
}
