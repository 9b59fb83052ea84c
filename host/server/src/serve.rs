//! Connections. On shutdown `/readyz` says so first; then no new connection is accepted, requests that were accepted are
//! answered, and after a bounded time the remaining ones are dropped.

use crate::Routes;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{io, sync::atomic::Ordering, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

/// How long a client may take to send a request's head, also the next one on a kept connection: longer than load balancers
/// keep theirs, usually 60 s, so that none is closed while a request is on its way.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long requests are still accepted after shutdown began: a load balancer that polls `/readyz` sends its requests to
/// another host by then, and none of them meets a closed port.
const NOTICE: Duration = Duration::from_secs(1);
/// How long requests may take to end after that; orchestrators usually kill after 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(24);
/// Between the last accepted connection and the closing of idle ones, so that requests on their way arrive.
const LINGER: Duration = Duration::from_millis(100);
/// A pause after the listener failed, usually because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` completes and the requests that were accepted by then are answered.
///
/// # Errors
/// None; a listener that fails is tried again.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).pipeline_flush(true);
    let connect = |stream: TcpStream| {
        // Answers are small and written in one piece: waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY can't be set");
        }
        let connection =
            server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended badly");
            }
        });
    };
    accept(&listener, &connect, shutdown).await;
    routes.draining.store(true, Ordering::Relaxed);
    accept(&listener, &connect, tokio::time::sleep(NOTICE)).await;
    // The kernel has accepted these already, and their clients may have sent requests.
    while let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        connect(stream);
    }
    drop(listener);
    tokio::time::sleep(LINGER).await;
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        warn!(seconds = DRAIN_TIMEOUT.as_secs(), "some requests did not end in time");
    }
    Ok(())
}

/// Accepts connections until `end`.
async fn accept(listener: &TcpListener, connect: impl Fn(TcpStream), end: impl Future<Output = ()>) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(stream),
                Err(error) => {
                    warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut end => return,
        }
    }
}
