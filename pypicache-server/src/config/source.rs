//! One `[[source]]` table: what it is, and the choices that go with it.

use std::path::Path;
use std::time::Duration;

use pypicache_core::http_source::Credentials;
use toml::Spanned;

use super::file::{ConfigFile, OneOrMany, RawDuration, RawSource};
use super::values::{bytes, checked_name, patterns, time};
use super::{
    ConfigError, HostedConfiguration, SourceConfiguration, SourceKind, UpstreamConfiguration, upstream,
};

/// The largest file that is taken without being told: what PyPI takes at the most.
const MAX_UPLOAD_SIZE: u64 = 1 << 30;

pub(super) fn resolve(
    file: &ConfigFile,
    raw: &RawSource,
    data_dir: &Path,
) -> Result<SourceConfiguration, ConfigError> {
    let name = checked_name(file, &raw.name, "source.name")?;
    let kind = match (raw.hosted.unwrap_or(false), &raw.dir, &raw.upstream) {
        (true, None, None) => SourceKind::Hosted(HostedConfiguration {
            dir: data_dir.join("v1").join("hosted").join(&name),
            max_upload_size: bytes(file, "source.max-upload-size", &raw.max_upload_size)?
                .unwrap_or(MAX_UPLOAD_SIZE),
            overlay: patterns(file, "source.overlay", &raw.overlay)?,
        }),
        (false, Some(dir), None) => SourceKind::Directory(file.beside(dir)),
        (false, None, Some(given)) => SourceKind::Upstream(Box::new(upstream_source(file, raw, given)?)),
        _ => {
            let problem = format!(
                "source {name:?} needs exactly one of: hosted = true, dir = \"PATH\", upstream = \"URL\""
            );
            return Err(file.wrong(&raw.name.span(), "source", problem));
        }
    };
    Ok(SourceConfiguration {
        name,
        projects: patterns(
            file,
            "source.projects",
            raw.projects.as_deref().unwrap_or_default(),
        )?,
        kind,
    })
}

fn upstream_source(
    file: &ConfigFile,
    raw: &RawSource,
    given: &Spanned<OneOrMany>,
) -> Result<UpstreamConfiguration, ConfigError> {
    let mut upstreams = Vec::new();
    for text in given.get_ref().as_slice() {
        let parsed = upstream::parse(text, &|path| file.beside(path));
        upstreams.push(parsed.map_err(|problem| file.wrong(&given.span(), "source.upstream", problem))?);
    }
    if upstreams.is_empty() {
        return Err(file.wrong(&given.span(), "source.upstream", "name at least one upstream"));
    }
    let time = |key, raw: &Option<Spanned<RawDuration>>| {
        raw.as_ref().map(|given| time(file, key, given)).transpose()
    };
    let above_zero = |key, raw: &Option<Spanned<RawDuration>>| match time(key, raw)? {
        Some(Duration::ZERO) => {
            let span = raw.as_ref().map_or(0..0, Spanned::span);
            Err(file.wrong(&span, key, "this has to be more than nothing"))
        }
        time => Ok(time),
    };
    Ok(UpstreamConfiguration {
        credentials: credentials(file, raw)?,
        timeout: above_zero("source.timeout", &raw.timeout)?,
        connect_timeout: above_zero("source.connect-timeout", &raw.connect_timeout)?,
        hedge: above_zero("source.hedge", &raw.hedge)?,
        file_hosts: raw.file_hosts.clone().unwrap_or_default(),
        forbidden: raw.forbidden.map(Into::into).unwrap_or_default(),
        empty: raw.empty.map(Into::into).unwrap_or_default(),
        has_root_list: raw.root_list.unwrap_or(true),
        max_lifetime: time("source.max-lifetime", &raw.max_lifetime)?,
        negative_lifetime: time("source.negative-lifetime", &raw.negative_lifetime)?,
        max_stale: time("source.max-stale", &raw.max_stale)?,
        vanished: raw.vanished.map(Into::into).unwrap_or_default(),
        unreachable: raw.unreachable.map(Into::into).unwrap_or_default(),
        files: raw.files.map(Into::into).unwrap_or_default(),
        connections_per_file: connections(file, raw)?,
        ..UpstreamConfiguration::new(upstreams)
    })
}

fn connections(file: &ConfigFile, raw: &RawSource) -> Result<Option<u32>, ConfigError> {
    match &raw.connections_per_file {
        Some(given) if !(1..=16).contains(given.get_ref()) => {
            let problem = "this has to be a number from 1 to 16";
            Err(file.wrong(&given.span(), "source.connections-per-file", problem))
        }
        given => Ok(given.as_ref().map(|given| *given.get_ref())),
    }
}

fn credentials(file: &ConfigFile, raw: &RawSource) -> Result<Option<Credentials>, ConfigError> {
    let password = match (&raw.password, &raw.password_file) {
        (Some(password), None) => Some(password.clone()),
        (None, Some(path)) => {
            let read = std::fs::read_to_string(file.beside(path.get_ref()));
            let text = read.map_err(|error| {
                file.wrong(
                    &path.span(),
                    "source.password-file",
                    format!("it cannot be read: {error}"),
                )
            })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned().into())
        }
        (None, None) => None,
        (Some(_), Some(path)) => {
            return Err(file.wrong(
                &path.span(),
                "source.password-file",
                "there is a password as well: keep one of them",
            ));
        }
    };
    Ok(match (&raw.username, password) {
        (None, None) => None,
        (user, password) => Some(Credentials::new(
            user.as_deref().unwrap_or("__token__"),
            password.unwrap_or_default(),
        )),
    })
}
