//! What a source under test is filled with: small packages, made in memory, the same each time.

use std::io::{Cursor, Write as _};
use std::path::Path;

use bytes::Bytes;

use crate::model::{FileName, ProjectName, Sha256};

/// Files that a source under test has, and what has to be known of them.
#[derive(Debug, Clone)]
pub struct Sample {
    /// In no particular order; several may be of one project.
    pub files: Vec<SampleFile>,
}

/// One file of a [`Sample`].
#[derive(Debug, Clone)]
pub struct SampleFile {
    /// Its name.
    pub filename: FileName,
    /// Its project.
    pub project: ProjectName,
    /// All of it.
    pub bytes: Bytes,
    /// The METADATA, for wheels.
    pub metadata: Option<Bytes>,
}

impl Sample {
    /// Three projects: names that need normalising, a local version, a wheel beside an sdist, a file of some size.
    #[must_use]
    pub fn standard() -> Self {
        let files = vec![
            wheel("Foo.Bar", "foo_bar", "1.0", 10),
            wheel("Foo.Bar", "foo_bar", "1.1+local.1", 700_000),
            sdist("foo-bar", "foo_bar", "1.0"),
            wheel("six", "six", "1.17.0", 0),
            sdist("alone", "alone", "2"),
        ];
        Self { files }
    }

    /// Writes the files into a directory.
    pub fn write_to(&self, directory: &Path) -> std::io::Result<()> {
        self.files
            .iter()
            .try_for_each(|file| std::fs::write(directory.join(file.filename.as_str()), &file.bytes))
    }

    pub(super) fn projects(&self) -> Vec<ProjectName> {
        let mut names: Vec<_> = self.files.iter().map(|file| file.project.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn wheel(name: &str, escaped: &str, version: &str, payload: usize) -> SampleFile {
    let metadata =
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n");
    let noise: Vec<u8> = (0..payload)
        .map(|i| Sha256::of(&(i / 64).to_le_bytes()).to_hex().as_bytes()[i % 64])
        .collect();
    let record = format!("{escaped}.py,,\n");
    let info = format!("{escaped}-{version}.dist-info");
    let members: [(String, &[u8]); 5] = [
        (format!("{escaped}.py"), b"pass\n"),
        (format!("{escaped}.bin"), &noise),
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (
            format!("{info}/WHEEL"),
            b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{info}/RECORD"), record.as_bytes()),
    ];
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (path, bytes) in members {
        writer.start_file(path, stored).expect("to memory");
        writer.write_all(bytes).expect("to memory");
    }
    let bytes = writer.finish().expect("to memory").into_inner();
    sample_file(
        name,
        &format!("{escaped}-{version}-py3-none-any.whl"),
        bytes,
        Some(metadata.into()),
    )
}

fn sdist(name: &str, stem: &str, version: &str) -> SampleFile {
    let stem = format!("{stem}-{version}");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let source = format!("# source of {stem}\n").repeat(2000);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let mut archive = tar::Builder::new(gzip);
    for (path, text) in [("PKG-INFO", metadata), ("setup.py", source)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive
            .append_data(&mut header, format!("{stem}/{path}"), text.as_bytes())
            .expect("to memory");
    }
    let gzip = archive.into_inner().expect("to memory");
    sample_file(
        name,
        &format!("{stem}.tar.gz"),
        gzip.finish().expect("to memory"),
        None,
    )
}

fn sample_file(name: &str, filename: &str, bytes: Vec<u8>, metadata: Option<Bytes>) -> SampleFile {
    SampleFile {
        filename: FileName::parse(filename).expect("a good name"),
        project: ProjectName::parse(name).expect("a good name"),
        bytes: bytes.into(),
        metadata,
    }
}
