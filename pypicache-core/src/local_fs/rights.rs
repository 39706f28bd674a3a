//! Modes and owners of what is made.
//!
//! What is made is its owner's alone: 0700 and 0600. Who wants to share it with a group says so on the directory that the
//! configuration names: it hands its group on (setgid, as in `chmod 2770`), or is open to the group and closed to others
//! (0770). A mode like 0755 or 0775 is what a umask leaves behind, and no such word.
//!
//! What is made belongs to the owner of its directory: a command that root runs writes what the server can read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::Path;

use rustix::fs::OFlags;

/// The bits of a mode that are compared: rights, and the one that hands the group on.
const RIGHTS: u32 = 0o2777;

const SETGID: u32 = 0o2000;

/// Whose what is made in a directory is, and whether a group may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    uid: u32,
    gid: u32,
    is_shared: bool,
}

impl Rights {
    /// Those of what is made in `directory`.
    pub fn of(directory: &Path) -> io::Result<Self> {
        Ok(Self::told_by(&fs::metadata(directory)?))
    }

    fn told_by(directory: &fs::Metadata) -> Self {
        let mode = directory.mode();
        Self {
            uid: directory.uid(),
            gid: directory.gid(),
            is_shared: mode & SETGID != 0 || mode & 0o077 == 0o070,
        }
    }

    /// The mode of files.
    #[must_use]
    pub fn file_mode(self) -> u32 {
        if self.is_shared { 0o660 } else { 0o600 }
    }

    fn dir_mode(self) -> u32 {
        if self.is_shared { 0o2770 } else { 0o700 }
    }

    /// Gives a new file the mode and the owner that it has to have. An error where it would belong to somebody whose server
    /// could not read it.
    pub fn settle(self, file: &File) -> io::Result<()> {
        let facts = file.metadata()?;
        self.settle_owner(file, &facts)?;
        settle_mode(file, &facts, self.file_mode())
    }

    fn settle_owner(self, file: &File, facts: &fs::Metadata) -> io::Result<()> {
        if facts.uid() != self.uid {
            if facts.is_file() && facts.nlink() != 1 {
                // It has another name somewhere: whoever planted it wants to be given a file of somebody else's.
                return Err(self.foreign(facts.uid(), &io::Error::other("it has several names")));
            }
            let given = fchown(file, Some(self.uid), Some(self.gid));
            return given.or_else(|cause| {
                if self.is_shared {
                    Ok(())
                } else {
                    Err(self.foreign(facts.uid(), &cause))
                }
            });
        }
        if self.is_shared && facts.gid() != self.gid {
            // Who is not of the group keeps its own: the owner can use it all the same.
            let _ = fchown(file, None, Some(self.gid));
        }
        Ok(())
    }

    fn foreign(self, uid: u32, cause: &io::Error) -> io::Error {
        let text = format!(
            "the directory belongs to user {}, who could not read what user {uid} writes there ({cause}); run this as that user \
             or as root, or share the directory with a group (chmod 2770)",
            self.uid
        );
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }
}

fn settle_mode(file: &File, facts: &fs::Metadata, mode: u32) -> io::Result<()> {
    match facts.mode() & RIGHTS == mode {
        true => Ok(()),
        false => file.set_permissions(Permissions::from_mode(mode)),
    }
}

/// Opens a regular file, which is made where there is none, for reading and writing; with `is_log` each write goes to its end.
/// One that cannot have the owner that it has to have is not left behind.
pub fn open_or_create(path: &Path, is_log: bool) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(flags as i32);
    let options = if is_log {
        options.append(true)
    } else {
        options.write(true)
    };
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let file = match options.clone().create_new(true).open(path) {
        Ok(file) => {
            let settled = Rights::of(directory).and_then(|rights| rights.settle(&file));
            return settled
                .map(|()| file)
                .inspect_err(|_| drop(fs::remove_file(path)));
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        let text = format!("{} is no regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // What somebody else made and lets us write to is gone on with.
    let _ = Rights::of(directory)?.settle(&file);
    Ok(file)
}

/// Makes a directory that the configuration names, where there is none, with what is missing above it. One that is there
/// stays as it is.
pub fn create_root(directory: &Path) -> io::Result<()> {
    create(directory, |parent| Rights {
        is_shared: false,
        ..parent
    })
}

/// Makes a directory inside of one that is ours, and what is missing above it.
pub fn create_dir_all(directory: &Path) -> io::Result<()> {
    create(directory, |parent| parent)
}

/// The same, and takes away what an earlier version left to others: to the group too, unless it is shared on purpose.
pub fn prepare_dir(directory: &Path) -> io::Result<()> {
    create_dir_all(directory)?;
    let facts = fs::metadata(directory)?;
    let parent = directory.parent().map(Rights::of).transpose()?;
    let is_shared = Rights::told_by(&facts).is_shared || parent.is_some_and(|parent| parent.is_shared);
    let wanted = facts.mode() & if is_shared { !0o007 } else { 0o700 };
    if wanted & RIGHTS != facts.mode() & RIGHTS {
        match fs::set_permissions(directory, Permissions::from_mode(wanted & RIGHTS)) {
            Ok(()) => {
                tracing::info!(path = %directory.display(), mode = format!("{:o}", wanted & RIGHTS), "a directory was open to others and is not any more");
            }
            Err(error) => {
                tracing::warn!(path = %directory.display(), %error, "a directory is open to others and cannot be closed by this user");
            }
        }
    }
    Ok(())
}

fn create(directory: &Path, rights_below: fn(Rights) -> Rights) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create(parent, rights_below)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        Err(error) => return Err(error),
    }
    let made = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits() as i32)
        .open(directory)?;
    let (facts, rights) = (made.metadata()?, rights_below(Rights::of(parent)?));
    // A directory in one of somebody else's that lets everybody in (a volume, /tmp) is its maker's.
    if let Err(error) = rights.settle_owner(&made, &facts) {
        tracing::debug!(path = %directory.display(), %error, "a directory stays its maker's");
    }
    settle_mode(&made, &made.metadata()?, rights.dir_mode())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_its_owners_alone_unless_it_is_shared_on_purpose() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::set_permissions(home.path(), Permissions::from_mode(0o2775)).unwrap();
        create_root(&path("new/one")).unwrap();
        assert_eq!((mode(&path("new")), mode(&path("new/one"))), (0o700, 0o700));
        for (given, directory, file) in [
            (0o755, 0o700, 0o600),
            (0o775, 0o700, 0o600),
            (0o2770, 0o2770, 0o660),
            (0o770, 0o2770, 0o660),
        ] {
            let root = path(&format!("{given:o}"));
            fs::create_dir(&root).unwrap();
            fs::set_permissions(&root, Permissions::from_mode(given)).unwrap();
            create_dir_all(&root.join("a/b")).unwrap();
            assert_eq!(mode(&root), given, "what was there stays");
            assert_eq!(
                (mode(&root.join("a")), mode(&root.join("a/b"))),
                (directory, directory),
                "{given:o}"
            );
            let made = File::create(root.join("a/b/file")).unwrap();
            Rights::of(&root.join("a/b")).unwrap().settle(&made).unwrap();
            assert_eq!(mode(&root.join("a/b/file")), file, "{given:o}");
        }
    }

    #[test]
    fn what_an_earlier_version_left_open_is_closed() {
        let home = tempfile::tempdir().unwrap();
        for (parent, before, after) in [
            (0o755, 0o755, 0o700),
            (0o775, 0o775, 0o700),
            (0o2770, 0o2775, 0o2770),
            (0o755, 0o770, 0o770),
        ] {
            let directory = home.path().join(format!("{parent:o}-{before:o}/v1"));
            fs::create_dir_all(&directory).unwrap();
            fs::set_permissions(&directory, Permissions::from_mode(before)).unwrap();
            fs::set_permissions(directory.parent().unwrap(), Permissions::from_mode(parent)).unwrap();
            prepare_dir(&directory).unwrap();
            assert_eq!(mode(&directory), after, "{before:o} in {parent:o}");
        }
    }
}
