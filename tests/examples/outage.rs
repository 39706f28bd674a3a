//! How long clients wait while an upstream is gone in different ways:
//! `cargo run --release --package pypicache-tests --example outage`
//!
//! A warm page is asked for over and over, by one client over one connection, past its lifetime, so that each answer
//! would need the upstream's word. Then a name that is not held, at first and when the upstream is known to be gone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use pypicache_tests::package::Wheel;
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{BlackHole, Fault, Upstream};
use tokio::net::TcpStream;

const REQUESTS: usize = 5000;

struct Client {
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    async fn connect(tiers: &Tiers) -> Self {
        let url = tiers.url("");
        let stream = TcpStream::connect(url.authority()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// The status, and how long it took to the last byte.
    async fn get(&mut self, project: &str) -> (u16, Duration) {
        let request = Request::get(format!("/simple/{project}/"))
            .header("host", "localhost")
            .header("accept", "application/vnd.pypi.simple.v1+json")
            .body(Empty::new())
            .unwrap();
        let began = Instant::now();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        (status, began.elapsed())
    }
}

#[derive(Debug, Clone, Copy)]
enum Upstreams {
    Fine,
    Hung,
    Refused,
    Reset,
    BlackHole,
}

async fn measure(state: Upstreams) {
    let mut upstream = Upstream::start().await;
    upstream.set_lifetime(0, None);
    upstream.add("six", Wheel::new("six", "1.17.0").build());
    let tiers = Tiers::start(1, &upstream.url(), "").await;
    let mut client = Client::connect(&tiers).await;
    assert_eq!(client.get("six").await.0, 200);
    let mut _hole = None;
    match state {
        Upstreams::Fine => {}
        Upstreams::Hung => upstream.script("/", None, Fault::Hang),
        Upstreams::Reset => upstream.script("/", None, Fault::Reset),
        Upstreams::Refused => upstream.stop().await,
        Upstreams::BlackHole => {
            upstream.stop().await;
            _hole = Some(BlackHole::at(upstream.address()).await);
        }
    }
    let first = client.get("six").await;
    let mut waited = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let (status, took) = client.get("six").await;
        assert_eq!(status, 200);
        waited.push(took);
    }
    waited.sort();
    let (unknown, at_first) = client.get("unknown").await;
    client.get("unknown").await;
    let (_, later) = client.get("another").await;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{:<10} {:>9.2} {:>9.3} {:>9.3} {:>9.2} {:>8} {:>9.1} {:>9.1}",
        format!("{state:?}"),
        ms(first.1),
        ms(waited[REQUESTS / 2]),
        ms(waited[REQUESTS * 99 / 100]),
        ms(waited[REQUESTS - 1]),
        unknown,
        ms(at_first),
        ms(later)
    );
}

#[tokio::main]
async fn main() {
    println!(
        "milliseconds, {REQUESTS} requests for a held page past its lifetime; then names that are not held"
    );
    println!("upstream   the first    median       p99   slowest   status  at first     later");
    for state in [
        Upstreams::Fine,
        Upstreams::Hung,
        Upstreams::Refused,
        Upstreams::Reset,
        Upstreams::BlackHole,
    ] {
        measure(state).await;
    }
}
