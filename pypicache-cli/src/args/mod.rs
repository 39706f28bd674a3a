//! The command line as typed.

mod hosting;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pypicache_server::config::Overrides;

pub(crate) use hosting::*;

/// A cache for Python packages that comes in tiers: laptop, team, PyPI.
#[derive(Debug, Parser)]
#[command(name = "pypicache", version, about)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the cache over HTTP. Without any option: PyPI, cached, on http://127.0.0.1:6283/simple/
    Serve(ServeArgs),
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make, list and revoke tokens, on the host of the server.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Mark files as not to be used unless they are pinned
    Yank(ChangeArgs),
    /// Take the mark away
    Unyank(FilesArgs),
    /// Take files off their project's page; they can be restored for a while
    Delete(DeleteArgs),
    /// Put deleted files back
    Restore(FilesArgs),
    /// Set a project's status
    Status(StatusArgs),
    /// Bring packages in from a folder: of pypiserver, localshop or devpi, a devpi export, or any other
    Import(ImportArgs),
    /// Back up everything that was uploaded, or put it back, beside the running server
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Explain who answers for a project, and which rule keeps which of its files out, tier by tier
    Why(WhyArgs),
    /// Show everything that is recorded of a project, deleted files too
    Show(ShowArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and show what it means. Starts nothing.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file (default: pypicache/pypicache.toml in the user's configuration directory)
    #[arg(long, value_name = "FILE", env = "PYPICACHE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", env = "PYPICACHE_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Where held files lie
    #[arg(long, value_name = "DIR", env = "PYPICACHE_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Where uploads, tokens and the audit log lie
    #[arg(long, value_name = "DIR", env = "PYPICACHE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The index to cache: a URL that ends in /simple/, or pypi. Given several times: equals, in order of preference
    #[arg(long, value_name = "URL", env = "PYPICACHE_UPSTREAM", value_delimiter = ' ')]
    pub(crate) upstream: Vec<String>,
    /// Never ask an upstream: answer from what is held
    #[arg(long, env = "PYPICACHE_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) offline: bool,
    /// A directory of wheels and sdists to offer before anything else, live
    #[arg(long, value_name = "PATH", env = "PYPICACHE_DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoggingArgs {
    /// Log more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Log only what needs attention
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// How log lines look
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "PYPICACHE_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl ServeArgs {
    pub(crate) fn into_overrides(self) -> Overrides {
        Overrides {
            config: self.config,
            listen: self.listen,
            cache_dir: self.cache_dir,
            data_dir: self.data_dir,
            upstreams: self
                .upstream
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect(),
            offline: self.offline,
            dir: self.dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn upstreams_keep_their_order() {
        let line = CommandLine::parse_from([
            "pypicache",
            "serve",
            "--upstream",
            "http://team.example/simple/",
            "--upstream",
            "pypi",
        ]);
        let Command::Serve(options) = line.command else {
            panic!("not serve")
        };
        assert_eq!(
            options.into_overrides().upstreams,
            ["http://team.example/simple/", "pypi"]
        );
    }
}
