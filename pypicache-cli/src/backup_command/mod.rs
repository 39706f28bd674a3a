//! `pypicache backup create` and `pypicache backup restore`: everything that cannot be fetched again, in one tar archive, on
//! the host of a server that may run meanwhile.
//!
//! ```text
//! pypicache-backup/tokens.json
//! pypicache-backup/audit/<file>             the audit log
//! pypicache-backup/hosted/<source>/...      see pypicache_core::hosted_source
//! pypicache-backup/end.json                 how many members there are, their digest, and what is missing
//! ```

mod create;
mod members;
mod output;
mod restore;

use crate::args::BackupCommand;
use crate::data::Data;

/// In front of every path in the archive.
const ROOT: &str = "pypicache-backup";

/// The tokens, below that.
const TOKENS: &str = "tokens.json";

pub(crate) fn backup(command: BackupCommand) -> u8 {
    let done = match &command {
        BackupCommand::Create(options) => Data::load(&options.data)
            .and_then(|data| create::create(&data, &options.file, options.allow_empty)),
        BackupCommand::Restore(options) => {
            Data::load(&options.data).and_then(|data| restore::restore(&data, &options.file, options.partial))
        }
    };
    done.unwrap_or_else(|code| code)
}
