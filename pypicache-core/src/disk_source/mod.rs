//! A live directory of wheels and sdists: drop a file in, and it is listed with all that a page tells.
//!
//! This is an origin, not a cache: what is in the directory exists, what is not does not. Each request looks
//! at the directory anew (names and times only). Digest and METADATA of a file are worked out once, when its
//! project is first asked for, and again only if the file changes. Files in sub-directories count; hidden
//! ones, and links that lead out of the directory, do not.
//!
//! Imports: `archive`, `local_fs`, `model`, `source`.

mod file_info;
mod scan;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::local_fs::Beneath;
use crate::model::{FilePath, ProjectList, ProjectName, ProjectPage, Sha256};
use crate::source::{
    Answer, Body, FileReply, FileRequest, Freshness, IndexSource, ListReply, LocalFile, PageReply,
    RequestContext,
};
use crate::source::{CacheStatus, Sibling, SourceError, Validators};
use file_info::FileInfo;
use scan::{Found, Stamp};

/// A directory whose files are offered as they are.
///
/// ```no_run
/// use pypicache_core::disk_source::DiskSource;
/// use pypicache_core::model::ProjectName;
/// use pypicache_core::source::IndexSourceExt;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let wheels = DiskSource::new("wheels", "/srv/wheels");
/// if let Some(reply) = wheels.get_page(&ProjectName::parse("acme-tools")?).await? {
///     println!("{} files", reply.page.files.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DiskSource {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    directory: PathBuf,
    /// What is known of each file as it stood at its stamp. A std mutex: held for look-ups only.
    file_info: Mutex<HashMap<PathBuf, (Stamp, Arc<FileInfo>)>>,
    /// Held while files are read, so that nobody works out the same digest twice.
    reading: Mutex<()>,
    /// The last page of each project, given again while nothing changed.
    pages: Mutex<HashMap<ProjectName, Arc<ProjectPage>>>,
}

impl DiskSource {
    /// The files below `directory`, offered by a source of this name. Nothing is read yet.
    pub fn new(name: &str, directory: impl Into<PathBuf>) -> Self {
        let shared = Shared {
            name: name.into(),
            directory: directory.into(),
            file_info: Mutex::default(),
            reading: Mutex::default(),
            pages: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs disk work off the runtime's threads.
    async fn offload<T: Send + 'static>(
        &self,
        asked: String,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SourceError> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(io::Error::other)
            .and_then(|done| done);
        done.map_err(|error| SourceError::Storage {
            asked: asked.into(),
            place: self.shared.directory.display().to_string().into(),
            cause: Arc::new(error),
        })
    }
}

impl Shared {
    /// The project's page, `None` where no file belongs to it.
    fn page(&self, project: &ProjectName) -> io::Result<Option<Arc<ProjectPage>>> {
        let found: Vec<Found> = scan::scan(&self.directory)?
            .into_iter()
            .filter(|file| file.project == *project)
            .collect();
        let mut page = ProjectPage::new(project.clone());
        let mut versions = BTreeMap::new();
        for file in &found {
            let Some(file_info) = self.facts_of(file) else {
                continue;
            };
            let path = format!("{}/{}", self.name, file.relative);
            let Ok(path) = FilePath::new(&path) else { continue };
            let entry = file_info.entry(path, file);
            // No name twice on a page: the first by path counts, and two files never mix.
            if let Some(first) = page.files.iter().find(|first| first.filename == entry.filename) {
                if first.hashes != entry.hashes {
                    tracing::warn!(first = %first.path, second = %entry.path, "two files have one name and different bytes; the first is offered");
                }
                continue;
            }
            page.files.push(entry);
            versions.insert(file.version.clone(), file.version.to_string());
        }
        if page.files.is_empty() {
            return Ok(None);
        }
        page.versions = Some(versions.into_values().collect());
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pages.get(project).filter(|known| ***known == page) {
            return Ok(Some(known.clone()));
        }
        let page = Arc::new(page);
        pages.insert(project.clone(), page.clone());
        Ok(Some(page))
    }

    /// What is known of a file, worked out where it is new or has changed. `None` (with a word in the log)
    /// where it cannot be read.
    fn facts_of(&self, file: &Found) -> Option<Arc<FileInfo>> {
        let known = || {
            let file_info = self.file_info.lock().unwrap_or_else(PoisonError::into_inner);
            file_info
                .get(&file.path)
                .filter(|(stamp, _)| *stamp == file.stamp)
                .map(|(_, file_info)| file_info.clone())
        };
        if let Some(file_info) = known() {
            return Some(file_info);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file_info) = known() {
            return Some(file_info);
        }
        match self
            .open(file)
            .and_then(|open| FileInfo::read(open, &file.path, &file.name))
        {
            Ok(file_info) => {
                let file_info = Arc::new(file_info);
                let mut all = self.file_info.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(file.path.clone(), (file.stamp, file_info.clone()));
                Some(file_info)
            }
            Err(error) => {
                tracing::warn!(path = %file.path.display(), %error, "a file cannot be read and is not listed");
                None
            }
        }
    }

    /// Opens a file that was found: what has been put in its place since is not followed anywhere.
    fn open(&self, file: &Found) -> io::Result<std::fs::File> {
        Beneath::open(&self.directory)?.file(Path::new(&file.relative))
    }

    /// The file that a request is about, with what is known of it.
    fn file(&self, path: &FilePath) -> io::Result<Option<(Found, Arc<FileInfo>)>> {
        let Some(relative) = path
            .as_str()
            .strip_prefix(&*self.name)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return Ok(None);
        };
        let found = scan::look_at(&self.directory, relative)?;
        Ok(found.and_then(|found| self.facts_of(&found).map(|file_info| (found, file_info))))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for DiskSource {
    async fn projects(&self, _ask: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        let found = self
            .offload("the project list".to_owned(), |shared| {
                scan::scan(&shared.directory)
            })
            .await?;
        let list: ProjectList = found.into_iter().map(|file| file.project).collect();
        Ok(Answer::Found(ListReply {
            list: Arc::new(list),
            freshness: only_now(),
            cache_status: CacheStatus::default(),
        }))
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let wanted = project.clone();
        let page = self
            .offload(format!("the page of {project}"), move |shared| {
                shared.page(&wanted)
            })
            .await?;
        let Some(page) = page else {
            return Ok(Answer::NotFound(only_now()));
        };
        let validators = Some(Validators {
            upstream: self.shared.name.clone(),
            etag: Some(tag(&page)),
            last_modified: None,
        });
        if context.validators.is_some() && context.validators == validators {
            return Ok(Answer::NotModified(only_now()));
        }
        Ok(Answer::Found(PageReply {
            page,
            freshness: only_now(),
            validators,
            cache_status: CacheStatus::default(),
        }))
    }

    async fn file(
        &self,
        request: &FileRequest,
        _ask: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let path = request.path.clone();
        let found = self.offload(request.path.to_string(), move |shared| {
            let Some((found, file_info)) = shared.file(&path)? else {
                return Ok(None);
            };
            Ok(Some((shared.open(&found)?, found.stamp.size, file_info)))
        });
        let Some((file, size, file_info)) = found.await? else {
            return Ok(Answer::NotFound(only_now()));
        };
        let whole = match (request.sibling, &file_info.metadata) {
            (Sibling::File, _) => Body::File(LocalFile {
                file: Arc::new(file),
                offset: 0,
                length: size,
            }),
            (Sibling::Metadata, Some(metadata)) => Body::Bytes(metadata.clone()),
            (Sibling::Metadata, None) => return Ok(Answer::NotFound(only_now())),
        };
        let sha256 = match &whole {
            Body::Bytes(bytes) => Sha256::of(bytes),
            _ => file_info.sha256,
        };
        FileReply::of_whole(whole, sha256, request).map(Answer::Found)
    }
}

/// A directory may change at any moment: its word counts for the moment it is given.
fn only_now() -> Freshness {
    Freshness::new(Duration::ZERO)
}

/// Changes whenever a file comes, goes or changes.
fn tag(page: &ProjectPage) -> String {
    let mut hasher = crate::model::Sha256Hasher::default();
    for file in &page.files {
        hasher.update(file.path.as_str().as_bytes());
        hasher.update(
            file.hashes
                .get_sha256()
                .map(Sha256::to_hex)
                .unwrap_or_default()
                .as_bytes(),
        );
        hasher.update(file.upload_time.as_deref().unwrap_or_default().as_bytes());
    }
    format!("\"{}\"", hasher.finish())
}

impl fmt::Display for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "disk {} ({})",
            self.shared.name,
            self.shared.directory.display()
        )
    }
}

impl fmt::Debug for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskSource({self})")
    }
}

#[cfg(test)]
mod tests;
