//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pypicache_server::config::Overrides;
use url::Url;

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
pub(crate) enum TokenCommand {
    /// Make a token and print it: it is not shown again
    Create(TokenCreateArgs),
    /// List tokens (not their secrets)
    List(TokenListArgs),
    /// Revoke tokens at once
    Revoke(TokenRevokeArgs),
}

/// Where the server keeps its data.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The server's configuration file
    #[arg(long, value_name = "FILE", env = "PYPICACHE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Its data directory, where that is not the one of its configuration
    #[arg(long, value_name = "DIR", env = "PYPICACHE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// What the token is called in lists and logs
    #[arg(long)]
    pub(crate) name: String,
    /// What it allows: installer reads, developer uploads as well, admin does everything
    #[arg(long, value_enum, required_unless_present = "scope")]
    pub(crate) role: Option<RoleName>,
    /// What it allows, one by one
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "role")]
    pub(crate) scope: Vec<ScopeName>,
    /// For these projects only: a name, or the front of one with * behind it
    #[arg(long = "project", value_name = "PATTERN")]
    pub(crate) projects: Vec<String>,
    /// For files of these sources only
    #[arg(long = "source", value_name = "NAME")]
    pub(crate) sources: Vec<String>,
    /// Worth nothing after this time: "90 days", "12 h"
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenListArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The token's id or name
    pub(crate) token: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    Installer,
    Developer,
    Admin,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeName {
    Read,
    Upload,
    Manage,
}

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server, or one of its indexes: http://team.example:6283/
    #[arg(
        long,
        value_name = "URL",
        env = "PYPICACHE_SERVER",
        default_value = "http://127.0.0.1:6283/"
    )]
    pub(crate) server: Url,
    /// A file with the token; else $PYPICACHE_TOKEN, the URL, or ~/.netrc
    #[arg(long, value_name = "FILE", env = "PYPICACHE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's
    #[arg(long, value_name = "FILE", env = "PYPICACHE_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Files of a project: those of a release, or one.
#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// The project
    pub(crate) project: String,
    /// Only this release
    pub(crate) version: Option<String>,
    /// Only this file
    #[arg(long, value_name = "NAME")]
    pub(crate) file: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// Why; installers show it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) files: FilesArgs,
    /// All files of the project
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The project
    pub(crate) project: String,
    /// active, archived (no uploads), deprecated, or quarantined (nothing is offered)
    pub(crate) status: String,
    /// Why; installers show it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The folder
    pub(crate) path: PathBuf,
    /// The hosted source to bring them to, where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only say what would be brought in
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a backup
    Create(BackupArgs),
    /// Put back what is not there; what is there stays
    Restore(BackupArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The archive: packed where its name ends in .gz; - is standard output
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The project, or one release of it: flask, flask==3.0.0
    pub(crate) requirement: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The project
    pub(crate) project: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
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
