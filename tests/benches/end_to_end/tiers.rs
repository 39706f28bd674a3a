//! What one more tier costs: the same request at the tier that holds the answer, at one in front of it that holds it
//! too, and at one in front of it that does not. One connection, one request after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pypicache_tests::process::Server;
use tokio::runtime::Runtime;

use crate::Effort;
use crate::corpus::{Corpus, JSON, SMALL_PROJECTS};
use crate::load::{Connection, Question};
use crate::report::Report;

pub(crate) fn measure(corpus: &Corpus, effort: Effort, report: &mut Report) {
    let runtime = Runtime::new().unwrap();
    let upstream = corpus.upstream(&runtime, Duration::ZERO);
    for _ in 0..effort.rounds {
        let [far_directory, near_directory] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let far = Server::start(far_directory.path(), &["--upstream", &upstream.index()]);
        let near = Server::start(near_directory.path(), &["--upstream", far.index().as_str()]);
        let [pages, files] = requests(corpus);
        for (what, requests) in [("page of one file", &pages), ("wheel of 11 kB", &files)] {
            // Once to fill the far tier, once more to measure it.
            time(&runtime, far.socket(), requests);
            let held_far = time(&runtime, far.socket(), requests);
            let through = time(&runtime, near.socket(), requests);
            let held_near = time(&runtime, near.socket(), requests);
            let mut add =
                |row: &str, figure: f64| report.add(&format!("{what}: {row}"), "ms", "pypicache", figure);
            add("held by the only tier", held_far);
            add("added by a tier that holds it", held_near - held_far);
            add("added by a tier that does not", through - held_far);
        }
    }
}

fn requests(corpus: &Corpus) -> [Vec<Question>; 2] {
    let projects: Vec<_> = (0..SMALL_PROJECTS)
        .map(|number| format!("leaf-{number}"))
        .collect();
    let pages = projects
        .iter()
        .map(|name| Question::new(format!("/simple/{name}/"), &[("accept", JSON)]));
    let files = projects
        .iter()
        .map(|name| Question::new(format!("/files/pypi{}", corpus.file_of(name)), &[]));
    [pages.collect(), files.collect()]
}

/// The median, in milliseconds.
fn time(runtime: &Runtime, address: SocketAddr, requests: &[Question]) -> f64 {
    runtime.block_on(async {
        let mut connection = Connection::open(address).await;
        let mut times = Vec::new();
        for request in requests {
            let began = Instant::now();
            assert_eq!(connection.context(request, || {}).await.status, 200);
            times.push(began.elapsed());
        }
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    })
}
