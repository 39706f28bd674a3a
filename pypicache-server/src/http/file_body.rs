//! The way of a local file into a response: inline from the page cache, off the runtime's threads once it is cold.
//!
//! Each chunk is first read with `preadv2(RWF_NOWAIT)`, which gives what is in memory and never waits for a
//! disk. As long as full chunks come, that is the cheapest way there is. The first time one does not, the body
//! counts as cold for good, and every further chunk is read on a thread that may wait: otherwise the kernel
//! would begin its read-ahead inline and stall the other requests.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pypicache_core::source::{BodyError, LocalFile, READ_CHUNK};
use tokio::task::JoinHandle;

/// A range of a local file as a response's body.
pub(crate) struct FileBody {
    file: LocalFile,
    position: u64,
    state: State,
}

enum State {
    /// All chunks so far were in memory.
    Warm,
    /// Some chunk was not.
    Cold,
    /// A chunk is being read elsewhere.
    Reading(JoinHandle<std::io::Result<Bytes>>),
}

impl FileBody {
    pub(crate) fn new(file: LocalFile) -> Self {
        Self {
            file,
            position: 0,
            state: State::Warm,
        }
    }

    fn left(&self) -> u64 {
        self.file.length - self.position
    }

    fn advance(&mut self, chunk: Bytes) -> Frame<Bytes> {
        self.position += chunk.len() as u64;
        Frame::data(chunk)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.left() == 0 {
                return Poll::Ready(None);
            }
            let position = self.position;
            match &mut self.state {
                State::Warm => match read_now(&self.file, position) {
                    Some(chunk) => return Poll::Ready(Some(Ok(self.advance(chunk)))),
                    None => self.state = State::Cold,
                },
                State::Cold => {
                    let file = self.file.clone();
                    self.state = State::Reading(tokio::task::spawn_blocking(move || {
                        file.read_at(position, READ_CHUNK)
                    }));
                }
                State::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(context))
                        .map_err(std::io::Error::other)
                        .and_then(|read| read);
                    self.state = State::Cold;
                    let frame = read.map(|chunk| self.advance(chunk)).map_err(BodyError::new);
                    return Poll::Ready(Some(frame));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// The next chunk if all of it is in memory.
#[cfg(target_os = "linux")]
fn read_now(file: &LocalFile, position: u64) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let wanted = usize::try_from(file.length - position)
        .unwrap_or(usize::MAX)
        .min(READ_CHUNK);
    let mut buffer = vec![0; wanted];
    let read = preadv2(
        &*file.file,
        &mut [std::io::IoSliceMut::new(&mut buffer)],
        file.offset + position,
        ReadWriteFlags::NOWAIT,
    );
    (read == Ok(wanted)).then(|| buffer.into())
}

#[cfg(not(target_os = "linux"))]
fn read_now(_file: &LocalFile, _position: u64) -> Option<Bytes> {
    None
}
