//! Files that are being written: nobody sees them until they are published.
//!
//! Most vanish if they are not published. Those that may be continued stay, under the name of what they are to
//! become, so that a later attempt goes on where this one ended.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::local_fs::{Rights, create_dir_all};

/// How long an unfinished file is kept for a later attempt.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A file that is being written, locked by this process.
#[derive(Debug)]
pub struct Staging {
    file: Arc<File>,
    path: PathBuf,
    on_drop: OnDrop,
}

/// What becomes of the file when nobody writes it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    Remove,
    /// It stays if there is anything in it.
    Keep,
    /// It is somewhere else by now.
    Nothing,
}

impl Staging {
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let (file, path) = tempfile::Builder::new()
                .prefix("")
                .tempfile_in(directory)?
                .keep()
                .map_err(|e| e.error)?;
            // Whoever removes leftovers may have come between: then it holds the file locked, or has removed it.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && file.metadata()?.nlink() > 0
            {
                return Ok(Self {
                    file: Arc::new(file),
                    path,
                    on_drop: OnDrop::Remove,
                });
            }
        }
    }

    /// The same with the mode and the owner that it has to have.
    pub(crate) fn create_with(directory: &Path, rights: Rights) -> io::Result<Self> {
        let staging = Self::create(directory)?;
        rights.settle(&staging.file)?;
        Ok(staging)
    }

    /// The unfinished file at `path`, made where there is none, to be written on at its end; `None` while somebody
    /// else writes it.
    pub(super) fn resume(path: PathBuf) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
            .open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        // Between opening and locking its writer may have published it: then it is no longer ours to write.
        let (opened, named) = (file.metadata()?, fs::metadata(&path));
        let is_same = named.is_ok_and(|named| (named.ino(), named.dev()) == (opened.ino(), opened.dev()));
        Ok(is_same.then(|| Self {
            file: Arc::new(file),
            path,
            on_drop: OnDrop::Keep,
        }))
    }

    /// Open for writing and reading; may be read by others while it is written.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// It is good for nothing: no later attempt goes on with it.
    pub fn discard(mut self) {
        self.on_drop = OnDrop::Remove;
    }

    /// Syncs the bytes and renames the file to `target`: whoever finds the name finds all of it, after a power cut too.
    pub(crate) fn publish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        match fs::rename(&self.path, target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_dir_all(target.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
                fs::rename(&self.path, target)?;
            }
            renamed => renamed?,
        }
        self.on_drop = OnDrop::Nothing;
        Ok(())
    }
}

/// Writes down that a directory's names changed: after this, a power cut does not take the newest back.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Drop for Staging {
    fn drop(&mut self) {
        let is_empty = || self.file.metadata().is_ok_and(|facts| facts.len() == 0);
        if self.on_drop == OnDrop::Remove || (self.on_drop == OnDrop::Keep && is_empty()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether somebody is writing the file.
pub(super) fn is_being_written(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Removes the file unless somebody is writing it; whether it is gone. The lock is held while the name goes, so that a writer
/// that comes meanwhile either cannot lock the file or sees that it has no name any more.
pub(super) fn remove_unwritten(path: &Path) -> io::Result<bool> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    fs::remove_file(path).map(|()| true)
}

/// Removes files that no living process holds locked.
pub(crate) fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if remove_unwritten(&path).unwrap_or(false) {
            tracing::debug!(path = %path.display(), "removed what an ended process left in staging");
        }
    }
    Ok(())
}

/// Removes unfinished files that nobody came back for.
pub(super) fn remove_forgotten(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let written = entry.metadata().and_then(|facts| facts.modified());
        let age = written
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = remove_unwritten(&entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_removes_what_is_about_to_be_written() {
        let home = tempfile::tempdir().unwrap();
        let (directory, out) = (home.path().join("staging"), home.path().join("out"));
        fs::create_dir(&directory).unwrap();
        fs::create_dir(&out).unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let remover = || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    remove_leftovers(&directory).unwrap();
                }
            };
            scope.spawn(remover);
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (directory, out) = (&directory, &out);
                    scope.spawn(move || {
                        for number in 0..1000 {
                            let staging = Staging::create(directory)?;
                            staging.publish(&out.join(format!("{writer}-{number}")))?;
                        }
                        io::Result::Ok(())
                    })
                })
                .collect();
            let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            for end in ends {
                end.unwrap().unwrap();
            }
        });
    }
}
