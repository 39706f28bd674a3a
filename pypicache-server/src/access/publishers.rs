//! Trusted publishing: a CI system vouches for its job by an identity token (OpenID Connect), and gets a token for uploads
//! that is good for a quarter of an hour. No secret is kept anywhere.
//!
//! As PyPI does it: `GET /_/oidc/audience` says for whom the identity token has to be made, `POST /_/oidc/mint-token` takes it.
//! Its signature is checked with the issuer's published keys, then its times, issuer and audience, then whatever claims the
//! configuration demands of the job.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use pypicache_core::http_source::HttpClient;
use pypicache_core::model::{NamePattern, Sha256};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use url::Url;

use super::{Grant, Scope};

/// For whom identity tokens have to be made.
pub(crate) const AUDIENCE: &str = "pypicache";

/// How long a minted token counts.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long an issuer's keys count, and how often they are looked at again for one that is not among them.
const KEYS_COUNT: Duration = Duration::from_secs(3600);
const KEYS_AGAIN: Duration = Duration::from_secs(30);

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

/// What minted tokens begin with.
const PREFIX: &str = "pypicache-minted";

/// Jobs that are trusted.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Who vouches: the issuer's URL, exactly as in its tokens.
    pub issuer: Url,
    /// What has to be said of a job: the names of claims, and values in which `*` at the end stands for anything.
    pub claims: Vec<(String, String)>,
    /// For which projects its token is good.
    pub projects: Vec<NamePattern>,
    /// For which sources; empty: for all.
    pub sources: Vec<String>,
}

/// Why no token is minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MintError {
    /// 422: it is no identity token, or not a good one.
    #[error("the identity token is not valid: {0}")]
    Invalid(String),
    /// 403: nobody trusts this job.
    #[error("no trusted publisher of the configuration fits the job: {0}")]
    Untrusted(String),
    /// 503: the issuer's keys cannot be had.
    #[error("the keys of {0} cannot be had now")]
    NoKeys(Url),
}

/// All trusted publishers, and the tokens that they have.
#[derive(Debug)]
pub struct Publishers {
    trusted: Vec<Publisher>,
    client: HttpClient,
    keys: tokio::sync::Mutex<HashMap<Url, (Instant, JwkSet)>>,
    minted: Mutex<HashMap<String, Minted>>,
}

#[derive(Debug)]
struct Minted {
    sha256: Sha256,
    until: Instant,
    grant: Grant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl Publishers {
    /// `client` asks issuers for their keys.
    #[must_use]
    pub fn new(trusted: Vec<Publisher>, client: HttpClient) -> Self {
        Self {
            trusted,
            client,
            keys: tokio::sync::Mutex::default(),
            minted: Mutex::default(),
        }
    }

    /// Whether there is anybody to trust.
    pub(crate) fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// A token for the job that the identity token is about, with what the job is called.
    pub(crate) async fn mint(&self, identity: &str) -> Result<(SecretString, String), MintError> {
        let header = jsonwebtoken::decode_header(identity).map_err(invalid)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(MintError::Invalid(
                "it is signed by neither RS256 nor ES256".to_owned(),
            ));
        }
        // Not believed yet: it only says whose keys to look at, and only issuers of the configuration are asked.
        let issuer = unverified_issuer(identity)?;
        let is_known = |publisher: &&Publisher| publisher.issuer == issuer;
        let Some(publisher) = self.trusted.iter().find(is_known) else {
            return Err(MintError::Untrusted(format!("issuer {issuer}")));
        };
        let key = self.key(&publisher.issuer, header.kid.as_deref()).await?;
        let claims = verified(identity, header.alg, &key, &publisher.issuer)?;
        let fitting = self
            .trusted
            .iter()
            .filter(is_known)
            .find(|publisher| publisher.fits(&claims));
        let job = job(&claims);
        match fitting {
            Some(publisher) => self.issue(publisher, job),
            None => Err(MintError::Untrusted(job)),
        }
    }

    /// What a minted token allows; `None` where it is none, or has expired.
    pub(super) fn grant(&self, presented: &str) -> Option<Grant> {
        let (id, secret) = presented
            .strip_prefix(PREFIX)?
            .strip_prefix('-')?
            .split_once('-')?;
        let minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = minted.get(id).filter(|minted| Instant::now() < minted.until)?;
        let (found, wanted) = (Sha256::of(secret.as_bytes()).to_hex(), known.sha256.to_hex());
        let is_right: bool = found.as_bytes().ct_eq(wanted.as_bytes()).into();
        is_right.then(|| known.grant.clone())
    }

    fn issue(&self, publisher: &Publisher, job: String) -> Result<(SecretString, String), MintError> {
        let mut bits = [0; 36];
        getrandom::fill(&mut bits).map_err(|error| MintError::Invalid(error.to_string()))?;
        let digits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, secret) = digits.split_at(8);
        let grant = Grant {
            name: job.clone(),
            scopes: vec![Scope::Read, Scope::Upload],
            projects: publisher.projects.clone(),
            sources: publisher.sources.clone(),
        };
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        minted.retain(|_, minted| now < minted.until);
        let sha256 = Sha256::of(secret.as_bytes());
        minted.insert(
            id.to_owned(),
            Minted {
                sha256,
                until: now + LIFETIME,
                grant,
            },
        );
        Ok((format!("{PREFIX}-{id}-{secret}").into(), job))
    }

    /// The issuer's key of this id.
    async fn key(&self, issuer: &Url, id: Option<&str>) -> Result<DecodingKey, MintError> {
        let mut keys = self.keys.lock().await;
        let find = |set: &JwkSet| match id {
            Some(id) => set.find(id).cloned(),
            None => set.keys.first().cloned(),
        };
        let known = keys.get(issuer);
        let found = known
            .filter(|(at, _)| at.elapsed() < KEYS_COUNT)
            .and_then(|(_, set)| find(set));
        let may_ask = known.is_none_or(|(at, _)| at.elapsed() >= KEYS_AGAIN);
        let key = match found {
            Some(key) => Some(key),
            None if may_ask => {
                let set = self
                    .fetch(issuer)
                    .await
                    .ok_or_else(|| MintError::NoKeys(issuer.clone()))?;
                let key = find(&set);
                keys.insert(issuer.clone(), (Instant::now(), set));
                key
            }
            None => None,
        };
        let key = key.ok_or_else(|| MintError::Invalid("its issuer has no such key".to_owned()))?;
        DecodingKey::from_jwk(&key).map_err(invalid)
    }

    /// OpenID Connect Discovery 1.0: where the keys are, and what they are.
    async fn fetch(&self, issuer: &Url) -> Option<JwkSet> {
        let front = issuer.as_str().trim_end_matches('/');
        let place = Url::parse(&format!("{front}/.well-known/openid-configuration")).ok()?;
        let discovery: Discovery = self.get(&place).await?;
        // The keys may lie elsewhere, but not in the clear where the issuer does not.
        let is_safe =
            discovery.jwks_uri.scheme() == "https" || discovery.jwks_uri.origin() == issuer.origin();
        if discovery.issuer.trim_end_matches('/') != front || !is_safe {
            tracing::warn!(%issuer, "the issuer's discovery document is not its own");
            return None;
        }
        self.get(&discovery.jwks_uri).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &Url) -> Option<T> {
        match self.client.call(url, None, None).await {
            Ok((status, bytes)) if status.is_success() => serde_json::from_slice(&bytes).ok(),
            Ok((status, _)) => {
                tracing::warn!(%url, %status, "an issuer of identity tokens does not answer well");
                None
            }
            Err(cause) => {
                tracing::warn!(%url, %cause, "an issuer of identity tokens cannot be asked");
                None
            }
        }
    }
}

impl Publisher {
    fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.claims.iter().all(|(name, wanted)| {
            let told = claims.get(name).and_then(Value::as_str);
            told.is_some_and(|told| match wanted.strip_suffix('*') {
                Some(front) => told.starts_with(front),
                None => told == wanted,
            })
        })
    }
}

fn unverified_issuer(identity: &str) -> Result<Url, MintError> {
    #[derive(Deserialize)]
    struct Claims {
        iss: Url,
    }
    let mut unchecked = Validation::default();
    unchecked.insecure_disable_signature_validation();
    unchecked.validate_exp = false;
    unchecked.validate_aud = false;
    unchecked.set_required_spec_claims::<&str>(&[]);
    unchecked.algorithms = vec![Algorithm::RS256, Algorithm::ES256];
    let nothing = DecodingKey::from_secret(&[]);
    let token = jsonwebtoken::decode::<Claims>(identity, &nothing, &unchecked).map_err(invalid)?;
    Ok(token.claims.iss)
}

fn verified(
    identity: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
    issuer: &Url,
) -> Result<Map<String, Value>, MintError> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.set_audience(&[AUDIENCE]);
    let front = issuer.as_str().trim_end_matches('/');
    validation.set_issuer(&[front, &format!("{front}/")]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    let claims = jsonwebtoken::decode::<Map<String, Value>>(identity, key, &validation)
        .map_err(invalid)?
        .claims;
    // By hand, because a time that is no number must not count as none.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    for name in ["nbf", "iat"] {
        match claims.get(name).map(Value::as_u64) {
            None => {}
            Some(Some(time)) if time <= now + LEEWAY => {}
            Some(_) => return Err(MintError::Invalid(format!("{name} is not in the past"))),
        }
    }
    Ok(claims)
}

/// What the job is called in logs and records.
fn job(claims: &Map<String, Value>) -> String {
    let told = ["repository", "project_path", "sub"]
        .iter()
        .find_map(|name| claims.get(*name)?.as_str());
    let told = told.unwrap_or("unknown");
    told.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn invalid(error: impl std::fmt::Display) -> MintError {
    MintError::Invalid(error.to_string())
}
