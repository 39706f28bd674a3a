//! Answering for pages, lists, files and attestations: ask the index's source, respond.

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use pypicache_core::model::{FileName, FilePath, ProjectName, ProjectPage};
use pypicache_core::source::{
    Answer, CacheMode, CacheStatus, FileReply, FileRequest, RequestContext, Sibling, SourceError, View,
};

use crate::access::{Caller, Refusal};
use crate::client_context::ClientContext;
use crate::http::condition;
use crate::http::negotiate::{Representation, negotiate};
use crate::http::problem::{absent, failed, nothing, problem, refused};
use crate::http::render;
use crate::http::respond::{self, Reply, full};
use crate::simple::why;
use crate::site::Site;

/// A request as it came in: to which index, by whom, how far it may go.
pub(crate) struct ReadRequest<'a> {
    pub(crate) site: &'a Site,
    /// The index's number.
    pub(crate) index: usize,
    pub(crate) client_context: &'a ClientContext,
    pub(crate) context: RequestContext,
    pub(crate) head: &'a Parts,
}

impl ReadRequest<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn refused(&self, refusal: &Refusal) -> (Reply, CacheStatus) {
        (refused(self.headers(), refusal), CacheStatus::default())
    }

    /// A project's page.
    pub(crate) async fn page(&self, project: &ProjectName) -> (Reply, CacheStatus) {
        let Some(representation) = self.representation() else {
            return (not_acceptable(), CacheStatus::default());
        };
        if let Err(refusal) = may_read_project(&self.client_context.caller, project) {
            return self.refused(&refusal);
        }
        let context = &RequestContext {
            agent: self.headers().get(USER_AGENT).cloned(),
            ..self.context.clone()
        };
        match self.site.indexes[self.index].source.page(project, context).await {
            Ok(Answer::Found(reply)) => {
                if let Err(refusal) = may_read_page(&self.client_context.caller, &reply.page) {
                    return self.refused(&refusal);
                }
                let (index_view, renderer) = ((self.index, context.view), &self.site.renderer);
                let is_local = self.client_context.client.is_local;
                let (rendered, representation) = renderer
                    .page_for(is_local, index_view, &reply.page, representation)
                    .await;
                let serial = reply.page.last_serial;
                let response =
                    respond::page(rendered, representation, reply.freshness, serial, self.headers());
                (response, reply.cache_status)
            }
            Ok(Answer::NotFound(freshness) | Answer::NotModified(freshness)) => {
                let what = match context.view {
                    View::Everything => format!("project named {project}"),
                    View::Held => {
                        format!("file of {project} that is held here; /simple/{project}/ may list some")
                    }
                };
                (absent(&what, freshness), CacheStatus::default())
            }
            Err(error) => (failed(&error), CacheStatus::default()),
        }
    }

    /// The project list.
    pub(crate) async fn projects(&self) -> (Reply, CacheStatus) {
        let Some(representation) = self.representation() else {
            return (not_acceptable(), CacheStatus::default());
        };
        if let Caller::Known(grant) = &self.client_context.caller
            && grant.is_limited()
        {
            let detail = format!("The token {:?} is for some projects or sources only.", grant.name);
            return self.refused(&Refusal::NotAllowed(detail));
        }
        match self.site.indexes[self.index].source.projects(&self.context).await {
            Ok(Answer::Found(reply)) => {
                let list = reply.list.clone();
                let rendered =
                    tokio::task::spawn_blocking(move || render::render_list(&list, representation)).await;
                let response = match rendered {
                    Ok(rendered) => {
                        let serial = reply.list.last_serial;
                        respond::page(rendered, representation, reply.freshness, serial, self.headers())
                    }
                    Err(_) => nothing(),
                };
                (response, reply.cache_status)
            }
            Ok(Answer::NotFound(freshness) | Answer::NotModified(freshness)) => {
                (absent("project list", freshness), CacheStatus::default())
            }
            Err(error) => (failed(&error), CacheStatus::default()),
        }
    }

    /// A file or a sibling.
    pub(crate) async fn file(&self, path: FilePath, sibling: Sibling) -> (Reply, CacheStatus) {
        if let Err(refusal) = may_read_file(&self.client_context.caller, &path) {
            return self.refused(&refusal);
        }
        let head_only = self.head.method == Method::HEAD;
        let read = FileRequest {
            sibling,
            range: condition::range(self.headers()).filter(|_| !head_only),
            head_only,
            ..FileRequest::whole(path)
        };
        match self.ask_for_file(&read).await {
            Ok(Answer::Found(reply)) => {
                let cache_status = reply.cache_status.clone();
                (respond::file(reply, self.headers(), head_only), cache_status)
            }
            Ok(Answer::NotFound(freshness) | Answer::NotModified(freshness)) => {
                let what = format!("file {}{}", read.path.file_name(), sibling.suffix());
                (absent(&what, freshness), CacheStatus::default())
            }
            Err(error) => {
                if !error.is_unavailable() {
                    tracing::debug!(error = error.chain(), "a file could not be answered");
                }
                (failed(&error), CacheStatus::default())
            }
        }
    }

    /// Asks for a part first; for the whole where the client's part was of another file.
    async fn ask_for_file(&self, read: &FileRequest) -> Result<Answer<FileReply>, SourceError> {
        let context = RequestContext {
            // Files never change: a client that insists on revalidation gets what is held.
            cache_mode: match self.context.cache_mode {
                CacheMode::NoCache => CacheMode::Default,
                cache_mode => cache_mode,
            },
            // What the view lists is held, so nobody is asked for it; what was evicted meanwhile is fetched again.
            view: View::Everything,
            ..self.context.clone()
        };
        let source = &self.site.indexes[self.index].source;
        let answer = source.file(read, &context).await;
        if let Ok(Answer::Found(reply)) = &answer
            && read.range.is_some()
            && !condition::range_applies(self.headers(), || respond::etag_of(reply))
        {
            let whole = FileRequest {
                range: None,
                ..read.clone()
            };
            return source.file(&whole, &context).await;
        }
        answer
    }

    /// A hosted file's attestations (PEP 740).
    pub(crate) async fn provenance(&self, project: &ProjectName, file: &FileName) -> (Reply, CacheStatus) {
        let accept = self
            .headers()
            .get(hyper::header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let is_accepted = accept.is_none_or(|accept| accept.contains("json") || accept.contains("*/*"));
        if !is_accepted {
            return (not_acceptable(), CacheStatus::default());
        }
        for hosting in &self.site.indexes[self.index].hosting {
            let may = may_read_project(&self.client_context.caller, project)
                .and_then(|()| may_read_source(&self.client_context.caller, hosting.source.name()));
            if let Err(refusal) = may {
                return self.refused(&refusal);
            }
            match hosting.source.provenance(project, file).await {
                Ok(Some(bytes)) => {
                    let mut response = Response::new(full(bytes.into()));
                    let content_type = HeaderValue::from_static("application/vnd.pypi.integrity.v1+json");
                    response.headers_mut().insert(CONTENT_TYPE, content_type);
                    return (response, CacheStatus::default());
                }
                Ok(None) => {}
                Err(error) => return (failed(&error), CacheStatus::default()),
            }
        }
        (nothing(), CacheStatus::default())
    }

    /// Who answers for a project, and what the rules make of its files.
    pub(crate) async fn why(&self, project: &ProjectName) -> Reply {
        if let Err(refusal) = may_read_project(&self.client_context.caller, project) {
            return refused(self.headers(), &refusal);
        }
        let index = &self.site.indexes[self.index];
        if let Caller::Known(grant) = &self.client_context.caller
            && !grant.sources.is_empty()
            && let Ok(Answer::Found(reply)) = index
                .behind
                .page(project, &self.context.without_validators())
                .await
            && let Err(refusal) = may_read_page(&self.client_context.caller, &reply.page)
        {
            return refused(self.headers(), &refusal);
        }
        why::why(self.site, index, project, self.head.uri.query(), &self.context).await
    }

    /// What to write for this client; `None` where it takes nothing that there is.
    fn representation(&self) -> Option<Representation> {
        let headers = self.headers();
        let accept = headers.get_all(hyper::header::ACCEPT).iter();
        let accept = accept.filter_map(|value| value.to_str().ok());
        let encoding = headers
            .get(hyper::header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok());
        negotiate(accept, encoding, self.head.uri.query())
    }
}

fn may_read_project(caller: &Caller, project: &ProjectName) -> Result<(), Refusal> {
    match caller {
        Caller::Known(grant) => grant.covers_project(project),
        Caller::Anybody => Ok(()),
    }
}

fn may_read_source(caller: &Caller, source: &str) -> Result<(), Refusal> {
    match caller {
        Caller::Known(grant) => grant.covers_source(source),
        Caller::Anybody => Ok(()),
    }
}

/// The first segment of a file's path names the source that it is from.
fn may_read_page(caller: &Caller, page: &ProjectPage) -> Result<(), Refusal> {
    match caller {
        Caller::Known(grant) if grant.is_limited() => page
            .files
            .iter()
            .try_for_each(|file| may_read_source(caller, file.path.source())),
        _ => Ok(()),
    }
}

/// Whichever project the file may belong to, by its name, has to be covered.
fn may_read_file(caller: &Caller, path: &FilePath) -> Result<(), Refusal> {
    let Caller::Known(grant) = caller else {
        return Ok(());
    };
    if !grant.is_limited() {
        return Ok(());
    }
    grant.covers_source(path.source())?;
    let owners = path.file_name().owners();
    if owners.is_empty() && !grant.projects.is_empty() {
        return Err(Refusal::NotAllowed(format!(
            "The token {:?} is for some projects only.",
            grant.name
        )));
    }
    owners
        .iter()
        .try_for_each(|(project, _)| grant.covers_project(project))
}

fn not_acceptable() -> Reply {
    problem(
        StatusCode::NOT_ACCEPTABLE,
        "Not acceptable",
        "This index speaks application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html and text/html.",
    )
}
