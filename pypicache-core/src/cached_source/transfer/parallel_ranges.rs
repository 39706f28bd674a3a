//! Further connections for a large file whose upstream is slow on each: the rest of the file in several ranges.
//!
//! The writer takes in the file from its front, as ever. When that turns out to take long, the rest is cut up, and the
//! ranges behind the first are asked for by ranges at the same time, each into a file of its own in staging. The
//! writer stops where the next range begins and takes it in from there, so that order, digest and readers are what
//! they always are. A range that breaks off is taken in as far as it came; the rest is asked for like that of any
//! transfer that broke off.
//!
//! A tier of ours upstream is not asked like this: it does so itself.

use std::collections::VecDeque;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use super::{BATCH, Transfer};
use crate::offload::offload;
use crate::source::{Answer, ByteRange, FileReply, LocalFile, READ_CHUNK};
use crate::store::Staging;

/// For so long the writer has to have waited for bytes before it counts how fast they come. The time in which it was
/// busy itself says nothing about the upstream.
const LOOK: Duration = Duration::from_millis(400);

/// A rest that will be here sooner is left as it is.
const SOON: Duration = Duration::from_millis(800);

/// A rest with fewer bytes is left as it is.
const MIN_REST: u64 = 8 * 1024 * 1024;

/// How long the writer waits for a range before it asks itself. It had time enough until then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many ranges there are at a time, all files together.
const STRETCHES: usize = 8;

static ROOM: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(STRETCHES)));

/// The ranges of one file that are under way, in their order, and how fast the writer gets on.
#[derive(Debug)]
pub(super) struct ParallelRanges {
    /// How many connections a file may have, the writer's included.
    connections: u32,
    under_way: VecDeque<RangeDownload>,
    waited: Duration,
    taken: u64,
}

/// One range, on its way into a file of its own. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct RangeDownload {
    start: u64,
    end: u64,
    arriving: watch::Receiver<Arrived>,
    task: AbortHandle,
}

/// What of a range is there.
#[derive(Debug, Clone, Default)]
struct Arrived {
    staging: Option<Arc<Staging>>,
    bytes: u64,
}

impl Drop for RangeDownload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ParallelRanges {
    pub(super) fn new(connections: u32) -> Self {
        Self {
            connections,
            under_way: VecDeque::new(),
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// The file comes from a tier that does this itself.
    pub(super) fn use_one_connection(&mut self) {
        self.connections = 1;
    }

    /// Where the writer has to stop, since the next range begins there.
    pub(super) fn next_start(&self) -> Option<u64> {
        self.under_way.front().map(|range_download| range_download.start)
    }

    /// The range that begins where the writer is. Those that it is past already (they were cut up anew) are given up.
    pub(super) fn at(&mut self, position: u64) -> Option<RangeDownload> {
        while self.next_start().is_some_and(|start| start < position) {
            self.under_way.pop_front();
        }
        match self.next_start() {
            Some(start) if start == position => self.under_way.pop_front(),
            _ => None,
        }
    }

    /// Told by the writer what came in just now, after what wait; begins ranges for the rest of the file where that is worth it.
    pub(super) fn took(&mut self, bytes: u64, waited: Duration, rest: Range<u64>, transfer: &Arc<Transfer>) {
        self.taken += bytes;
        self.waited += waited;
        let Range {
            start: position,
            end: size,
        } = rest;
        let rest = size.saturating_sub(position);
        let per_second = self.taken as f64 / self.waited.as_secs_f64().max(0.001);
        let is_soon = rest as f64 / per_second.max(1.0) < SOON.as_secs_f64();
        let is_busy = !self.under_way.is_empty() || self.connections < 2;
        if is_busy || self.waited < LOOK || rest < MIN_REST || is_soon {
            return;
        }
        let permits: Vec<_> = (1..self.connections)
            .map_while(|_| ROOM.clone().try_acquire_owned().ok())
            .collect();
        let part = rest / (permits.len() as u64 + 1);
        let mut start = position + part;
        for (number, permit) in permits.into_iter().enumerate().rev() {
            let end = if number == 0 { size } else { start + part };
            self.under_way
                .push_back(RangeDownload::begin(transfer, start..end, permit));
            start = end;
        }
        tracing::debug!(file = %transfer.request.path, rest, parallel_ranges = self.under_way.len(), "a slow file is fetched in several stretches");
    }
}

impl RangeDownload {
    fn begin(
        transfer: &Arc<Transfer>,
        Range { start, end }: Range<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (telling, arriving) = watch::channel(Arrived::default());
        let transfer = transfer.clone();
        let task = tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = fetch(&transfer, start..end, &telling).await {
                tracing::debug!(file = %transfer.request.path, start, error, "a stretch broke off");
            }
        });
        Self {
            start,
            end,
            arriving,
            task: task.abort_handle(),
        }
    }

    /// What comes next of it, from a position on; `None` at its end, wherever that is.
    pub(super) async fn piece(&mut self, position: u64) -> Option<Bytes> {
        let taken = position.checked_sub(self.start)?;
        let wanted = self.end.checked_sub(position).filter(|wanted| *wanted > 0)?;
        // No more may come, or not in time; what is there is there.
        let more = self.arriving.wait_for(|arrived| arrived.bytes > taken);
        let _ = tokio::time::timeout(PATIENCE, more).await;
        let Arrived { staging, bytes } = self.arriving.borrow().clone();
        let length = bytes.checked_sub(taken).filter(|length| *length > 0)?.min(wanted);
        let here = LocalFile {
            file: staging?.file().clone(),
            offset: taken,
            length,
        };
        offload(move || here.read_at(0, READ_CHUNK)).await.ok()
    }
}

/// Brings a range of the file into staging.
async fn fetch(
    transfer: &Transfer,
    range_download: Range<u64>,
    telling: &watch::Sender<Arrived>,
) -> Result<(), String> {
    let range = ByteRange::Between(range_download.start, range_download.end - 1);
    let request = transfer.request.clone().with_range(range);
    let answer = transfer.source.file(&request, &transfer.context).await;
    let reply = match answer.map_err(|error| error.chain())? {
        Answer::Found(reply) if starts_at(&reply, range_download.start) => reply,
        _ => return Err("another part came than was asked for".to_owned()),
    };
    let store = transfer.store.clone();
    let staging = offload(move || store.stage())
        .await
        .map_err(|error| error.to_string())?;
    let staging = Arc::new(staging);
    telling.send_modify(|arrived| arrived.staging = Some(staging.clone()));
    let mut pieces = reply.body.into_stream().ready_chunks(BATCH);
    while let Some(batch) = pieces.next().await {
        let batch: Vec<Bytes> = batch
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let added: u64 = batch.iter().map(|piece| piece.len() as u64).sum();
        let file = staging.file().clone();
        offload(move || batch.iter().try_for_each(|piece| (&*file).write_all(piece)))
            .await
            .map_err(|error| error.to_string())?;
        telling.send_modify(|arrived| arrived.bytes += added);
    }
    Ok(())
}

fn starts_at(reply: &FileReply, start: u64) -> bool {
    !reply.encoded && reply.part.is_some_and(|(offset, _)| offset == start)
}
