//! Who asks, and what they may do.
//!
//! 1. [`Caller::Anybody`] may read where the index says so, and nothing else.
//! 2. Whoever presents a token (as Basic password under any user name, or as Bearer) is the token's [`Grant`].
//! 3. What is wrong is answered 401 with a challenge, what is right but not enough 403; whoever is wrong too often is
//!    answered 429 for a while ([`attempts`]).
//!
//! This module decides; it reads no bodies and asks no source. Tokens rest in [`tokens`].

mod attempts;
mod grant;
pub mod tokens;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use secrecy::{ExposeSecret as _, SecretString};

pub use grant::{Grant, Role, Scope};

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
    tokens: Option<TokenFile>,
    attempts: Attempts,
}

impl Access {
    /// Whoever presents a token of this file is let in.
    #[must_use]
    pub fn with_tokens(tokens: TokenFile) -> Self {
        Self {
            tokens: Some(tokens),
            attempts: Attempts::default(),
        }
    }

    /// Who asks. `from` is where they ask from: wrong credentials are counted by it.
    pub(crate) fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, Refusal> {
        if !headers.contains_key(AUTHORIZATION) {
            return Ok(Caller::Anybody);
        }
        let grant = presented(headers).and_then(|secret| self.tokens.as_ref()?.grant(&secret));
        match grant {
            Some(grant) => Ok(Caller::Known(grant)),
            None => Err(match self.attempts.failed(from) {
                Some(wait) => Refusal::TooOften(wait),
                None => Refusal::Unknown("These credentials are not known here, or have expired."),
            }),
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

/// The secret that the client presents. The user's name says nothing: every client has its own custom.
fn presented(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if rest.len() > MAX_LENGTH {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned().into());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim())
        .ok()?;
    let pair = SecretString::from(String::from_utf8(decoded).ok()?);
    let (_, password) = pair.expose_secret().split_once(':')?;
    Some(password.to_owned().into())
}

#[cfg(test)]
mod tests;
