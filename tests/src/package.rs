//! Packages made in memory: small, deterministic, and good enough for the real installers.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// One distribution file and what its page has to tell.
#[derive(Debug, Clone)]
pub struct Package {
    /// The file's name.
    pub filename: String,
    /// All of it.
    pub bytes: Bytes,
    /// Hexadecimal.
    pub sha256: String,
    /// The METADATA, for wheels.
    pub metadata: Option<Bytes>,
    /// As in METADATA.
    pub requires_python: Option<String>,
    /// RFC 3339.
    pub upload_time: String,
    /// The reason, if it is yanked.
    pub yanked: Option<String>,
}

/// Makes a wheel.
#[derive(Debug, Clone)]
pub struct Wheel {
    name: String,
    version: String,
    requires: Vec<String>,
    payload: usize,
}

impl Package {
    /// Writes the file into a directory; gives its path.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(&self.filename);
        std::fs::write(&path, &self.bytes).unwrap();
        path
    }
}

impl Wheel {
    /// A wheel of one module with a version in it.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            requires: Vec::new(),
            payload: 0,
        }
    }

    /// Adds a requirement (PEP 508).
    #[must_use]
    pub fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.to_owned());
        self
    }

    /// Adds so many bytes that do not compress.
    #[must_use]
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// The finished file.
    #[must_use]
    pub fn build(self) -> Package {
        let module = self.name.replace(['-', '.'], "_");
        let info = format!("{module}-{}.dist-info", self.version);
        let mut metadata = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Python: >=3.8\n",
            self.name, self.version
        );
        for requirement in &self.requires {
            metadata.push_str(&format!("Requires-Dist: {requirement}\n"));
        }
        let mut members = vec![
            (
                format!("{module}.py"),
                format!("__version__ = {:?}\n", self.version).into_bytes(),
            ),
            (format!("{info}/METADATA"), metadata.clone().into_bytes()),
            (
                format!("{info}/WHEEL"),
                b"Wheel-Version: 1.0\nGenerator: fixture\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                    .to_vec(),
            ),
        ];
        if self.payload > 0 {
            members.insert(1, (format!("{module}_data.bin"), noise(self.payload)));
        }
        members.push((format!("{info}/RECORD"), record(&members, &info)));
        let filename = format!("{module}-{}-py3-none-any.whl", self.version);
        package(&filename, zip(&members), Some(metadata.into()), Some(">=3.8"))
    }
}

/// A source distribution (PEP 625) that nobody can build, for uploads.
#[must_use]
pub fn sdist(name: &str, version: &str) -> Package {
    let stem = format!("{}-{version}", name.replace(['-', '.'], "_"));
    let text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n");
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive
        .append_data(&mut header, format!("{stem}/PKG-INFO"), text.as_bytes())
        .unwrap();
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    package(&format!("{stem}.tar.gz"), bytes, None, Some(">=3.8"))
}

/// A file that is no archive at all, for what nobody installs.
#[must_use]
pub fn plain(filename: &str, bytes: Vec<u8>) -> Package {
    package(filename, bytes, None, None)
}

/// Bytes that do not compress, the same each time.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn package(
    filename: &str,
    bytes: Vec<u8>,
    metadata: Option<Bytes>,
    requires_python: Option<&str>,
) -> Package {
    Package {
        filename: filename.to_owned(),
        sha256: sha256(&bytes),
        bytes: bytes.into(),
        metadata,
        requires_python: requires_python.map(str::to_owned),
        upload_time: "2024-05-06T07:08:09.123456Z".to_owned(),
        yanked: None,
    }
}

fn record(members: &[(String, Vec<u8>)], info: &str) -> Vec<u8> {
    let digest =
        |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
    let mut lines: String = members
        .iter()
        .map(|(path, bytes)| format!("{path},sha256={},{}\n", digest(bytes), bytes.len()))
        .collect();
    lines.push_str(&format!("{info}/RECORD,,\n"));
    lines.into_bytes()
}

/// A zip archive of these members, for wheels that are unlike others.
#[must_use]
pub fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        writer.start_file(path, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
