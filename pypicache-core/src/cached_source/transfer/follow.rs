//! The reading side: the bytes of a file that is still coming in, as far as they are there.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

use super::{Progress, State, Transfer};
use crate::cached_source::pass_through::{stretch, verified};
use crate::model::Checksum;
use crate::offload::offload;
use crate::source::{Answer, Body, BodyError, LocalFile, READ_CHUNK};

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// One reader of a transfer.
struct Reader {
    progress: watch::Receiver<Progress>,
    position: u64,
    /// Where it stops; the end of the file at the latest.
    end: u64,
    /// Whether it reads the whole file, so that a digest says something about what it got.
    is_whole: bool,
    /// The rest, taken from the source since the disk was full.
    rest: Option<Pieces>,
}

/// The body of a file that is still coming in: from `offset`, `length` bytes (`None`: to the end).
pub(in crate::cached_source) fn follow(
    progress: watch::Receiver<Progress>,
    offset: u64,
    length: Option<u64>,
    is_whole: bool,
) -> Body {
    let reader = Reader {
        progress,
        position: offset,
        end: length.map_or(u64::MAX, |length| offset.saturating_add(length)),
        is_whole,
        rest: None,
    };
    Body::Stream(Box::pin(stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next_piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })))
}

impl Reader {
    /// Waits until there is something to read, and reads it; `None` at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if let Some(rest) = &mut self.rest {
            return rest.next().await.transpose();
        }
        let position = self.position;
        let is_news = |progress: &Progress| {
            let ended = !matches!(progress.state, State::Asking | State::Flowing { .. });
            progress.readable > position || ended
        };
        let grown = self.progress.wait_for(is_news).await;
        let now = grown
            .map_err(|_| BodyError::new("the transfer was given up"))?
            .clone();
        let file = match now.state {
            State::Flowing { file, .. } => file,
            State::Overflow {
                transfer, checksum, ..
            } if now.readable <= position => {
                let checksum = self.is_whole.then_some(checksum);
                let rest = rest_of(&transfer, checksum, now.readable).await?;
                let (skip, left) = (position - now.readable, self.end - position);
                self.rest = Some(Box::pin(stretch(Body::Stream(rest), skip, left)));
                return Box::pin(self.next_piece()).await;
            }
            State::Overflow { file, .. } => file,
            State::Done(held) => held.file,
            State::Failed(error) => return Err(BodyError::new(error.chain())),
            State::Asking | State::NotFound(_) => {
                return Err(BodyError::new("the transfer did not begin"));
            }
        };
        let length = now.readable.min(self.end).saturating_sub(position);
        if length == 0 {
            return Ok(None);
        }
        let here = LocalFile {
            file,
            offset: position,
            length,
        };
        let piece = offload(move || here.read_at(0, READ_CHUNK))
            .await
            .map_err(BodyError::new)?;
        self.position += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// What follows the `written` bytes that the disk took, straight from the source; checked at its end by the
/// `checksum` of those bytes.
async fn rest_of(
    transfer: &Arc<Transfer>,
    checksum: Option<Checksum>,
    written: u64,
) -> Result<Pieces, BodyError> {
    let answer = transfer
        .source
        .file(&transfer.request_from(written), &transfer.context)
        .await;
    let reply = match answer {
        Ok(Answer::Found(reply)) if !reply.encoded => reply,
        Ok(_) => return Err(BodyError::new("the source has no more of it")),
        Err(error) => return Err(BodyError::new(error.chain())),
    };
    let offset = reply.part.map_or(0, |(offset, _)| offset);
    let Some(known) = written.checked_sub(offset) else {
        return Err(BodyError::new("another part came than was asked for"));
    };
    let rest = Body::Stream(Box::pin(stretch(reply.body, known, u64::MAX)));
    Ok(match checksum {
        Some(checksum) => verified(rest, checksum).into_stream(),
        None => rest.into_stream(),
    })
}
