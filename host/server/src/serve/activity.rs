//! What a connection is doing, known to its stream, to its requests and to the list of all connections.

use axum::body::{Body, Bytes, HttpBody};
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::time::Instant;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Nothing: no byte of a request has come.
    Idle,
    /// A part of a request's head has come.
    ReadingHead,
    /// A request is carried out, and its answer is made.
    Answering,
    /// The answer is complete and on its way.
    Sending,
}

/// What others want of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Wish {
    /// Nothing.
    None,
    /// To end when it is idle.
    EndWhenIdle,
    /// To end, unless a request was read to the end of its head.
    EndUnlessAnswering,
}

/// What a connection is doing since when, and what others want of it.
#[derive(Debug)]
pub struct Activity {
    doing: AtomicU8,
    wish: AtomicU8,
    /// Since when the connection waits for a head, in microseconds after `epoch`.
    waits_since: AtomicU64,
    epoch: Instant,
    waker: AtomicWaker,
}

impl Activity {
    /// Of a connection that begins now.
    pub fn new(epoch: Instant) -> Self {
        let activity = Self {
            doing: AtomicU8::new(Doing::Idle as u8),
            wish: AtomicU8::new(Wish::None as u8),
            waits_since: AtomicU64::new(0),
            epoch,
            waker: AtomicWaker::new(),
        };
        activity.waits_from_now();
        activity
    }

    pub fn doing(&self) -> Doing {
        match self.doing.load(Ordering::Acquire) {
            0 => Doing::Idle,
            1 => Doing::ReadingHead,
            2 => Doing::Answering,
            _ => Doing::Sending,
        }
    }

    fn set(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Release);
    }

    fn waits_from_now(&self) {
        let since = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waits_since.store(since, Ordering::Relaxed);
    }

    /// A byte came.
    pub fn head_began(&self) {
        self.set(Doing::ReadingHead);
    }

    /// A head was read to its end.
    pub fn request_began(&self) {
        self.set(Doing::Answering);
    }

    /// All that was written has been sent. Whether this was the end of an answer.
    pub fn flushed(&self) -> bool {
        let was_answer = self.doing() == Doing::Sending;
        if was_answer {
            self.waits_from_now();
            self.set(Doing::Idle);
        }
        was_answer
    }

    /// Since when it waits for a request; `None` when it has one.
    pub fn waits_since(&self) -> Option<u64> {
        let waits = matches!(self.doing(), Doing::Idle | Doing::ReadingHead);
        waits.then(|| self.waits_since.load(Ordering::Relaxed))
    }

    pub fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::None,
            1 => Wish::EndWhenIdle,
            _ => Wish::EndUnlessAnswering,
        }
    }

    /// Asks the connection for something, and wakes its task.
    pub fn ask(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Whether the connection should end now. The task is woken when that is asked for later.
    pub fn must_end(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        match self.wish() {
            Wish::None => false,
            Wish::EndWhenIdle => self.doing() == Doing::Idle,
            Wish::EndUnlessAnswering => matches!(self.doing(), Doing::Idle | Doing::ReadingHead),
        }
    }
}

/// An answer's body. When it is dropped, all of it has been handed on.
pub struct Tracked {
    body: Body,
    activity: Arc<Activity>,
}

impl Tracked {
    pub fn new(body: Body, activity: Arc<Activity>) -> Self {
        Self { body, activity }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.activity.set(Doing::Sending);
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
