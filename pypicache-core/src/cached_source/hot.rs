//! Files that were asked for lately: small ones in memory, larger ones open, so that the next one who asks needs no
//! look at a page, no record and no disk. Bounded in bytes and in open files, and forgotten after a minute, so that
//! a file's time of last use in the store goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::held::HeldPage;
use super::siblings::Metadata;
use crate::model::{FilePath, Sha256};
use crate::offload::offload;
use crate::source::{
    Body, CacheStatus, FileReply, FileRequest, HeldFile, LocalFile, Outcome, Sibling, SourceError,
};

/// Files of up to so many bytes are kept in memory.
const SMALL: u64 = 64 * 1024;

/// What all of them may take together, in bytes. An open file counts as much as the largest small one.
const CAPACITY: u64 = 16 * 1024 * 1024;

/// How long a file is kept without another look at the store.
const KEPT: Duration = Duration::from_secs(60);

/// The files, by identity.
pub(super) struct HotFiles {
    files: moka::sync::Cache<(FilePath, Sibling), HotFile>,
}

#[derive(Clone)]
enum HotFile {
    Bytes(Bytes, Sha256),
    Open(HeldFile),
}

impl HotFile {
    fn weight(&self) -> u32 {
        let bytes = match self {
            Self::Bytes(bytes, _) => bytes.len() as u64 + 512,
            Self::Open(_) => SMALL,
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn body(self) -> (Body, Sha256) {
        match self {
            Self::Bytes(bytes, sha256) => (Body::Bytes(bytes), sha256),
            Self::Open(held) => {
                let (file, length) = (held.file, held.size);
                let whole = LocalFile {
                    file,
                    offset: 0,
                    length,
                };
                (Body::File(whole), held.sha256)
            }
        }
    }
}

impl Default for HotFiles {
    fn default() -> Self {
        let files = moka::sync::Cache::builder()
            .weigher(|_, file: &HotFile| file.weight())
            .max_capacity(CAPACITY)
            .time_to_live(KEPT)
            .build();
        Self { files }
    }
}

impl Shared {
    /// The answer of a file that is hot.
    pub(super) fn reply_hot(&self, request: &FileRequest) -> Option<Result<FileReply, SourceError>> {
        let file = self.hot.files.get(&(request.path.clone(), request.sibling))?;
        Some(self.reply_whole(file.body(), request, Outcome::Hit))
    }

    /// METADATA that is hot.
    pub(super) fn hot_metadata(&self, path: &FilePath) -> Option<Metadata> {
        match self.hot.files.get(&(path.clone(), Sibling::Metadata))? {
            HotFile::Bytes(bytes, sha256) => Some((sha256, bytes)),
            HotFile::Open(_) => None,
        }
    }

    /// Answers with a held file, and keeps it at hand.
    pub(super) async fn reply_held(
        self: &Arc<Self>,
        held: HeldFile,
        request: &FileRequest,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        let file = match held.size <= SMALL {
            true => {
                let (whole, sha256) = HotFile::Open(held.clone()).body();
                match offload(move || read_all(whole)).await {
                    Ok(bytes) => HotFile::Bytes(bytes, sha256),
                    Err(_) => HotFile::Open(held),
                }
            }
            false => HotFile::Open(held),
        };
        let key = (request.path.clone(), request.sibling);
        self.hot.files.insert(key, file.clone());
        self.reply_whole(file.body(), request, outcome)
    }

    /// Keeps the METADATA of a file at hand; `false` where it is too large for that.
    pub(super) fn keep_hot(&self, path: &FilePath, (sha256, bytes): &Metadata) -> bool {
        let is_small = bytes.len() as u64 <= SMALL;
        if is_small {
            let file = HotFile::Bytes(bytes.clone(), *sha256);
            self.hot.files.insert((path.clone(), Sibling::Metadata), file);
        }
        is_small
    }

    pub(super) fn reply_whole(
        &self,
        (body, sha256): (Body, Sha256),
        request: &FileRequest,
        outcome: Outcome,
    ) -> Result<FileReply, SourceError> {
        Ok(FileReply {
            cache_status: CacheStatus::of(&self.name, outcome),
            ..FileReply::of_whole(body, sha256, request)?
        })
    }

    /// The page has changed: what is said of its files may be something else now.
    pub(super) fn forget_hot(&self, held: &HeldPage) {
        for file in held.files() {
            for sibling in [Sibling::File, Sibling::Metadata] {
                self.hot.files.invalidate(&(file.path.clone(), sibling));
            }
        }
    }
}

fn read_all(body: Body) -> std::io::Result<Bytes> {
    match body {
        Body::File(file) => file.read_at(0, usize::try_from(file.length).unwrap_or(usize::MAX)),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}
