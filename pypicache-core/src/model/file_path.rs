//! Where a file lives, the same at every tier: `<source>/<path at the origin>`.
//!
//! The first segment names the source that introduced the file; the rest is the path of the file's URL at its
//! origin. A tier further down keeps the path it was given, so a lock file's URL maps to the origin, to the
//! team's tier and to the laptop's by replacing a prefix. The path is an identity, not an address: it decides
//! nothing about who is asked (that is the project's owner's matter).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{FileName, InvalidFileName, Sha256};

/// The longest path that is accepted, in bytes.
const MAX_LEN: usize = 1024;

/// What a path segment must escape (RFC 3986); `+` stays literal, because several clients encode it twice otherwise.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'|')
    .add(b'/')
    .add(b'\\');

/// A file's identity below `/files/`: at least two segments, decoded, none of them able to climb.
///
/// ```
/// use pypicache_core::model::FilePath;
/// let path = FilePath::from_encoded("torch/whl/torch-2.1.0%2Bcu118-cp311-cp311-linux_x86_64.whl")?;
/// assert_eq!(path.as_str(), "torch/whl/torch-2.1.0+cu118-cp311-cp311-linux_x86_64.whl");
/// assert!(FilePath::from_encoded("pypi/..%2f..%2fetc/passwd").is_err());
/// # Ok::<(), pypicache_core::model::InvalidFilePath>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(Arc<str>);

/// The text is no file's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilePath {
    /// Too long, too short, or with a segment that is empty, climbs, or holds separators or control characters.
    #[error(
        "a file's path has a source and at least a file name, no '.', '..', empty or escaped separators in it"
    )]
    Shape,
    /// The last segment is no distribution's file name.
    #[error("the last segment of the path does not fit")]
    FileName(#[from] InvalidFileName),
}

impl FilePath {
    /// Checks a decoded path.
    pub fn new(path: &str) -> Result<Self, InvalidFilePath> {
        let segment_is_fine = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && !segment.chars().any(|c| c.is_control() || matches!(c, '\\' | '%'))
        };
        let (front, name) = path.rsplit_once('/').ok_or(InvalidFilePath::Shape)?;
        if path.len() > MAX_LEN || !front.split('/').all(segment_is_fine) || name.contains('%') {
            return Err(InvalidFilePath::Shape);
        }
        FileName::parse(name)?;
        Ok(Self(path.into()))
    }

    /// Reads the path as it stands in a URL. Each segment is decoded once; `+` and `%2B` are the same, a
    /// space is not a plus, and what decodes to a separator is refused.
    pub fn from_encoded(path: &str) -> Result<Self, InvalidFilePath> {
        if !path.contains('%') {
            return Self::new(path);
        }
        let mut decoded = String::with_capacity(path.len());
        for (i, segment) in path.split('/').enumerate() {
            let text = percent_decode_str(segment)
                .decode_utf8()
                .map_err(|_| InvalidFilePath::Shape)?;
            if text.contains('/') {
                return Err(InvalidFilePath::Shape);
            }
            if i > 0 {
                decoded.push('/');
            }
            decoded.push_str(&text);
        }
        Self::new(&decoded)
    }

    /// The path of a file of `source` whose URL does not end in its name, or has a path that cannot be an identity (too long,
    /// empty or escaped separators): made of the URL's path and the name, so the same wherever the URL is met.
    pub fn of_other_url(source: &str, url_path: &str, filename: &str) -> Result<Self, InvalidFilePath> {
        let digest = Sha256::of(url_path.as_bytes()).to_hex();
        Self::new(&format!("{source}/-/{}/{filename}", &digest[..32]))
    }

    /// The decoded path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as it stands in a URL, relative to the root of all files.
    #[must_use]
    pub fn to_encoded(&self) -> Cow<'_, str> {
        utf8_percent_encode_path(&self.0)
    }

    /// The first segment: the source that introduced the file.
    #[must_use]
    pub fn source(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> FileName {
        let start = self.0.rfind('/').map_or(0, |slash| slash + 1);
        FileName::parsed_before(&self.0[start..])
    }
}

fn utf8_percent_encode_path(path: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'+' | b'!');
    if path.bytes().all(is_plain) {
        return path.into();
    }
    let mut out = String::with_capacity(path.len());
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            out.push('/');
        }
        out.extend(utf8_percent_encode(segment, SEGMENT));
    }
    out.into()
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for FilePath {
    type Error = InvalidFilePath;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        Self::new(&path)
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn climbing_in_any_encoding_is_refused() {
        let bad = [
            "six-1.0.tar.gz",
            "/six-1.0.tar.gz",
            "/etc/six-1.0.tar.gz",
            "pypi//six-1.0.tar.gz",
            "pypi/../six-1.0.tar.gz",
            "pypi/%2e%2e/six-1.0.tar.gz",
            "pypi/..%2f..%2fetc/six-1.0.tar.gz",
            "pypi/%252e%252e/six-1.0.tar.gz",
            "pypi/..\\six-1.0.tar.gz",
            "pypi/a%5c..%5csix-1.0.tar.gz",
            "pypi/%00/six-1.0.tar.gz",
            "pypi/%ff/six-1.0.tar.gz",
            "pypi/etc/passwd",
            "pypi/C:/x/six-1.0.tar.gz%00.whl",
        ];
        for path in bad {
            assert!(FilePath::from_encoded(path).is_err(), "{path}");
        }
    }

    #[test]
    fn urls_of_any_shape_have_an_identity_by_the_files_name() {
        let path = FilePath::of_other_url("pypi", "/blob//7%2Fx", "six-1.0.tar.gz").unwrap();
        assert_eq!(
            (path.source(), path.file_name().as_str()),
            ("pypi", "six-1.0.tar.gz")
        );
        assert_eq!(FilePath::from_encoded(&path.to_encoded()).unwrap(), path);
        assert!(FilePath::of_other_url("pypi", "/x", "../six-1.0.tar.gz").is_err());
    }

    #[test]
    fn plus_is_plus_and_never_a_space() {
        let plus = FilePath::from_encoded("p/a-1.0+l.1.tar.gz").unwrap();
        assert_eq!(FilePath::from_encoded("p/a-1.0%2bl.1.tar.gz").unwrap(), plus);
        assert_ne!(FilePath::from_encoded("p/a-1.0%20l.1.tar.gz").unwrap(), plus);
        assert_eq!(plus.to_encoded(), "p/a-1.0+l.1.tar.gz");
    }

    proptest! {
        #[test]
        fn encoding_goes_round(path in r"[a-z]{1,5}(/[a-zA-Z0-9 +!#?é\[\]]{1,8}){0,3}/[a-z+ é]{1,8}-1\.0\.tar\.gz") {
            let path = FilePath::new(&path).unwrap();
            prop_assert_eq!(FilePath::from_encoded(&path.to_encoded()).unwrap(), path);
        }

        #[test]
        fn never_panics(path in ".*") {
            let _ = FilePath::from_encoded(&path);
        }
    }
}
