//! Long messages are cut into pieces and put together again.
//!
//! The first piece says how long the message is. Before the next one is read, that many bytes are set aside of what the node
//! grants to all such messages; until then the sender is held up by the flow control of its connection. Memory is taken as
//! pieces arrive, never by a claim.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    message::{PIECE_FIRST, PIECE_NEXT, PIECE_WHOLE, Piece},
    options::PIECE_BYTES,
};

const UNIT: usize = 1 << 10;

/// The pieces of a message, in order; a single one if it is short.
pub(crate) fn cut(message: Bytes) -> impl Iterator<Item = Piece> {
    let total = message.len();
    let mut rest = Some(message);
    let mut begun = false;
    std::iter::from_fn(move || {
        let mut body = rest.take()?;
        if total <= PIECE_BYTES {
            return Some(Piece { kind: PIECE_WHOLE, total: 0, body });
        }
        if body.len() > PIECE_BYTES {
            rest = Some(body.split_off(PIECE_BYTES));
        }
        let first = !std::mem::replace(&mut begun, true);
        let (kind, total) = if first { (PIECE_FIRST, total as u64) } else { (PIECE_NEXT, 0) };
        Some(Piece { kind, total, body })
    })
}

/// What all messages that arrive in pieces may take together.
#[derive(Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(units)), bytes: units * UNIT }
    }

    async fn reserve(&self, bytes: usize) -> io::Result<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| broken("a message is too long"))?;
        let permit = self.units.clone().acquire_many_owned(units).await;
        permit.map_err(|_| io::ErrorKind::Interrupted.into())
    }
}

/// Puts the messages of one connection together.
pub(crate) struct Assembly {
    budget: Budget,
    message_bytes_max: usize,
    current: Option<Partial>,
}

struct Partial {
    bytes: Vec<u8>,
    total: usize,
    _reserved: OwnedSemaphorePermit,
}

impl Assembly {
    pub(crate) fn new(budget: Budget, message_bytes_max: usize) -> Self {
        let message_bytes_max = message_bytes_max.min(budget.bytes);
        Self { budget, message_bytes_max, current: None }
    }

    /// Whether the next piece may have to wait for room.
    pub(crate) fn begins(piece: &Piece) -> bool {
        piece.kind == PIECE_FIRST
    }

    /// Takes the next piece; returns the message that it completes. After an error the connection is of no use.
    pub(crate) async fn add(&mut self, piece: Piece) -> io::Result<Option<Bytes>> {
        match (piece.kind, &mut self.current) {
            (PIECE_WHOLE, None) if piece.body.len() <= self.message_bytes_max => {
                Ok(Some(unpinned(piece.body)))
            }
            (PIECE_FIRST, None) => {
                let total = usize::try_from(piece.total).unwrap_or(usize::MAX);
                if total > self.message_bytes_max {
                    let most = self.message_bytes_max;
                    return Err(broken(&format!("a message of {total} bytes, and {most} are the most")));
                }
                let reserved = self.budget.reserve(total).await?;
                self.current = Some(Partial { bytes: Vec::new(), total, _reserved: reserved });
                self.append(&piece.body)
            }
            (PIECE_NEXT, Some(_)) => self.append(&piece.body),
            _ => Err(broken("a piece that belongs nowhere")),
        }
    }

    fn append(&mut self, body: &[u8]) -> io::Result<Option<Bytes>> {
        let partial = self.current.as_mut().expect("a message has begun");
        let missing = partial.total - partial.bytes.len();
        if body.len() > missing || body.is_empty() {
            return Err(broken("pieces that are not as long as their message"));
        }
        if partial.bytes.capacity() - partial.bytes.len() < body.len() {
            let more = partial.bytes.len().max(4 * PIECE_BYTES).min(missing);
            partial.bytes.reserve_exact(more.max(body.len()));
        }
        partial.bytes.extend_from_slice(body);
        if partial.bytes.len() < partial.total {
            return Ok(None);
        }
        Ok(self.current.take().map(|partial| Bytes::from(partial.bytes)))
    }
}

/// A short message would keep the whole buffer alive that it was read into.
fn unpinned(body: Bytes) -> Bytes {
    const SHORT: usize = 4 << 10;
    if body.len() <= SHORT { Bytes::copy_from_slice(&body) } else { body }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken message: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn assembled(
        assembly: &mut Assembly,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> io::Result<Option<Bytes>> {
        let mut last = None;
        for piece in pieces {
            assert_eq!(last, None, "it was complete already");
            last = assembly.add(piece).await?;
        }
        Ok(last)
    }

    #[tokio::test]
    async fn messages_of_every_length_come_back() {
        let budget = Budget::new(4 << 20);
        let mut assembly = Assembly::new(budget.clone(), 4 << 20);
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 4 << 20] {
            let message: Bytes = (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
            let back = assembled(&mut assembly, cut(message.clone())).await.unwrap();
            assert_eq!(back, Some(message), "{length} bytes");
        }
        assert_eq!(budget.units.available_permits() * UNIT, 4 << 20, "all was given back");
    }

    #[tokio::test]
    async fn lies_are_errors() {
        let piece = |kind, total, length| Piece { kind, total, body: vec![0; length].into() };
        let cases: [(&str, Vec<Piece>); 7] = [
            ("too long", vec![piece(PIECE_FIRST, 1 << 40, 1)]),
            ("more than it said", vec![piece(PIECE_FIRST, 5, 3), piece(PIECE_NEXT, 0, 3)]),
            ("an empty piece", vec![piece(PIECE_FIRST, 5, 3), piece(PIECE_NEXT, 0, 0)]),
            ("no beginning", vec![piece(PIECE_NEXT, 0, 3)]),
            ("two beginnings", vec![piece(PIECE_FIRST, 5, 3), piece(PIECE_FIRST, 5, 3)]),
            ("a message within another", vec![piece(PIECE_FIRST, 5, 3), piece(PIECE_WHOLE, 0, 3)]),
            ("an unknown kind", vec![piece(9, 0, 3)]),
        ];
        for (case, pieces) in cases {
            let mut assembly = Assembly::new(Budget::new(1 << 20), 1 << 20);
            assert!(assembled(&mut assembly, pieces).await.is_err(), "{case}");
        }
    }

    #[tokio::test]
    async fn the_next_large_message_waits_for_room() {
        let budget = Budget::new(1 << 20);
        let (mut first, mut second) =
            (Assembly::new(budget.clone(), 1 << 20), Assembly::new(budget, 1 << 20));
        let message = Bytes::from(vec![0; 1 << 20]);
        let mut pieces = cut(message.clone());
        first.add(pieces.next().unwrap()).await.unwrap();
        let mut other = std::pin::pin!(second.add(cut(message).next().unwrap()));
        let waits =
            std::future::poll_fn(|context| std::task::Poll::Ready(other.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        assembled(&mut first, pieces).await.unwrap().unwrap();
        other.await.unwrap();
    }
}
