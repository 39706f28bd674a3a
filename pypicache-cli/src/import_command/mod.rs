//! `pypicache import`: moving in from a folder of packages, however another server laid it out.

mod devpi;
mod folder;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use bytes::Bytes;
use pypicache_core::archive::{header, sdist_metadata};
use pypicache_core::hosted_source::{HostedSource, PublishError, Published, Upload};
use pypicache_core::local_fs::Beneath;
use pypicache_core::model::{FileKind, FileName, ProjectName, Version};
use pypicache_server::observe::audit::{Audit, Event};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::args::ImportArgs;
use crate::data::Data;
use crate::output::{print_line, report_line};
use crate::{FAILED, OK, WRONG_USE, error_chain};

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// A file that may be brought in.
pub(crate) struct Candidate {
    /// Below the folder.
    pub(crate) path: PathBuf,
    pub(crate) filename: FileName,
    /// When it was uploaded, as far as that is known (RFC 3339, UTC).
    pub(crate) upload_time: Option<String>,
}

/// What there is in the folder.
#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    /// What is not even tried, with the reason.
    left_out: Vec<(PathBuf, &'static str)>,
}

impl Found {
    fn leave_out(&mut self, path: &Path, why: &'static str) {
        self.left_out.push((path.to_owned(), why));
    }
}

/// Why a file is not brought in.
enum Failure {
    /// It is this file's.
    File(String),
    /// No other one would be either.
    All(String),
}

/// What became of the files.
#[derive(Default)]
struct Outcome {
    new: usize,
    known: usize,
    failed: usize,
}

pub(crate) fn import(options: &ImportArgs) -> u8 {
    match imported(options) {
        Ok(outcome) => {
            let verb = if options.dry_run {
                "would be brought in"
            } else {
                "brought in"
            };
            print_line!(
                "{} {verb}, {} there already, {} left out",
                outcome.new,
                outcome.known,
                outcome.failed
            );
            if outcome.failed == 0 { OK } else { FAILED }
        }
        Err(code) => code,
    }
}

fn imported(options: &ImportArgs) -> Result<Outcome, u8> {
    let data = Data::load(&options.data)?;
    let source = data.one(options.source.as_deref())?;
    let (root, found) = find(&options.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            report_line!("error: {error}");
            FAILED
        })?;
    let mut outcome = Outcome::default();
    for (path, why) in found.left_out {
        outcome.leave_out(&path, why);
    }
    for candidate in found.candidates {
        let file = match root.file(&candidate.path) {
            Ok(file) => file,
            Err(error) => {
                outcome.leave_out(&candidate.path, &error.to_string());
                continue;
            }
        };
        if options.dry_run {
            print_line!("{}", root.path().join(&candidate.path).display());
            outcome.new += 1;
            continue;
        }
        match runtime.block_on(bring_in(&source, &candidate, file)) {
            Ok((upload, Published::New(sha256))) => {
                outcome.new += 1;
                print_line!("{}", candidate.filename);
                note(&data.audit, &source, &upload, &sha256.to_hex());
            }
            Ok((_, Published::Known(_))) => outcome.known += 1,
            Err(Failure::File(problem)) => outcome.leave_out(&candidate.path, &problem),
            Err(Failure::All(problem)) => {
                report_line!("error: {problem}");
                return Err(FAILED);
            }
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn leave_out(&mut self, path: &Path, why: &str) {
        self.failed += 1;
        report_line!("left out: {}: {why}", path.display().to_string().escape_debug());
    }
}

/// The files of a devpi export or server directory, or of any folder.
fn find(path: &Path) -> Result<(Beneath, Found), u8> {
    let found = Beneath::open(path).and_then(|root| {
        let found = match devpi::is_export(&root) {
            true => devpi::candidates(&root)?,
            false => folder::candidates(&root)?,
        };
        Ok((root, found))
    });
    found.map_err(|error| {
        report_line!("error: {} cannot be read: {error}", path.display());
        WRONG_USE
    })
}

fn note(audit: &Audit, source: &HostedSource, upload: &Upload, sha256: &str) {
    audit.note(&Event {
        project: Some(upload.project.to_string()),
        version: Some(upload.version.clone()),
        files: vec![upload.filename.to_string()],
        sha256: Some(sha256.to_owned()),
        source: Some(source.name().to_owned()),
        reason: Some("import".to_owned()),
        ..Event::new("upload")
    });
}

async fn bring_in(
    source: &HostedSource,
    candidate: &Candidate,
    file: File,
) -> Result<(Upload, Published), Failure> {
    let failed = |error: std::io::Error| Failure::File(error.to_string());
    let (project, version) = identity(candidate, &file).map_err(Failure::File)?;
    let mut receiving = source
        .receive()
        .await
        .map_err(|error| Failure::All(error.chain()))?;
    let mut file = tokio::fs::File::from_std(file);
    file.rewind().await.map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).await.map_err(failed)? {
            0 => break,
            count => {
                let piece = Bytes::copy_from_slice(&buffer[..count]);
                receiving
                    .write(&piece)
                    .await
                    .map_err(|error| Failure::File(error.chain()))?;
            }
        }
    }
    let upload = Upload {
        filename: candidate.filename.clone(),
        project,
        version,
        digests: Vec::new(),
        attestations: None,
        uploader: None,
        upload_time: candidate.upload_time.clone(),
        is_of_old: true,
    };
    let received = receiving
        .finish()
        .await
        .map_err(|error| Failure::File(error.chain()))?;
    match source.publish(upload.clone(), received).await {
        Ok(published) => Ok((upload, published)),
        Err(error @ PublishError::Busy(_)) => Err(Failure::All(error_chain(&error))),
        Err(error) => Err(Failure::File(error_chain(&error))),
    }
}

/// Project and version: what the file's name says, or of several readings the one that PKG-INFO says.
fn identity(candidate: &Candidate, file: &File) -> Result<(ProjectName, String), String> {
    let owners = candidate.filename.owners();
    let told = match (candidate.filename.kind(), owners.len()) {
        (FileKind::Sdist, 2..) => told_by_metadata(candidate, file),
        _ => None,
    };
    let chosen = owners
        .iter()
        .find(|(project, _)| told.as_ref().is_some_and(|(name, _)| name == project));
    match chosen.or(owners.first()) {
        Some((project, version)) => Ok((project.clone(), version.to_string())),
        None => Err("its name tells no project and version".to_owned()),
    }
}

fn told_by_metadata(candidate: &Candidate, file: &File) -> Option<(ProjectName, Version)> {
    let metadata = sdist_metadata(std::io::BufReader::new(file), candidate.filename.as_str()).ok()?;
    let name = ProjectName::parse(&header(&metadata, "Name")?).ok()?;
    Some((name, Version::from_str(&header(&metadata, "Version")?).ok()?))
}
