//! Accepting connections, and letting them end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::handle::handle;
use crate::http::tls::{Tls, too_slow};
use crate::live::LiveSite;

/// How connections are treated.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How many connections are open at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, and for the TLS handshake.
    pub header_timeout: Duration,
    /// How long responses under way may take once the server is told to stop.
    pub drain_limit: Duration,
    /// Speak TLS, and nothing else, with this certificate.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(30),
            drain_limit: Duration::from_secs(30),
            tls: None,
        }
    }
}

/// The largest head of a request, in bytes; a larger one is answered 431.
const MAX_HEAD: usize = 64 * 1024;

/// The most header fields of a request.
const MAX_FIELDS: usize = 100;

/// The address of a client that was gone before it was asked for.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How long the server waits before it accepts again when it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `site` on `listener` until `shutdown` is done, then lets responses under way finish within the limit.
pub async fn serve(
    listener: TcpListener,
    site: impl Into<LiveSite>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let site = site.into();
    let connections = Arc::new(Semaphore::new(options.max_connections));
    let graceful = GracefulShutdown::new();
    let builder = builder(&options);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, permit) = stream;
        let peer = stream
            .peer_addr()
            .map_or(UNKNOWN, |peer| peer.ip().to_canonical());
        let (site, builder, watcher) = (site.clone(), builder.clone(), graceful.watcher());
        let (tls, limit) = (options.tls.clone(), options.header_timeout);
        tokio::spawn(async move {
            let ended = match tls {
                None => converse(stream, peer, site, &builder, watcher).await,
                Some(tls) => {
                    let shaken = tokio::time::timeout(limit, tls.acceptor().accept(stream)).await;
                    match shaken.unwrap_or_else(|_| Err(too_slow())) {
                        Ok(stream) => converse(stream, peer, site, &builder, watcher).await,
                        Err(error) => Err(error.into()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended badly");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(options.drain_limit, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(limit = ?options.drain_limit, "responses under way did not finish in time and are cut off");
    }
    Ok(())
}

/// One connection, from its first request to its last. The site is looked at anew for each request.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    site: LiveSite,
    builder: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let site = site.followed();
    let service = service_fn(move |request| {
        let site = site.current();
        async move { Ok::<_, Infallible>(handle(&site, peer, request).await) }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    watcher.watch(connection).await
}

/// The next connection, once there is room for one. Errors of single connections end nothing.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed; without a permit the connection would merely not be counted.
    let permit = connections.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                return (stream, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn builder(options: &ServeOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32);
    builder
}
