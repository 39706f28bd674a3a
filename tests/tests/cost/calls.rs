//! System calls of the real binary, as `strace` writes them down.

use std::collections::BTreeMap;
use std::path::Path;

use pypicache_tests::process::Server;
use pypicache_tests::upstream::Upstream;

use crate::COUNTED;
use crate::client::Connection;
use crate::rows::ROWS;
use crate::table::Figures;

/// How often a client that is slower or faster than the server makes it wait: no matter of what a request costs.
const WAITING: [&str; 2] = ["epoll_wait", "epoll_pwait"];

/// Asked for before each row, and at the end.
const MARK: &str = "GET /mark HTTP/1.1\r\nHost: cost.example\r\n\r\n";

/// For each row, how often one request makes which call.
pub(crate) fn of_each(upstream: &Upstream) -> Vec<(String, Figures)> {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("calls");
    let arguments = ["--upstream", upstream.url().as_str()].map(str::to_owned);
    let server = Server::start_traced(home.path(), &log, &arguments.each_ref().map(String::as_str));
    let mut connection = Connection::open(server.socket());
    for row in &ROWS {
        let request = row.warmed(&mut connection);
        connection.ask(MARK);
        for _ in 0..COUNTED {
            assert_eq!(connection.ask(&request).status, row.status);
        }
        connection.ask(MARK);
    }
    let calls = whole_log(&log);
    let requests = requests_of(&calls);
    let mut parts = requests.split(|request| request.is_mark);
    // What is between two marks is warming up, then a row, and so on.
    let rows = ROWS.iter().map(|row| {
        let _warming_up = parts.next();
        let counted = parts.next().unwrap();
        assert_eq!(
            counted.len(),
            COUNTED,
            "{}: lines of strace that were not understood",
            row.name
        );
        (row.name.to_owned(), medians(counted))
    });
    rows.collect()
}

/// All lines up to the last mark: they come in behind the requests.
fn whole_log(log: &Path) -> String {
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.matches("\"GET /mark ").count() == 2 * ROWS.len() {
            return text;
        }
        std::thread::yield_now();
    }
}

#[derive(Default)]
struct Request<'a> {
    is_mark: bool,
    calls: BTreeMap<&'a str, u64>,
}

/// The calls between the head of one request and the head of the next.
fn requests_of(log: &str) -> Vec<Request<'_>> {
    let mut requests = Vec::<Request<'_>>::new();
    // `4711  recvfrom(9, "GET /simple/cost/ HTTP/1.1\r\nHost: "..., 8192, 0, NULL, NULL) = 180`
    for line in log.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        // A call during which another thread made one stands on two lines, of which the second has what came of it:
        // `4711  <... recvfrom resumed>"GET /simple/cost/ HTTP/1.1\r\nHost: "..., 8192, 0, NULL, NULL) = 180`
        let split = match call.strip_prefix("<... ") {
            Some(rest) => rest.split_once(" resumed>"),
            None if call.ends_with("<unfinished ...>") => None,
            None => call.split_once('('),
        };
        let Some((name, arguments)) = split else {
            continue;
        };
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || WAITING.contains(&name) || call.contains("EAGAIN") {
            continue;
        }
        if name == "recvfrom" && arguments.contains("\"GET /") {
            let is_mark = arguments.contains("\"GET /mark ");
            requests.push(Request {
                is_mark,
                ..Request::default()
            });
        }
        if let Some(request) = requests.last_mut() {
            *request.calls.entry(name).or_default() += 1;
        }
    }
    requests
}

/// Of each call the usual number: what happens once in a while (a thread that ends, a buffer that grows) does not count.
fn medians(requests: &[Request<'_>]) -> Figures {
    let mut names: Vec<_> = requests.iter().flat_map(|request| request.calls.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let medians = names.into_iter().map(|name| {
        let of = |request: &Request<'_>| request.calls.get(name).copied().unwrap_or(0);
        let mut counts: Vec<_> = requests.iter().map(of).collect();
        counts.sort_unstable();
        ((*name).to_owned(), counts[counts.len() / 2])
    });
    medians.filter(|(_, count)| *count > 0).collect()
}
