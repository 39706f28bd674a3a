//! Who asks, and what they may do.
//!
//! 1. Anybody may read where the index says so, and nothing else.
//! 2. Whoever presents a token (as Basic password under any user name, or as Bearer) is the token's [`Grant`].
//! 3. What is wrong is answered 401 with a challenge, what is right but not enough 403; whoever is wrong too often is
//!    answered 429 for a while (`attempts`).
//!
//! This module decides; it reads no bodies and asks no source. Tokens rest in [`tokens`], users in `htpasswd`, and jobs of CI
//! systems get theirs from `publishers`.
//!
//! Imports: `data_dir`.

mod attempts;
mod grant;
mod htpasswd;
mod publishers;
pub mod tokens;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use secrecy::{ExposeSecret as _, SecretString};

pub use grant::{Grant, Role, Scope};
pub use htpasswd::Htpasswd;
pub(crate) use publishers::{AUDIENCE, MintError};
pub use publishers::{Publisher, Publishers};

use attempts::Attempts;
use tokens::TokenFile;

/// Credentials longer than this are not looked at.
const MAX_LENGTH: usize = 4096;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody said who.
    Anybody,
    /// Whoever has this grant.
    Known(Grant),
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No credentials, or wrong ones: 401.
    Unknown(&'static str),
    /// Wrong ones too often: 429, to be tried again after this time.
    TooOften(Duration),
    /// Right ones that do not allow this: 403.
    NotAllowed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(detail) => f.write_str(detail),
            Self::TooOften(wait) => write!(
                f,
                "too many wrong credentials, to be tried again in {} s",
                wait.as_secs().max(1)
            ),
            Self::NotAllowed(detail) => f.write_str(detail),
        }
    }
}

/// The rules of one server.
#[derive(Debug, Default)]
pub struct Access {
    tokens: Option<Arc<TokenFile>>,
    users: Option<Arc<Htpasswd>>,
    publishers: Option<Publishers>,
    attempts: Attempts,
}

impl Access {
    /// Whoever presents a token of this file is let in.
    #[must_use]
    pub fn with_tokens(tokens: TokenFile) -> Self {
        Self {
            tokens: Some(Arc::new(tokens)),
            ..Self::default()
        }
    }

    /// The same, with users who have passwords.
    #[must_use]
    pub fn with_users(mut self, users: Htpasswd) -> Self {
        self.users = Some(Arc::new(users));
        self
    }

    /// The same, with jobs of CI systems that are trusted.
    #[must_use]
    pub fn with_publishers(mut self, publishers: Publishers) -> Self {
        self.publishers = Some(publishers);
        self
    }

    /// What looks whether everybody who may be let in can be known: the files that say who are readable. It blocks.
    pub(crate) fn check(&self) -> impl FnOnce() -> Result<(), String> + Send + 'static + use<> {
        let (tokens, users) = (self.tokens.clone(), self.users.clone());
        move || {
            if let Some(tokens) = tokens {
                tokens.check().map_err(|error| chain(&error))?;
            }
            let users = users.map_or(Ok(()), |users| users.check());
            users.map_err(|error| format!("the htpasswd file cannot be read: {error}"))
        }
    }

    /// Those, if there are any.
    pub(crate) fn publishers(&self) -> Option<&Publishers> {
        self.publishers
            .as_ref()
            .filter(|publishers| !publishers.is_empty())
    }

    /// Who asks. `from` is where they ask from: wrong credentials are counted by it.
    pub(crate) async fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, Refusal> {
        if !headers.contains_key(AUTHORIZATION) {
            return Ok(Caller::Anybody);
        }
        let Some(presented) = presented(headers) else {
            return Err(self.wrong(from));
        };
        if let Some(grant) = self.known_at_once(&presented) {
            return Ok(Caller::Known(grant));
        }
        // Passwords can be guessed, tokens cannot: who has been wrong too often is not even heard.
        let user = self.users.as_ref().zip(presented.user.as_deref());
        let Some((users, user)) = user.filter(|_| self.attempts.is_left(from)) else {
            return Err(self.wrong(from));
        };
        match users.checked(user, &presented.secret).await {
            Some(grant) => Ok(Caller::Known(grant)),
            None => Err(self.wrong(from)),
        }
    }

    /// Tokens, and passwords that were right lately.
    fn known_at_once(&self, presented: &Presented) -> Option<Grant> {
        let token = || self.tokens.as_ref()?.grant(&presented.secret);
        let minted = || self.publishers.as_ref()?.grant(presented.secret.expose_secret());
        let user = || {
            self.users
                .as_ref()?
                .remembered(presented.user.as_deref()?, &presented.secret)
        };
        token().or_else(minted).or_else(user)
    }

    /// Wrong credentials were presented.
    pub(crate) fn wrong(&self, from: IpAddr) -> Refusal {
        match self.attempts.failed(from) {
            Some(wait) => Refusal::TooOften(wait),
            None => Refusal::Unknown("These credentials are not known here, or have expired."),
        }
    }
}

impl Caller {
    /// Whether they have the scope at all.
    pub(crate) fn has(&self, scope: Scope) -> Result<(), Refusal> {
        match self {
            Self::Known(grant) if grant.scopes.contains(&scope) => Ok(()),
            Self::Known(grant) => Err(Refusal::NotAllowed(format!(
                "The token {:?} does not have the scope {scope}.",
                grant.name
            ))),
            Self::Anybody => Err(Refusal::Unknown(
                "This takes credentials: a token as password, with __token__ or any other user name.",
            )),
        }
    }

    /// Their name, for logs and records.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Known(grant) => Some(&grant.name),
            Self::Anybody => None,
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What a client presents.
struct Presented {
    /// The user's name, by Basic. It says nothing where the secret is a token: every client has its own custom.
    user: Option<String>,
    secret: SecretString,
}

fn presented(headers: &HeaderMap) -> Option<Presented> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if rest.len() > MAX_LENGTH {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        let secret = rest.trim().to_owned().into();
        return Some(Presented { user: None, secret });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim())
        .ok()?;
    let pair = SecretString::from(String::from_utf8(decoded).ok()?);
    let (user, password) = pair.expose_secret().split_once(':')?;
    Some(Presented {
        user: Some(user.to_owned()),
        secret: password.to_owned().into(),
    })
}

#[cfg(test)]
mod tests;
