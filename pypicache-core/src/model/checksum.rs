//! Checking bytes that pass by against everything that a page lists about them.

use std::fmt;

use sha2::Digest as _;

use super::{Digests, Sha256, Sha256Hasher};

/// Takes bytes in and says at the end whether they are the listed ones. SHA-256 is always computed, since files
/// rest under it; where a page does not list it, SHA-512 or SHA-384 are checked. Weaker ones prove nothing.
///
/// ```
/// use pypicache_core::model::{Checksum, Digests, Sha256};
/// let mut checksum = Checksum::new(&Digests::sha256(Sha256::of(b"hello")));
/// checksum.update(b"hel");
/// checksum.update(b"lo");
/// assert_eq!(checksum.finish()?, Sha256::of(b"hello"));
/// # Ok::<(), pypicache_core::model::ChecksumError>(())
/// ```
#[derive(Clone)]
pub struct Checksum {
    sha256: Sha256Hasher,
    expected: Option<Sha256>,
    /// On the heap: few pages need it, and it is large.
    other: Option<Box<Other>>,
}

/// A digest beside SHA-256, with what it has to be.
#[derive(Clone)]
enum Other {
    Sha384(sha2::Sha384, String),
    Sha512(sha2::Sha512, String),
}

/// The bytes are not the listed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the page says {algorithm} {expected}, the bytes have {found}")]
pub struct ChecksumError {
    algorithm: &'static str,
    expected: String,
    found: String,
}

impl Checksum {
    /// For bytes that have to fit `listed`.
    #[must_use]
    pub fn new(listed: &Digests) -> Self {
        let expected = listed.get_sha256();
        let digits = |wanted| listed.get(wanted).map(std::borrow::Cow::into_owned);
        let other = match (expected, digits("sha512"), digits("sha384")) {
            (None, Some(sha512), _) => Some(Box::new(Other::Sha512(sha2::Sha512::new(), sha512))),
            (None, None, Some(sha384)) => Some(Box::new(Other::Sha384(sha2::Sha384::new(), sha384))),
            _ => None,
        };
        Self {
            sha256: Sha256Hasher::default(),
            expected,
            other,
        }
    }

    /// Whether anything is known that the bytes have to fit.
    #[must_use]
    pub fn is_decisive(&self) -> bool {
        self.expected.is_some() || self.other.is_some()
    }

    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match self.other.as_deref_mut() {
            Some(Other::Sha384(hasher, _)) => hasher.update(bytes),
            Some(Other::Sha512(hasher, _)) => hasher.update(bytes),
            None => {}
        }
    }

    /// The SHA-256 of all pieces in their order, if they are the listed bytes.
    pub fn finish(self) -> Result<Sha256, ChecksumError> {
        let found = self.sha256.finish();
        match self.expected {
            Some(expected) => fits("sha256", expected.to_hex(), found.to_hex())?,
            None => match self.other.map(|other| *other) {
                Some(Other::Sha384(hasher, expected)) => fits("sha384", expected, hex(&hasher.finalize()))?,
                Some(Other::Sha512(hasher, expected)) => fits("sha512", expected, hex(&hasher.finalize()))?,
                None => {}
            },
        }
        Ok(found)
    }
}

fn fits(algorithm: &'static str, expected: String, found: String) -> Result<(), ChecksumError> {
    match expected == found {
        true => Ok(()),
        false => Err(ChecksumError {
            algorithm,
            expected,
            found,
        }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:?})", self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(algorithm: &str, digits: &str) -> Digests {
        let mut digests = Digests::default();
        assert!(digests.insert(algorithm, digits));
        digests
    }

    fn finished(digests: &Digests) -> Result<Sha256, ChecksumError> {
        let mut checksum = Checksum::new(digests);
        checksum.update(b"ab");
        checksum.update(b"c");
        checksum.finish()
    }

    #[test]
    fn the_strongest_listed_digest_counts() {
        let right = Sha256::of(b"abc");
        let sha384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(finished(&listed("sha384", sha384)), Ok(right));
        assert!(finished(&listed("sha384", &sha384.replace('c', "d"))).is_err());
        assert!(finished(&listed("sha512", &"0".repeat(128))).is_err());
        assert!(finished(&Digests::sha256(Sha256::of(b"abd"))).is_err());
        assert_eq!(
            finished(&listed("md5", &"0".repeat(32))),
            Ok(right),
            "proves nothing"
        );
        assert!(!Checksum::new(&listed("md5", &"0".repeat(32))).is_decisive());
    }
}
