//! The data of the server on this host, opened beside it while it runs.

use std::path::Path;

use pypicache_core::Clock;
use pypicache_core::hosted_source::{HostedOptions, HostedSource};
use pypicache_server::access::tokens::TokenFile;
use pypicache_server::config::{Configuration, HostedConfiguration, Overrides, SourceKind};
use pypicache_server::data_dir::{self, LAYOUT};
use pypicache_server::observe::audit::Audit;

use crate::args::DataArgs;
use crate::output::report_line;
use crate::{FAILED, WRONG_USE, print_error, wrong_use};

const NO_SOURCE: &str =
    "there is no such hosted source in the configuration: add a [[source]] with hosted = true";

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

    /// Whether a server has ever kept something here.
    pub(crate) fn is_used(&self) -> bool {
        self.data_dir().join(LAYOUT).is_dir()
    }

    /// Every hosted source that has been used; nothing is made.
    pub(crate) fn used(&self) -> Result<Vec<HostedSource>, u8> {
        if self.configured().next().is_none() {
            return wrong_use(NO_SOURCE);
        }
        self.configured()
            .filter(|(_, hosted)| hosted.dir.is_dir())
            .map(|(name, hosted)| self.open(name, hosted))
            .collect()
    }

    /// The names of hosted sources that were used, and are not in the configuration.
    pub(crate) fn unconfigured(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data_dir().join(LAYOUT).join("hosted"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| self.configured().all(|(known, _)| known != name))
            .collect()
    }

    /// The hosted source of this name, where there is one.
    pub(crate) fn named(&self, name: &str) -> Option<HostedSource> {
        let (name, hosted) = self.configured().find(|(known, _)| *known == name)?;
        self.open(name, hosted).ok()
    }

    /// Whether a token may be made here. It is worth nothing in a directory that no server looks at, so one that was named on
    /// the command line has to be there, and to be empty or in use.
    pub(crate) fn check_new_token(&self, is_named: bool, is_wanted: bool) -> Result<(), u8> {
        let directory = self.data_dir();
        if self.is_used() || is_wanted {
            return Ok(());
        }
        let place = directory.display();
        match std::fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
            Ok(true) => wrong_use(&format!(
                "{place} is no data directory: no server has kept anything there, and other things lie in it; --init-data makes it one"
            )),
            Err(_) if is_named => wrong_use(&format!(
                "there is no data directory {place}: a token there would be worth nothing; --init-data makes it"
            )),
            _ => {
                report_line!(
                    "no server has used {place} yet: it becomes the data directory, and the server has to be started with it"
                );
                Ok(())
            }
        }
    }

    /// The hosted source of this name; without a name, the only one.
    pub(crate) fn one(&self, name: Option<&str>) -> Result<HostedSource, u8> {
        let found: Vec<_> = self
            .configured()
            .filter(|(known, _)| name.is_none_or(|name| name == *known))
            .collect();
        match found[..] {
            [(name, hosted)] => {
                if !self.is_used() {
                    report_line!(
                        "no server has used {} yet: it becomes the data directory",
                        self.data_dir().display()
                    );
                }
                data_dir::prepare(self.data_dir()).map_err(|error| {
                    print_error(&error);
                    FAILED
                })?;
                self.open(name, hosted)
            }
            [] => wrong_use(NO_SOURCE),
            _ => wrong_use("there are several hosted sources: name one with --source"),
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
            report_line!(
                "error: the uploads in {} cannot be opened: {error}",
                hosted.dir.display()
            );
            FAILED
        })
    }
}
