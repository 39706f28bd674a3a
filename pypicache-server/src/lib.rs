//! HTTP in front of any [`IndexSource`](pypicache_core::source::IndexSource), with its configuration.
//!
//! A request's way, top to bottom: [`serve`] accepts the connection, `handle` reads the request, `route` says what
//! its path means, [`access`] who asks and whether they may. Then `read` asks the index's source (`negotiate` and `condition`
//! say what the client wants of it), `upload` and `manage` change what is hosted. `render` (pages, once per revision) and `respond` make the response, `problem` the errors, `file_body`
//! brings local files out.
//!
//! [`config`] turns TOML, environment and flags into one checked value, [`assemble`](assemble::assemble) turns
//! that into sources, [`run`](run::run) is the server as a process.
//!
//! ```no_run
//! use std::sync::Arc;
//! use pypicache_core::disk_source::DiskSource;
//! use pypicache_server::{Index, ServeOptions, Site, serve};
//! # async fn example() -> std::io::Result<()> {
//! let source = Arc::new(DiskSource::new("wheels", "/srv/wheels"));
//! let site = Site::new("example", vec![Index::new("", source)]);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! serve(listener, Arc::new(site), ServeOptions::default(), std::future::pending()).await
//! # }
//! ```

// The standard macros panic where nobody reads any more.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod access;
pub mod assemble;
mod canonical_path;
mod client_context;
pub mod config;
pub mod data_dir;
mod handle;
mod hosting;
mod http;
mod live;
pub mod observe;
mod route;
pub mod run;
mod serve;
mod simple;
mod site;
mod web;

pub use http::proxy::Proxies;
pub use http::tls::{Tls, TlsError};
pub use live::LiveSite;
pub use serve::{ServeOptions, serve};
pub use site::{Hosting, Index, Site};
