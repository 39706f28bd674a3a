//! Support for the end-to-end tests: an index to misuse, packages to install, and the real installers.
//!
//! * [`package`]: wheels and sdists made in memory, installable by pip and uv.
//! * [`upstream`]: an index that imitates PyPI's headers, pages, siblings and ranges, and misbehaves on command.
//! * [`python`]: pip and uv, installed once below `target/`, run in clean environments.
//! * [`process`]: the `pypicache` binary as a process.
//! * [`tls`]: a TLS front with a certificate authority of its own.
//! * [`tiers`]: caches inside the test's own process, under a clock that the test moves.
//! * [`virtually`]: time that goes on only while nothing else does.
//! * [`laboratory`]: the three of them put together.
//! * [`team`]: a team's server with hosted projects, tokens for it, and a laptop's cache in front.
//! * [`form`]: uploads by hand.
//! * [`issuer`]: an issuer of identity tokens.
//! * [`nginx`]: a real nginx in front of a server.
//! * [`client`]: a plain HTTP client that shows what really comes over the wire.
//!
//! The tests themselves are in `tests/tests/`. Nothing here is part of what users get.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "support for tests: a panic is how a test fails"
)]

pub mod client;
pub mod form;
pub mod issuer;
pub mod laboratory;
pub mod nginx;
pub mod package;
pub mod process;
pub mod python;
pub mod team;
pub mod tiers;
pub mod tls;
pub mod upstream;
pub mod virtually;
