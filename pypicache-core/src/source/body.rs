//! The bytes of a file, kept as long as possible in the form they rest in.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, StreamExt};

/// How much is read from a disk at once: large enough to keep system calls rare, small enough for many readers.
pub const READ_CHUNK: usize = 256 * 1024;

/// A body: bytes in memory, an open local file, or a stream where it really is one.
pub enum Body {
    /// All of it.
    Bytes(Bytes),
    /// A range of an open file.
    File(LocalFile),
    /// Pieces as they come. An error means that the body ends unfinished.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>),
}

/// A range of an open local file.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Open for reading; read by position, so that any number of readers can share it.
    pub file: Arc<File>,
    /// Where the range begins.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A body that ended before it was whole. Told to the client by closing its connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the body ended unfinished: {0}")]
pub struct BodyError(pub Arc<str>);

impl BodyError {
    /// With the reason as text.
    #[must_use]
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string().into())
    }
}

impl LocalFile {
    /// Reads up to `limit` bytes at `position` of the range; fewer only at its end. Blocks.
    pub fn read_at(&self, position: u64, limit: usize) -> io::Result<Bytes> {
        let left = self.length.saturating_sub(position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(limit);
        let mut buffer = BytesMut::zeroed(wanted);
        self.file.read_exact_at(&mut buffer, self.offset + position)?;
        Ok(buffer.freeze())
    }
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }

    /// The body as a stream, whatever it rests in. Files are read off the runtime's threads.
    pub fn into_stream(self) -> Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>> {
        match self {
            Self::Bytes(bytes) => Box::pin(futures_util::stream::iter(
                (!bytes.is_empty()).then_some(Ok(bytes)),
            )),
            Self::File(file) => Box::pin(stream_file(file)),
            Self::Stream(stream) => stream,
        }
    }

    /// All bytes in memory, refused where there are more than `limit`.
    pub async fn collect(self, limit: usize) -> Result<Bytes, BodyError> {
        if let Self::Bytes(bytes) = self {
            return Ok(bytes);
        }
        let mut stream = self.into_stream();
        let mut all = BytesMut::new();
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            if all.len() + piece.len() > limit {
                return Err(BodyError::new(format_args!(
                    "more than the {limit} bytes that are accepted"
                )));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

fn stream_file(file: LocalFile) -> impl Stream<Item = Result<Bytes, BodyError>> {
    futures_util::stream::unfold((file, 0u64), |(file, position)| async move {
        if position >= file.length {
            return None;
        }
        let reader = file.clone();
        let read = tokio::task::spawn_blocking(move || reader.read_at(position, READ_CHUNK)).await;
        let piece = match read {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(BodyError::new(error)),
            Err(error) => Err(BodyError::new(error)),
        };
        let next = piece
            .as_ref()
            .map_or(u64::MAX, |bytes| position + bytes.len() as u64);
        Some((piece, (file, next)))
    })
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(file) => write!(f, "File({})", file.length),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}
