//! METADATA of a wheel (PEP 427: `<name>-<version>.dist-info/METADATA` in a zip).

use std::io::{self, Read, Seek};

use bytes::Bytes;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{ArchiveError, METADATA_LIMIT};

/// The METADATA of the wheel that `reader` reads.
pub fn wheel_metadata<R: Read + Seek>(reader: R) -> Result<Bytes, ArchiveError> {
    let mut archive = ZipArchive::new(reader).map_err(unreadable)?;
    let candidates: Vec<usize> = archive
        .file_names()
        .enumerate()
        .filter(|(_, name)| name.as_ref().is_ok_and(|name| is_metadata(name)))
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

fn is_metadata(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(directory, file)| directory.ends_with(".dist-info") && file == "METADATA")
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
            &wheel_metadata(Cursor::new(wheel)).unwrap()[..],
            b"Name: six\r\n\r\n"
        );
    }

    #[test]
    fn none_two_and_bombs_are_errors() {
        assert!(matches!(
            wheel_metadata(Cursor::new(zip_of(&[("six.py", b"")]))),
            Err(ArchiveError::Count(0))
        ));
        let two = zip_of(&[("a.dist-info/METADATA", b""), ("b.dist-info/METADATA", b"")]);
        assert!(matches!(
            wheel_metadata(Cursor::new(two)),
            Err(ArchiveError::Count(2))
        ));
        let bomb = zip_of(&[("a.dist-info/METADATA", &vec![b'a'; 20 << 20])]);
        assert!(matches!(
            wheel_metadata(Cursor::new(bomb)),
            Err(ArchiveError::TooLarge)
        ));
    }

    proptest! {
        #[test]
        fn damaged_wheels_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut wheel = zip_of(&[("six.py", b"pass"), ("six-1.0.dist-info/METADATA", b"Name: six\n")]);
            let at = at.index(wheel.len());
            wheel[at] = byte;
            let _ = wheel_metadata(Cursor::new(&wheel));
            let _ = wheel_metadata(Cursor::new(&wheel[..cut.index(wheel.len())]));
        }
    }
}
