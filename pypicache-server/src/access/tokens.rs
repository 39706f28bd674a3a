//! Tokens: made, listed and revoked on the server's host, read by the running server.
//!
//! A token is `pypicache-<8 digits>-<64 digits>`, all hexadecimal: a name that may be shown, and 256 random bits that may
//! not. The file `<data directory>/v1/tokens.json` has the SHA-256 of these bits only (there is nothing to guess in random
//! bits, so nothing slow is needed), and is replaced as a whole: the server looks at it whenever somebody presents a token.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use pypicache_core::Clock;
use pypicache_core::local_fs::{Beneath, FileLock, Rights};
use pypicache_core::model::{NamePattern, Sha256};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{Grant, Scope};
use crate::data_dir;

/// What a token begins with, so that scanners for leaked secrets can find it.
const PREFIX: &str = "pypicache";

/// What the file is called.
const FILE: &str = "tokens.json";

/// Everything that is written to disk of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What tells it from others; a part of the token.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret part.
    sha256: Sha256,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// For which projects: names, or fronts of names with `*`; empty: for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// For files of which sources; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    tokens: Vec<TokenRecord>,
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// For which projects; empty: for all.
    pub projects: Vec<NamePattern>,
    /// For files of which sources; empty: of all.
    pub sources: Vec<String>,
    /// From when on it is worth nothing.
    pub expires: Option<Timestamp>,
}

/// Why tokens cannot be looked at or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// The file cannot be read or replaced.
    #[error("the tokens in {} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Lists, logs and `token revoke` tell tokens apart by their names.
    #[error(
        "there is a token of the name {name:?} already ({id}): choose another name, or revoke that one first"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The id of the token that has it.
        id: String,
    },
}

/// The file with all tokens of a server.
#[derive(Debug)]
pub struct TokenFile {
    data_dir: PathBuf,
    path: PathBuf,
    clock: Clock,
    /// The tokens by their ids, as of the file with this stamp.
    known: Mutex<(Option<Stamp>, Known)>,
}

/// Tokens by their ids.
type Known = Arc<HashMap<String, TokenRecord>>;

/// Inode, size and time of change: what tells a file from its successor.
type Stamp = (u64, u64, i64, i64);

impl TokenFile {
    /// The tokens of the server with this data directory. There need be none yet.
    #[must_use]
    pub fn new(data_dir: &Path, clock: Clock) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            path: data_dir.join(data_dir::LAYOUT).join(FILE),
            clock,
            known: Mutex::default(),
        }
    }

    /// Makes a token and gives it, the only time that it is seen.
    pub fn create(&self, new: NewToken) -> Result<(TokenRecord, SecretString), TokensError> {
        let mut bits = [0; 36];
        getrandom::fill(&mut bits).map_err(|error| self.failed(io::Error::other(error.to_string())))?;
        let digits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, secret) = digits.split_at(8);
        let record = TokenRecord {
            id: id.to_owned(),
            name: new.name,
            sha256: Sha256::of(secret.as_bytes()),
            scopes: new.scopes,
            projects: new.projects.iter().map(ToString::to_string).collect(),
            sources: new.sources,
            created: self.now(),
            expires: new.expires,
        };
        let mut taken = None;
        self.change(|tokens| {
            // An id of another token counts too: revoking takes both.
            taken = tokens
                .iter()
                .find(|token| token.name == record.name || token.id == record.name)
                .cloned();
            if taken.is_none() {
                tokens.push(record.clone());
            }
            taken.is_none()
        })?;
        match taken {
            Some(TokenRecord { id, .. }) => Err(TokensError::NameTaken {
                name: record.name,
                id,
            }),
            None => Ok((record, format!("{PREFIX}-{id}-{secret}").into())),
        }
    }

    /// Whether the tokens can be read, or there are none. Blocks.
    pub fn check(&self) -> Result<(), TokensError> {
        self.read().map(drop).map_err(|cause| self.failed(cause))
    }

    /// All tokens, the oldest first.
    pub fn list(&self) -> Result<Vec<TokenRecord>, TokensError> {
        Ok(self.read().map_err(|cause| self.failed(cause))?.tokens)
    }

    /// Removes the tokens of this id or name; gives those that were.
    pub fn revoke(&self, id_or_name: &str) -> Result<Vec<TokenRecord>, TokensError> {
        let mut revoked = Vec::new();
        self.change(|tokens| {
            let is_meant = |token: &mut TokenRecord| token.id == id_or_name || token.name == id_or_name;
            revoked = tokens.extract_if(.., is_meant).collect();
            !revoked.is_empty()
        })?;
        Ok(revoked)
    }

    /// What a presented token allows; `None` where it is no token, a revoked one or one that has expired.
    pub(super) fn grant(&self, presented: &SecretString) -> Option<Grant> {
        let mut parts = presented.expose_secret().split('-');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        if prefix != PREFIX || parts.next().is_some() {
            return None;
        }
        let known = self.known();
        let token = known.get(id)?;
        let (found, wanted) = (Sha256::of(secret.as_bytes()).to_hex(), token.sha256.to_hex());
        let is_right: bool = found.as_bytes().ct_eq(wanted.as_bytes()).into();
        let has_expired = token.expires.is_some_and(|expires| expires <= self.now());
        if !is_right || has_expired {
            return None;
        }
        // A pattern that cannot be read allows nothing rather than everything.
        let projects: Result<_, _> = token
            .projects
            .iter()
            .map(|text| NamePattern::parse(text))
            .collect();
        Some(Grant {
            name: token.name.clone(),
            scopes: token.scopes.clone(),
            projects: projects.ok()?,
            sources: token.sources.clone(),
        })
    }

    /// The tokens as they are now; nobody where the file cannot be read.
    fn known(&self) -> Known {
        let stamp = fs::metadata(&self.path).ok();
        let stamp = stamp.map(|facts| (facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != stamp || stamp.is_none() {
            let tokens = self.read().unwrap_or_else(|error| {
                tracing::error!(path = %self.path.display(), %error, "tokens cannot be read: nobody is let in");
                Document::default()
            });
            let by_id = tokens.tokens.into_iter().map(|token| (token.id.clone(), token));
            *known = (stamp, Arc::new(by_id.collect()));
        }
        known.1.clone()
    }

    fn read(&self) -> io::Result<Document> {
        let opened = Beneath::open(self.directory()).and_then(|beneath| beneath.file(Path::new(FILE)));
        match opened {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(serde_json::from_slice(&bytes)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Document::default()),
            Err(error) => Err(error),
        }
    }

    /// `change` says whether it changed anything.
    fn change(&self, change: impl FnOnce(&mut Vec<TokenRecord>) -> bool) -> Result<(), TokensError> {
        let write = || {
            let directory = self.directory();
            data_dir::prepare(&self.data_dir)?;
            let _lock = FileLock::acquire(&directory.join("tokens.lock"), FileLock::LIMIT)?;
            let mut document = self.read()?;
            if change(&mut document.tokens) {
                replace(&self.path, &serde_json::to_vec_pretty(&document)?)?;
            }
            Ok(())
        };
        write().map_err(|cause| self.failed(cause))
    }

    /// Puts a document of tokens back, as a backup has it, where there are no tokens; whether it did.
    pub fn restore(&self, bytes: &[u8]) -> Result<bool, TokensError> {
        let write = || {
            let document: Document = serde_json::from_slice(bytes)?;
            data_dir::prepare(&self.data_dir)?;
            let _lock = FileLock::acquire(&self.directory().join("tokens.lock"), FileLock::LIMIT)?;
            if !self.read()?.tokens.is_empty() {
                return Ok(false);
            }
            replace(&self.path, &serde_json::to_vec_pretty(&document)?)?;
            Ok(true)
        };
        write().map_err(|cause| self.failed(cause))
    }

    /// The document as it is now, for backups; `None` where there is none.
    pub fn document(&self) -> Result<Option<Vec<u8>>, TokensError> {
        let document = self.read().map_err(|cause| self.failed(cause))?;
        let bytes = serde_json::to_vec_pretty(&document).map_err(|error| self.failed(error.into()))?;
        Ok((!document.tokens.is_empty()).then_some(bytes))
    }

    fn directory(&self) -> &Path {
        // The path was put together with a directory in front.
        self.path.parent().unwrap_or(&self.data_dir)
    }

    fn failed(&self, cause: io::Error) -> TokensError {
        TokensError::Unusable {
            path: self.path.clone(),
            cause,
        }
    }

    fn now(&self) -> Timestamp {
        timestamp(self.clock.now())
    }
}

/// Replaces the file as a whole, with the mode and the owner that files of its directory have.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut staged = tempfile::NamedTempFile::new_in(directory)?;
    Rights::of(directory)?.settle(staged.as_file())?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    staged.persist(path)?;
    File::open(directory)?.sync_all()
}

/// The time of day; 1970 for times that nobody has.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}
