//! The suite that every [`IndexSource`] has to pass, those of this crate and those of others.
//!
//! Put the files of [`Sample::standard`] behind your source, in whatever way it gets them, and call [`all`].
//! Each function is one promise of the trait's contract; it panics with what was broken.
//!
//! ```
//! use pypicache_core::{conformance::{self, Sample}, disk_source::DiskSource};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let directory = tempfile::tempdir()?;
//! let sample = Sample::standard();
//! sample.write_to(directory.path())?;
//! conformance::all(&DiskSource::new("sample", directory.path()), &sample).await;
//! # Ok(())
//! # }
//! ```
#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a test suite says by a panic what was broken"
)]

mod sample;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::model::{CoreMetadata, FileEntry, FileKind, FilePath, ProjectName, Sha256};
use crate::source::{
    Answer, ByteRange, FileReply, FileRequest, IndexSource, PageReply, RequestContext, SourceError,
};

pub use sample::{Sample, SampleFile};

/// More than any file of the sample.
const LIMIT: usize = 16 << 20;

/// The whole suite.
pub async fn all(source: &dyn IndexSource, sample: &Sample) {
    names_itself(source);
    lists_projects(source, sample).await;
    pages_are_complete(source, sample).await;
    unknown_is_absent(source, sample).await;
    knows_files_before_pages(source, sample).await;
    files_are_right(source, sample).await;
    ranges(source, sample).await;
    head_only(source, sample).await;
    metadata_siblings(source, sample).await;
    conditional(source, sample).await;
    many_at_once(source, sample).await;
    a_dropped_reader_cancels_nothing(source, sample).await;
}

/// A source prints something for the log.
pub fn names_itself(source: &dyn IndexSource) {
    assert!(!source.to_string().is_empty() && !format!("{source:?}").is_empty());
}

/// The list has each project once, in order.
pub async fn lists_projects(source: &dyn IndexSource, sample: &Sample) {
    let reply = source
        .projects(&RequestContext::default())
        .await
        .expect("the list can be told")
        .found()
        .expect("there is a list");
    let names: Vec<_> = reply
        .list
        .projects()
        .iter()
        .map(|project| project.name.clone())
        .collect();
    assert_eq!(names, sample.projects(), "the project list");
}

/// A page has all files of its project, with digests and sizes where told.
pub async fn pages_are_complete(source: &dyn IndexSource, sample: &Sample) {
    for project in sample.projects() {
        let reply = page(source, &project).await;
        assert_eq!(reply.page.name, project);
        let mut names: Vec<_> = reply
            .page
            .files
            .iter()
            .map(|file| file.filename.clone())
            .collect();
        let mut expected: Vec<_> = sample
            .files
            .iter()
            .filter(|f| f.project == project)
            .map(|f| f.filename.clone())
            .collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected, "files of {project}");
        for file in sample.files.iter().filter(|file| file.project == project) {
            let entry = entry(&reply, file);
            assert_eq!(
                entry.hashes.get_sha256().expect("a digest"),
                Sha256::of(&file.bytes),
                "{}",
                file.filename
            );
            assert!(
                entry.size.is_none_or(|size| size == file.bytes.len() as u64),
                "size of {}",
                file.filename
            );
        }
    }
}

/// What nobody has is absent, which is an answer.
pub async fn unknown_is_absent(source: &dyn IndexSource, sample: &Sample) {
    let unknown = ProjectName::parse("no-such-project").expect("a good name");
    let answer = source
        .page(&unknown, &RequestContext::default())
        .await
        .expect("absence is an answer");
    assert!(
        matches!(answer, Answer::NotFound(_)),
        "page of an unknown project: {answer:?}"
    );
    let known = &entry(&page(source, &sample.files[0].project).await, &sample.files[0])
        .path
        .clone();
    let folder = known
        .as_str()
        .rsplit_once('/')
        .expect("two segments")
        .0
        .to_owned();
    for name in [
        "no_such_project-1.0.tar.gz".to_owned(),
        format!("{}-99.tar.gz", sample.files[0].project),
    ] {
        let path = FilePath::new(&format!("{folder}/{name}")).expect("a good path");
        let answer = source
            .file(&FileRequest::whole(path), &RequestContext::default())
            .await
            .expect("absence is an answer");
        assert!(
            matches!(answer, Answer::NotFound(_)),
            "unknown file {name}: {answer:?}"
        );
    }
}

/// A file is answered for by its path alone, as for a lock file that nobody looked up a page for.
pub async fn knows_files_before_pages(source: &dyn IndexSource, sample: &Sample) {
    for file in &sample.files {
        let entry = entry(&page(source, &file.project).await, file);
        let request = FileRequest::whole(entry.path.clone());
        let (without, with) = (request.clone(), request.with_entry(std::sync::Arc::new(entry)));
        for request in [without, with] {
            assert_eq!(
                bytes_of(file_reply(source, request).await).await,
                file.bytes,
                "{}",
                file.filename
            );
        }
    }
}

/// Whole files are the right bytes, and their size and digest are told truly.
pub async fn files_are_right(source: &dyn IndexSource, sample: &Sample) {
    for file in &sample.files {
        let reply = file_reply(source, request(source, file).await).await;
        assert_eq!(reply.part, None);
        assert!(reply.size.is_none_or(|size| size == file.bytes.len() as u64));
        assert!(
            reply
                .sha256
                .is_none_or(|sha256| sha256 == Sha256::of(&file.bytes))
        );
        assert_eq!(bytes_of(reply).await, file.bytes, "{}", file.filename);
    }
}

/// A range is answered rightly, or with the whole and said so.
pub async fn ranges(source: &dyn IndexSource, sample: &Sample) {
    for file in &sample.files {
        let size = file.bytes.len() as u64;
        let asked = [
            ByteRange::Between(0, 0),
            ByteRange::Between(5, 40),
            ByteRange::Between(5, u64::MAX),
            ByteRange::From(7),
            ByteRange::From(size - 1),
            ByteRange::Last(16),
            ByteRange::Last(size * 2),
        ];
        for range in asked {
            let reply = file_reply(source, request(source, file).await.with_range(range)).await;
            let expected = match reply.part {
                None => file.bytes.clone(),
                part => {
                    assert_eq!(part, range.within(size), "{range:?} of {}", file.filename);
                    let (offset, length) = part.expect("matched");
                    file.bytes.slice(
                        usize::try_from(offset).expect("small")
                            ..usize::try_from(offset + length).expect("small"),
                    )
                }
            };
            assert_eq!(bytes_of(reply).await, expected, "{range:?} of {}", file.filename);
        }
        let outside = request(source, file).await.with_range(ByteRange::From(size));
        match source.file(&outside, &RequestContext::default()).await {
            Err(SourceError::RangeOutside { size: told }) => assert_eq!(told, size),
            Ok(Answer::Found(reply)) if reply.part.is_none() => assert_eq!(bytes_of(reply).await, file.bytes),
            other => panic!("a range outside of {}: {other:?}", file.filename),
        }
    }
}

/// Facts come without bytes.
pub async fn head_only(source: &dyn IndexSource, sample: &Sample) {
    for file in &sample.files {
        let request = FileRequest {
            head_only: true,
            ..request(source, file).await
        };
        let reply = file_reply(source, request).await;
        assert_eq!(
            reply.size,
            Some(file.bytes.len() as u64),
            "size of {}",
            file.filename
        );
        assert_eq!(bytes_of(reply).await, Bytes::new());
    }
}

/// What a page advertises is served, and is what the wheel says.
pub async fn metadata_siblings(source: &dyn IndexSource, sample: &Sample) {
    for file in &sample.files {
        let entry = entry(&page(source, &file.project).await, file);
        let request = FileRequest::metadata(entry.path.clone());
        let answer = source
            .file(&request, &RequestContext::default())
            .await
            .expect("it can be told");
        match (entry.core_metadata, &file.metadata) {
            (CoreMetadata::None, _) => assert_ne!(
                file.filename.kind(),
                FileKind::Wheel,
                "METADATA of {} is not offered",
                file.filename
            ),
            (advertised, Some(metadata)) => {
                assert!(
                    !matches!(advertised, CoreMetadata::Digest(sha256) if sha256 != Sha256::of(metadata))
                );
                let bytes = bytes_of(answer.found().expect("advertised, so served")).await;
                assert_eq!(&bytes, metadata, "METADATA of {}", file.filename);
            }
            (_, None) => panic!("{} has no METADATA to offer", file.filename),
        }
    }
}

/// Asked again with its own validators, a source says "unchanged" or the same again.
pub async fn conditional(source: &dyn IndexSource, sample: &Sample) {
    for project in sample.projects() {
        let first = page(source, &project).await;
        let context = RequestContext {
            validators: first.validators.clone(),
            ..RequestContext::default()
        };
        match source.page(&project, &context).await.expect("it can be told") {
            Answer::NotModified(_) => assert!(context.validators.is_some()),
            Answer::Found(again) => assert_eq!(again.page, first.page),
            Answer::NotFound(_) => panic!("{project} vanished"),
        }
    }
}

/// Many clients at once all get the right bytes.
pub async fn many_at_once(source: &dyn IndexSource, sample: &Sample) {
    let file = largest(sample);
    let request = request(source, file).await;
    let askers = (0..32).map(|_| async { bytes_of(file_reply(source, request.clone()).await).await });
    for bytes in futures_util::future::join_all(askers).await {
        assert_eq!(Sha256::of(&bytes), Sha256::of(&file.bytes));
    }
}

/// Readers that leave early do not disturb those that stay.
pub async fn a_dropped_reader_cancels_nothing(source: &dyn IndexSource, sample: &Sample) {
    let file = largest(sample);
    let request = request(source, file).await;
    let mut leaving = file_reply(source, request.clone()).await.body.into_stream();
    let staying = file_reply(source, request).await;
    let _ = leaving.next().await;
    drop(leaving);
    assert_eq!(bytes_of(staying).await, file.bytes);
}

fn largest(sample: &Sample) -> &SampleFile {
    sample
        .files
        .iter()
        .max_by_key(|file| file.bytes.len())
        .expect("a sample has files")
}

async fn page(source: &dyn IndexSource, project: &ProjectName) -> PageReply {
    let answer = source
        .page(project, &RequestContext::default())
        .await
        .unwrap_or_else(|error| panic!("{}", error.chain()));
    answer.found().unwrap_or_else(|| panic!("{project} has a page"))
}

fn entry(reply: &PageReply, file: &SampleFile) -> FileEntry {
    let entry = reply
        .page
        .files
        .iter()
        .find(|entry| entry.filename == file.filename);
    entry
        .unwrap_or_else(|| panic!("{} is on its page", file.filename))
        .clone()
}

async fn request(source: &dyn IndexSource, file: &SampleFile) -> FileRequest {
    FileRequest::whole(entry(&page(source, &file.project).await, file).path)
}

async fn file_reply(source: &dyn IndexSource, request: FileRequest) -> FileReply {
    let answer = source
        .file(&request, &RequestContext::default())
        .await
        .unwrap_or_else(|error| panic!("{}", error.chain()));
    answer
        .found()
        .unwrap_or_else(|| panic!("{} is there", request.path))
}

async fn bytes_of(reply: FileReply) -> Bytes {
    reply
        .body
        .collect(LIMIT)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
