//! From a received file to an offered one: is it what it says, may it come, and then at once and for good.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::str::FromStr as _;

use bytes::Bytes;
use pep440_rs::Version;

use super::disk::Disk;
use super::provenance::Attestations;
use super::record::{HostedFile, State};
use super::upload_writer::ReceivedUpload;
use super::{HostedSource, Shared};
use crate::archive::{ExamineError, examine, header, sdist_metadata, wheel_metadata};
use crate::model::{FileKind, FileName, ProjectName, Sha256, Yanked};
use crate::source::{READ_CHUNK, Sibling};

/// What an uploader says of a file.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The file's name.
    pub filename: FileName,
    /// The project.
    pub project: ProjectName,
    /// The release, as the uploader spells it.
    pub version: String,
    /// Digests that the file has to have: the algorithm (`sha256`, `blake2_256`, `md5`) and its hexadecimal digits.
    pub digests: Vec<(&'static str, String)>,
    /// Attestations (PEP 740).
    pub attestations: Option<Attestations>,
    /// Who uploads it.
    pub uploader: Option<String>,
    /// When it was uploaded to where it comes from (RFC 3339, UTC); without, now.
    pub upload_time: Option<String>,
    /// It comes from a collection of one's own that was made by other rules: it is taken as it is, under whatever name, and
    /// without METADATA where none can be read.
    pub is_of_old: bool,
}

/// What became of a file that may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is offered from now on.
    New(Sha256),
    /// It was offered already, with the same bytes.
    Known(Sha256),
}

/// Why a file is not offered. Nothing of it stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is not what it says, or nothing that is taken.
    #[error("{0}")]
    Refused(String),
    /// The name stands for other bytes.
    #[error("File already exists: {0}")]
    Exists(String),
    /// The project takes no uploads.
    #[error("the project {project} is {status} and takes no uploads")]
    Closed {
        /// Which.
        project: ProjectName,
        /// Its status (PEP 792).
        status: String,
    },
    /// Somebody else has been changing records for too long: to be tried again later.
    #[error("the file cannot be kept now")]
    Busy(#[source] io::Error),
    /// This machine's disk failed.
    #[error("the file cannot be kept")]
    Storage(#[source] io::Error),
}

impl From<ExamineError> for PublishError {
    fn from(error: ExamineError) -> Self {
        match error {
            ExamineError::Refused(why) => Self::Refused(why),
            ExamineError::Unreadable(cause) => Self::Storage(cause),
        }
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ResourceBusy => Self::Busy(error),
            _ => Self::Storage(error),
        }
    }
}

impl HostedSource {
    /// Examines a received file and offers it. When this is done, a power cut does not undo it.
    pub async fn publish(&self, upload: Upload, received: ReceivedUpload) -> Result<Published, PublishError> {
        let examined = {
            let (upload, file) = (upload.clone(), received.staging.file().clone());
            let sha256 = received.sha256;
            let work = move || {
                let examined = examined(&upload, &file, sha256)?;
                // Here, where nobody waits for it: large files take their time.
                file.sync_data()?;
                Ok(examined)
            };
            offload(work).await?
        };
        let _turn = self.shared.turn().await?;
        let shared = self.shared.clone();
        offload(move || shared.offer(upload, received, &examined)).await
    }
}

/// UTF-8's.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(PublishError::Storage(io::Error::other(error))))
}

/// What the file itself says.
struct Examined {
    version: String,
    requires_python: Option<String>,
    metadata: Option<Bytes>,
}

fn examined(upload: &Upload, file: &File, sha256: Sha256) -> Result<Examined, PublishError> {
    let refused = |why: String| Err(PublishError::Refused(why));
    for (algorithm, digits) in &upload.digests {
        let found = digest(algorithm, file, sha256)?;
        if !found.eq_ignore_ascii_case(digits) {
            return refused(format!(
                "the {algorithm} digest of {} is {found}, not {digits} as announced",
                upload.filename
            ));
        }
    }
    if upload.is_of_old {
        return Ok(of_old(upload, file));
    }
    check_name(upload)?;
    let metadata = examine(file, &upload.filename)?;
    if std::str::from_utf8(&metadata).is_err() {
        return refused("METADATA is not UTF-8".to_owned());
    }
    let of = |name| header(&metadata, name).unwrap_or_default();
    let (name, version) = (of("Name"), of("Version"));
    check_metadata_version(&metadata)?;
    if ProjectName::parse(&name).ok().as_ref() != Some(&upload.project) {
        return refused(format!(
            "METADATA names the project {name:?}, not {}",
            upload.project
        ));
    }
    if !same_version(&version, &upload.version) {
        return refused(format!(
            "METADATA tells version {version:?}, not {:?}",
            upload.version
        ));
    }
    if let Some(attestations) = &upload.attestations {
        let fits = attestations.check(&upload.filename, sha256);
        fits.map_err(|error| PublishError::Refused(error.to_string()))?;
    }
    Ok(Examined {
        version,
        requires_python: header(&metadata, "Requires-Python"),
        metadata: (upload.filename.kind() == FileKind::Wheel).then_some(metadata),
    })
}

/// "If a tool sees a metadata-version with an unsupported major version, it must fail" (core metadata specification); a newer
/// minor version has fields that nobody needs to know.
fn check_metadata_version(metadata: &[u8]) -> Result<(), PublishError> {
    let refused = |why: String| Err(PublishError::Refused(why));
    if metadata.starts_with(BYTE_ORDER_MARK) {
        return refused(
            "METADATA begins with a byte order mark, behind which installers find no field: write it without"
                .to_owned(),
        );
    }
    let version = header(metadata, "Metadata-Version").unwrap_or_default();
    match version.split_once('.') {
        Some(("1" | "2", minor)) if minor.parse::<u32>().is_ok() => Ok(()),
        _ if version.is_empty() => refused("METADATA has no Metadata-Version".to_owned()),
        _ => refused(format!(
            "METADATA has Metadata-Version {version:?}; versions 1.x and 2.x are understood"
        )),
    }
}

/// What can be read of a file that is taken in any case.
fn of_old(upload: &Upload, file: &File) -> Examined {
    let mut reader = io::BufReader::new(file);
    let read = |reader| match upload.filename.kind() {
        FileKind::Wheel => wheel_metadata(reader, &upload.filename),
        _ => sdist_metadata(reader, upload.filename.as_str()),
    };
    let metadata = reader.rewind().ok().and_then(|()| read(reader).ok());
    Examined {
        version: upload.version.clone(),
        requires_python: metadata
            .as_deref()
            .and_then(|metadata| header(metadata, "Requires-Python")),
        metadata: metadata.filter(|_| upload.filename.kind() == FileKind::Wheel),
    }
}

/// The file's name has to say the same project and version as the uploader, and be spelled as its kind demands.
fn check_name(upload: &Upload) -> Result<(), PublishError> {
    let name = upload.filename.as_str();
    let refused = |why: &str| Err(PublishError::Refused(format!("{name}: {why}")));
    let Ok(version) = Version::from_str(&upload.version) else {
        return Err(PublishError::Refused(format!(
            "{:?} is no version (PEP 440)",
            upload.version
        )));
    };
    if upload.filename.version_for(&upload.project) != Some(version) {
        let (project, version) = (&upload.project, &upload.version);
        return Err(PublishError::Refused(format!(
            "{name} is no file name of {project} {version}"
        )));
    }
    match upload.filename.kind() {
        FileKind::Wheel if !is_wheel_name(name) => {
            refused("the name of a wheel is name-version[-build]-python-abi-platform.whl")
        }
        FileKind::Wheel => Ok(()),
        _ => {
            let normal = upload.project.as_str().replace('-', "_");
            match name
                .strip_prefix(&normal)
                .is_some_and(|rest| rest.starts_with('-'))
                && name.ends_with(".tar.gz")
            {
                true => Ok(()),
                false => refused(&format!(
                    "a source distribution of {0} is named {normal}-<version>.tar.gz (PEP 625)",
                    upload.project
                )),
            }
        }
    }
}

/// PEP 427: five parts, or six with a build tag, which begins with a digit.
fn is_wheel_name(name: &str) -> bool {
    let parts: Vec<_> = name.trim_end_matches(".whl").split('-').collect();
    let is_tag = |tag: &&str| {
        !tag.is_empty()
            && tag
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
    };
    let build_fits = parts.len() != 6 || parts[2].starts_with(|c: char| c.is_ascii_digit());
    matches!(parts.len(), 5 | 6) && build_fits && parts[2..].iter().all(is_tag)
}

fn same_version(one: &str, other: &str) -> bool {
    matches!((Version::from_str(one), Version::from_str(other)), (Ok(one), Ok(other)) if one == other)
}

/// The digest in hexadecimal. SHA-256 is known; the others are seldom announced and worked out anew.
fn digest(algorithm: &str, file: &File, sha256: Sha256) -> io::Result<String> {
    match algorithm {
        "blake2_256" => hashed::<blake2::Blake2b<blake2::digest::consts::U32>>(file),
        "md5" => hashed::<md5::Md5>(file),
        _ => Ok(sha256.to_hex()),
    }
}

fn hashed<H: md5::Digest>(mut file: &File) -> io::Result<String> {
    let (mut hasher, mut buffer) = (H::new(), vec![0; READ_CHUNK]);
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

impl Shared {
    /// Files first, the record last: what it names is there.
    fn offer(
        &self,
        upload: Upload,
        received: ReceivedUpload,
        examined: &Examined,
    ) -> Result<Published, PublishError> {
        let lock = self.disk.lock()?;
        let (project, filename) = (&upload.project, &upload.filename);
        let mut record = self.disk.read(project)?.unwrap_or_default();
        let sha256 = received.sha256;
        if let Some(known) = record.file(filename) {
            return match &known.state {
                State::Offered if known.sha256 == sha256 => Ok(Published::Known(sha256)),
                State::Offered => Err(PublishError::Exists(format!(
                    "{filename} has other bytes (sha256 {}); raise the version or add a build tag",
                    known.sha256
                ))),
                _ => Err(PublishError::Exists(format!(
                    "{filename} was deleted, and its name is not used again; whoever manages the project may restore it"
                ))),
            };
        }
        if !record.takes_uploads() {
            let status = record.status.marker.clone();
            return Err(PublishError::Closed {
                project: project.clone(),
                status,
            });
        }
        let provenance = upload.attestations.as_ref().map(Attestations::provenance);
        let mut siblings: Vec<(&str, &[u8])> = Vec::new();
        siblings.extend(
            examined
                .metadata
                .as_deref()
                .map(|bytes| (Sibling::Metadata.suffix(), bytes)),
        );
        siblings.extend(
            provenance
                .as_deref()
                .map(|bytes| (Disk::provenance_suffix(), bytes)),
        );
        let staged = (received.staging, sha256);
        self.disk.place(project, filename, staged, &siblings)?;
        record.files.push(HostedFile {
            filename: filename.clone(),
            version: examined.version.clone(),
            sha256,
            size: received.size,
            upload_time: upload.upload_time.unwrap_or_else(|| self.now()),
            uploader: upload.uploader,
            requires_python: examined.requires_python.clone(),
            metadata: examined.metadata.as_deref().map(Sha256::of),
            has_provenance: provenance.is_some(),
            yanked: Yanked::No,
            state: State::Offered,
        });
        self.disk.write(project, &record, &lock)?;
        self.pages.forget(project);
        Ok(Published::New(sha256))
    }

    /// The time of day as pages tell it.
    pub(super) fn now(&self) -> String {
        let now = jiff::Timestamp::try_from(self.options.clock.now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{now:.6}")
    }
}
