//! Locks between processes. Whoever cannot have one in time is told who has it: a stopped or hostile process must not hang
//! every upload and command.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::open_or_create;

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A file that this process holds locked; let go when it is dropped.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "closing the file lets go of the lock")] File);

/// Somebody else held the lock all the time.
#[derive(Debug)]
pub struct LockTimeout {
    path: PathBuf,
    waited: Duration,
    holder: Option<u32>,
}

impl FileLock {
    /// The most that one waits for a lock, unless there is a reason for another time.
    pub const LIMIT: Duration = Duration::from_secs(10);

    /// Locks the file at `path`, which is made where there is none. An error with a [`LockTimeout`] in it where somebody else
    /// holds it for all of `limit`. Blocks.
    pub fn acquire(path: &Path, limit: Duration) -> io::Result<Self> {
        let mut file = open_or_create(path, false)?;
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let Some(left) = limit.checked_sub(begun.elapsed()) else {
                return Err(timeout(path, limit, &file));
            };
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE);
        }
        // For whoever waits for it in vain; the lock counts without.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

impl LockTimeout {
    /// The one inside of an error, if that is why.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

fn timeout(path: &Path, waited: Duration, file: &File) -> io::Error {
    let error = LockTimeout {
        path: path.to_owned(),
        waited,
        holder: holder(file),
    };
    io::Error::new(io::ErrorKind::ResourceBusy, error)
}

/// The process that holds it: what the kernel says, else what the last holder wrote.
fn holder(file: &File) -> Option<u32> {
    let of_kernel = || {
        let inode = format!(":{}", file.metadata().ok()?.ino());
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let fields = locks
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ours = |fields: &Vec<&str>| matches!(fields[..], [_, "FLOCK", _, _, _, place, ..] if place.ends_with(&inode));
        let pid: u32 = fields.filter(ours).find_map(|fields| fields[4].parse().ok())?;
        (pid > 0).then_some(pid)
    };
    let written = || {
        let (mut reader, mut text) = (file, String::new());
        reader.rewind().ok()?;
        reader.take(20).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    };
    of_kernel().or_else(written)
}

impl fmt::Display for LockTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, waited) = (self.path.display(), self.waited.as_secs());
        match self.holder {
            Some(pid) => {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let name = match name.trim() {
                    "" => String::new(),
                    // Whoever runs the process chose its name.
                    name => format!(" ({})", name.escape_debug()),
                };
                write!(
                    f,
                    "process {pid}{name} holds {path} locked for more than {waited} s; try again when it has ended"
                )
            }
            None => write!(
                f,
                "a process that is not known holds {path} locked for more than {waited} s"
            ),
        }
    }
}

impl std::error::Error for LockTimeout {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_in_vain_is_told_for_whom() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::acquire(&path, FileLock::LIMIT).unwrap();
        let error = FileLock::acquire(&path, Duration::from_millis(20)).unwrap_err();
        assert!(LockTimeout::of(&error).is_some());
        assert!(
            error
                .to_string()
                .contains(&format!("process {} (", std::process::id())),
            "{error}"
        );
        drop(held);
        FileLock::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_that_is_let_go_is_had_by_whoever_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::acquire(&path, FileLock::LIMIT).unwrap();
        let waiting = std::thread::spawn(move || FileLock::acquire(&path, Duration::from_secs(60)));
        drop(held);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_no_file_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let (path, target) = (directory.path().join("lock"), directory.path().join("target"));
        fs::write(&target, "text").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(FileLock::acquire(&path, Duration::ZERO).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "text");
    }
}
