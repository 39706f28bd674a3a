//! Options of the commands that are about what is hosted: tokens, files, moving.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use url::Url;

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
    /// Make the data directory where it is not there, or is no data directory yet
    #[arg(long)]
    pub(crate) init_data: bool,
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
    /// The server, or one of its indexes
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
    Create(BackupCreateArgs),
    /// Put back what is not there, or is damaged; what is there and whole stays
    Restore(BackupRestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BackupCreateArgs {
    /// The archive: packed where its name ends in .gz; - is standard output
    pub(crate) file: PathBuf,
    /// It is no error that nothing has been uploaded
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BackupRestoreArgs {
    /// The archive
    pub(crate) file: PathBuf,
    /// Take what is whole of an archive that was cut off or damaged, or has no end record
    #[arg(long)]
    pub(crate) partial: bool,
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
