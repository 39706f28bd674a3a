//! Whether a project's name, or a file's in another's project, is ours to give.

use hyper::StatusCode;
use pypicache_core::hosted_source::Upload;
use pypicache_core::model::{FileEntry, FileKind, ProjectName};
use pypicache_core::source::{Answer, IndexSource as _, RequestContext};

use super::{Denied, bad, source_denied};
use crate::site::{Hosting, Index};

/// A new name must be ours: claimed by the configuration, or unknown to whoever answers for it now.
pub(super) async fn is_ours(index: &Index, hosting: &Hosting, upload: &Upload) -> Result<(), Denied> {
    let project = &upload.project;
    let storage = source_denied;
    if hosting.overlays_project(project) {
        return is_told_apart(index, upload).await;
    }
    if hosting.claims(project) || hosting.source.record(project).await.map_err(storage)?.is_some() {
        return Ok(());
    }
    let how = format!(
        "to host it here, claim the name in the configuration (projects = [\"{project}\"] at a hosted source)"
    );
    match index.behind.page(project, &RequestContext::default()).await {
        Ok(Answer::NotFound(_)) => Ok(()),
        Ok(_) => Err((
            StatusCode::CONFLICT,
            format!(
                "the project {project} exists already at a source behind this one, and who installs it would get yours; {how}"
            ),
        )),
        Err(error) => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "whether the project {project} exists elsewhere cannot be told now ({}); {how}",
                error.chain()
            ),
        )),
    }
}

/// A file that is added to another's project has to be told from the project's own: by a local version or a build tag.
async fn is_told_apart(index: &Index, upload: &Upload) -> Result<(), Denied> {
    let (project, name) = (&upload.project, &upload.filename);
    let version = name.version_for(project);
    let has_build_tag = name.kind() == FileKind::Wheel && name.as_str().split('-').count() == 6;
    if !has_build_tag && !version.is_some_and(|version| version.is_local()) {
        let how = "raise a local version (2.1+acme.1), or give the wheel a build tag (name-2.1-1acme-...)";
        return Err(bad(format!(
            "{project} is another's project, to which files are added that can be told apart: {how}"
        )));
    }
    match index.behind.page(project, &RequestContext::default()).await {
        Ok(Answer::Found(reply)) => {
            let is_theirs = |file: &FileEntry| {
                file.filename == *name && file.path.source() != index_source(index, project)
            };
            match reply.page.files.iter().any(is_theirs) {
                true => Err((
                    StatusCode::CONFLICT,
                    format!("File already exists: {name} is one of {project}'s own files"),
                )),
                false => Ok(()),
            }
        }
        Ok(_) => Ok(()),
        Err(error) => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "whether {project} has this file itself cannot be told now ({})",
                error.chain()
            ),
        )),
    }
}

fn index_source<'a>(index: &'a Index, project: &ProjectName) -> &'a str {
    index
        .hosting_for(project)
        .map_or("", |hosting| hosting.source.name())
}
