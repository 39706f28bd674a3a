//! The server as a process: assemble, listen, serve, stop when told to.

use std::sync::Arc;
use std::time::Duration;

use pypicache_core::Clock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::assemble::{AssembleError, assemble};
use crate::config::Configuration;
use crate::{ServeOptions, serve};

/// How long a server that stops goes on writing.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The sources could not be put together.
    #[error("the server cannot start")]
    Assemble(#[from] AssembleError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}; is another server running there? --listen names another address")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The server broke.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
}

/// Serves until SIGTERM or SIGINT; a second one ends it at once. `ready` is told the address that it listens on.
pub async fn run(
    configuration: Configuration,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), RunError> {
    let (address, anonymous_read) = (configuration.listen, configuration.anonymous_read);
    let listen = |cause| RunError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let site = tokio::task::spawn_blocking(move || assemble(&configuration, Clock::system()))
        .await
        .map_err(|error| RunError::Serve(std::io::Error::other(error)))??;
    if !bound.ip().is_loopback() && anonymous_read {
        tracing::warn!(address = %bound, "everybody who can reach this address can read (anonymous-read)");
    }
    let stop = stop_signal().map_err(RunError::Serve)?;
    ready(bound);
    let site = Arc::new(site);
    serve(listener, site.clone(), ServeOptions::default(), stop)
        .await
        .map_err(RunError::Serve)?;
    if tokio::time::timeout(WRITE_LIMIT, site.written()).await.is_err() {
        tracing::warn!(limit = ?WRITE_LIMIT, "not everything that went out could be written down in time");
    }
    Ok(())
}

/// Done at the first signal. From then on a further one ends the process.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; responses under way may finish");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
