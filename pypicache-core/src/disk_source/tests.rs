//! The directory lives: what is dropped in is there, what changes is read anew, what leads out is not followed.

use super::*;
use crate::conformance::{self, Sample};
use crate::source::IndexSourceExt as _;

fn name(text: &str) -> ProjectName {
    ProjectName::parse(text).unwrap()
}

#[tokio::test]
async fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let sample = Sample::standard();
    sample.write_to(directory.path()).unwrap();
    conformance::all(&DiskSource::new("sample", directory.path()), &sample).await;
}

#[tokio::test]
async fn a_file_dropped_in_is_listed_and_a_changed_one_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let source = DiskSource::new("ours", directory.path());
    assert!(source.get_page(&name("six")).await.unwrap().is_none());
    let file = directory.path().join("deep/er/six-1.0.tar.gz");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"first").unwrap();
    let first = source.get_page(&name("six")).await.unwrap().unwrap();
    assert_eq!(first.page.files[0].path.as_str(), "ours/deep/er/six-1.0.tar.gz");
    assert_eq!(
        first.page.files[0].hashes.get_sha256().unwrap(),
        Sha256::of(b"first")
    );
    let again = source.get_page(&name("six")).await.unwrap().unwrap();
    assert!(
        Arc::ptr_eq(&first.page, &again.page),
        "an unchanged page stays one value"
    );
    std::fs::write(&file, b"second!").unwrap();
    let changed = source.get_page(&name("six")).await.unwrap().unwrap();
    assert_eq!(
        changed.page.files[0].hashes.get_sha256().unwrap(),
        Sha256::of(b"second!")
    );
    assert_ne!(first.validators, changed.validators);
}

#[tokio::test]
async fn hidden_files_and_links_that_lead_out_are_not_offered() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("six-1.0.tar.gz"), b"outside").unwrap();
    std::fs::write(directory.path().join(".six-2.0.tar.gz"), b"hidden").unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("out")).unwrap();
    std::os::unix::fs::symlink(
        outside.path().join("six-1.0.tar.gz"),
        directory.path().join("six-1.0.tar.gz"),
    )
    .unwrap();
    let source = DiskSource::new("ours", directory.path());
    assert!(source.get_page(&name("six")).await.unwrap().is_none());
    for path in ["ours/out/six-1.0.tar.gz", "ours/six-1.0.tar.gz"] {
        assert!(
            source
                .get_file(&FilePath::new(path).unwrap())
                .await
                .unwrap()
                .is_none(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_is_an_error_and_not_absence() {
    let source = DiskSource::new("ours", "/nonexistent/wheels");
    let error = source.get_page(&name("six")).await.unwrap_err();
    assert!(matches!(error, SourceError::Storage { .. }), "{error:?}");
    let file = FilePath::new("ours/six-1.0.tar.gz").unwrap();
    let error = source.get_file(&file).await.unwrap_err();
    assert!(matches!(error, SourceError::Storage { .. }), "{error:?}");
}

#[tokio::test]
async fn one_name_in_two_folders_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    for (folder, bytes) in [("a", "first"), ("b", "second")] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
        std::fs::write(directory.path().join(folder).join("six-1.0.tar.gz"), bytes).unwrap();
    }
    let source = DiskSource::new("ours", directory.path());
    let page = source.get_page(&name("six")).await.unwrap().unwrap().page;
    assert_eq!(page.files.len(), 1);
    assert_eq!(page.files[0].path.as_str(), "ours/a/six-1.0.tar.gz");
}
