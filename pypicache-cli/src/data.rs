//! The data of the server on this host, opened beside it while it runs.

use std::path::Path;

use pypicache_core::Clock;
use pypicache_core::hosted_source::{HostedOptions, HostedSource};
use pypicache_server::access::tokens::TokenFile;
use pypicache_server::config::{Configuration, HostedConfiguration, Overrides, SourceKind};
use pypicache_server::observe::audit::Audit;

use crate::args::DataArgs;
use crate::{FAILED, WRONG_USE, print_error};

/// What the server's configuration says of its data, and where what is done with that is written to disk.
pub(crate) struct Data {
    configuration: Configuration,
    pub(crate) audit: Audit,
}

impl Data {
    pub(crate) fn load(data: &DataArgs) -> Result<Self, u8> {
        let overrides = Overrides {
            config: data.config.clone(),
            data_dir: data.data_dir.clone(),
            ..Overrides::default()
        };
        let configuration = Configuration::load(&overrides).map_err(|error| {
            print_error(&error);
            WRONG_USE
        })?;
        let audit = Audit::new(&configuration.data_dir, Clock::system());
        Ok(Self { configuration, audit })
    }

    /// Where the server keeps its data.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.configuration.data_dir
    }

    /// Its tokens.
    pub(crate) fn tokens(&self) -> TokenFile {
        TokenFile::new(self.data_dir(), Clock::system())
    }

    /// Every hosted source.
    pub(crate) fn all(&self) -> Result<Vec<HostedSource>, u8> {
        self.configured()
            .map(|(name, hosted)| self.open(name, hosted))
            .collect()
    }

    /// The hosted source of this name; without a name, the only one.
    pub(crate) fn one(&self, name: Option<&str>) -> Result<HostedSource, u8> {
        let found: Vec<_> = self
            .configured()
            .filter(|(known, _)| name.is_none_or(|name| name == *known))
            .collect();
        match found[..] {
            [(name, hosted)] => self.open(name, hosted),
            [] => wrong(
                "there is no such hosted source in the configuration: add a [[source]] with hosted = true",
            ),
            _ => wrong("there are several hosted sources: name one with --source"),
        }
    }

    fn configured(&self) -> impl Iterator<Item = (&str, &HostedConfiguration)> {
        self.configuration
            .sources
            .iter()
            .filter_map(|source| match &source.kind {
                SourceKind::Hosted(hosted) => Some((source.name.as_str(), hosted)),
                SourceKind::Directory(_) | SourceKind::Upstream(_) => None,
            })
    }

    fn open(&self, name: &str, hosted: &HostedConfiguration) -> Result<HostedSource, u8> {
        let options = HostedOptions {
            retention: self.configuration.retention,
            ..HostedOptions::default()
        };
        HostedSource::open(name, &hosted.dir, options).map_err(|error| {
            anstream::eprintln!(
                "error: the uploads in {} cannot be opened: {error}",
                hosted.dir.display()
            );
            FAILED
        })
    }
}

fn wrong<T>(problem: &str) -> Result<T, u8> {
    anstream::eprintln!("error: {problem}");
    Err(WRONG_USE)
}
