//! Connections. On shutdown `/readyz` says so first, and each answer ends its connection; then no new connection is
//! accepted, those that are idle are closed, requests that were accepted are answered, and after a bounded time the
//! remaining ones are dropped.

mod activity;
mod connections;
mod stream;

use self::{
    connections::{Connections, Place},
    stream::Stream,
};
use crate::{Routes, documented::PROBLEM_JSON, problem::Problem};
use activity::Tracked;
use axum::{Router, http::StatusCode};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use proviso_api::ProblemCode;
use std::{
    convert::Infallible,
    io::{self, Write as _},
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tracing::{debug, info, warn};

pub use connections::ConnectionLimits;

/// The largest head of a request that is read; a longer one is answered with 431. Also about what a connection buffers.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// How long requests are still accepted after shutdown began: a load balancer that polls `/readyz` sends its requests to
/// another host by then, and none of them meets a closed port.
const NOTICE: Duration = Duration::from_secs(1);
/// How long requests may take to end after that; orchestrators usually kill after 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(24);
/// Between the last accepted connection and the closing of idle ones, so that requests on their way arrive.
const LINGER: Duration = Duration::from_millis(100);
/// Connections to the address for operators.
const MOST_OPERATORS: usize = 64;
/// How long one of them may take to send a head, or wait with the next.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(30);
/// A pause after the listener failed, usually because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request that was accepted is answered.
    Answered,
    /// Some took too long, and their connections are dropped.
    Cut,
}

/// Serves until `shutdown` completes, and requests that are accepted in the second after that are answered as well.
///
/// # Errors
/// The listener's when it is closed; one that can't accept is tried again.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Drained> {
    let app = routes.app.clone();
    let door = Door::new(routes);
    accept(&listener, &door, shutdown).await;
    app.draining.store(true, Ordering::Relaxed);
    info!(
        seconds = NOTICE.as_secs(),
        "draining: `/readyz` says so, and requests are accepted for a moment yet"
    );
    accept(&listener, &door, tokio::time::sleep(NOTICE)).await;
    // The kernel has accepted these already, and their clients may have sent requests. The listener itself is asked, since
    // tokio may not have heard of them yet.
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        match stream {
            Ok(stream) => door.connect(stream, peer.ip()),
            Err(error) => debug!(%error, "a connection can't be used"),
        }
    }
    drop(listener);
    info!(
        seconds = DRAIN_TIMEOUT.as_secs(),
        "no connection is accepted any more; open requests are given time to end"
    );
    tokio::time::sleep(LINGER).await;
    let closed = tokio::time::timeout(DRAIN_TIMEOUT, door.close()).await;
    Ok(if closed.is_ok() { Drained::Answered } else { Drained::Cut })
}

/// Serves health, readiness and metrics on an address of their own, for those who operate the host: until it is aborted, so that
/// they tell of a drain, too.
pub async fn serve_operations(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MOST_OPERATORS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(OPERATOR_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => TokioIo::new(stream),
            Err(error) => {
                warn!(%error, "no connection of operators could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(stream, service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection of operators ended badly");
            }
            drop(place);
        });
    }
}

/// Accepts connections until `end`.
async fn accept(listener: &TcpListener, door: &Door, end: impl Future<Output = ()>) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => door.connect(stream, peer.ip()),
                Err(error) => {
                    warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut end => return,
        }
    }
}

/// Starts a task for each connection that is let in.
struct Door {
    routes: Routes,
    connections: Arc<Connections>,
    http: http1::Builder,
    large_heads: Arc<Semaphore>,
    /// What is sent to a connection that is not let in.
    refusal: Vec<u8>,
    /// Held by each connection's task: nothing is ever sent.
    alive: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

impl Door {
    fn new(routes: Routes) -> Self {
        let mut http = http1::Builder::new();
        // The stream keeps the times, since hyper can't tell an idle connection from one that sends a head slowly.
        http.header_read_timeout(None).max_header_size(MAX_HEAD_BYTES).max_buf_size(MAX_HEAD_BYTES);
        let (alive, ended) = mpsc::channel(1);
        let connections = Arc::new(Connections::new(routes.app.options.connections));
        let large_heads = Arc::new(Semaphore::new(stream::LARGE_HEADS));
        Self { routes, connections, http, large_heads, refusal: refusal(), alive, ended }
    }

    fn connect(&self, stream: TcpStream, peer: IpAddr) {
        let metrics = &self.routes.app.metrics;
        let Some(place) = self.connections.admit(peer) else {
            metrics.connection_refused();
            debug!(%peer, "a connection is refused: there are too many");
            // As far as the socket takes it at once; who is refused is not waited for.
            let _ = stream.into_std().and_then(|mut stream| stream.write(&self.refusal));
            return;
        };
        // Answers are small and written in one piece: waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY can't be set");
        }
        let open = metrics.connection_opened();
        let stream = (stream, self.large_heads.clone());
        let (http, routes, alive) = (self.http.clone(), self.routes.clone(), self.alive.clone());
        tokio::spawn(async move {
            if let Err(error) = one(&http, stream, &routes, &place).await {
                debug!(%error, "a connection ended badly");
            }
            drop((open, place, routes, alive));
        });
    }

    /// Closes idle connections, and waits until the others have ended.
    async fn close(self) {
        let Self { connections, alive, mut ended, .. } = self;
        connections.close_idle();
        drop(alive);
        // None, once no task is left that could send.
        let _ = ended.recv().await;
    }
}

/// Serves one connection to its end.
async fn one(
    http: &http1::Builder,
    (stream, large_heads): (TcpStream, Arc<Semaphore>),
    routes: &Routes,
    place: &Place,
) -> Result<(), hyper::Error> {
    let activity = &place.activity;
    let router = TowerToHyperService::new(routes.router.clone());
    let service = service_fn(|request| {
        activity.request_began();
        let answered = router.call(request);
        let activity = activity.clone();
        async move { answered.await.map(|response| response.map(|body| Tracked::new(body, activity))) }
    });
    let stream = Stream::new(stream, activity.clone(), large_heads);
    http.serve_connection(TokioIo::new(stream), service).await
}

/// A whole answer for a connection that is one too many.
fn refusal() -> Vec<u8> {
    let detail = "too many connections are open to this host, in all or from this address";
    let problem = Problem::new(ProblemCode::Overloaded, detail);
    // A problem's body holds nothing that can't be written as JSON.
    let body = serde_json::to_string(&problem.details("/")).unwrap_or_default();
    let status = StatusCode::SERVICE_UNAVAILABLE;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
