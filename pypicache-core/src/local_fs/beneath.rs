//! Opening what lies below a directory, by a path that came from somebody else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

/// Nothing is waited for (a FIFO), no terminal becomes ours.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// An open directory. What is asked of it lies below, however the paths are spelled and whatever is planted there meanwhile.
#[derive(Debug)]
pub struct Beneath {
    directory: File,
    path: PathBuf,
}

/// What there is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a FIFO, a socket.
    Other,
}

impl Beneath {
    /// The directory at `path`, which may itself be a link: whoever names it means that.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::DIRECTORY | OFlags::NONBLOCK).bits();
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(flags as i32)
            .open(path)?;
        Ok(Self {
            directory,
            path: path.to_owned(),
        })
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The regular file at `relative`.
    pub fn file(&self, relative: &Path) -> io::Result<File> {
        let file = self.resolve(relative, READ)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(refused("it is no regular file")),
        }
    }

    /// What lies in the directory at `relative` (empty: in this one), in the order of the names. Names that are no text are
    /// passed over.
    pub fn entries(&self, relative: &Path) -> io::Result<Vec<(String, Kind)>> {
        let directory = match relative.as_os_str().is_empty() {
            true => self.resolve(Path::new("."), READ | OFlags::DIRECTORY)?,
            false => self.resolve(relative, READ | OFlags::DIRECTORY)?,
        };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&directory, name)?,
                known => known,
            };
            entries.push((name.to_owned(), Kind::from(kind)));
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    fn resolve(&self, relative: &Path, flags: OFlags) -> io::Result<File> {
        let is_below = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_below {
            return Err(refused("its path leads out of the directory"));
        }
        let opened = match at_once(&self.directory, relative, flags) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => step_by_step(&self.directory, relative, flags),
            opened => opened,
        };
        opened.map_err(|error| match error {
            Errno::LOOP | Errno::MLINK => refused("a symbolic link is on its way"),
            Errno::XDEV => refused("its path leads out of the directory"),
            Errno::NXIO => refused("it is no regular file"),
            error => error.into(),
        })
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn kind_of(directory: &File, name: &str) -> io::Result<FileType> {
    let facts = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(facts.st_mode))
}

/// One call, in which the kernel follows nothing.
#[cfg(target_os = "linux")]
fn at_once(directory: &File, relative: &Path, flags: OFlags) -> Result<File, Errno> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(directory, relative, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, so that the kernel could not tell.
            Err(Errno::AGAIN) => {}
            opened => return opened.map(File::from),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn at_once(_: &File, _: &Path, _: OFlags) -> Result<File, Errno> {
    Err(Errno::NOSYS)
}

/// For kernels (and sandboxes) without that call: one directory after the other, none of them a link.
fn step_by_step(directory: &File, relative: &Path, flags: OFlags) -> Result<File, Errno> {
    let mut at = openat(directory, ".", READ | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        let flags = match parts.peek() {
            Some(_) => READ | OFlags::DIRECTORY,
            None => flags,
        };
        at = openat(&at, part.as_os_str(), flags, Mode::empty()).map_err(|error| match error {
            // With O_DIRECTORY a link is "no directory": say what it is.
            Errno::NOTDIR if is_link(&at, part.as_os_str()) => Errno::LOOP,
            error => error,
        })?;
    }
    Ok(at.into())
}

fn is_link(directory: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> bool {
    rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|facts| FileType::from_raw_mode(facts.st_mode) == FileType::Symlink)
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out_and_only_files_are_opened() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| home.path().join(name);
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(path("in")).unwrap();
        fs::write(path("in/file"), "file").unwrap();
        symlink(outside.path(), path("out")).unwrap();
        symlink(outside.path().join("secret"), path("link")).unwrap();
        symlink("in/file", path("inner")).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(path("fifo"))
            .status()
            .unwrap();
        assert!(fifo.success());
        let climbing = format!(
            "../{}/secret",
            outside.path().file_name().unwrap().to_str().unwrap()
        );
        let beneath = Beneath::open(home.path()).unwrap();
        type Way = fn(&File, &Path, OFlags) -> Result<File, Errno>;
        for way in [at_once as Way, step_by_step as Way] {
            assert!(way(&beneath.directory, Path::new("in/file"), READ).is_ok());
            for bad in ["out/secret", "link", "inner"] {
                assert_eq!(
                    way(&beneath.directory, Path::new(bad), READ).unwrap_err(),
                    Errno::LOOP,
                    "{bad}"
                );
            }
        }
        assert!(beneath.file(Path::new("in/file")).is_ok());
        for bad in [
            "out/secret",
            "link",
            "inner",
            &climbing,
            "/etc/passwd",
            "in/../link",
            "in",
            "fifo",
        ] {
            let error = beneath.file(Path::new(bad)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad}: {error}");
        }
        assert_eq!(
            beneath.file(Path::new("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let names: Vec<_> = beneath.entries(Path::new("")).unwrap();
        assert_eq!(names[0], ("fifo".to_owned(), Kind::Other));
        assert_eq!(names[1], ("in".to_owned(), Kind::Directory));
        assert_eq!(names[2], ("inner".to_owned(), Kind::Link));
        assert!(beneath.entries(Path::new("out")).is_err());
    }
}
