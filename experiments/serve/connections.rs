//! Connections: taken one by one, each with a time for its requests' headers, and told to end when the server does.
//!
//! `axum::serve` gives a header all the time there is. A connection that never finishes one would then hold its file descriptor for ever,
//! and a few hundred of them, left by a broken client, keep everybody else out.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a request's header may take, and how long a connection may wait for its next request.
const HEADER_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing is taken when the system gives no more connections: until some have ended.
const NONE_LEFT: Duration = Duration::from_secs(1);

/// Serves connections until `closing` is true (or its sender gone), then finishes the requests that are under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut closing: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut refused = 0_u64;
    let end = closing.clone();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        // Those that have ended are forgotten.
        while connections.try_join_next().is_some() {}
        match taken {
            Ok((stream, _)) => {
                refused = 0;
                connections.spawn(connection(stream, router.clone(), end.clone()));
            }
            // The client's: it left before it was taken.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                // A line a minute, as long as it lasts.
                if refused.is_multiple_of(60) {
                    eprintln!("warning: no connection is taken: {error} ({} are open)", connections.len());
                }
                refused += 1;
                tokio::time::sleep(NONE_LEFT).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut closing: watch::Receiver<bool>) {
    // Each token of a stream is a packet of its own; a socket that cannot do so still works.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    tokio::select! {
        // A client that leaves or sends what is no HTTP ends its own connection.
        _ = served.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
