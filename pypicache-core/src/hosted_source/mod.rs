//! Projects that were uploaded here: this tier is their origin.
//!
//! This is the one source that can be written to: [`HostedSource::receive`] takes a file's bytes, [`HostedSource::publish`]
//! examines and offers it, [`HostedSource::change`] yanks, deletes, restores and closes. It knows no HTTP and no users: who
//! may do these things is the caller's matter. It is no cache either: nothing here is ever evicted.
//!
//! ```text
//! <directory>/
//!   projects/<project>.json              what there is of a project: the truth, replaced as a whole
//!   files/<project>/<file>               the distributions themselves, under their own names
//!   files/<project>/<file>.metadata      METADATA of wheels (PEP 658)
//!   files/<project>/<file>.provenance    attestations (PEP 740), as they are served
//!   orphaned/<project>/<file>            what no record names, moved aside; nothing here is ever removed
//!   staging/                             being received; leftovers are removed at start
//!   lock                                 held by whoever changes a project's record, in any process
//! ```
//!
//! Files are synced and renamed to their place first, the record afterwards, each with its directory: what was answered
//! for survives a power cut, and a file that no record names does not exist. Readers look at the record anew for each
//! request (its inode and times only), so a change by any process is seen by the next answer.
//!
//! A file name stands for the same bytes for ever, deleted or not: lower tiers and lock files hold on to them.
//!
//! Imports: `archive`, `local_fs`, `model`, `source`, `store`.

mod archive_frame;
mod backup;
mod disk;
mod manage;
mod page;
mod provenance;
mod publish;
mod record;
mod restore;
mod sweep;
mod upload_writer;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

pub use archive_frame::{BackupDamage, BackupEnd, BackupMissing, BackupWriter, check_backup};
pub use manage::{FileSelector, ManageAction, ManageError};
pub use provenance::{Attestations, AttestationsError};
pub use publish::{PublishError, Published, Upload};
pub use record::{HostedFile, ProjectRecord, State};
pub use restore::{BackupEntry, Restored};
pub use sweep::Swept;
pub use upload_writer::{ReceivedUpload, UploadWriter};

use crate::Clock;
use crate::model::{FileName, FilePath, ProjectList, ProjectName, Sha256};
use crate::source::{
    Answer, Body, CacheStatus, FileReply, FileRequest, Freshness, IndexSource, ListReply, LocalFile,
    PageReply, RequestContext, Sibling, SourceError,
};
use disk::Disk;

/// How long one waits until it is one's turn to change something. Longer than one wait for the lock on the disk.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);

/// How a hosted source behaves.
#[derive(Debug, Clone)]
pub struct HostedOptions {
    /// How long deleted files can be restored. Default: 30 days.
    pub retention: Duration,
    /// Where this server is reached from outside: attestations are linked below it (PEP 740 wants absolute links).
    /// Default: nowhere, so that pages do not link them.
    pub external_url: Option<Url>,
    /// What tells the time of uploads.
    pub clock: Clock,
}

impl Default for HostedOptions {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(30 * 86_400),
            external_url: None,
            clock: Clock::system(),
        }
    }
}

/// A source whose files are uploaded.
///
/// ```
/// use pypicache_core::hosted_source::{HostedOptions, HostedSource};
/// use pypicache_core::model::ProjectName;
/// use pypicache_core::source::IndexSourceExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let ours = HostedSource::open("private", directory.path(), HostedOptions::default())?;
/// assert!(ours.get_page(&ProjectName::parse("acme-tools")?).await?.is_none(), "nobody uploaded it yet");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HostedSource {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    disk: Disk,
    options: HostedOptions,
    pages: page::Pages,
    /// Held by whoever changes a record in this process, so that only one thread waits for the lock on the disk.
    changing: tokio::sync::Mutex<()>,
}

impl HostedSource {
    /// The projects below `directory`, which is made where there is none.
    pub fn open(name: &str, directory: impl Into<PathBuf>, options: HostedOptions) -> io::Result<Self> {
        let shared = Shared {
            name: name.into(),
            disk: Disk::open(directory.into())?,
            options,
            pages: page::Pages::new(),
            changing: tokio::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The first segment of its files' paths.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Projects whose record is damaged, as far as they were asked for since the source was opened.
    #[must_use]
    pub fn damaged(&self) -> Vec<ProjectName> {
        self.shared.disk.damaged()
    }

    /// Everything that is written to disk of a project, deleted files too; `None` where nobody ever uploaded it.
    pub async fn record(&self, project: &ProjectName) -> Result<Option<ProjectRecord>, SourceError> {
        let wanted = project.clone();
        let read = move |shared: &Shared| shared.disk.read(&wanted);
        self.offload(format!("the record of {project}"), read).await
    }

    /// The attestations of a file as PEP 740 wants them served; `None` where there are none.
    pub async fn provenance(
        &self,
        project: &ProjectName,
        filename: &FileName,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let (project, filename) = (project.clone(), filename.clone());
        let asked = format!("the provenance of {filename}");
        let read = move |shared: &Shared| match shared.look_up(&project, &filename)? {
            Some(file) if file.has_provenance => shared.disk.provenance(&project, &filename),
            _ => Ok(None),
        };
        self.offload(asked, read).await
    }

    /// Runs disk work off the runtime's threads.
    async fn offload<T: Send + 'static>(
        &self,
        asked: String,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SourceError> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        let done = done.map_err(io::Error::other).and_then(|done| done);
        done.map_err(|cause| self.shared.storage(asked, cause))
    }
}

impl Shared {
    /// Waits until nobody else in this process changes a record, but not for ever.
    async fn turn(&self) -> io::Result<tokio::sync::MutexGuard<'_, ()>> {
        let turn = tokio::time::timeout(QUEUE_LIMIT, self.changing.lock()).await;
        turn.map_err(|_| {
            let text = format!(
                "others have been changing {} for more than {} s",
                self.disk,
                QUEUE_LIMIT.as_secs()
            );
            io::Error::new(io::ErrorKind::ResourceBusy, text)
        })
    }

    fn storage(&self, asked: String, cause: io::Error) -> SourceError {
        SourceError::Storage {
            asked: asked.into(),
            place: self.disk.to_string().into(),
            cause: Arc::new(cause),
        }
    }

    /// A file that is offered.
    fn look_up(&self, project: &ProjectName, filename: &FileName) -> io::Result<Option<HostedFile>> {
        let Some(record) = self.disk.read(project)? else {
            return Ok(None);
        };
        if record.is_quarantined() {
            return Ok(None);
        }
        let mut files = record.files.into_iter();
        Ok(files.find(|file| file.filename == *filename && file.state == State::Offered))
    }

    /// The project and name that a path of ours means.
    fn parts(&self, path: &FilePath) -> Option<(ProjectName, FileName)> {
        let rest = path.as_str().strip_prefix(&*self.name)?.strip_prefix('/')?;
        let (project, name) = rest.split_once('/')?;
        let parsed = ProjectName::parse(project)
            .ok()
            .filter(|parsed| parsed.as_str() == project)?;
        (!name.contains('/')).then(|| (parsed, path.file_name()))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for HostedSource {
    async fn projects(&self, _ask: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        let names = |shared: &Shared| shared.disk.projects();
        let names = self.offload("the project list".to_owned(), names).await?;
        Ok(Answer::Found(ListReply {
            list: Arc::new(names.into_iter().collect::<ProjectList>()),
            freshness: only_now(),
            cache_status: CacheStatus::default(),
        }))
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let asked = || format!("the page of {project}");
        // One look at a record's times, for names that are not hosted too: not worth a thread of its own.
        let stamp = self.shared.disk.stamp(project);
        let Some(stamp) = stamp.map_err(|cause| self.shared.storage(asked(), cause))? else {
            return Ok(Answer::NotFound(only_now()));
        };
        let (page, validators) = match self.shared.pages.get(project, stamp) {
            Some(known) => known,
            None => {
                let wanted = project.clone();
                let read = move |shared: &Shared| shared.read_page(&wanted);
                let Some(page) = self.offload(asked(), read).await? else {
                    return Ok(Answer::NotFound(only_now()));
                };
                page
            }
        };
        if context.validators.as_ref() == Some(&validators) {
            return Ok(Answer::NotModified(only_now()));
        }
        Ok(Answer::Found(PageReply {
            page,
            freshness: only_now(),
            validators: Some(validators),
            cache_status: CacheStatus::default(),
        }))
    }

    async fn file(
        &self,
        request: &FileRequest,
        _ask: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let Some((project, filename)) = self.shared.parts(&request.path) else {
            return Ok(Answer::NotFound(only_now()));
        };
        let sibling = request.sibling;
        let open = move |shared: &Shared| {
            let Some(file) = shared.look_up(&project, &filename)? else {
                return Ok(None);
            };
            let sha256 = match (sibling, file.metadata) {
                (Sibling::File, _) => file.sha256,
                (Sibling::Metadata, Some(metadata)) => metadata,
                (Sibling::Metadata, None) => return Ok(None),
            };
            let file = shared.disk.open_file(&project, &filename, sibling)?;
            Ok(Some((file, sha256)))
        };
        let Some((file, sha256)) = self.offload(request.path.to_string(), open).await? else {
            return Ok(Answer::NotFound(only_now()));
        };
        let body = whole(file).map_err(|cause| self.shared.storage(request.path.to_string(), cause))?;
        FileReply::of_whole(body, sha256, request).map(Answer::Found)
    }
}

fn whole(file: File) -> io::Result<Body> {
    let length = file.metadata()?.len();
    Ok(Body::File(LocalFile {
        file: Arc::new(file),
        offset: 0,
        length,
    }))
}

/// The next upload may come at any moment: a word counts for the moment it is given.
fn only_now() -> Freshness {
    Freshness::new(Duration::ZERO)
}

/// Digest of a record: changes whenever it does.
fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Sha256::of(bytes))
}

impl fmt::Display for HostedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hosted {} ({})", self.shared.name, self.shared.disk)
    }
}

impl fmt::Debug for HostedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostedSource({self})")
    }
}
