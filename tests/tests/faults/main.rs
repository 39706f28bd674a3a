//! The fault laboratory: everything that can go wrong with an upstream, at one, two and three tiers, with what clients
//! get, what is held afterwards, and how long anybody waited. Time is virtual; nothing here is slow.
//!
//! * `pages`: what comes in the place of a page.
//! * `files`: what comes in the place of a file.
//! * `connections`: upstreams that cannot be reached, in every way.
//! * `roaming`: several upstreams, one of which comes and goes.
//! * `slow`: upstreams that are slow on each connection.
//! * `ages`: how old pages are, how long they are shown, and which files they list.
//! * `between_tiers`: what tiers tell each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod ages;
mod between_tiers;
mod connections;
mod files;
mod pages;
mod roaming;
mod slow;

use std::time::Duration;

use pypicache_tests::client::Reply;

/// The detail of a problem document, which installers print.
fn detail(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), "application/problem+json");
    reply.json()["detail"].as_str().unwrap().to_owned()
}

fn age(reply: &Reply) -> u64 {
    reply.header("age").parse().unwrap()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
