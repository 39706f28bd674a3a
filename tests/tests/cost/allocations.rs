//! Allocations of the thread that serves: the client and the upstream are elsewhere.

use allocation_counter::measure;
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::Upstream;

use crate::COUNTED;
use crate::client::Connection;
use crate::rows::ROWS;
use crate::table::{Figures, figures};

/// For each row, how often one request allocates.
pub(crate) fn of_each(upstream: &Upstream) -> Vec<(String, Figures)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let source = format!("[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n", upstream.url());
    let mut tiers = Tiers::none();
    let url = runtime.block_on(tiers.add_with("prefetch = true\n", &source));
    let address = url.socket_addrs(|| None).unwrap()[0];
    let measured = ROWS.iter().map(|row| {
        let mut connection = None;
        let mut request = String::new();
        while_serving(&runtime, || {
            let opened = connection.insert(Connection::open(address));
            request = row.warmed(opened);
        });
        let connection = connection.as_mut().unwrap();
        let mut ask = |times: usize| {
            let allocated = measure(|| {
                while_serving(&runtime, || {
                    (0..times).for_each(|_| drop(connection.ask(&request)))
                });
            });
            allocated.count_total
        };
        // What does not depend on the number of requests is in both.
        let (few, many) = (ask(COUNTED), ask(2 * COUNTED));
        let each = (many - few) as f64 / COUNTED as f64;
        (row.name.to_owned(), figures(&format!("{}", each.round())))
    });
    measured.collect()
}

/// Serves on this thread for as long as a client on another one works.
fn while_serving(runtime: &tokio::runtime::Runtime, client: impl FnOnce() + Send) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            client();
            sender.send(()).unwrap();
        });
        runtime.block_on(receiver).expect("the client came to its end");
    });
}
