//! Users with passwords, in a file as Apache's `htpasswd -B` writes it: `name:$2y$...`, one for each line.
//!
//! bcrypt is slow on purpose, so it runs off the runtime's threads, two at a time, and a password that was right is
//! remembered for a few minutes (its digest, with a key that only this process has). The file is read again when it changes.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pypicache_core::model::Sha256;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::{Grant, Role};

/// How long a password that was right counts without being worked out again.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How many passwords are worked out at once.
const AT_ONCE: usize = 2;

/// A password that nobody has: worked out for users that there are not, so that the time says nothing.
pub(super) const NOBODY: &str = "$2b$10$ApX/3NPjbxtlPVEm.fvMIOehi8xeK/aliZfyl9pv996QW0aJQK762";

/// Hashes by the names of users.
type Known = Arc<HashMap<String, String>>;

/// Users with passwords.
pub struct Htpasswd {
    path: PathBuf,
    role: Role,
    known: Mutex<(Option<SystemTime>, Known)>,
    right: moka::sync::Cache<Sha256, ()>,
    key: [u8; 16],
    working: Semaphore,
}

impl Htpasswd {
    /// The users of a file, all in one role.
    #[must_use]
    pub fn new(path: &Path, role: Role) -> Self {
        let mut key = [0; 16];
        // Without random bits nothing is remembered wrongly: the digest has the password and its hash in it.
        let _ = getrandom::fill(&mut key);
        Self {
            path: path.to_owned(),
            role,
            known: Mutex::default(),
            right: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(REMEMBERED)
                .build(),
            key,
            working: Semaphore::new(AT_ONCE),
        }
    }

    /// What a user may do whose password was right lately.
    pub(super) fn remembered(&self, user: &str, password: &SecretString) -> Option<Grant> {
        let hash = self.users().get(user)?.clone();
        self.right
            .contains_key(&self.digest(user, password, &hash))
            .then(|| self.grant(user))
    }

    /// What a user may do, if the password is right. Takes its time.
    pub(super) async fn checked(&self, user: &str, password: &SecretString) -> Option<Grant> {
        let hash = self.users().get(user).cloned();
        let (wanted, presented) = (
            hash.clone().unwrap_or_else(|| NOBODY.to_owned()),
            password.clone(),
        );
        // The semaphore is never closed.
        let _permit = self.working.acquire().await.ok();
        let verify = move || bcrypt::verify(presented.expose_secret(), &wanted).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(verify).await.unwrap_or(false);
        let hash = hash.filter(|_| is_right)?;
        self.right.insert(self.digest(user, password, &hash), ());
        Some(self.grant(user))
    }

    fn grant(&self, user: &str) -> Grant {
        Grant {
            name: user.to_owned(),
            scopes: self.role.scopes(),
            projects: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// The hash is a part of it, so that a changed password is noticed.
    fn digest(&self, user: &str, password: &SecretString, hash: &str) -> Sha256 {
        let key = Sha256::of(&self.key).to_hex();
        Sha256::of(format!("{key}\0{user}\0{hash}\0{}", password.expose_secret()).as_bytes())
    }

    /// Whether the file can be read. Blocks.
    pub(super) fn check(&self) -> std::io::Result<()> {
        fs::read_to_string(&self.path).map(drop)
    }

    /// The users as they are now; nobody where the file cannot be read.
    fn users(&self) -> Known {
        let changed = fs::metadata(&self.path).and_then(|facts| facts.modified()).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != changed || changed.is_none() {
            *known = (changed, Arc::new(self.read()));
        }
        known.1.clone()
    }

    fn read(&self) -> HashMap<String, String> {
        let text = fs::read_to_string(&self.path).unwrap_or_else(|error| {
            tracing::error!(path = %self.path.display(), %error, "the htpasswd file cannot be read: nobody is let in by it");
            String::new()
        });
        let mut users = HashMap::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(':') {
                Some((user, hash)) if hash.starts_with("$2") => {
                    users.insert(user.to_owned(), hash.to_owned());
                }
                Some((user, _)) => {
                    tracing::warn!(
                        user,
                        "this user's password is not kept by bcrypt and does not count: htpasswd -B writes it so"
                    );
                }
                None => {}
            }
        }
        users
    }
}

/// Neither hashes nor the key.
impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({} as {:?})", self.path.display(), self.role)
    }
}
