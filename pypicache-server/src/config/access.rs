//! The `[access]` table: who is let in beside those who have tokens.

use std::path::PathBuf;

use toml::Spanned;
use url::Url;

use super::ConfigError;
use super::file::{ConfigFile, RawPublisher};
use super::values::patterns;
use crate::access::{Publisher, Role};

/// Issuers that have names.
const ISSUERS: [(&str, &str); 2] = [
    ("github", "https://token.actions.githubusercontent.com"),
    ("gitlab", "https://gitlab.com"),
];

/// The file with users, and the role that they have.
pub(super) fn users(file: &ConfigFile) -> Option<(PathBuf, Role)> {
    let path = file.raw.access.htpasswd.as_deref()?;
    let role = file.raw.access.htpasswd_role.map_or(Role::Installer, Into::into);
    Some((file.beside(path), role))
}

pub(super) fn publishers(file: &ConfigFile) -> Result<Vec<Publisher>, ConfigError> {
    file.raw
        .access
        .publisher
        .iter()
        .map(|raw| publisher(file, raw))
        .collect()
}

fn publisher(file: &ConfigFile, raw: &Spanned<RawPublisher>) -> Result<Publisher, ConfigError> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let named = ISSUERS.iter().find(|(name, _)| *name == raw.issuer.get_ref());
    let issuer = named.map_or(raw.issuer.get_ref().as_str(), |(_, url)| url);
    let issuer = Url::parse(issuer)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let issuer = issuer.ok_or_else(|| {
        let problem = "this is no issuer: write github, gitlab, or the URL of another one";
        file.wrong(&raw.issuer.span(), "access.publisher.issuer", problem)
    })?;
    if raw.claims.is_empty() {
        let problem = "say what has to be true of a job, at least: claims = { repository = \"owner/name\" }; else every job of the issuer may upload";
        return Err(file.wrong(&span, "access.publisher.claims", problem));
    }
    Ok(Publisher {
        issuer,
        claims: raw
            .claims
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        projects: patterns(file, "access.publisher.projects", &raw.projects)?,
        sources: raw.sources.clone(),
    })
}
