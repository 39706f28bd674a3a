//! `pypicache import`: moving in from a folder of packages, however another server laid it out.

mod devpi;
mod folder;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use bytes::Bytes;
use pypicache_core::archive::{header, sdist_metadata};
use pypicache_core::hosted_source::{HostedSource, PublishError, Published, Upload};
use pypicache_core::model::{FileKind, FileName, ProjectName, Version};
use pypicache_server::observe::audit::{Audit, Event};
use tokio::io::AsyncReadExt as _;

use crate::args::ImportArgs;
use crate::data::Data;
use crate::{FAILED, OK, WRONG_USE};

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// A file that may be brought in.
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) filename: FileName,
    /// When it was uploaded, as far as that is known (RFC 3339, UTC).
    pub(crate) upload_time: Option<String>,
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
            anstream::println!(
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
    let candidates = candidates(&options.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            anstream::eprintln!("error: {error}");
            FAILED
        })?;
    let mut outcome = Outcome::default();
    for candidate in candidates {
        if options.dry_run {
            anstream::println!("{}", candidate.path.display());
            outcome.new += 1;
            continue;
        }
        match runtime.block_on(bring_in(&source, &candidate)) {
            Ok(Published::New(sha256)) => {
                outcome.new += 1;
                anstream::println!("{}", candidate.filename);
                note(&data.audit, &source, &candidate, &sha256.to_hex());
            }
            Ok(Published::Known(_)) => outcome.known += 1,
            Err(problem) => {
                outcome.failed += 1;
                anstream::eprintln!("left out: {}: {problem}", candidate.path.display());
            }
        }
    }
    Ok(outcome)
}

/// The files of a devpi export or server directory, or of any folder.
fn candidates(path: &Path) -> Result<Vec<Candidate>, u8> {
    let found = match devpi::is_export(path) {
        true => devpi::candidates(path),
        false => folder::candidates(path),
    };
    found.map_err(|error| {
        anstream::eprintln!("error: {} cannot be read: {error}", path.display());
        WRONG_USE
    })
}

fn note(audit: &Audit, source: &HostedSource, candidate: &Candidate, sha256: &str) {
    audit.note(&Event {
        file: Some(candidate.filename.to_string()),
        sha256: Some(sha256.to_owned()),
        source: Some(source.name().to_owned()),
        detail: Some("brought in by pypicache import".to_owned()),
        ..Event::new("upload")
    });
}

async fn bring_in(source: &HostedSource, candidate: &Candidate) -> Result<Published, String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let (project, version) = identity(candidate)?;
    let mut receiving = source.receive().await.map_err(|error| error.chain())?;
    let mut file = tokio::fs::File::open(&candidate.path)
        .await
        .map_err(|error| failed(&error))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).await.map_err(|error| failed(&error))? {
            0 => break,
            count => {
                let piece = Bytes::copy_from_slice(&buffer[..count]);
                receiving.write(&piece).await.map_err(|error| error.chain())?;
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
    let received = receiving.finish().await.map_err(|error| error.chain())?;
    source
        .publish(upload, received)
        .await
        .map_err(|error| match error {
            PublishError::Storage(cause) => {
                format!("{error_text}: {cause}", error_text = "it cannot be kept")
            }
            other => other.to_string(),
        })
}

/// Project and version: what the file's name says, or of several readings the one that PKG-INFO says.
fn identity(candidate: &Candidate) -> Result<(ProjectName, String), String> {
    let owners = candidate.filename.owners();
    let told = match (candidate.filename.kind(), owners.len()) {
        (FileKind::Sdist, 2..) => told_by_metadata(candidate),
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

fn told_by_metadata(candidate: &Candidate) -> Option<(ProjectName, Version)> {
    let file = std::fs::File::open(&candidate.path).ok()?;
    let metadata = sdist_metadata(std::io::BufReader::new(file), candidate.filename.as_str()).ok()?;
    let name = ProjectName::parse(&header(&metadata, "Name")?).ok()?;
    Some((name, Version::from_str(&header(&metadata, "Version")?).ok()?))
}
