//! The audit log: who changed what, who was turned away, what raised an alarm. One JSON document for each line.
//!
//! ```text
//! <data directory>/v1/audit/audit.jsonl      the newest, appended to
//! <data directory>/v1/audit/audit.jsonl.1    the one before, and so on up to .9
//! ```
//!
//! A line has `time`, `event`, and where they are known `who` (the name of a token or user), `from` (an address),
//! `request` (the request's id, as in the log), `project`, `version`, `files` (a list), `sha256`, `source`, `reason`, `status`,
//! `token` (what a token is and allows), and `detail`: for people only, what a program may ask for has a field of its own.
//! Secrets never get here: nothing that a client presented as its credentials is written to disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use pypicache_core::Clock;
use pypicache_core::local_fs::{open_or_create, prepare_dir};
use serde::Serialize;

use crate::data_dir;

/// A file that has grown beyond this is parked, in bytes.
const FILE_SIZE: u64 = 16 * 1024 * 1024;

/// Where they lie, below the data directory's layout.
pub const DIRECTORY: &str = "audit";

/// How many files are kept beside the newest.
const KEPT: u32 = 9;

/// Where events are written to disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Log>);

#[derive(Debug)]
struct Log {
    data_dir: PathBuf,
    path: PathBuf,
    clock: Clock,
    /// Open for appending, with its length. A std mutex: held for one write.
    file: Mutex<Option<(File, u64)>>,
}

/// Something that is written to disk.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Event {
    /// What happened: `upload`, `upload-refused`, `yank`, `unyank`, `delete`, `restore`, `status`, `removed`, `set-aside`, `backup-restored`, `token-created`,
    /// `token-revoked`, `token-used`, `turned-away`, `denied`, `alarm`.
    pub event: &'static str,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// In which request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// To which project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// To which release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// To which files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The file's digest, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of which source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why, as whoever did it says; or what sort of alarm or refusal it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The project's new status, or the HTTP status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The token that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenDetails>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What is written down of a token. Never its secret.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TokenDetails {
    /// What tells it from others.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows, with spaces in between (as in RFC 6749).
    pub scope: String,
    /// For which projects; empty: for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// For files of which sources; empty: of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Until when (RFC 3339, UTC); `None`: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl Event {
    /// An event of which nothing but its sort is known yet.
    #[must_use]
    pub fn new(event: &'static str) -> Self {
        Self {
            event,
            ..Self::default()
        }
    }
}

impl Audit {
    /// The log of the server with this data directory. Nothing is written before something happens.
    #[must_use]
    pub fn new(data_dir: &Path, clock: Clock) -> Self {
        Self(Arc::new(Log {
            data_dir: data_dir.to_owned(),
            path: data_dir
                .join(data_dir::LAYOUT)
                .join(DIRECTORY)
                .join("audit.jsonl"),
            clock,
            file: Mutex::new(None),
        }))
    }

    /// Whether something could be written down now. Blocks.
    pub fn check(&self) -> io::Result<()> {
        self.0.open().map(drop)
    }

    /// Writes an event down. What cannot be written is an error in the ordinary log; nobody is kept waiting by it.
    pub fn note(&self, event: &Event) {
        let now = Timestamp::try_from(self.0.clock.now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let line = Line {
            time: format!("{now:.6}"),
            event,
        };
        let written = serde_json::to_string(&line).map_err(io::Error::other);
        let written = written.and_then(|line| self.0.append(&format!("{line}\n")));
        if let Err(error) = written {
            tracing::error!(path = %self.0.path.display(), %error, event = event.event, "the audit log cannot be written");
        }
    }
}

impl Log {
    /// One write for each line: appending is atomic, also beside other processes.
    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut open, length) = match file.take() {
            Some((_, length)) if length > FILE_SIZE => {
                self.rotate()?;
                self.open()?
            }
            Some(open) => open,
            None => self.open()?,
        };
        open.write_all(line.as_bytes())?;
        *file = Some((open, length + line.len() as u64));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        data_dir::prepare(&self.data_dir)?;
        prepare_dir(directory)?;
        let file = open_or_create(&self.path, true)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// The oldest goes, the others move on by one.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            number => self.path.with_extension(format!("jsonl.{number}")),
        };
        for number in (0..KEPT).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_and_files_are_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(directory.path(), Clock::manual());
        let event = Event {
            who: Some("ci \"quoted\"\n".to_owned()),
            detail: Some("x".repeat(100_000)),
            ..Event::new("upload")
        };
        for _ in 0..400 {
            audit.note(&event);
        }
        let read = |name: &str| fs::read_to_string(directory.path().join("v1/audit").join(name)).unwrap();
        let all = read("audit.jsonl") + &read("audit.jsonl.1") + &read("audit.jsonl.2");
        assert_eq!(all.lines().count(), 400);
        let first: serde_json::Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["event"], &first["who"]),
            (&"upload".into(), &"ci \"quoted\"\n".into())
        );
        assert_eq!(first["time"], "2023-11-14T22:13:20.000000Z");
        assert!(first.get("project").is_none());
        // A log that another process goes on with is continued.
        Audit::new(directory.path(), Clock::manual()).note(&Event::new("yank"));
        assert!(read("audit.jsonl").ends_with("\"event\":\"yank\"}\n"));
    }
}
