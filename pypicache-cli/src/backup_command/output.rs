//! Where a backup is written: beside the last one, whose place it takes when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

/// What is added to the name of a backup that lacks something, where a whole one has the name.
const INCOMPLETE: &str = ".incomplete";

/// A backup that is being written. Dropped, it leaves nothing.
pub(super) enum Output {
    Stdout,
    /// A device or a FIFO: nothing to put anything beside of.
    Stream(File),
    Beside {
        staged: NamedTempFile,
        target: PathBuf,
    },
}

/// What an archive is written through.
pub(super) enum Packing {
    Plain(BufWriter<Box<dyn Write>>),
    Gzip(Box<GzEncoder<BufWriter<Box<dyn Write>>>>),
}

impl Output {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.to_str() == Some("-") {
            return Ok(Self::Stdout);
        }
        let target = match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(facts) if !facts.is_file() => {
                return Ok(Self::Stream(OpenOptions::new().write(true).open(path)?));
            }
            // Where a link leads, so that it stays one.
            Ok(_) => path.canonicalize()?,
            Err(_) => path.to_owned(),
        };
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Temporary files are their owner's alone, and so is the backup: it has what private packages are called.
        let staged = tempfile::Builder::new()
            .prefix(".pypicache-backup-")
            .tempfile_in(directory)?;
        Ok(Self::Beside { staged, target })
    }

    pub(super) fn packing(&self, is_packed: bool) -> io::Result<Packing> {
        let out: Box<dyn Write> = match self {
            Self::Stdout => Box::new(io::stdout().lock()),
            Self::Stream(file) => Box::new(file.try_clone()?),
            Self::Beside { staged, .. } => Box::new(staged.as_file().try_clone()?),
        };
        let out = BufWriter::new(out);
        Ok(match is_packed {
            true => Packing::Gzip(Box::new(GzEncoder::new(out, Compression::fast()))),
            false => Packing::Plain(out),
        })
    }

    /// Brings it to its place, and gives that. One that lacks something never takes the place of an earlier one.
    pub(super) fn keep(self, is_whole: bool) -> io::Result<PathBuf> {
        let (staged, mut target) = match self {
            Self::Stdout | Self::Stream(_) => return Ok(PathBuf::from("-")),
            Self::Beside { staged, target } => (staged, target),
        };
        if !is_whole && target.exists() {
            let mut name = target.into_os_string();
            name.push(INCOMPLETE);
            target = name.into();
        }
        staged.as_file().sync_all()?;
        staged.persist(&target)?;
        if let Some(directory) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        Ok(target)
    }
}

impl Packing {
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(packing) => packing.finish()?.flush(),
        }
    }
}

impl Write for Packing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
        }
    }
}
