//! The server as a process: assemble, listen, serve, take a new configuration when told to, stop when told to.

use std::sync::Arc;
use std::time::Duration;

use pypicache_core::Clock;
use pypicache_core::hosted_source::Swept;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::assemble::{AssembleError, assemble, assemble_again};
use crate::config::{ConfigError, Configuration};
use crate::observe::audit::Event;
use crate::{LiveSite, ServeOptions, Site, Tls, TlsError, serve};

/// How long a server that stops goes on writing.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked for deleted files whose time is over.
const SWEEP: Duration = Duration::from_secs(3600);

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The sources could not be put together.
    #[error("the server cannot start")]
    Assemble(#[from] AssembleError),
    /// The certificate cannot be used.
    #[error("the server cannot speak TLS")]
    Tls(#[from] TlsError),
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

/// Serves until SIGTERM or SIGINT; a second one ends it at once. At SIGHUP, `load` gives a new configuration; one that
/// cannot be used changes nothing. `ready` is told the address that it listens on.
pub async fn run(
    configuration: Configuration,
    load: impl Fn() -> Result<Configuration, ConfigError> + Send + Sync + 'static,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), RunError> {
    let (address, anonymous_read) = (configuration.listen, configuration.anonymous_read);
    let listen = |cause| RunError::Listen { address, cause };
    let tls = configuration.tls.as_ref().map(|(cert, key)| Tls::load(cert, key));
    let options = ServeOptions {
        tls: tls.transpose()?,
        ..ServeOptions::default()
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let first = configuration.clone();
    let site = tokio::task::spawn_blocking(move || assemble(&first, Clock::system()))
        .await
        .map_err(|error| RunError::Serve(std::io::Error::other(error)))??;
    if !bound.ip().is_loopback() && anonymous_read {
        tracing::warn!(address = %bound, "everybody who can reach this address can read (anonymous-read)");
    }
    let live = LiveSite::from(site);
    let stop = stop_signal(live.clone()).map_err(RunError::Serve)?;
    reload_at_signal(live.clone(), configuration, load).map_err(RunError::Serve)?;
    tokio::spawn(sweep(live.clone()));
    ready(bound);
    serve(listener, live.clone(), options, stop)
        .await
        .map_err(RunError::Serve)?;
    if tokio::time::timeout(WRITE_LIMIT, live.current().flush())
        .await
        .is_err()
    {
        tracing::warn!(limit = ?WRITE_LIMIT, "not everything that went out could be written down in time");
    }
    Ok(())
}

/// Done at the first signal. From then on a further one ends the process.
fn stop_signal(live: LiveSite) -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; responses under way may finish");
        live.current().stop();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

/// Puts a new site in the place of the old one at each SIGHUP.
fn reload_at_signal(
    live: LiveSite,
    mut running: Configuration,
    load: impl Fn() -> Result<Configuration, ConfigError> + Send + Sync + 'static,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let load = Arc::new(load);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (load, old, before) = (load.clone(), live.current(), running.clone());
            let loaded = tokio::task::spawn_blocking(
                move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
                    let configuration = load()?.with_fixed_parts_of(&before);
                    let site = assemble_again(&configuration, Clock::system(), &old)?;
                    Ok((configuration, site))
                },
            );
            match loaded.await.unwrap_or_else(|error| Err(error.into())) {
                Ok((configuration, site)) => {
                    running = configuration;
                    live.replace(site);
                    tracing::info!("the new configuration is in use");
                }
                Err(error) => {
                    let cause = error.source().map(ToString::to_string);
                    tracing::error!(%error, cause, "the new configuration cannot be used; the old one stays in use");
                }
            }
        }
    });
    Ok(())
}

/// Removes deleted files for good when their time is over, at start and once an hour.
async fn sweep(live: LiveSite) {
    loop {
        let site = live.current();
        for hosting in site.hosting() {
            match hosting.source.sweep().await {
                Ok(swept) => {
                    for swept in swept {
                        note_swept(&site, hosting.source.name(), &swept);
                    }
                }
                Err(error) => tracing::warn!(error = error.chain(), "deleted files cannot be removed"),
            }
        }
        drop(site);
        tokio::time::sleep(SWEEP).await;
    }
}

fn note_swept(site: &Site, source: &str, swept: &Swept) {
    for (event, files) in [("removed", &swept.removed), ("set-aside", &swept.set_aside)] {
        if !files.is_empty() {
            site.note(&Event {
                project: Some(swept.project.to_string()),
                files: files.iter().map(ToString::to_string).collect(),
                source: Some(source.to_owned()),
                ..Event::new(event)
            });
        }
    }
}
