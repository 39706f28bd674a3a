//! Digests of files: the SHA-256 that everything here is checked against, and whatever else a page lists.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A SHA-256 digest, 32 bytes; printed and parsed as 64 hexadecimal digits (lower case on output).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

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
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            b'A'..=b'F' => Some(digit - b'A' + 10),
            _ => None,
        };
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (
                value(pair[0]).ok_or_else(error)?,
                value(pair[1]).ok_or_else(error)?,
            );
            *byte = high << 4 | low;
        }
        Ok(Self(out))
    }

    /// The 64 lower-case digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS[usize::from(nibble)] as char;
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        text
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
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

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_hex()
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
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

impl From<Digests> for BTreeMap<String, String> {
    fn from(digests: Digests) -> Self {
        let pairs = digests.iter();
        pairs
            .map(|(algorithm, digits)| (algorithm.to_owned(), digits.into_owned()))
            .collect()
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
