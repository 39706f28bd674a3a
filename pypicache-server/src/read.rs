//! Answering for pages, lists, files and attestations: ask the index's source, respond.

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use pypicache_core::model::{FileName, FilePath, ProjectName, ProjectPage};
use pypicache_core::source::{
    Answer, Ask, FileQuestion, FileReply, Reach, Sibling, SourceError, Trail, View,
};

use crate::access::{Caller, Refusal};
use crate::asker::Asker;
use crate::negotiate::{Representation, negotiate};
use crate::problem::{absent, failed, nothing, problem, refused};
use crate::render::Keep;
use crate::respond::{self, Reply, full};
use crate::site::Site;
use crate::{condition, render, why};

/// A question as it came in: to which index, by whom, how far it may go.
pub(crate) struct Question<'a> {
    pub(crate) site: &'a Site,
    /// The index's number.
    pub(crate) index: usize,
    pub(crate) asker: &'a Asker,
    pub(crate) ask: Ask,
    pub(crate) head: &'a Parts,
}

impl Question<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn refused(&self, refusal: &Refusal) -> (Reply, Trail) {
        (refused(self.headers(), refusal), Trail::default())
    }

    /// A project's page.
    pub(crate) async fn page(&self, project: &ProjectName) -> (Reply, Trail) {
        let Some(representation) = self.representation() else {
            return (not_acceptable(), Trail::default());
        };
        if let Err(refusal) = may_read_project(&self.asker.caller, project) {
            return self.refused(&refusal);
        }
        let ask = &Ask {
            agent: self.headers().get(USER_AGENT).cloned(),
            ..self.ask.clone()
        };
        match self.site.indexes[self.index].source.page(project, ask).await {
            Ok(Answer::Found(reply)) => {
                if let Err(refusal) = may_read_page(&self.asker.caller, &reply.page) {
                    return self.refused(&refusal);
                }
                let (shelf, renderer) = ((self.index, ask.view), &self.site.renderer);
                let (representation, keep) = match self.asker.client.is_neighbour {
                    true => renderer.for_neighbour(shelf, &reply.page, representation),
                    false => (representation, Keep::Long),
                };
                let rendered = renderer.page(shelf, &reply.page, (representation, keep)).await;
                let serial = reply.page.last_serial;
                let response =
                    respond::page(rendered, representation, reply.freshness, serial, self.headers());
                (response, reply.trail)
            }
            Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => {
                let what = match ask.view {
                    View::Everything => format!("project named {project}"),
                    View::Held => {
                        format!("file of {project} that is held here; /simple/{project}/ may list some")
                    }
                };
                (absent(&what, freshness), Trail::default())
            }
            Err(error) => (failed(&error), Trail::default()),
        }
    }

    /// The project list.
    pub(crate) async fn projects(&self) -> (Reply, Trail) {
        let Some(representation) = self.representation() else {
            return (not_acceptable(), Trail::default());
        };
        if let Caller::Known(grant) = &self.asker.caller
            && grant.is_limited()
        {
            let detail = format!("The token {:?} is for some projects or sources only.", grant.name);
            return self.refused(&Refusal::NotAllowed(detail));
        }
        match self.site.indexes[self.index].source.projects(&self.ask).await {
            Ok(Answer::Found(reply)) => {
                let list = reply.list.clone();
                let rendered =
                    tokio::task::spawn_blocking(move || render::render_list(&list, representation)).await;
                let response = match rendered {
                    Ok(rendered) => {
                        respond::page(rendered, representation, reply.freshness, None, self.headers())
                    }
                    Err(_) => nothing(),
                };
                (response, reply.trail)
            }
            Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => {
                (absent("project list", freshness), Trail::default())
            }
            Err(error) => (failed(&error), Trail::default()),
        }
    }

    /// A file or a sibling.
    pub(crate) async fn file(&self, path: FilePath, sibling: Sibling) -> (Reply, Trail) {
        if let Err(refusal) = may_read_file(&self.asker.caller, &path) {
            return self.refused(&refusal);
        }
        let facts_only = self.head.method == Method::HEAD;
        let question = FileQuestion {
            sibling,
            range: condition::range(self.headers()).filter(|_| !facts_only),
            facts_only,
            ..FileQuestion::whole(path)
        };
        match self.ask_for_file(&question).await {
            Ok(Answer::Found(reply)) => {
                let trail = reply.trail.clone();
                (respond::file(reply, self.headers(), facts_only), trail)
            }
            Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => {
                let what = format!("file {}{}", question.path.file_name(), sibling.suffix());
                (absent(&what, freshness), Trail::default())
            }
            Err(error) => {
                if !error.is_unavailable() {
                    tracing::debug!(error = error.chain(), "a file could not be answered");
                }
                (failed(&error), Trail::default())
            }
        }
    }

    /// Asks for a part first; for the whole where the client's part was of another file.
    async fn ask_for_file(&self, question: &FileQuestion) -> Result<Answer<FileReply>, SourceError> {
        let ask = Ask {
            // Files never change: a client that insists on revalidation gets what is held.
            reach: match self.ask.reach {
                Reach::Revalidate => Reach::Anywhere,
                reach => reach,
            },
            // What the view lists is held, so nobody is asked for it; what was evicted meanwhile is fetched again.
            view: View::Everything,
            ..self.ask.clone()
        };
        let source = &self.site.indexes[self.index].source;
        let answer = source.file(question, &ask).await;
        if let Ok(Answer::Found(reply)) = &answer
            && question.range.is_some()
            && !condition::range_applies(self.headers(), respond::etag_of(reply).as_deref())
        {
            let whole = FileQuestion {
                range: None,
                ..question.clone()
            };
            return source.file(&whole, &ask).await;
        }
        answer
    }

    /// A hosted file's attestations (PEP 740).
    pub(crate) async fn provenance(&self, project: &ProjectName, file: &FileName) -> (Reply, Trail) {
        let accept = self
            .headers()
            .get(hyper::header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let is_accepted = accept.is_none_or(|accept| accept.contains("json") || accept.contains("*/*"));
        if !is_accepted {
            return (not_acceptable(), Trail::default());
        }
        for hosting in &self.site.indexes[self.index].hosting {
            let may = may_read_project(&self.asker.caller, project)
                .and_then(|()| may_read_source(&self.asker.caller, hosting.source.name()));
            if let Err(refusal) = may {
                return self.refused(&refusal);
            }
            match hosting.source.provenance(project, file).await {
                Ok(Some(bytes)) => {
                    let mut response = Response::new(full(bytes.into()));
                    let content_type = HeaderValue::from_static("application/vnd.pypi.integrity.v1+json");
                    response.headers_mut().insert(CONTENT_TYPE, content_type);
                    return (response, Trail::default());
                }
                Ok(None) => {}
                Err(error) => return (failed(&error), Trail::default()),
            }
        }
        (nothing(), Trail::default())
    }

    /// Who answers for a project, and what the rules make of its files.
    pub(crate) async fn why(&self, project: &ProjectName) -> Reply {
        if let Err(refusal) = may_read_project(&self.asker.caller, project) {
            return refused(self.headers(), &refusal);
        }
        let index = &self.site.indexes[self.index];
        if let Caller::Known(grant) = &self.asker.caller
            && !grant.sources.is_empty()
            && let Ok(Answer::Found(reply)) = index.behind.page(project, &self.ask.without_validators()).await
            && let Err(refusal) = may_read_page(&self.asker.caller, &reply.page)
        {
            return refused(self.headers(), &refusal);
        }
        why::why(self.site, index, project, self.head.uri.query(), &self.ask).await
    }

    /// What to write for this client; `None` where it takes nothing that there is.
    fn representation(&self) -> Option<Representation> {
        let headers = self.headers();
        let accept = headers.get_all(hyper::header::ACCEPT).iter();
        let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
        let accept = (!accept.is_empty()).then(|| accept.join(","));
        let encoding = headers
            .get(hyper::header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok());
        negotiate(accept.as_deref(), encoding, self.head.uri.query())
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
