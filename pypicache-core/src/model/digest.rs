//! Digests of files: the SHA-256 that everything here is checked against, and whatever else a page lists.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use sha2::Digest as _;

/// A SHA-256 digest, 32 bytes; printed and parsed as 64 hexadecimal digits (lower case on output).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256([u8; 32]);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What `VALUES` has for bytes that are no hexadecimal digit.
const NO_DIGIT: u8 = 0xff;

/// The value of each byte as a hexadecimal digit. A page has thousands of digests, so they are looked up.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = DIGITS[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
};

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 64 hexadecimal digits, this has {0} characters or other ones")]
pub struct ParseDigestError(usize);

impl Sha256 {
    /// The digest of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    pub fn parse(text: &str) -> Result<Self, ParseDigestError> {
        let error = || ParseDigestError(text.chars().count());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let (mut out, mut seen) = ([0; 32], 0);
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | low & 15;
        }
        if seen == NO_DIGIT {
            return Err(error());
        }
        Ok(Self(out))
    }

    /// The 64 lower-case digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.with_hex(str::to_owned)
    }

    /// The same for whoever only looks at them.
    fn with_hex<T>(self, look: impl FnOnce(&str) -> T) -> T {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        look(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_hex(|digits| serializer.serialize_str(digits))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_hex(|digits| f.write_str(digits))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl TryFrom<String> for Sha256 {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// Computes a [`Sha256`] over bytes that pass by in pieces.
#[derive(Clone, Default)]
pub struct Sha256Hasher(sha2::Sha256);

impl Sha256Hasher {
    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces in their order.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Hasher")
    }
}

/// The digests that a page lists for one file: algorithm (lower case) to hexadecimal digits (lower case).
///
/// PEP 691 allows any algorithm of Python's `hashlib`; [`super::Checksum`] says which of them are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub struct Digests {
    sha256: Option<Sha256>,
    /// All but SHA-256, which nearly every page lists alone.
    others: BTreeMap<String, String>,
}

impl Digests {
    /// Only a SHA-256.
    #[must_use]
    pub fn sha256(digest: Sha256) -> Self {
        Self {
            sha256: Some(digest),
            others: BTreeMap::new(),
        }
    }

    /// Adds one digest if it is well formed: an algorithm we know of and as many digits as it has.
    /// Returns whether it was: bad ones are ignored, never passed on.
    pub fn insert(&mut self, algorithm: &str, digits: &str) -> bool {
        if algorithm.eq_ignore_ascii_case("sha256") {
            let parsed = Sha256::parse(digits).ok();
            self.sha256 = parsed.or(self.sha256);
            return parsed.is_some();
        }
        let algorithm = algorithm.to_ascii_lowercase();
        let expected = match algorithm.as_str() {
            "md5" => 32,
            "sha1" => 40,
            "sha224" => 56,
            "sha3_256" | "blake2s" | "blake2b_256" => 64,
            "sha384" => 96,
            "sha512" | "blake2b" => 128,
            _ => return false,
        };
        let well_formed = (digits.len() == expected || algorithm.starts_with("blake2b"))
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if well_formed {
            self.others.insert(algorithm, digits.to_ascii_lowercase());
        }
        well_formed
    }

    /// The SHA-256, where listed.
    #[must_use]
    pub fn get_sha256(&self) -> Option<Sha256> {
        self.sha256
    }

    /// The digits of one algorithm (lower case), where listed.
    #[must_use]
    pub fn get(&self, algorithm: &str) -> Option<Cow<'_, str>> {
        match algorithm {
            "sha256" => self.sha256.map(|sha256| sha256.to_hex().into()),
            _ => self.others.get(algorithm).map(|digits| digits.as_str().into()),
        }
    }

    /// All pairs: SHA-256 first, the others in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let sha256 = self.sha256.map(|sha256| ("sha256", sha256.to_hex().into()));
        let others = self.others.iter();
        sha256
            .into_iter()
            .chain(others.map(|(algorithm, digits)| (algorithm.as_str(), digits.as_str().into())))
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.others.is_empty()
    }
}

impl From<BTreeMap<String, String>> for Digests {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        let mut digests = Self::default();
        for (algorithm, digits) in pairs {
            digests.insert(&algorithm, &digits);
        }
        digests
    }
}

/// Pairs, in the order of [`Digests::iter`].
impl Serialize for Digests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(sha256) = &self.sha256 {
            map.serialize_entry("sha256", sha256)?;
        }
        for (algorithm, digits) in &self.others {
            map.serialize_entry(algorithm, digits)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_round() {
        let digest = Sha256::of(b"abc");
        assert_eq!(
            digest.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Sha256::parse(&digest.to_hex().to_uppercase()).unwrap(), digest);
        assert!(Sha256::parse("ba78").is_err());
        assert!(Sha256::parse(&"é".repeat(32)).is_err());
    }

    #[test]
    fn malformed_digests_are_ignored() {
        let mut digests = Digests::default();
        assert!(!digests.insert("sha256", "xyz"));
        assert!(!digests.insert("crc32", "00000000"));
        assert!(digests.insert("SHA256", &"AB".repeat(32)));
        assert_eq!(digests.get_sha256().unwrap().to_hex(), "ab".repeat(32));
    }
}
