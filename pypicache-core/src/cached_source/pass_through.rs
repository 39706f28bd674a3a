//! Bodies that pass through without being kept, checked all the same.

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};

use crate::model::Checksum;
use crate::source::{Body, BodyError};

/// The rest of a file whose front `checksum` has seen: the same bytes, of which the last piece is held back until
/// all of them were found right. Nobody gets the whole of a wrong file.
pub(super) fn verified(body: Body, checksum: Checksum) -> Body {
    let state = Some((body.into_stream(), checksum, Bytes::new()));
    Body::Stream(Box::pin(stream::unfold(state, |state| async move {
        let (mut pieces, mut checksum, held_back) = state?;
        loop {
            match pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    checksum.update(&piece);
                    return Some((Ok(held_back), Some((pieces, checksum, piece))));
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => {
                    let checked = checksum.finish().map(|_| held_back);
                    return Some((checked.map_err(BodyError::new), None));
                }
            }
        }
    })))
}

/// A body without its first `count` bytes, and of `length` bytes at the most.
pub(super) fn stretch(
    body: Body,
    count: u64,
    length: u64,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    body.into_stream().scan((count, length), |(skip, left), piece| {
        let cut = piece.map(|mut piece| {
            let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
            *skip -= skipped as u64;
            let mut piece = piece.split_off(skipped);
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
            piece
        });
        std::future::ready(Some(cut))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digests, Sha256};

    fn body(pieces: &[&'static [u8]]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Body::Stream(Box::pin(stream::iter(pieces)))
    }

    #[tokio::test]
    async fn the_last_piece_of_wrong_bytes_never_comes() {
        let checksum = || Checksum::new(&Digests::sha256(Sha256::of(b"hello world")));
        let right = verified(body(&[b"hello", b"", b" world"]), checksum());
        assert_eq!(right.collect(100).await.unwrap(), "hello world");
        let mut wrong = verified(body(&[b"hello", b" w0rld"]), checksum()).into_stream();
        let mut got = Vec::new();
        while let Some(piece) = wrong.next().await {
            match piece {
                Ok(piece) => got.extend_from_slice(&piece),
                Err(error) => {
                    assert!(error.to_string().contains("sha256"), "{error}");
                    got.push(b'!');
                }
            }
        }
        assert_eq!(got, b"hello!");
    }

    #[tokio::test]
    async fn a_stretch_is_cut_on_both_sides() {
        let cut: Vec<_> = stretch(body(&[b"abc", b"def", b"ghi"]), 4, 3).collect().await;
        let cut: Vec<u8> = cut.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(cut, b"efg");
    }
}
