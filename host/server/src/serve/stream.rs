//! A connection's socket, which keeps the times: for a head, between requests, and for a client to take its answer. It ends
//! only between requests where it is asked to end, and reads on for a moment after the last answer, so that a client that is
//! still sending gets to see it.

use super::activity::{Activity, Doing};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

/// How long a client may take to send a request's head: the first one from when it connected, each other one from its first
/// byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept between requests: longer than load balancers keep theirs, usually 60 s, so that none is
/// closed while a request is on its way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take no byte of its answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client must take for each second of more time: a client that takes a byte now and then is no better than one that
/// takes none.
const SEND_BYTES_PER_SECOND: usize = 4 << 10;
/// How long, and for how many bytes, a client that is still sending is read from after the last answer.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(2);
const LAST_READ_BYTES: usize = 16 << 20;

/// The bytes of a head beyond which it is a large one.
const SMALL_HEAD_BYTES: usize = 8 << 10;
/// The most large heads that may be coming in at once: each takes some 60 KiB. One more is given up, so that clients that send halves
/// take little.
pub const LARGE_HEADS: usize = 64;

/// A connection's socket.
pub struct Stream {
    socket: TcpStream,
    activity: Arc<Activity>,
    timer: Timer,
    /// When the head must be complete, or the next one must have begun.
    head_deadline: Instant,
    is_first: bool,
    /// How much of a head has come.
    head_bytes: usize,
    /// For large heads.
    large_heads: Arc<Semaphore>,
    large_head: Option<OwnedSemaphorePermit>,
    /// When the client must have taken what waits for it; `None` while nothing waits.
    send_deadline: Option<Instant>,
    end: End,
}

/// How far the connection has ended.
#[derive(Clone, Copy)]
enum End {
    /// It has not.
    Open,
    /// Nothing more is read: the client sends no more, or this side ended the connection.
    NothingToRead,
    /// All is written, and what the client still sends is read, up to so many bytes, until then.
    Reading { bytes: usize, until: Instant },
}

impl Stream {
    pub fn new(socket: TcpStream, activity: Arc<Activity>, large_heads: Arc<Semaphore>) -> Self {
        let head_deadline = Instant::now() + HEAD_TIMEOUT;
        Self {
            socket,
            activity,
            timer: Timer::new(head_deadline),
            head_deadline,
            is_first: true,
            head_bytes: 0,
            large_heads,
            large_head: None,
            send_deadline: None,
            end: End::Open,
        }
    }

    fn received(&mut self, bytes: usize) {
        if bytes == 0 {
            self.end = End::NothingToRead;
            return;
        }
        match self.activity.doing() {
            Doing::Idle => {
                self.activity.head_began();
                if !self.is_first {
                    self.head_deadline = Instant::now() + HEAD_TIMEOUT;
                }
                self.head_bytes = bytes;
                self.large_head = None;
            }
            Doing::ReadingHead => self.head_bytes = self.head_bytes.saturating_add(bytes),
            Doing::Answering | Doing::Sending => {
                self.head_bytes = 0;
                self.large_head = None;
            }
        }
    }

    /// Whether a large head goes on for which there is no place. One that has come as a whole is answered by now.
    fn gives_up(&mut self) -> bool {
        if self.activity.doing() != Doing::ReadingHead {
            self.large_head = None;
            return false;
        }
        if self.head_bytes <= SMALL_HEAD_BYTES || self.large_head.is_some() {
            return false;
        }
        self.large_head = self.large_heads.clone().try_acquire_owned().ok();
        self.large_head.is_none()
    }

    /// Nothing is there to be read: ends the connection if it is asked to end or its time is up. The end looks like the
    /// client's own.
    fn wait(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let must_end = self.activity.must_end(context.waker());
        let waits = matches!(self.activity.doing(), Doing::Idle | Doing::ReadingHead);
        if !waits || !must_end && !self.timer.is_past(context, self.head_deadline) {
            return Poll::Pending;
        }
        // The socket itself is asked once more, since tokio may not have heard of bytes that have come: a request that was
        // sent by now is answered.
        match rustix::io::read(&self.socket, buffer.initialize_unfilled()) {
            Ok(bytes @ 1..) => {
                buffer.advance(bytes);
                self.received(bytes);
            }
            _ => self.end = End::NothingToRead,
        }
        Poll::Ready(Ok(()))
    }

    /// Takes note of what an attempt to write came to.
    fn sent(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => {
                let deadline = *self.send_deadline.get_or_insert_with(|| Instant::now() + SEND_TIMEOUT);
                if self.timer.is_past(context, deadline) {
                    let late = io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer");
                    return Poll::Ready(Err(late));
                }
            }
            Poll::Ready(Ok(bytes)) if bytes < offered => {
                if let Some(deadline) = &mut self.send_deadline {
                    let seconds = u64::try_from(bytes / SEND_BYTES_PER_SECOND).unwrap_or(u64::MAX);
                    let latest = Instant::now() + SEND_TIMEOUT;
                    *deadline = latest.min(*deadline + Duration::from_secs(seconds).min(SEND_TIMEOUT));
                }
            }
            Poll::Ready(_) => self.send_deadline = None,
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gives_up() {
            // It looks like the client's own end.
            this.end = End::NothingToRead;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                this.received(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.wait(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.sent(context, bytes.len(), result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.sent(context, slices.iter().map(|slice| slice.len()).sum(), result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Called when all that was written has been sent.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_flush(context))?;
        if this.activity.flushed() {
            this.large_head = None;
            this.is_first = false;
            this.head_deadline = Instant::now() + IDLE_TIMEOUT;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.end {
                End::Open => {
                    ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
                    let until = Instant::now() + LAST_READ_TIMEOUT;
                    this.end = End::Reading { bytes: LAST_READ_BYTES, until };
                }
                End::NothingToRead => return Pin::new(&mut this.socket).poll_shutdown(context),
                End::Reading { bytes, until } => {
                    let mut scratch = [0; 4 << 10];
                    let mut buffer = ReadBuf::new(&mut scratch);
                    match Pin::new(&mut this.socket).poll_read(context, &mut buffer) {
                        Poll::Pending if this.timer.is_past(context, until) => return Poll::Ready(Ok(())),
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                        Poll::Ready(Ok(())) => match bytes.checked_sub(buffer.filled().len()) {
                            Some(left) if !buffer.filled().is_empty() => {
                                this.end = End::Reading { bytes: left, until };
                            }
                            _ => return Poll::Ready(Ok(())),
                        },
                    }
                }
            }
        }
    }
}

/// One timer for all deadlines of a connection. It is only ever set to an earlier time when it must be, so that a busy
/// connection leaves it alone.
struct Timer(Pin<Box<Sleep>>);

impl Timer {
    fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first)))
    }

    /// Whether the time has come; else the task is woken then.
    fn is_past(&mut self, context: &mut Context<'_>, deadline: Instant) -> bool {
        if Instant::now() >= deadline {
            return true;
        }
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        // What was set for an earlier time is over.
        while self.0.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.0.as_mut().reset(deadline);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// A connection as the server has it, and the client's end.
    async fn pair() -> (Stream, Arc<Activity>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let activity = Arc::new(Activity::new(Instant::now()));
        let large_heads = Arc::new(Semaphore::new(1));
        (Stream::new(socket, activity.clone(), large_heads), activity, client)
    }

    /// How long it takes until nothing more can be read, in seconds of virtual time.
    async fn until_end(stream: &mut Stream) -> u64 {
        let start = Instant::now();
        while stream.read(&mut [0; 64]).await.unwrap() > 0 {}
        (start.elapsed() + Duration::from_millis(500)).as_secs()
    }

    /// A request was read and answered.
    async fn answered(stream: &mut Stream, activity: &Arc<Activity>) {
        activity.request_began();
        drop(super::super::activity::Tracked::new("".into(), activity.clone()));
        stream.flush().await.unwrap();
        assert_eq!(activity.doing(), Doing::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn heads_and_idle_connections_have_their_times() {
        // Nothing comes, or a head that does not end.
        for bytes in [&b""[..], b"GET / HT"] {
            let (mut stream, _, mut client) = pair().await;
            client.write_all(bytes).await.unwrap();
            assert_eq!(until_end(&mut stream).await, 10, "{bytes:?}");
        }
        // Bytes that dribble in do not give more time.
        let (mut stream, _, mut client) = pair().await;
        let dribbling = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert!((10..=11).contains(&until_end(&mut stream).await));
        drop(stream);
        dribbling.await.unwrap();
        // Between requests there is more time, and the next head has its own.
        let (mut stream, activity, _client) = pair().await;
        answered(&mut stream, &activity).await;
        assert_eq!(until_end(&mut stream).await, 75);
        let (mut stream, activity, mut client) = pair().await;
        answered(&mut stream, &activity).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        client.write_all(b"GET").await.unwrap();
        assert_eq!(until_end(&mut stream).await, 10);
        // While a request is answered there is none.
        let (mut stream, activity, _client) = pair().await;
        activity.request_began();
        let ends = tokio::time::timeout(Duration::from_secs(3_600), until_end(&mut stream));
        assert!(ends.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_head_needs_a_place() {
        let (mut first, _, mut one) = pair().await;
        let (mut second, _, mut other) = pair().await;
        second.large_heads = first.large_heads.clone();
        for client in [&mut one, &mut other] {
            client.write_all(&[b'x'; SMALL_HEAD_BYTES + 1]).await.unwrap();
        }
        // One waits for its end, the other is not waited for.
        assert_eq!(until_end(&mut first).await, 10);
        assert_eq!(until_end(&mut second).await, 0);
        drop(first);
        let (mut third, activity, mut client) = pair().await;
        client.write_all(&[b'x'; SMALL_HEAD_BYTES + 1]).await.unwrap();
        let mut buffer = vec![0; 2 * SMALL_HEAD_BYTES];
        let mut come = 0;
        while come <= SMALL_HEAD_BYTES {
            come += third.read(&mut buffer).await.unwrap();
        }
        // Once it is whole, it takes no place.
        activity.request_began();
        client.write_all(b"body").await.unwrap();
        assert_eq!(third.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(third.large_heads.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_not_waited_for() {
        let (mut stream, activity, _client) = pair().await;
        activity.request_began();
        let (start, large) = (Instant::now(), vec![0; 64 << 20]);
        let error = stream.write_all(&large).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 30);
        // Bytes now and then buy no more time than they are worth.
        let (mut stream, activity, mut slow) = pair().await;
        activity.request_began();
        let start = Instant::now();
        let reading = tokio::spawn(async move {
            while slow.read(&mut [0; 1_024]).await.is_ok_and(|bytes| bytes > 0) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let error = stream.write_all(&large).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(3_600), "{:?}", start.elapsed());
        reading.abort();
        // Who takes it gets all, however long that lasts.
        let (mut stream, activity, mut client) = pair().await;
        activity.request_began();
        let start = Instant::now();
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 256 << 10];
            let mut all = 0;
            while let Ok(bytes @ 1..) = client.read(&mut buffer).await {
                all += bytes;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            all
        });
        stream.write_all(&large).await.unwrap();
        drop(stream);
        assert_eq!(reading.await.unwrap(), large.len());
        assert!(start.elapsed() > SEND_TIMEOUT, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_asked_to_end_answers_what_was_sent() {
        use super::super::activity::Wish;
        // Idle: it ends at once. With half a head: it goes on.
        let (mut stream, activity, mut client) = pair().await;
        activity.ask(Wish::EndWhenIdle);
        assert_eq!(until_end(&mut stream).await, 0);
        client.write_all(b"GET").await.unwrap();
        let (mut stream, activity, mut client) = pair().await;
        client.write_all(b"GET").await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 3);
        activity.ask(Wish::EndWhenIdle);
        assert_eq!(until_end(&mut stream).await, 10);
        // Bytes that have come, but that the runtime has not heard of, are read before it ends.
        let (mut stream, activity, client) = pair().await;
        let waits = poll_fn(|context| {
            Poll::Ready(
                Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut [0; 64])).is_pending(),
            )
        });
        assert!(waits.await);
        rustix::io::write(&client, b"GET").unwrap();
        activity.ask(Wish::EndWhenIdle);
        let mut bytes = [0; 64];
        let read = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut bytes);
            Pin::new(&mut stream).poll_read(context, &mut buffer).map(|_| buffer.filled().len())
        });
        assert_eq!(read.await, 3);
    }
}
