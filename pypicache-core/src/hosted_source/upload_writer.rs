//! Taking a file's bytes as they come: to the disk and into its digest, a piece at a time.

use std::io::{self, Write as _};

use bytes::{Bytes, BytesMut};

use super::{HostedSource, Shared};
use crate::model::{Sha256, Sha256Hasher};
use crate::source::{READ_CHUNK, SourceError};
use crate::store::staging::Staging;

/// A file that is coming in. Dropped, it leaves nothing.
pub struct UploadWriter {
    source: HostedSource,
    staging: Option<(Staging, Sha256Hasher)>,
    buffer: BytesMut,
    size: u64,
}

/// A file that came in whole, not yet examined, offered to nobody. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct ReceivedUpload {
    pub(super) staging: Staging,
    /// Its digest.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

impl HostedSource {
    /// Begins to receive a file.
    pub async fn receive(&self) -> Result<UploadWriter, SourceError> {
        let stage = |shared: &Shared| shared.disk.stage();
        let staging = self.offload("an upload".to_owned(), stage).await?;
        Ok(UploadWriter {
            source: self.clone(),
            staging: Some((staging, Sha256Hasher::default())),
            buffer: BytesMut::new(),
            size: 0,
        })
    }
}

impl UploadWriter {
    /// How many bytes came in so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next piece.
    pub async fn write(&mut self, piece: &Bytes) -> Result<(), SourceError> {
        self.size += piece.len() as u64;
        self.buffer.extend_from_slice(piece);
        match self.buffer.len() >= READ_CHUNK {
            true => self.write_out().await,
            false => Ok(()),
        }
    }

    /// The file, whole.
    pub async fn finish(mut self) -> Result<ReceivedUpload, SourceError> {
        self.write_out().await?;
        let Some((staging, hasher)) = self.staging.take() else {
            return Err(self.lost());
        };
        Ok(ReceivedUpload {
            staging,
            sha256: hasher.finish(),
            size: self.size,
        })
    }

    async fn write_out(&mut self) -> Result<(), SourceError> {
        // Gone only if an earlier piece could not be written.
        let Some((staging, mut hasher)) = self.staging.take() else {
            return Err(self.lost());
        };
        let buffer = self.buffer.split().freeze();
        let write = move |_: &Shared| {
            (&**staging.file()).write_all(&buffer)?;
            hasher.update(&buffer);
            Ok((staging, hasher))
        };
        self.staging = Some(self.source.offload("an upload".to_owned(), write).await?);
        Ok(())
    }

    fn lost(&self) -> SourceError {
        let cause = io::Error::other("an earlier piece could not be written");
        self.source.shared.storage("an upload".to_owned(), cause)
    }
}

impl std::fmt::Debug for UploadWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiving({} bytes)", self.size)
    }
}
