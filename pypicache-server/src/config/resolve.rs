//! From what was written to what is meant: the one step that can fail.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use toml::Spanned;

use super::file::{ConfigFile, RawIndex};
use super::values::{bytes, checked_name, time_or};
use super::{
    ConfigError, Configuration, IndexConfiguration, Overrides, SourceConfiguration, SourceKind,
    UpstreamConfiguration, access, front, policy, source, upstream,
};

/// Where to listen without being told.
const LISTEN: &str = "127.0.0.1:6283";

/// The name of the source that there is without being told, and of `--upstream` without a file.
const DEFAULT_SOURCE: &str = "pypi";

/// How long deleted uploads can be restored without being told.
const RETENTION: Duration = Duration::from_secs(30 * 86_400);

impl Configuration {
    /// Reads the file that `overrides` names, or the one in the usual place if there is one, and puts the
    /// overrides over it.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = match &overrides.config {
            Some(path) => ConfigFile::read(path)?,
            None => match usual_place().filter(|path| path.is_file()) {
                Some(path) => ConfigFile::read(&path)?,
                None => ConfigFile::parse(Path::new("(no file)"), String::new())?,
            },
        };
        resolve(&file, overrides)
    }
}

fn resolve(file: &ConfigFile, overrides: &Overrides) -> Result<Configuration, ConfigError> {
    let cache_dir = cache_dir(file, overrides)?;
    let data_dir = data_dir(file, overrides)?;
    let listen = listen(file, overrides)?;
    // Who can only be reached from this machine needs no credentials.
    let anonymous_read = file
        .raw
        .access
        .anonymous_read
        .unwrap_or(listen.ip().is_loopback());
    let mut sources = Vec::new();
    let mut names = BTreeSet::new();
    for raw in &file.raw.source {
        let source = source::resolve(file, raw.get_ref(), &data_dir)?;
        if !names.insert(source.name.clone()) {
            return Err(file.wrong(
                &raw.get_ref().name.span(),
                "source.name",
                format!("there are two sources named {:?}", source.name),
            ));
        }
        sources.push(source);
    }
    // Before the overrides, so that numbers stay those of the file.
    let mut indexes = file
        .raw
        .index
        .iter()
        .map(|raw| index(file, raw.get_ref(), &sources, anonymous_read))
        .collect::<Result<Vec<_>, _>>()?;
    override_upstreams(&mut sources, overrides)?;
    if let Some(dir) = &overrides.dir {
        sources.insert(
            0,
            SourceConfiguration {
                name: free_name(&sources),
                projects: Vec::new(),
                kind: SourceKind::Directory(dir.clone()),
            },
        );
        indexes
            .iter_mut()
            .flat_map(|index| &mut index.sources)
            .for_each(|number| *number += 1);
    }
    Ok(Configuration {
        listen,
        external_url: front::external_url(file)?,
        users: access::users(file),
        publishers: access::publishers(file)?,
        tls: front::tls(file)?,
        proxies: front::proxies(file)?,
        retention: time_or(file, "data.retention", &file.raw.data.retention, RETENTION)?,
        data_dir,
        anonymous_read,
        offline: overrides.offline || file.raw.offline.unwrap_or(false),
        prefetch: file.raw.prefetch.unwrap_or(true),
        policy: policy::resolve(file, own_sources(&sources))?,
        max_size: bytes(file, "cache.max-size", &file.raw.cache.max_size)?,
        ca_file: file.raw.tls.ca_file.as_deref().map(|path| file.beside(path)),
        netrc: std::env::var_os("NETRC").map(PathBuf::from),
        home: etcetera::home_dir().ok(),
        cache_dir,
        sources,
        indexes,
    })
}

fn listen(file: &ConfigFile, overrides: &Overrides) -> Result<SocketAddr, ConfigError> {
    let resolve = |text: &str| {
        text.to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
    };
    let problem =
        |text: &str| format!("{text:?} is no address to listen on: write 127.0.0.1:6283 or [::1]:6283");
    match (&overrides.listen, &file.raw.listen) {
        (Some(text), _) => resolve(text).ok_or_else(|| ConfigError::Option {
            option: "--listen",
            problem: problem(text),
        }),
        (None, Some(text)) => {
            resolve(text.get_ref()).ok_or_else(|| file.wrong(&text.span(), "listen", problem(text.get_ref())))
        }
        (None, None) => resolve(LISTEN).ok_or(ConfigError::Option {
            option: "--listen",
            problem: problem(LISTEN),
        }),
    }
}

fn cache_dir(file: &ConfigFile, overrides: &Overrides) -> Result<PathBuf, ConfigError> {
    if let Some(dir) = &overrides.cache_dir {
        return Ok(dir.clone());
    }
    match &file.raw.cache.dir {
        Some(dir) if dir.get_ref().contains("://") => Err(file.wrong(
            &dir.span(),
            "cache.dir",
            "object stores are not supported by this version: name a directory",
        )),
        Some(dir) => Ok(file.beside(Path::new(dir.get_ref()))),
        None => {
            let base = etcetera::choose_base_strategy().map_err(|_| ConfigError::NoHome)?;
            Ok(base.cache_dir().join("pypicache"))
        }
    }
}

/// Sources that are their files' origin: nobody else tells how old these are.
fn own_sources(sources: &[SourceConfiguration]) -> Vec<String> {
    let is_own = |source: &&SourceConfiguration| !matches!(source.kind, SourceKind::Upstream(_));
    sources
        .iter()
        .filter(is_own)
        .map(|source| source.name.clone())
        .collect()
}

fn data_dir(file: &ConfigFile, overrides: &Overrides) -> Result<PathBuf, ConfigError> {
    match (&overrides.data_dir, &file.raw.data.dir) {
        (Some(dir), _) => Ok(dir.clone()),
        (None, Some(dir)) => Ok(file.beside(dir)),
        (None, None) => {
            let base = etcetera::choose_base_strategy().map_err(|_| ConfigError::NoHome)?;
            Ok(base.data_dir().join("pypicache"))
        }
    }
}

fn index(
    file: &ConfigFile,
    raw: &RawIndex,
    sources: &[SourceConfiguration],
    anonymous_read: bool,
) -> Result<IndexConfiguration, ConfigError> {
    let name = checked_name(file, &raw.name, "index.name")?;
    let number = |wanted: &Spanned<String>| {
        let found = sources.iter().position(|source| source.name == *wanted.get_ref());
        found.ok_or_else(|| {
            file.wrong(
                &wanted.span(),
                "index.sources",
                format!("there is no source named {:?}", wanted.get_ref()),
            )
        })
    };
    let sources = raw.sources.iter().map(number).collect::<Result<_, _>>()?;
    Ok(IndexConfiguration {
        name,
        sources,
        anonymous_read: raw.anonymous_read.unwrap_or(anonymous_read),
    })
}

/// `--upstream` takes the place of the last source's upstreams, or adds the usual source where there is none.
fn override_upstreams(
    sources: &mut Vec<SourceConfiguration>,
    overrides: &Overrides,
) -> Result<(), ConfigError> {
    let given = overrides
        .upstreams
        .iter()
        .map(|text| upstream::parse(text, &Path::to_owned));
    let mut given = given
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| ConfigError::Option {
            option: "--upstream",
            problem,
        })?;
    let had_none = sources.is_empty();
    let last = sources
        .iter_mut()
        .rev()
        .find_map(|source| match &mut source.kind {
            SourceKind::Upstream(upstream) => Some(&mut upstream.upstreams),
            SourceKind::Directory(_) | SourceKind::Hosted(_) => None,
        });
    match last {
        Some(upstreams) if !given.is_empty() => *upstreams = given,
        None if had_none || !given.is_empty() => {
            if given.is_empty() {
                given.push(
                    upstream::parse(DEFAULT_SOURCE, &Path::to_owned).map_err(|problem| {
                        ConfigError::Option {
                            option: "--upstream",
                            problem,
                        }
                    })?,
                );
            }
            sources.push(SourceConfiguration {
                name: DEFAULT_SOURCE.to_owned(),
                projects: Vec::new(),
                kind: SourceKind::Upstream(Box::new(UpstreamConfiguration::new(given))),
            });
        }
        _ => {}
    }
    Ok(())
}

fn free_name(sources: &[SourceConfiguration]) -> String {
    let taken = |name: &str| sources.iter().any(|source| source.name == name);
    let mut candidates = std::iter::once("dir".to_owned()).chain((2..).map(|number| format!("dir-{number}")));
    candidates
        .find(|name| !taken(name))
        .unwrap_or_else(|| "dir".to_owned())
}

fn usual_place() -> Option<PathBuf> {
    Some(
        etcetera::choose_base_strategy()
            .ok()?
            .config_dir()
            .join("pypicache")
            .join("pypicache.toml"),
    )
}

#[cfg(test)]
mod tests;
