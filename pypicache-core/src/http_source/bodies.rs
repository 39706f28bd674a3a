//! Bodies of answers: taken in as long as they keep coming, cut where they are too long or only trickle.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::time::{Instant, timeout};

use super::causes::cause_of;
use crate::resilience::MinRate;
use crate::source::{BodyError, Cause};

/// How long a page may be silent or trickle. Whoever asked for it is waiting for all of it, and a tier below waits
/// for the head of our answer only: it is to hear from us what is wrong.
fn page_pace() -> MinRate {
    MinRate::new(Duration::from_secs(1), 512)
}

/// The same for a file. Less than the 15 s of silence after which pip gives up, so that there is time to
/// continue from elsewhere.
fn file_pace() -> MinRate {
    MinRate::new(Duration::from_secs(10), 10 * 1024)
}

/// All of a page's body, of `limit` bytes at the most after decompression.
pub(super) async fn read_page_body(response: &mut reqwest::Response, limit: usize) -> Result<Buffer, Cause> {
    let too_long = || Cause::InvalidResponse(format!("it is larger than {limit} bytes").into());
    let told = response.content_length().unwrap_or(0);
    if told > limit as u64 {
        return Err(too_long());
    }
    let mut min_rate = page_pace();
    let mut body = Buffer::lent();
    body.0.reserve(usize::try_from(told).unwrap_or(0));
    while let Some(piece) = next_piece(response, &mut min_rate).await? {
        if body.len() + piece.len() > limit {
            return Err(too_long());
        }
        body.0.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Memory for one page's body, used again for the next: fresh memory costs the system more than reading the page.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

/// Buffers that nobody uses.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How many of them are kept.
const SPARE_COUNT: usize = 4;

/// The largest that is kept, in bytes.
const SPARE_SIZE: usize = 4 * 1024 * 1024;

impl Buffer {
    fn lent() -> Self {
        Self(
            SPARE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .unwrap_or_default(),
        )
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= SPARE_SIZE && spare.len() < SPARE_COUNT {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// A file's body as it comes.
pub(super) fn stream_file(
    response: reqwest::Response,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold(Some((response, file_pace())), |state| async move {
        let (mut response, mut min_rate) = state?;
        match next_piece(&mut response, &mut min_rate).await {
            Ok(Some(piece)) => Some((Ok(piece), Some((response, min_rate)))),
            Ok(None) => None,
            Err(cause) => Some((Err(BodyError::new(cause)), None)),
        }
    })
}

async fn next_piece(
    response: &mut reqwest::Response,
    min_rate: &mut MinRate,
) -> Result<Option<Bytes>, Cause> {
    let stalled = || Cause::ConnectionClosed("it stalled".into());
    let began = Instant::now();
    let piece = timeout(min_rate.remaining_window(), response.chunk())
        .await
        .map_err(|_| stalled())?
        .map_err(|error| cause_of(&error))?;
    match &piece {
        Some(bytes) if !min_rate.keeps_up(began.elapsed(), bytes.len() as u64) => Err(stalled()),
        _ => Ok(piece),
    }
}
