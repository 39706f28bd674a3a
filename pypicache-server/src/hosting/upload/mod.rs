//! Uploads (the "legacy" upload API, as twine, uv, poetry, pdm, flit and hatch speak it): `POST /legacy/` of an index, or
//! `POST /`.
//!
//! 1. Whoever may not upload at all is told so before anything is read.
//! 2. [`form`] takes the form in, the file to the disk of the index's first hosted source.
//! 3. Which source it goes to is decided by the project's name; then the token has to be for both.
//! 4. A name that is neither claimed nor hosted yet must not exist at the sources behind: else everybody who installs
//!    that project would get ours from then on.
//! 5. The source examines the file and offers it. The answer goes out when a power cut cannot undo it any more.

mod form;
mod ownership;

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use pypicache_core::hosted_source::{Attestations, PublishError, Published, ReceivedUpload, Upload};
use pypicache_core::model::{FileKind, FileName, ProjectName};
use pypicache_core::source::SourceError;
use serde_json::json;

use crate::access::{Caller, Refusal};
use crate::client_context::ClientContext;
use crate::http::problem::{problem_for, refused};
use crate::http::respond::{Reply, full};
use crate::observe::audit::Event;
use crate::site::{Hosting, Index, Site};
use form::{Form, FormError};

/// What a form takes beside its file, in bytes.
const FORM_SIZE: u64 = 16 * 1024 * 1024;

/// How much of a body that is not wanted is read all the same: clients that are still sending do not listen.
const DRAINED: u64 = 256 * 1024 * 1024;

/// How much of what an upload says of itself is written down where it is refused, in characters.
const TOLD: usize = 200;

/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// An error for the uploader: status, and what to say.
type Denied = (StatusCode, String);

/// Answers an upload. The caller has the scope for it.
pub(crate) async fn upload(
    site: &Site,
    index: &Index,
    client_context: &ClientContext,
    head: &Parts,
    body: Incoming,
) -> Reply {
    let Some(first) = index.hosting.first() else {
        let detail =
            "This index has no hosted source: add a [[source]] with hosted = true to its configuration.";
        return problem_for(&head.headers, StatusCode::FORBIDDEN, "No uploads here", detail);
    };
    let limit = index
        .hosting
        .iter()
        .map(|hosting| hosting.max_upload_size)
        .max()
        .unwrap_or(0);
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit.saturating_add(FORM_SIZE)) {
        drain(head, body).await;
        let detail = format!("A file has at most {limit} bytes here.");
        return problem_for(&head.headers, StatusCode::PAYLOAD_TOO_LARGE, "Too large", &detail);
    }
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let form = Form::read(body, content_type.unwrap_or_default(), &first.source, limit).await;
    let (about, done) = match form {
        Ok(form) => (about(&form), publish(site, index, client_context, form).await),
        Err(error) => (Event::default(), Err(form_denied(error))),
    };
    match done {
        Ok(text) => {
            let mut response = Response::new(full(text.into()));
            let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err((status, detail)) => {
            site.metrics.note_upload("refused");
            site.note(&Event {
                project: about.project,
                version: about.version,
                files: about.files,
                status: Some(status.as_u16().to_string()),
                detail: Some(detail.clone()),
                ..client_context.event("upload-refused")
            });
            tracing::info!(%status, detail, by = client_context.caller.name().unwrap_or("-"), "an upload was refused");
            let mut response = problem_for(&head.headers, status, title(status), &detail);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("60"));
            }
            response
        }
    }
}

/// What an upload says that it is, for the audit log. The uploader chose it, so it is cut.
fn about(form: &Form) -> Event {
    let told = |text: &str| text.chars().take(TOLD).collect::<String>();
    let filename = form.content.as_ref().map(|(filename, _)| told(filename));
    Event {
        project: form.text("name").map(told),
        version: form.text("version").map(told),
        files: Vec::from_iter(filename),
        ..Event::default()
    }
}

/// An answer for somebody whose upload is not even looked at.
pub(crate) async fn turned_away(refusal: &Refusal, head: &Parts, body: Incoming) -> Reply {
    drain(head, body).await;
    refused(&head.headers, refusal)
}

/// Reads what the client is sending anyway, within limits. One that asked first (`Expect: 100-continue`) sends nothing.
async fn drain(head: &Parts, mut body: Incoming) {
    if head.headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

async fn publish(
    site: &Site,
    index: &Index,
    client_context: &ClientContext,
    mut form: Form,
) -> Result<String, Denied> {
    let caller = &client_context.caller;
    let content = form.content.take();
    let (spelled, received) = content.ok_or_else(|| bad("the form has no file (field content)"))?;
    if form.text(":action").is_some_and(|action| action != "file_upload") {
        return Err(bad("the only :action is file_upload"));
    }
    let name = form.text("name").ok_or_else(|| bad("the form has no name"))?;
    let project = ProjectName::parse(name).map_err(|error| bad(error.to_string()))?;
    let hosting = index.hosting_for(&project).ok_or_else(|| {
        let detail = format!(
            "no hosted source of this index takes the project {project}: see projects in its configuration"
        );
        (StatusCode::FORBIDDEN, detail)
    })?;
    may_upload(caller, &project, hosting)?;
    if received.size > hosting.max_upload_size {
        let detail = format!("a file has at most {} bytes here", hosting.max_upload_size);
        return Err((StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let upload = described(&form, &spelled, project, caller)?;
    ownership::is_ours(index, hosting, &upload).await?;
    offer(site, hosting, client_context, upload, received).await
}

fn may_upload(caller: &Caller, project: &ProjectName, hosting: &Hosting) -> Result<(), Denied> {
    let Caller::Known(grant) = caller else {
        return Ok(());
    };
    let covered = grant
        .covers_project(project)
        .and_then(|()| grant.covers_source(hosting.source.name()));
    covered.map_err(|refusal| match refusal {
        Refusal::NotAllowed(detail) => (StatusCode::FORBIDDEN, detail),
        _ => (
            StatusCode::FORBIDDEN,
            "These credentials do not allow this.".to_owned(),
        ),
    })
}

/// What the form says of the file.
fn described(form: &Form, spelled: &str, project: ProjectName, caller: &Caller) -> Result<Upload, Denied> {
    let filename = FileName::parse(spelled).map_err(|error| bad(error.to_string()))?;
    let version = form
        .text("version")
        .ok_or_else(|| bad("the form has no version"))?;
    let fits = match (form.text("filetype"), filename.kind()) {
        (Some("bdist_wheel"), kind) => kind == FileKind::Wheel,
        (Some("sdist"), kind) => kind == FileKind::Sdist,
        (Some(_), _) => false,
        (None, _) => true,
    };
    if !fits {
        let filetype = form.text("filetype").unwrap_or_default();
        return Err(bad(format!(
            "{filename} is no {filetype}; bdist_wheel (.whl) and sdist (.tar.gz) are taken"
        )));
    }
    let digests = [
        ("sha256", "sha256_digest"),
        ("blake2_256", "blake2_256_digest"),
        ("md5", "md5_digest"),
    ];
    let digests = digests
        .iter()
        .filter_map(|(algorithm, field)| Some((*algorithm, form.text(field)?.to_owned())));
    let attestations = form.text("attestations").filter(|text| *text != "[]");
    let publisher = json!({ "kind": "pypicache", "claims": { "name": caller.name() } });
    let attestations = attestations
        .map(|text| Attestations::parse(text, publisher))
        .transpose();
    Ok(Upload {
        version: version.to_owned(),
        digests: digests.collect(),
        attestations: attestations.map_err(|error| bad(error.to_string()))?,
        uploader: caller.name().map(str::to_owned),
        upload_time: None,
        is_of_old: false,
        filename,
        project,
    })
}

async fn offer(
    site: &Site,
    hosting: &Hosting,
    client_context: &ClientContext,
    upload: Upload,
    received: ReceivedUpload,
) -> Result<String, Denied> {
    let (filename, project, version) = (
        upload.filename.clone(),
        upload.project.clone(),
        upload.version.clone(),
    );
    let source = hosting.source.name();
    match hosting.source.publish(upload, received).await {
        Ok(Published::New(sha256)) => {
            site.metrics.note_upload("new");
            tracing::info!(file = %filename, source, %sha256, by = client_context.caller.name().unwrap_or("-"), "uploaded");
            site.note(&Event {
                project: Some(project.to_string()),
                version: Some(version),
                files: vec![filename.to_string()],
                sha256: Some(sha256.to_hex()),
                source: Some(source.to_owned()),
                ..client_context.event("upload")
            });
            Ok(format!("{filename} is offered from now on (sha256 {sha256}).\n"))
        }
        Ok(Published::Known(sha256)) => Ok(format!(
            "{filename} is offered already, with the same bytes (sha256 {sha256}).\n"
        )),
        Err(error) => Err(publish_denied(error)),
    }
}

fn publish_denied(error: PublishError) -> Denied {
    match error {
        PublishError::Storage(cause) => storage_denied(&cause),
        PublishError::Busy(cause) => {
            tracing::error!(%cause, "an upload cannot be kept now");
            let detail = "something else holds the records of this server locked; nothing of the file stays, try again later";
            (StatusCode::SERVICE_UNAVAILABLE, detail.to_owned())
        }
        PublishError::Exists(_) => (StatusCode::CONFLICT, error.to_string()),
        PublishError::Closed { .. } => (StatusCode::FORBIDDEN, error.to_string()),
        other => bad(other.to_string()),
    }
}

fn form_denied(error: FormError) -> Denied {
    match error {
        FormError::Malformed(detail) => bad(detail),
        FormError::TooLarge(detail) => (StatusCode::PAYLOAD_TOO_LARGE, detail),
        FormError::Silent => (
            StatusCode::REQUEST_TIMEOUT,
            "the upload came to a halt".to_owned(),
        ),
        FormError::Storage(error) => source_denied(error),
    }
}

/// Room may be made and tried again; what is damaged or forbidden stays so until somebody mends it. Paths of this machine are for
/// the log only.
fn storage_denied(error: &std::io::Error) -> Denied {
    use std::io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull};
    tracing::error!(%error, "an upload cannot be kept");
    let (status, detail) = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => (
            StatusCode::INSUFFICIENT_STORAGE,
            "the server has no room for the file; nothing of it stays, try again later",
        ),
        InvalidData => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "what the server has of this project is damaged, and nothing of the file stays; its log says which file, which has to \
             be restored from a backup",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server's storage failed, and nothing of the file stays; its log says why",
        ),
    };
    (status, detail.to_owned())
}

fn source_denied(error: SourceError) -> Denied {
    match error {
        SourceError::Storage { cause, .. } => storage_denied(&cause),
        error => storage_denied(&std::io::Error::other(error)),
    }
}

fn bad(detail: impl Into<String>) -> Denied {
    (StatusCode::BAD_REQUEST, detail.into())
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "Too large",
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::INTERNAL_SERVER_ERROR => "Not kept",
        StatusCode::SERVICE_UNAVAILABLE => "Could not tell",
        StatusCode::REQUEST_TIMEOUT => "Too slow",
        _ => "Not taken",
    }
}
