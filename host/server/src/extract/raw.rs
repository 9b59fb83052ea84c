//! A body's bytes, up to a limit, within a time, and within the memory that all bodies share while they come in.

use crate::problem::Problem;
use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{
        HeaderMap, HeaderValue,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
};
use http_body_util::BodyExt as _;
use proviso_ledger::model::ids::Name;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
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
/// How much of it the bodies of one API key take that is narrowed to a customer or to some policies, beyond its first one: a customer
/// that sends halves and waits keeps no other's bodies out.
const SHARE_KIB: usize = MEMORY_KIB / 4;

/// The memory for bodies that are coming in.
pub struct BodyMemory {
    /// What is left, in KiB.
    left: Semaphore,
    /// What is taken by each API key that has a share, in KiB.
    shares: Mutex<HashMap<Name, usize>>,
}

/// The API key of a request whose bodies have a share of the memory; an extension of the request.
#[derive(Debug, Clone)]
pub struct Sharer(pub Name);

impl Default for BodyMemory {
    fn default() -> Self {
        Self { left: Semaphore::new(MEMORY_KIB), shares: Mutex::default() }
    }
}

impl BodyMemory {
    fn shares(&self) -> MutexGuard<'_, HashMap<Name, usize>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory that one body takes, until it is dropped.
struct Taken<'a> {
    memory: &'a BodyMemory,
    sharer: Option<&'a Sharer>,
    kib: usize,
    permit: Option<SemaphorePermit<'a>>,
}

impl Taken<'_> {
    /// Takes memory for so many bytes more.
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let more = self.memory.left.try_acquire_many(kib).map_err(|_| Problem::too_many_bodies())?;
        let kib = kib as usize;
        if let Some(Sharer(key)) = self.sharer {
            let mut shares = self.memory.shares();
            let share = shares.get(key).copied().unwrap_or_default();
            if share > self.kib && share.saturating_add(kib) > SHARE_KIB {
                return Err(Problem::too_many_bodies());
            }
            shares.insert(key.clone(), share.saturating_add(kib));
        }
        self.kib = self.kib.saturating_add(kib);
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(Sharer(key)) = self.sharer.filter(|_| self.kib > 0) else { return };
        let mut shares = self.memory.shares();
        match shares.get_mut(key) {
            Some(share) if *share > self.kib => *share -= self.kib,
            _ => drop(shares.remove(key)),
        }
    }
}

/// Reads a body of at most `limit` bytes. `sharer` is who has only a share of the memory.
pub async fn read_body(
    mut body: Body,
    limit: usize,
    memory: &BodyMemory,
    sharer: Option<&Sharer>,
) -> Result<Bytes, Problem> {
    let declared = body.size_hint().lower();
    let is_too_large = declared > limit as u64;
    let read = async {
        let mut taken = Taken { memory, sharer, kib: 0, permit: None };
        let mut counted = 0;
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
                // Nearly every body comes in one piece and is not copied. One of which more is to come counts at once: a client that
                // finds no memory for the rest is not read from any further.
                if declared > data.len() as u64 {
                    counted = usize::try_from(declared).unwrap_or(limit);
                    taken.take(counted)?;
                }
                first = data;
            } else {
                if whole.is_empty() {
                    if counted == 0 {
                        taken.take(first.len())?;
                        counted = first.len();
                    }
                    // Once and for all, where the length is known.
                    whole.reserve_exact(counted);
                    whole.extend_from_slice(&first);
                }
                if whole.len() + data.len() > counted {
                    taken.take(data.len())?;
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

/// The media type of the body, such as `application/json`; `None` when its charset is another one than UTF-8, or when it is compressed
/// or otherwise encoded.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let is_plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return None;
    }
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
        for (encoding, fine) in
            [("identity", true), ("Identity", true), ("gzip", false), ("identity, br", false)]
        {
            let json = (CONTENT_TYPE, "application/json".parse().unwrap());
            let headers = HeaderMap::from_iter([json, (CONTENT_ENCODING, encoding.parse().unwrap())]);
            assert_eq!(is_of_type(&headers, "application/json"), fine, "{encoding}");
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let memory = BodyMemory::default();
        let ten = || Body::from("0123456789");
        assert_eq!(read_body(ten(), 10, &memory, None).await.unwrap(), "0123456789");
        assert_eq!(read_body(ten(), 9, &memory, None).await.unwrap_err().status().as_u16(), 413);
        assert!(read_body(Body::empty(), 0, &memory, None).await.unwrap().is_empty());
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
        let one = || read_body(pieces(size, true), limit, &memory, None);
        assert_eq!(one().await.unwrap().len(), size << 10);
        assert_eq!(memory.left.available_permits(), MEMORY_KIB, "what is complete is not counted");
        let halves = futures_util::future::join_all(
            (0..MEMORY_KIB / size).map(|_| read_body(pieces(size, false), limit, &memory, None)),
        );
        let meanwhile = async {
            tokio::task::yield_now().await;
            let small = read_body(Body::from("small"), limit, &memory, None).await;
            let large = read_body(pieces(size, true), limit, &memory, None).await;
            (small.unwrap(), large.unwrap_err().status().as_u16())
        };
        let (halves, (small, large)) = tokio::join!(halves, meanwhile);
        assert_eq!((&*small, large), (&b"small"[..], 503));
        assert!(
            halves.iter().all(|half| half.as_ref().is_err_and(|problem| problem.code() == "body_timeout"))
        );
        assert_eq!(one().await.unwrap().len(), size << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrowed_key_has_a_share() {
        let memory = BodyMemory::default();
        let (size, limit) = (1 << 10, 8 << 20);
        let sharer = |name: &str| Sharer(name.parse().unwrap());
        let (one, other) = (sharer("key_1"), sharer("key_2"));
        let halves = futures_util::future::join_all(
            (0..20).map(|_| read_body(pieces(size, false), limit, &memory, Some(&one))),
        );
        let meanwhile = async {
            tokio::task::yield_now().await;
            for sharer in [None, Some(&other)] {
                assert_eq!(
                    read_body(pieces(size, true), limit, &memory, sharer).await.unwrap().len(),
                    size << 10
                );
            }
        };
        let (halves, ()) = tokio::join!(halves, meanwhile);
        let waited =
            halves.iter().filter(|half| half.as_ref().is_err_and(|one| one.code() == "body_timeout"));
        assert_eq!(waited.count(), SHARE_KIB / size, "the others were refused");
        assert_eq!(memory.left.available_permits(), MEMORY_KIB);
        assert!(memory.shares().is_empty());
        // By itself a body may be larger than the share.
        let large = read_body(pieces(5 * size, true), limit, &memory, Some(&one)).await;
        assert_eq!(large.unwrap().len(), (5 * size) << 10);
        assert!(memory.shares().is_empty());
    }
}
