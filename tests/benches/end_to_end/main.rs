//! The server as users run it, over loopback, beside nginx on the same machine in the same run:
//! `cargo bench --package pypicache-tests --bench end_to_end` (with `-- --test`: each once, briefly, for correctness).
//!
//! Every row is asked of all systems in turn, and that several times; a row tells the median and the spread, and the
//! ratio to nginx with the same bytes as static files, which is the limit of the moment. Answers are compared while
//! they are counted. Without nginx the ratios are left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark"
)]

mod cold;
mod corpus;
mod load;
mod nginx;
mod report;
mod team;
mod tiers;
mod warm;

use corpus::Corpus;
use report::Report;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often each row is asked of each system.
    pub(crate) rounds: usize,
    /// For how long a warm row is asked each time.
    pub(crate) milliseconds: u64,
    /// The size of the large file, in bytes.
    pub(crate) large: usize,
}

fn main() {
    let brief = std::env::args().any(|argument| argument == "--test");
    let effort = match brief {
        true => Effort {
            rounds: 1,
            milliseconds: 50,
            large: 4_000_000,
        },
        false => Effort {
            rounds: 5,
            milliseconds: 1000,
            large: 80_000_000,
        },
    };
    let corpus = Corpus::new(effort.large);
    let mut report = Report::default();
    warm::measure(&corpus, effort, &mut report);
    cold::measure(&corpus, effort, &mut report);
    tiers::measure(&corpus, effort, &mut report);
    team::measure(effort, &mut report);
    println!("{report}");
}
