//! PKG-INFO of a source archive (PEP 625: `<name>-<version>/PKG-INFO` in a gzipped tar; older ones are zips).

use std::io::{Read, Seek};

use bytes::Bytes;

use super::{ArchiveError, METADATA_LIMIT};

/// How much of a decompressed archive is looked through for PKG-INFO, in bytes.
const SEARCH_LIMIT: u64 = 64 * 1024 * 1024;

/// The PKG-INFO at the top of the source archive that `reader` reads; `name` tells the kind of archive.
pub fn sdist_metadata<R: Read + Seek>(reader: R, name: &str) -> Result<Bytes, ArchiveError> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".zip") {
        out_of_zip(reader)
    } else if lower.ends_with(".tar.gz") || lower.ends_with(".tgz") {
        out_of_tar(flate2::read::GzDecoder::new(reader))
    } else {
        Err(ArchiveError::Count(0))
    }
}

fn out_of_tar(reader: impl Read) -> Result<Bytes, ArchiveError> {
    let mut archive = tar::Archive::new(reader.take(SEARCH_LIMIT));
    for member in archive.entries().map_err(ArchiveError::Unreadable)? {
        let member = member.map_err(ArchiveError::Unreadable)?;
        if is_pkg_info(&String::from_utf8_lossy(&member.path_bytes())) {
            return bounded(member);
        }
    }
    Err(ArchiveError::Count(0))
}

fn out_of_zip<R: Read + Seek>(reader: R) -> Result<Bytes, ArchiveError> {
    let unreadable = |error: zip::result::ZipError| ArchiveError::Unreadable(std::io::Error::other(error));
    let mut archive = zip::ZipArchive::new(reader).map_err(unreadable)?;
    let index = archive
        .file_names()
        .position(|name| name.is_ok_and(|name| is_pkg_info(&name)))
        .ok_or(ArchiveError::Count(0))?;
    bounded(archive.by_index(index).map_err(unreadable)?)
}

fn is_pkg_info(path: &str) -> bool {
    path.trim_start_matches("./")
        .split_once('/')
        .is_some_and(|(_, file)| file == "PKG-INFO")
}

fn bounded(member: impl Read) -> Result<Bytes, ArchiveError> {
    let mut bytes = Vec::new();
    member
        .take(METADATA_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(ArchiveError::Unreadable)?;
    if bytes.len() as u64 > METADATA_LIMIT {
        Err(ArchiveError::TooLarge)
    } else {
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn pkg_info_is_read_from_the_top_only() {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (path, text) in [
            ("six-1.0/src/six.egg-info/PKG-INFO", "deep"),
            ("six-1.0/PKG-INFO", "Name: six\n"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        assert_eq!(
            &sdist_metadata(Cursor::new(&bytes), "six-1.0.tar.gz").unwrap()[..],
            b"Name: six\n"
        );
        assert!(sdist_metadata(Cursor::new(&bytes[..20]), "six-1.0.tar.gz").is_err());
        let zip = crate::archive::wheel::tests::zip_of(&[("six-1.0/PKG-INFO", b"Name: six\n")]);
        assert_eq!(
            &sdist_metadata(Cursor::new(zip), "six-1.0.zip").unwrap()[..],
            b"Name: six\n"
        );
    }
}
