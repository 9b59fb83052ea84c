//! A body's bytes, up to a limit, within a time, and within the memory that all bodies share while they come in.

use crate::problem::Problem;
use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one that is known to be too large is still read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of a body that is too large is read before the answer, so that a client that is still sending gets to see
/// it instead of a broken connection.
const MAX_DRAINED: usize = 16 << 20;
/// The memory for all bodies that come in more than one piece, while they come in: clients that send half a body and wait
/// take no more.
const MEMORY_KIB: usize = 12 << 10;

/// The memory for bodies that are coming in.
pub struct BodyMemory(Semaphore);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Semaphore::new(MEMORY_KIB))
    }
}

impl BodyMemory {
    /// Takes memory for so many bytes, until what is handed out is dropped.
    fn take<'a>(&'a self, bytes: usize, taken: &mut Option<SemaphorePermit<'a>>) -> Result<(), Problem> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let more = self.0.try_acquire_many(kib).map_err(|_| Problem::too_many_bodies())?;
        match taken {
            Some(taken) => taken.merge(more),
            None => *taken = Some(more),
        }
        Ok(())
    }
}

/// Reads a body of at most `limit` bytes.
pub async fn read_body(mut body: Body, limit: usize, memory: &BodyMemory) -> Result<Bytes, Problem> {
    let declared = body.size_hint().lower();
    let is_too_large = declared > limit as u64;
    let read = async {
        let (mut taken, mut counted) = (None, 0);
        let mut first = Bytes::new();
        let mut whole = Vec::new();
        let mut drained = 0_usize;
        let mut too_large = is_too_large;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::broken_body())?;
            let Ok(data) = frame.into_data() else { continue };
            too_large = too_large || first.len().max(whole.len()) + data.len() > limit;
            if too_large {
                drained += data.len();
                if drained > MAX_DRAINED {
                    break;
                }
            } else if first.is_empty() {
                // Nearly every body comes in one piece and is not copied.
                first = data;
            } else {
                if whole.is_empty() {
                    // Once and for all, where the length is known: a body that is refused has taken nothing.
                    let size = usize::try_from(declared).unwrap_or(limit).max(first.len());
                    memory.take(size, &mut taken)?;
                    counted = size;
                    whole.reserve_exact(size);
                    whole.extend_from_slice(&first);
                }
                if whole.len() + data.len() > counted {
                    memory.take(data.len(), &mut taken)?;
                    counted += data.len();
                }
                whole.extend_from_slice(&data);
            }
        }
        if too_large {
            return Err(Problem::too_large(limit));
        }
        Ok(if whole.is_empty() { first } else { whole.into() })
    };
    let time = if is_too_large { DRAIN_TIMEOUT } else { BODY_TIMEOUT };
    let in_time = tokio::time::timeout(time, read).await;
    in_time
        .unwrap_or_else(|_| Err(if is_too_large { Problem::too_large(limit) } else { Problem::slow_body() }))
}

/// The media type of the body, such as `application/json`; `None` when its charset is another one than UTF-8.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').map(str::trim);
    let found = parts.next()?;
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    is_utf8.then_some(found)
}

/// Whether the body has the media type `expected`.
pub fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use std::convert::Infallible;

    #[test]
    fn content_types_are_read() {
        for (text, fine) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonx", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]);
            assert_eq!(is_of_type(&headers, "application/json"), fine, "{text}");
        }
        assert!(!is_of_type(&HeaderMap::new(), "application/json"));
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let memory = BodyMemory::default();
        let ten = || Body::from("0123456789");
        assert_eq!(read_body(ten(), 10, &memory).await.unwrap(), "0123456789");
        assert_eq!(read_body(ten(), 9, &memory).await.unwrap_err().status().as_u16(), 413);
        assert!(read_body(Body::empty(), 0, &memory).await.unwrap().is_empty());
    }

    /// A body of pieces of 1 KiB, which then ends or comes no further.
    fn pieces(count: usize, ends: bool) -> Body {
        let pieces =
            futures_util::stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(vec![b'x'; 1 << 10]), count));
        if ends {
            Body::from_stream(pieces)
        } else {
            Body::from_stream(pieces.chain(futures_util::stream::pending()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn halves_of_bodies_share_memory() {
        let memory = BodyMemory::default();
        let (size, limit) = (1 << 10, 2 << 20);
        let one = || read_body(pieces(size, true), limit, &memory);
        assert_eq!(one().await.unwrap().len(), size << 10);
        assert_eq!(memory.0.available_permits(), MEMORY_KIB, "what is complete is not counted");
        let halves = futures_util::future::join_all(
            (0..MEMORY_KIB / size).map(|_| read_body(pieces(size, false), limit, &memory)),
        );
        let meanwhile = async {
            tokio::task::yield_now().await;
            let small = read_body(Body::from("small"), limit, &memory).await;
            let large = read_body(pieces(size, true), limit, &memory).await;
            (small.unwrap(), large.unwrap_err().status().as_u16())
        };
        let (halves, (small, large)) = tokio::join!(halves, meanwhile);
        assert_eq!((&*small, large), (&b"small"[..], 503));
        assert!(
            halves.iter().all(|half| half.as_ref().is_err_and(|problem| problem.code() == "body_timeout"))
        );
        assert_eq!(one().await.unwrap().len(), size << 10);
    }
}
