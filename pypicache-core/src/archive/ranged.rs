//! METADATA of a wheel that is somewhere else, by a few byte ranges.
//!
//! The zip reader is given a file with holes. Where it steps into one it fails, and what it missed is fetched;
//! then it starts over. The end of a wheel has its directory, and usually METADATA too, so that one or two
//! ranges do.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use super::{ArchiveError, wheel_metadata};
use crate::model::FileName;
use crate::source::SourceError;

/// The first range: the end of the wheel.
const TAIL: u64 = 64 * 1024;

/// What is fetched for the first hole; twice as much for each further one, because directories can be long.
const STEP: u64 = 16 * 1024;

/// How many ranges are fetched before the wheel is given up.
const MAX_FETCHES: usize = 12;

/// How many bytes are fetched before the wheel is given up.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Why METADATA cannot be had by ranges.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangedError {
    /// A range could not be fetched.
    #[error("a part of the wheel could not be fetched")]
    Fetch(#[source] SourceError),
    /// The wheel is damaged or has no METADATA.
    #[error("the wheel has no METADATA that can be read")]
    Archive(#[source] ArchiveError),
    /// It would take more than is reasonable.
    #[error("the wheel needs more ranges than are worth it")]
    TooMuch,
}

/// The METADATA of the wheel called `filename`, of `size` bytes, of which `fetch` gives ranges by (offset, length).
pub async fn wheel_metadata_by_ranges<F, Fut>(
    filename: &FileName,
    size: u64,
    mut fetch: F,
) -> Result<Bytes, RangedError>
where
    F: FnMut(u64, u64) -> Fut,
    Fut: Future<Output = Result<Bytes, SourceError>>,
{
    let mut holes = Holes {
        size,
        position: 0,
        known: Vec::new(),
        missing: None,
    };
    let mut wanted = (size.saturating_sub(TAIL), size.min(TAIL));
    let mut step = STEP;
    for _ in 0..MAX_FETCHES {
        let fetched: u64 = holes.known.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if wanted.1 == 0 || fetched + wanted.1 > MAX_BYTES {
            return Err(RangedError::TooMuch);
        }
        let bytes = fetch(wanted.0, wanted.1).await.map_err(RangedError::Fetch)?;
        holes.known.push((wanted.0, bytes));
        (holes.position, holes.missing) = (0, None);
        match wheel_metadata(&mut holes, filename) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => match holes.missing {
                Some(missing) => {
                    wanted = holes.around(missing, step);
                    step *= 2;
                }
                None => return Err(RangedError::Archive(error)),
            },
        }
    }
    Err(RangedError::TooMuch)
}

/// A file of which some ranges are known.
struct Holes {
    size: u64,
    position: u64,
    known: Vec<(u64, Bytes)>,
    /// Where the reader stepped into a hole.
    missing: Option<u64>,
}

impl Holes {
    /// What to fetch so that `position` is known: some more behind it, but nothing that is known already.
    fn around(&self, position: u64, step: u64) -> (u64, u64) {
        let next = self
            .known
            .iter()
            .map(|(offset, _)| *offset)
            .filter(|offset| *offset > position)
            .min();
        let end = next.unwrap_or(self.size).min(position.saturating_add(step));
        (position, end.saturating_sub(position))
    }
}

impl Read for &mut Holes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let position = self.position;
        let covering =
            |(offset, bytes): &&(u64, Bytes)| *offset <= position && position - offset < bytes.len() as u64;
        let Some((offset, bytes)) = self.known.iter().find(covering) else {
            self.missing = Some(position);
            return Err(io::Error::other("this part of the wheel is not fetched yet"));
        };
        let start = usize::try_from(position - offset).map_err(io::Error::other)?;
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for &mut Holes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::wheel::tests::{six, zip_of};

    async fn by_ranges(wheel: Vec<u8>) -> (Result<Bytes, RangedError>, u64, usize) {
        let wheel = Bytes::from(wheel);
        let (mut total, mut count) = (0, 0);
        let result = wheel_metadata_by_ranges(&six(), wheel.len() as u64, |offset, length| {
            (total, count) = (total + length, count + 1);
            let start = usize::try_from(offset).unwrap();
            std::future::ready(Ok(wheel.slice(start..start + usize::try_from(length).unwrap())))
        })
        .await;
        (result, total, count)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    }

    #[tokio::test]
    async fn few_bytes_of_a_large_wheel_do() {
        let large = noise(5 << 20);
        let at_end = zip_of(&[
            ("data.bin", &large),
            ("six-1.0.dist-info/METADATA", b"Name: six\n"),
        ]);
        let (found, total, count) = by_ranges(at_end).await;
        assert_eq!((&found.unwrap()[..], count), (&b"Name: six\n"[..], 1));
        assert!(total <= TAIL);
        let at_start = zip_of(&[
            ("six-1.0.dist-info/METADATA", b"Name: six\n"),
            ("data.bin", &large),
        ]);
        let (found, total, _) = by_ranges(at_start).await;
        assert_eq!(&found.unwrap()[..], b"Name: six\n");
        assert!(total < 200_000, "{total}");
    }

    #[tokio::test]
    async fn a_wheel_of_many_members_takes_few_ranges() {
        let names: Vec<String> = (0..6000).map(|i| format!("package/module_{i:05}.py")).collect();
        let mut members = vec![("six-1.0.dist-info/METADATA", b"Name: six\n".as_slice())];
        members.extend(names.iter().map(|name| (name.as_str(), b"pass".as_slice())));
        let (found, _, count) = by_ranges(zip_of(&members)).await;
        assert_eq!(&found.unwrap()[..], b"Name: six\n");
        assert!(count <= 8, "{count}");
    }

    #[tokio::test]
    async fn damaged_wheels_are_errors() {
        assert!(by_ranges(Vec::new()).await.0.is_err());
        assert!(by_ranges(noise(100_000)).await.0.is_err());
        assert!(by_ranges(zip_of(&[("six.py", b"")])).await.0.is_err());
    }
}
