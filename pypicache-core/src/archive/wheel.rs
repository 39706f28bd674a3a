//! METADATA of a wheel (PEP 427: `<name>-<version>.dist-info/METADATA` in a zip).
//!
//! Only the directory of the wheel's own name and version counts. Wheels may carry those of other projects (vendored
//! packages, mistakes of build tools): their METADATA says nothing about the wheel.

use std::io::{self, Read, Seek};
use std::str::FromStr as _;

use bytes::Bytes;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{ArchiveError, METADATA_LIMIT};
use crate::model::{FileName, ProjectName};

/// The METADATA of the wheel called `filename` that `reader` reads.
pub fn wheel_metadata<R: Read + Seek>(reader: R, filename: &FileName) -> Result<Bytes, ArchiveError> {
    let mut archive = ZipArchive::new(reader).map_err(unreadable)?;
    let candidates: Vec<usize> = archive
        .file_names()
        .enumerate()
        .filter(|(_, name)| name.as_ref().is_ok_and(|name| is_metadata_of(name, filename)))
        .map(|(index, _)| index)
        .collect();
    let [index] = candidates[..] else {
        return Err(ArchiveError::Count(candidates.len()));
    };
    let member = archive.by_index(index).map_err(unreadable)?;
    let mut bytes = Vec::new();
    member
        .take(METADATA_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(ArchiveError::Unreadable)?;
    match bytes.len() as u64 > METADATA_LIMIT {
        true => Err(ArchiveError::TooLarge),
        false => Ok(bytes.into()),
    }
}

fn is_metadata_of(member: &str, filename: &FileName) -> bool {
    let Some((directory, "METADATA")) = member.split_once('/') else {
        return false;
    };
    let stem = directory.strip_suffix(".dist-info");
    let (own, of) = (
        stem.and_then(name_and_version),
        name_and_version(filename.as_str()),
    );
    matches!((own, of), (Some((name, version)), Some((wheel_name, wheel_version)))
        if name == wheel_name && is_same_version(version, wheel_version))
}

/// The first two parts of a wheel's file name, which are those of its `.dist-info` directory too.
fn name_and_version(stem: &str) -> Option<(ProjectName, &str)> {
    let mut parts = stem.split('-');
    let name = ProjectName::parse(parts.next()?).ok()?;
    Some((name, parts.next()?))
}

/// Build tools write versions in normal form here and as they were given there, and escape what is no letter or digit.
fn is_same_version(a: &str, b: &str) -> bool {
    let plain = |version: &str| version.to_ascii_lowercase().replace(['_', '+'], "-");
    let read = |version: &str| pep440_rs::Version::from_str(&version.replace('_', "+")).ok();
    plain(a) == plain(b) || read(a).is_some_and(|a| read(b) == Some(a))
}

/// The error as an I/O error, with one that the reader itself gave kept as it was.
pub(super) fn unreadable(error: ZipError) -> ArchiveError {
    ArchiveError::Unreadable(match error {
        ZipError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Cursor, Write as _};
    use zip::write::SimpleFileOptions;

    pub(crate) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            writer
                .start_file(
                    *name,
                    SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated),
                )
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn the_one_metadata_is_read_exactly() {
        let wheel = zip_of(&[
            ("six.py", b"pass"),
            ("six-1.0.dist-info/METADATA", b"Name: six\r\n\r\n"),
            ("x/y.dist-info/METADATA", b"no"),
        ]);
        assert_eq!(
            &wheel_metadata(Cursor::new(wheel), &six()).unwrap()[..],
            b"Name: six\r\n\r\n"
        );
    }

    pub(crate) fn six() -> FileName {
        FileName::parse("six-1.0-py3-none-any.whl").unwrap()
    }

    #[test]
    fn only_the_directory_of_the_wheels_own_name_and_version_counts() {
        let found = |wheel: &str, directories: &[&str]| {
            let paths: Vec<_> = directories
                .iter()
                .map(|directory| format!("{directory}.dist-info/METADATA"))
                .collect();
            let members: Vec<_> = paths
                .iter()
                .map(|path| (path.as_str(), path.as_bytes()))
                .collect();
            let filename = FileName::parse(&format!("{wheel}-py3-none-any.whl")).unwrap();
            let metadata = wheel_metadata(Cursor::new(zip_of(&members)), &filename).ok()?;
            Some(
                String::from_utf8(metadata.to_vec())
                    .unwrap()
                    .replace(".dist-info/METADATA", ""),
            )
        };
        let own = |wheel, directory: &str| {
            assert_eq!(found(wheel, &[directory]).as_deref(), Some(directory), "{wheel}")
        };
        own("six-1.0", "six-1.0");
        own("Foo.Bar-1.0", "foo_bar-1.0.0");
        own("torch-2.1.0+cu118", "torch-2.1.0_cu118");
        own("password_strength-0.0.1_1", "password_strength-0.0.1_1");
        assert_eq!(
            found("six-1.0", &["other-2.0", "six-1.0"]).as_deref(),
            Some("six-1.0")
        );
        assert_eq!(found("six-1.0", &["other-2.0"]), None);
        assert_eq!(found("six-1.0", &["six-2.0"]), None);
        assert_eq!(found("six-1.0", &["six-1.0", "SIX-1.0"]), None);
    }

    #[test]
    fn none_two_and_bombs_are_errors() {
        assert!(matches!(
            wheel_metadata(Cursor::new(zip_of(&[("six.py", b"")])), &six()),
            Err(ArchiveError::Count(0))
        ));
        let two = zip_of(&[
            ("six-1.0.dist-info/METADATA", b""),
            ("Six-1.0.0.dist-info/METADATA", b""),
        ]);
        assert!(matches!(
            wheel_metadata(Cursor::new(two), &six()),
            Err(ArchiveError::Count(2))
        ));
        let bomb = zip_of(&[("six-1.0.dist-info/METADATA", &vec![b'a'; 20 << 20])]);
        assert!(matches!(
            wheel_metadata(Cursor::new(bomb), &six()),
            Err(ArchiveError::TooLarge)
        ));
    }

    proptest! {
        #[test]
        fn damaged_wheels_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut wheel = zip_of(&[("six.py", b"pass"), ("six-1.0.dist-info/METADATA", b"Name: six\n")]);
            let at = at.index(wheel.len());
            wheel[at] = byte;
            let _ = wheel_metadata(Cursor::new(&wheel), &six());
            let _ = wheel_metadata(Cursor::new(&wheel[..cut.index(wheel.len())]), &six());
        }
    }
}
