//! What each warm request costs, in allocations and in system calls, held against a table in the repository.
//!
//! Both are counts, so they are the same on a slow machine and on a busy one. A change that makes a request dearer shows
//! here by name. Allocations are counted in this process, on the one thread that serves; system calls are counted by
//! `strace` around the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod allocations;
mod calls;
mod client;
mod rows;
mod table;

use pypicache_tests::upstream::Upstream;

use rows::{ROWS, corpus};
use table::Table;

/// How many requests of a row are counted.
const COUNTED: usize = 200;

#[test]
fn no_warm_request_allocates_more_than_the_table_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let upstream = runtime.block_on(Upstream::start());
    corpus(&upstream);
    let table = Table::read();
    table.hold("allocations", &allocations::of_each(&upstream));
}

#[test]
fn no_warm_request_makes_more_system_calls_than_the_table_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let upstream = runtime.block_on(Upstream::start());
    corpus(&upstream);
    let table = Table::read();
    table.hold("system calls", &calls::of_each(&upstream));
}

#[test]
fn a_figure_that_grows_is_told_by_name() {
    let table = Table::parse("a: allocations 3\na: system calls recvfrom 1, writev 1\n");
    let of = |figures: &str| vec![("a".to_owned(), table::figures(figures))];
    assert_eq!(table.growth("allocations", &of("3")), Vec::<String>::new());
    assert_eq!(table.growth("allocations", &of("2")), Vec::<String>::new());
    assert_eq!(
        table.growth("allocations", &of("5")),
        ["a: allocations grew by 2, from 3 to 5"]
    );
    assert_eq!(
        table.growth("system calls", &of("recvfrom 1, writev 1, openat 1")),
        ["a: system calls openat grew by 1, from 0 to 1"]
    );
    assert_eq!(ROWS.len(), 8);
}
