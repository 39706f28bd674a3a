//! Managing hosted projects: `GET` and `POST /-/projects/<project>` of an index.
//!
//! GET gives everything that is recorded of a project, deleted files too, as JSON. POST takes one change as JSON (a
//! [`ManageAction`] with a [`FileSelector`] beside it) and answers with the names of the files that it changed:
//!
//! ```json
//! {"change": "yank", "version": "1.0", "reason": "broken on Windows"}
//! ```

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use pypicache_core::hosted_source::{FileSelector, ManageAction, ManageError};
use pypicache_core::model::{FileName, ProjectName};
use pypicache_core::source::SourceError;
use serde::Deserialize;
use serde_json::json;

use crate::access::Caller;
use crate::client_context::ClientContext;
use crate::http::problem::{failed, problem, refused};
use crate::http::respond::{Reply, json_document};
use crate::observe::audit::Event;
use crate::site::{Hosting, Index, Site};

/// The largest change, in bytes.
const MAX_CHANGE: usize = 64 * 1024;

/// A change as it comes in.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(flatten)]
    selection: FileSelector,
    #[serde(flatten)]
    change: ManageAction,
}

/// Answers for a project's record.
pub(crate) async fn show(index: &Index, caller: &Caller, head: &Parts, project: &ProjectName) -> Reply {
    let hosting = match hosting_of(index, project).await {
        Ok(Some(hosting)) => hosting,
        Ok(None) => return unknown(project),
        Err(error) => return failed(&error),
    };
    if let Some(refusal) = not_covered(caller, head, project, hosting) {
        return refusal;
    }
    match hosting.source.record(project).await {
        Ok(Some(record)) => json_document(&json!({
            "project": project, "source": hosting.source.name(), "status": record.status, "files": record.files,
        })),
        Ok(None) => unknown(project),
        Err(error) => failed(&error),
    }
}

/// Makes a change.
pub(crate) async fn change(
    site: &Site,
    index: &Index,
    client_context: &ClientContext,
    head: &Parts,
    project: &ProjectName,
    body: Incoming,
) -> Reply {
    let hosting = match hosting_of(index, project).await {
        Ok(Some(hosting)) => hosting,
        Ok(None) => return unknown(project),
        Err(error) => return failed(&error),
    };
    if let Some(refusal) = not_covered(&client_context.caller, head, project, hosting) {
        return refusal;
    }
    let wanted = match wanted(body).await {
        Ok(wanted) => wanted,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, "Not understood", &detail),
    };
    let by = client_context.caller.name().map(str::to_owned);
    let event = event_of(project, &wanted, client_context);
    match hosting
        .source
        .change(project, wanted.selection, wanted.change, by)
        .await
    {
        Ok(changed) => {
            tracing::info!(%project, change = event.event, files = changed.len(), by = client_context.caller.name().unwrap_or("-"), "changed");
            site.note(&Event {
                version: event
                    .version
                    .clone()
                    .or_else(|| common_version(project, &changed)),
                files: changed.iter().map(ToString::to_string).collect(),
                source: Some(hosting.source.name().to_owned()),
                ..event
            });
            json_document(&json!({ "project": project, "changed": changed }))
        }
        Err(error @ ManageError::Unknown(_)) => {
            problem(StatusCode::NOT_FOUND, "Not found", &error.to_string())
        }
        Err(ManageError::Busy(cause)) => {
            tracing::error!(%project, %cause, "a change cannot be made");
            let detail = "Something else holds the records of this server locked; its log says what.";
            problem(StatusCode::SERVICE_UNAVAILABLE, "Not now", detail)
        }
        Err(ManageError::Storage(cause)) => {
            tracing::error!(%project, %cause, "a change cannot be written down");
            let detail = "The server's storage failed, and nothing was changed; its log says why.";
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Not kept", detail)
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, "Not possible", &error.to_string()),
    }
}

/// What is written down of a change, as far as it is known before it is made.
fn event_of(project: &ProjectName, wanted: &Wanted, client_context: &ClientContext) -> Event {
    let (event, reason, status) = match &wanted.change {
        ManageAction::Yank { reason } => ("yank", reason.clone(), None),
        ManageAction::Unyank => ("unyank", None, None),
        ManageAction::Delete => ("delete", None, None),
        ManageAction::Restore => ("restore", None, None),
        ManageAction::Status { status, reason } => ("status", reason.clone(), Some(status.clone())),
    };
    Event {
        project: Some(project.to_string()),
        version: wanted.selection.version.clone(),
        reason,
        status,
        ..client_context.event(event)
    }
}

/// The release that all of these files are of.
fn common_version(project: &ProjectName, files: &[FileName]) -> Option<String> {
    let mut versions = files.iter().map(|file| file.version_for(project));
    let first = versions.next()??;
    versions
        .all(|other| other.as_ref() == Some(&first))
        .then(|| first.to_string())
}

async fn wanted(body: Incoming) -> Result<Wanted, String> {
    let body = Limited::new(body, MAX_CHANGE).collect().await;
    let bytes = body
        .map_err(|error| format!("The change cannot be read: {error}"))?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("The change is no JSON that is understood: {error}"))
}

/// The hosted source that has the project.
async fn hosting_of<'a>(index: &'a Index, project: &ProjectName) -> Result<Option<&'a Hosting>, SourceError> {
    for hosting in &index.hosting {
        if hosting.source.record(project).await?.is_some() {
            return Ok(Some(hosting));
        }
    }
    Ok(None)
}

/// The answer where the token is not for this project or source.
fn not_covered(caller: &Caller, head: &Parts, project: &ProjectName, hosting: &Hosting) -> Option<Reply> {
    let Caller::Known(grant) = caller else { return None };
    let covered = grant
        .covers_project(project)
        .and_then(|()| grant.covers_source(hosting.source.name()));
    covered.err().map(|refusal| refused(&head.headers, &refusal))
}

fn unknown(project: &ProjectName) -> Reply {
    problem(
        StatusCode::NOT_FOUND,
        "Not found",
        &format!("No project named {project} is hosted here."),
    )
}
